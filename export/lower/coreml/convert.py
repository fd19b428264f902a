"""Writes ``.mlpackage`` with coremltools: from torch to an ML Program, and weights of few bits into it.

coremltools is imported when it is needed: it takes seconds, and belongs to the extra `coreml`.
"""

import importlib
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from pocketcrafter.export.lower.programs import spell_out_gelus, spell_out_pools
from pocketcrafter.quantize.algorithms.palettes import PALETTE_GROUP
from pocketcrafter.quantize.config import CompressedWeights, WeightGrid
from pocketcrafter.quantize.torch.compressed_weights import compressed_grids, has_groups
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.targets import TARGETS, TargetKind

INSTALL: Final = "pip install 'pocketcrafter[coreml]'"
_DATE: Final = "com.github.apple.coremltools.conversion_date"
_NAMESPACE: Final = uuid.UUID("5d1f7c2e-4c0f-5b3e-9a55-6d6f1f0b7a11")


def ios_of(target: TargetKind) -> int:
    """Return the oldest iOS that runs a target's packages, which decides the operators they may use."""
    return int((TARGETS[target].min_os or "").removeprefix("iOS "))


def coremltools() -> Any:  # noqa: ANN401 - untyped package
    """Return coremltools.

    Raises
    ------
    BackendError
        If it is not installed.
    """
    try:
        with quiet():
            return importlib.import_module("coremltools")
    except ImportError as error:
        raise BackendError(f"Core ML packages need coremltools ({error}): {INSTALL}") from error


def exported(model: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """Return the program that :func:`convert` takes: of a model in evaluation mode, on the CPU.

    ``inputs`` is one float32 tensor for each of the component's inputs, in calling order; shapes are static.
    """
    with torch.no_grad():
        program: ExportedProgram = torch.export.export(model, inputs, strict=False).run_decompositions(_SPELLED)
    spell_out_pools(program.graph_module)
    spell_out_gelus(program.graph_module)
    return program


_SPELLED: Final = {torch.ops.aten.alias.default: lambda x: x}
"""What coremltools 9.0 does not convert."""
_INEXACT: Final = "common::fuse_elementwise_to_batchnorm"
"""A pass of coremltools 9.0 that makes a normalization of a factor and a summand, with a variance of 1 and its default
epsilon of 1e-5: each is 5e-6 too small, 106 dB. A U-Net has 45 group norms. Float16 does not resolve it.
"""


def convert(
    program: ExportedProgram,
    spec: ComponentSpec,
    ios: int,
    path: Path,
    *,
    half: bool,
    compressed: "Compression | None" = None,
) -> None:
    """Convert a program and write the package; the same program gives the same bytes.

    Parameters
    ----------
    program
        As :func:`exported` returns it; left as it is.
    spec
        Names the package's inputs and outputs; float32 at its edge.
    ios
        The oldest iOS it must run on.
    path
        The package's folder.
    half
        Compute in float16, as the Neural Engine does; else in float32, which it does not run.
    compressed
        Weights that lie on a grid of few values already and are stored as such: nothing is rounded here.

    Raises
    ------
    BackendError
        If coremltools is missing or cannot convert the model.
    """
    ct = coremltools()
    passes = ct.PassPipeline()
    if not half:
        passes.remove_passes({_INEXACT})
    with quiet(), rarely_validated():
        try:
            package = ct.convert(
                program,
                inputs=[ct.TensorType(name=t.name, shape=t.shape, dtype=np.float32) for t in spec.inputs],
                outputs=[ct.TensorType(name=t.name, dtype=np.float32) for t in spec.outputs],
                minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
                convert_to="mlprogram",
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                pass_pipeline=passes,
                skip_model_load=True,
            )
            if compressed is not None:
                package = _compress(package, program, compressed)
            package.save(str(path))
        except Exception as error:  # coremltools raises whatever its passes raise
            raise BackendError(
                f"coremltools cannot convert `{spec.name}` for iOS {ios}: {type(error).__name__}: {error}"
            ) from error
    settle(path)


@dataclass(frozen=True)
class Compression:
    """Weights that `pocketcrafter.quantize.torch.compressed_weights` rounded, and how a package stores them.

    Attributes
    ----------
    grids
        The grid of each weight, by its qualified name.
    scheme
        Group sizes, and whether groups of output channels have palettes of their own.
    """

    grids: Mapping[str, WeightGrid]
    scheme: CompressedWeights

    @classmethod
    def of(cls, network: nn.Module, scheme: CompressedWeights) -> Self:
        """Return what rounding a network by a scheme does to its weights."""
        return cls(compressed_grids(network, scheme), scheme)

    def within(self, prefix: str) -> Self:
        """Return it for a module that has the network inside, under a prefix."""
        return replace(self, grids={f"{prefix}{name}": grid for name, grid in self.grids.items()})


def _compress(package: Any, program: ExportedProgram, compressed: Compression) -> Any:  # noqa: ANN401
    """Store weights in few bits that already lie on their grids."""
    signature = program.graph_signature
    held = {name: given for given, name in {**signature.inputs_to_parameters, **signature.inputs_to_buffers}.items()}
    block = next(iter(package.get_spec().mlProgram.functions["main"].block_specializations.values()))
    shapes = {op.outputs[0].name: _shape(op) for op in block.operations if op.type == "const"}
    cto = importlib.import_module("coremltools.optimize.coreml")
    steps = (cto.linear_quantize_weights, cto.palettize_weights)
    schemes: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name, grid in sorted(compressed.grids.items()):
        for place in {f"{held[name]}{suffix}" for suffix in ("", "_to_fp16")} & shapes.keys():
            palette, scheme = grid in _PALETTES, compressed.scheme
            own = _palettes(cto, shapes[place], scheme) if palette else _scales(cto, grid, scheme)
            schemes[palette][place] = own
    for compress, chosen in zip(steps, schemes, strict=True):
        if chosen:
            package = compress(package, cto.OptimizationConfig(global_config=None, op_name_configs=chosen))
    return package


_PALETTES: Final = frozenset({WeightGrid.PALETTE4, WeightGrid.PALETTE6})


def _scales(cto: Any, grid: WeightGrid, scheme: CompressedWeights) -> Any:  # noqa: ANN401
    groups = {"dtype": "int4", "granularity": "per_block", "block_size": scheme.group_size}
    own = groups if grid is WeightGrid.INT4 else {"dtype": "int8", "granularity": "per_channel"}
    return cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0, **own)


