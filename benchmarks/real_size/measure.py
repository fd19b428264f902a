"""Checkpoints of a published configuration with random weights, and what lowering their language model takes."""

import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field
from torch import nn

from pocketcrafter.benchmarks.common.markdown import NOT_MEASURED, markdown, percent, plain
from pocketcrafter.export.calibration.language import language_samples
from pocketcrafter.export.families.networks.positions import CHUNK
from pocketcrafter.export.lower.fx_patches import patch_fx
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.request import LoweringRequest
from pocketcrafter.export.models.language import Language, language_spec
from pocketcrafter.export.names import HEAD
from pocketcrafter.quantize.torch.embedding import quantize_embedding
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import PocketCrafterError
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.memory import largest_child_mib, resident_mib
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_SAMPLES: Final = 4
_SEED: Final = 0
_MOST_TOLD: Final = 400
"""Characters of what a toolchain says of a refusal."""
_MIXED: Final = frozenset({Precision.W4, Precision.A8W4_DYNAMIC})
"""Precisions whose output layer has 8 bits, as inferred recipes have it."""

_SMOLVLM_256M: Final[Mapping[str, Any]] = {
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49280,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "max_position_embeddings": 8192,
        "pad_token_id": 2,
        "tie_word_embeddings": False,
    },
    "scale_factor": 4,
    "image_token_id": 49190,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
"""SmolVLM-256M-Instruct as published: 256 million parameters, the output layer apart from the table of words."""


def write_checkpoint(out: Path, layers: int | None = None) -> int:
    """Write SmolVLM-256M with random weights, in Hugging Face's layout.

    Parameters
    ----------
    out
        The folder that the checkpoint goes to.
    layers
        Layers of the language model; as published when not given.

    Returns
    -------
    int
        How many parameters it has.
    """
    transformers = importlib.import_module("transformers")
    raw = {**_SMOLVLM_256M, "text_config": dict(_SMOLVLM_256M["text_config"])}
    if layers is not None:
        raw["text_config"]["num_hidden_layers"] = layers
    torch.manual_seed(_SEED)
    network = transformers.Idefics3ForConditionalGeneration(transformers.Idefics3Config(**raw))
    network.save_pretrained(out)
    return sum(p.numel() for p in network.parameters())


class LanguageRow(Config):
    """What lowering a language model of some layers took."""

    target: TargetKind
    precision: Precision
    layers: int
    parameters: int = Field(description="Of layers, last normalization and output layer.")
    bytes: int | None = Field(None, description="Of the artifact and all files beside it.")
    embedding_bytes: int | None = Field(None, description="Of the table of word vectors.")
    wall_s: float | None = None
    cpu_s: float | None = Field(None, description="Of the process and those that it started.")
    peak_mib: float | None = Field(None, description="Highest resident memory of the process, or of one it started.")
    rung1_db: Mapping[str, float | None] = Field({}, description="By output; empty where nothing is quantized.")
    rung2_db: Mapping[str, float | None] = {}
    coverage: float | None = Field(None, description="Share of the multiply-accumulates delegated.")
    left_outside: tuple[str, ...] = Field((), description="Operators that were not delegated and do arithmetic.")
    refusal: str = Field("", description="What the toolchain said where it made nothing.")


def lower_languages(
    folder: Path, target: TargetKind, precision: Precision, length: int, layers: Sequence[int | None], out: Path
) -> list[LanguageRow]:
    """Lower a checkpoint's language model with each of some numbers of layers, in a process of its own.

    Parameters
    ----------
    folder
        The checkpoint.
    target, precision
        What it is lowered for, and to; the output layer has 8 bits where the weights have 4.
    length
        Positions of the caches.
    layers
        How many of the first layers are taken; all for `None`.
    out
        The folder that the files go to.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for count in layers:
        ours, theirs = get_context("spawn").Pipe()
        given = (folder, target, precision, length, count, out, theirs)
        process = get_context("spawn").Process(target=_measure, args=given)
        process.start()
        theirs.close()
        try:
            row: LanguageRow = ours.recv()
        except EOFError:
            process.join()
            why = f"the process ended with exit code {process.exitcode}; what it printed stands above"
            if process.exitcode == -9:
                why = "the process was killed, most likely for want of memory"
            row = LanguageRow(target=target, precision=precision, layers=count or 0, parameters=0, refusal=why)
        process.join()
        made.append(row)
    return made


def languages_table(rows: Sequence[LanguageRow]) -> str:
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


def _measure(
    folder: Path,
    target: TargetKind,
    precision: Precision,
    length: int,
    layers: int | None,
    out: Path,
    answer: Connection,
) -> None:
    patch_fx()
    started = time.perf_counter()
    text, head, table = _load(folder)
    if layers is not None:
        text.layers = nn.ModuleList(list(text.get_submodule("layers").children())[:layers])
    model = Language(text, head)
    spec = language_spec(model, length, CHUNK)
    row = LanguageRow(
        target=target,
        precision=precision,
        layers=len(model.layers),
        parameters=sum(p.numel() for p in model.parameters()),
    )
    embedding = out / "embedding.safetensors"
    quantize_embedding(table, embedding)
    samples = language_samples(model, table, spec, _SAMPLES, _SEED)
    room = out / f"{target.replace(':', '-')}-{precision}-{row.layers}"
    room.mkdir(exist_ok=True)
    request = LoweringRequest(
        model,
        spec,
        samples[None],
        precision,
        {target: room / f"language{TARGETS[target].suffix}"},
        weight_bits={HEAD: 8} if precision in _MIXED else {},
        functions={PREFILL: samples[PREFILL][-1:]},
    )
    try:
        made = lower(request)[target]
    except PocketCrafterError as error:
        found: dict[str, Any] = {"refusal": " ".join(str(error).split())[:_MOST_TOLD]}
    else:
        found = {
            "bytes": sum(file.stat().st_size for file in room.rglob("*") if file.is_file()),
            "embedding_bytes": embedding.stat().st_size,
            "rung1_db": _ratios(made.rung1),
            "rung2_db": _ratios(made.rung2),
            "coverage": made.coverage.share,
            "left_outside": tuple(f"{f.op} ×{f.count}" for f in made.coverage.fallbacks if not f.allowed),
        }
    times = os.times()
    found |= {
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(sum(times[:4]), 1),
        "peak_mib": round(max(resident_mib()[1], largest_child_mib())),
    }
    answer.send(row.model_copy(update=found))


def _load(folder: Path) -> tuple[nn.Module, nn.Linear, torch.Tensor]:
    """Return a checkpoint's text model, output layer and table of words; the rest is freed."""
    load: Callable[..., Any] = importlib.import_module("transformers").AutoModelForImageTextToText.from_pretrained
    network = load(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32).eval()
    inner = network.get_submodule("model")
    name = "text_model" if hasattr(inner, "text_model") else "language_model"
    text = inner.get_submodule(name)
    return text, network.get_submodule("lm_head"), text.get_submodule("embed_tokens").weight


def _ratios(fidelity: tuple[Fidelity, ...]) -> dict[str, float | None]:
    return {f.output: None if f.sqnr_db is None else round(f.sqnr_db, 1) for f in fidelity}
