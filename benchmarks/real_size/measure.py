"""What lowering the networks of a checkpoint of real size takes."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Literal, cast

from pydantic import Field
from torch import nn

from pocketcrafter.benchmarks.common.fresh_process import EndedError, in_fresh_process
from pocketcrafter.benchmarks.common.markdown import NOT_MEASURED, markdown, percent, plain
from pocketcrafter.export.calibration.language import language_samples
from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.families.latent.parts import load_part
from pocketcrafter.export.families.networks.language import CHUNK
from pocketcrafter.export.families.networks.parts import draw_samples
from pocketcrafter.export.families.networks.vision_language import load_pretrained, parts
from pocketcrafter.export.lower.decompositions import written_for
from pocketcrafter.export.lower.fx_patches import patch_fx
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.request import LoweringRequest
from pocketcrafter.export.models.language import Language, language_spec
from pocketcrafter.export.names import HEAD
from pocketcrafter.quantize.torch.embedding import quantize_embedding
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import PocketCrafterError
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.latent.settings import Latent
from pocketcrafter.runtime.memory import largest_child_mib, resident_mib
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_SAMPLES: Final = 4
_SEED: Final = 0
_TABLE: Final = "embedding.safetensors"
_MOST_TOLD: Final = 400
"""Characters of what a toolchain says of a refusal."""
_MIXED: Final = frozenset({Precision.W4, Precision.A8W4_DYNAMIC})
"""Precisions whose output layer has 8 bits, as inferred recipes have it."""


class ComponentRow(Config):
    """What lowering a network of some layers took."""

    target: TargetKind
    precision: Precision
    layers: int
    parameters: int = Field(description="Of all that is lowered.")
    bytes: int | None = Field(None, description="Of the artifact and all files beside it.")
    embedding_bytes: int | None = Field(None, description="Of a language model's table of word vectors.")
    wall_s: float | None = None
    cpu_s: float | None = Field(None, description="Of the process and those that it started.")
    peak_mib: float | None = Field(None, description="Highest resident memory of the process, or of one it started.")
    rung1_db: Mapping[str, float | None] = Field({}, description="By output; empty where nothing is quantized.")
    rung2_db: Mapping[str, float | None] = {}
    coverage: float | None = Field(None, description="Share of the multiply-accumulates delegated.")
    left_outside: tuple[str, ...] = Field((), description="Operators that were not delegated and do arithmetic.")
    refusal: str = Field("", description="What the toolchain said where it made nothing.")


@dataclass(frozen=True)
class Lowering:
    """What is lowered, for what and how.

    Attributes
    ----------
    folder
        The checkpoint.
    role
        Its vision encoder with the connector, its language model with both functions, or the denoising network of a
        latent pair.
    target, precision
        What it is lowered for, and to; a language model's output layer has 8 bits where the weights have 4.
    length
        Positions of a language model's caches.
    out
        The folder that the files go to.
    """

    folder: Path
    role: Literal[Role.VISION, Role.LANGUAGE, Role.DENOISE]
    target: TargetKind
    precision: Precision
    out: Path
    length: int = 1024


def lower_layers(lowering: Lowering, layers: Sequence[int | None]) -> Iterator[ComponentRow]:
    """Lower a network with each of some numbers of layers, in a process of its own; each row comes when it is done.

    Parameters
    ----------
    lowering
        What is lowered.
    layers
        How many of the first layers are taken; all for `None`.
    """
    lowering.out.mkdir(parents=True, exist_ok=True)
    for count in layers:
        row: ComponentRow
        try:
            row = in_fresh_process(_measure, lowering, count)
        except EndedError as error:
            why = f"{error}; what it printed stands above"
            if error.exitcode == -9:
                why = "the process was killed, most likely for want of memory"
            row = ComponentRow(
                target=lowering.target, precision=lowering.precision, layers=count or 0, parameters=0, refusal=why
            )
        yield row


def layers_table(rows: Sequence[ComponentRow]) -> str:
    """Return the rows as a Markdown table, each rung by its worst output."""
    head = ("layers", "parameters", "MB", "wall s", "CPU s", "peak MiB", "rung 1 dB", "rung 2 dB", "MACs", "refusal")
    cells = [
        (
            f"{r.layers}",
            f"{r.parameters / 1e6:.1f} M",
            NOT_MEASURED if r.bytes is None else f"{r.bytes / 1e6:.1f}",
            *(plain(value, 0) for value in (r.wall_s, r.cpu_s, r.peak_mib)),
            *(plain(_worst(ratios), 1) for ratios in (r.rung1_db, r.rung2_db)),
            percent(r.coverage),
            r.refusal or NOT_MEASURED,
        )
        for r in rows
    ]
    return markdown(head, cells)


def _worst(ratios: Mapping[str, float | None]) -> float | None:
    return min((ratio for ratio in ratios.values() if ratio is not None), default=None)


def _measure(lowering: Lowering, layers: int | None, answer: Connection) -> None:
    patch_fx()
    started = time.perf_counter()
    target, precision = lowering.target, lowering.precision
    room = lowering.out / f"{target.replace(':', '-')}-{precision}-{layers or 'all'}"
    room.mkdir(exist_ok=True)
    request = _REQUESTS[lowering.role](lowering, layers, room)
    module = request.module()
    row = ComponentRow(
        target=target,
        precision=precision,
        layers=layers or _layers_of(module),
        parameters=sum(p.numel() for p in module.parameters()),
    )
    try:
        network = written_for(target, precision, module, request.calibration[0], request.spec)
        made = lower(replace(request, network=network))[target]
    except PocketCrafterError as error:
        found: dict[str, Any] = {"refusal": " ".join(str(error).split())[:_MOST_TOLD]}
    else:
        found = {
            "bytes": sum(file.stat().st_size for file in room.rglob("*") if file.is_file()),
            "rung1_db": _ratios(made.rung1),
            "rung2_db": _ratios(made.rung2),
            "coverage": made.coverage.share,
            "left_outside": tuple(f"{f.op} ×{f.count}" for f in made.coverage.fallbacks if not f.allowed),
        }
    table = lowering.out / _TABLE
    times = os.times()
    found |= {
        "embedding_bytes": table.stat().st_size if lowering.role is Role.LANGUAGE else None,
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(sum(times[:4]), 1),
        "peak_mib": round(max(resident_mib()[1], largest_child_mib())),
    }
    answer.send(row.model_copy(update=found))


def _language(lowering: Lowering, layers: int | None, room: Path) -> LoweringRequest:
    network = _load(lowering.folder)
    inner = network.get_submodule("model")
    text = inner.get_submodule("text_model" if hasattr(inner, "text_model") else "language_model")
    table = cast("nn.Embedding", text.get_submodule("embed_tokens")).weight
    _keep(text, layers)
    model = Language(text, cast("nn.Linear", network.get_submodule("lm_head")))
    spec = language_spec(model, lowering.length, CHUNK)
    quantize_embedding(table, lowering.out / _TABLE)
    samples = language_samples(model, table, spec, _SAMPLES, _SEED)
    return LoweringRequest(
        model,
        spec,
        samples[None],
        lowering.precision,
        {lowering.target: room / f"language{TARGETS[lowering.target].suffix}"},
        weight_bits={HEAD: 8} if lowering.precision in _MIXED else {},
        functions={PREFILL: samples[PREFILL][-1:]},
    )


def _vision(lowering: Lowering, layers: int | None, room: Path) -> LoweringRequest:
    network = _load(lowering.folder)
    _keep(network.get_submodule("model").get_submodule("vision_model").get_submodule("encoder"), layers)
    part = next(part for part in parts(network, {}) if part.spec.role is Role.VISION)
    return _random_request(lowering, part, room)


def _denoise(lowering: Lowering, _layers: int | None, room: Path) -> LoweringRequest:
    return _random_request(lowering, load_part(read_pair(lowering.folder), Latent.DENOISE), room)


def _random_request(lowering: Lowering, part: Part, room: Path) -> LoweringRequest:
    """Return what lowers a network that takes random inputs."""
    return LoweringRequest(
        part.network,
        part.spec,
        draw_samples(part.spec, _SAMPLES, _SEED),
        lowering.precision,
        {lowering.target: room / f"{lowering.role}{TARGETS[lowering.target].suffix}"},
    )


_REQUESTS: Final[Mapping[Role, Callable[[Lowering, int | None, Path], LoweringRequest]]] = {
    Role.LANGUAGE: _language,
    Role.VISION: _vision,
    Role.DENOISE: _denoise,
}


def _load(folder: Path) -> nn.Module:
    return load_pretrained("AutoModelForImageTextToText", folder, None).eval()


def _keep(stack: nn.Module, layers: int | None) -> None:
    """Drop all but the first layers of a stack of them."""
    stack.layers = nn.ModuleList(list(stack.get_submodule("layers").children())[:layers])


def _layers_of(module: nn.Module) -> int:
    """Return how many layers the longest stack of a network has."""
    return max((len(m) for m in module.modules() if isinstance(m, nn.ModuleList)), default=0)


def _ratios(fidelity: tuple[Fidelity, ...]) -> dict[str, float | None]:
    return {f.output: None if f.sqnr_db is None else round(f.sqnr_db, 1) for f in fidelity}