def _palettes(cto: Any, shape: tuple[int, ...], scheme: CompressedWeights) -> Any:  # noqa: ANN401
    parts: dict[str, str | int] = {"granularity": "per_tensor"}
    if scheme.grouped_palettes and has_groups(shape):
        parts = {"granularity": "per_grouped_channel", "group_size": PALETTE_GROUP, "channel_axis": 0}
    # The values that are there, however many bits k-means was asked for: nothing is clustered a second time.
    return cto.OpPalettizerConfig(mode="unique", weight_threshold=0, **parts)


def _shape(constant: Any) -> tuple[int, ...]:  # noqa: ANN401
    return tuple(d.constant.size for d in constant.outputs[0].type.tensorType.dimensions)


def settle(path: Path) -> None:
    """Take out of a package what differs from run to run: the date, random identifiers, the order of maps."""
    manifest_path = path / "Manifest.json"
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    names = {old: _identifier(entry["path"]) for old, entry in manifest["itemInfoEntries"].items()}
    entries = {names[old]: entry for old, entry in manifest["itemInfoEntries"].items()}
    manifest["itemInfoEntries"] = dict(sorted(entries.items()))
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    manifest_path.write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    file = path / "Data" / entries[manifest["rootModelIdentifier"]]["path"]
    model = importlib.import_module("coremltools.proto.Model_pb2").Model()
    model.ParseFromString(file.read_bytes())
    model.description.metadata.userDefined.pop(_DATE, None)
    file.write_bytes(model.SerializeToString(deterministic=True))


def _identifier(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name)).upper()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep coremltools' log, which warns of every torch it was not tested with, out of the way."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def rarely_validated() -> Iterator[None]:
    """Have coremltools validate a program where it removes dead code and writes it, and not after each of 80 passes.

    A third of a conversion's time went there.
    """
    program = importlib.import_module("coremltools.converters.mil.mil").Program
    validate = program.validate

    def seldom(checked: Any, check_essential_scope: bool = False) -> None:  # noqa: ANN401 - untyped package
        if check_essential_scope:
            validate(checked, check_essential_scope=check_essential_scope)

    program.validate = seldom
    try:
        yield
    finally:
        program.validate = validate
