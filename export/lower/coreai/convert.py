"""Writes ``.aimodel`` with coreai-torch: from torch to Core AI's program, with weights of few bits in it.

Apple's packages are imported when they are needed: they take seconds, and belong to the extra `coreai`.
"""

import copy
import hashlib
import importlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn.utils import parametrize

from pocketcrafter.quantize.torch.compressed_weights import Levels, Palettes
from pocketcrafter.runtime.backends.coreai import DIGEST, MEND, METADATA, PROGRAM, why_no_coreai
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError

_DATE: Final = "creationDate"
_NAMERS: Final = ("coreai.authoring.graph_builder", "coreai.authoring.func")
_CONSTANT: Final = "coreai.constant"
_VALUE: Final = "value"


def coreai(module: str) -> Any:  # noqa: ANN401 - untyped package
    """Return a module of Apple's packages.

    Raises
    ------
    BackendError
        If they are not installed, or not all of them.
    """
    if reason := why_no_coreai():
        raise BackendError(f"Core AI assets cannot be written: {reason}")
    try:
        importlib.import_module("coreai.authoring")  # first of all: coreai_torch imports it in a circle otherwise
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(f"Core AI assets cannot be written: {error}. {MEND}") from error


@dataclass(frozen=True)
class AssetFunction:
    """One function of an asset.

    Attributes
    ----------
    name
        As the asset calls it.
    spec
        Its inputs and outputs, without states.
    module
        What computes it: in evaluation mode, on the CPU, nothing trainable. It is left as it is.
    inputs
        One float32 tensor for each of the inputs, in calling order; shapes are static.
    states
        Names of the module's buffers that it writes into, in order.
    """

    name: str
    spec: ComponentSpec
    module: nn.Module
    inputs: tuple[Tensor, ...]
    states: tuple[str, ...] = ()


def convert(functions: Sequence[AssetFunction], path: Path, *, half: bool) -> None:
    """Export functions, convert them and write one asset; the same networks give the same bytes.

    Parameters
    ----------
    functions
        Equal weights of theirs are stored once.
    path
        The asset's folder, which ends in ``.aimodel``.
    half
        Compute in float16, and take, keep and return it; else in float32.

    Raises
    ------
    BackendError
        If Apple's packages are missing or cannot convert a function.
    """
    converter = coreai("coreai_torch")
    try:
        with torch.no_grad():
            programs = [torch.export.export(one.module, one.inputs, strict=False) for one in functions]
            programs = [program.run_decompositions(converter.get_decomp_table()) for program in programs]
            for program in programs:
                _write_means(program)
                if half:
                    coreai("coreai_opt.casting").cast_fp32_to_fp16(program)
            made = _converted(functions, programs)
        made.save_asset(path)
    except Exception as error:  # Apple's packages raise whatever their passes raise
        raise BackendError(
            f"coreai-torch cannot convert `{functions[0].spec.name}`: {type(error).__name__}: {f'{error}'[:2000]}"
        ) from error
    _settle(path)


def _converted(functions: Sequence[AssetFunction], programs: Sequence[ExportedProgram]) -> Any:  # noqa: ANN401 - untyped package
    converter = coreai("coreai_torch").TorchConverter
    with _steady_names():
        # DEBUG would write the paths of the sources on this machine into the asset.
        staged = converter(mode=converter.Mode.RELEASE)
        for function, program in zip(functions, programs, strict=True):
            staged.add_exported_program(
                program,
                input_names=[tensor.name for tensor in function.spec.inputs],
                output_names=[tensor.name for tensor in function.spec.outputs],
                state_names=list(function.states),
                entrypoint_name=function.name,
            )
        made = staged.to_coreai()
    _name_constants(made)
    return made


def _write_means(program: ExportedProgram) -> None:
    """Write a product with a column of equal shares as the mean that it is.

    The runtime adds up the terms of a product in float16. Those of a row of zeros, as padding is, are an epsilon's
    shares there, which vanish: a normalization would divide by zero. It computes means in more bits.
    """
    signature = program.graph_signature
    constants = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    stored = {**program.state_dict, **program.constants}
    for node in program.graph.nodes:
        if node.op != "call_function" or node.target is not torch.ops.aten.mm.default:
            continue
        rows, shares = node.args
        column = stored.get(constants.get(shares.name, ""))
        if column is not None and column.shape[1] == 1 and bool((column == 1 / column.shape[0]).all()):
            node.target, node.args = torch.ops.aten.mean.dim, (rows, [1], True)


class _Integers(nn.Module):
    """A parametrization whose weight is the product of stored integers and scales."""

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.register_buffer("quantized_data", levels.integers)
        self.register_buffer("scale", levels.scales)
        self._type = getattr(torch, f"int{levels.bits}")

    def forward(self, _: Tensor) -> Tensor:
        made: Tensor = _op("constexpr_blockwise_shift_scale")(self.quantized_data, self.scale, input_dtype=self._type)
        return made


class _Indices(nn.Module):
    """A parametrization whose weight is looked up in palettes."""

    def __init__(self, palettes: Palettes) -> None:
        super().__init__()
        groups, values = palettes.values.shape
        rest = (1 for _ in palettes.indices.shape[1:])
        self.register_buffer("indices", palettes.indices)
        self.register_buffer("lut", palettes.values.reshape(groups, *rest, values, 1))

    def forward(self, _: Tensor) -> Tensor:
        made: Tensor = _op("lut_to_dense")(self.indices, self.lut, 0)
        return made


def _op(name: str) -> Any:  # noqa: ANN401 - a torch operator
    """Return an operator of Apple's; the converter knows what to make of it."""
    coreai("coreai_torch._compression.custom_layers")
    return getattr(torch.ops.coreai, name)


def with_stored(model: nn.Module, stored: Mapping[str, Levels | Palettes]) -> nn.Module:
    """Return a copy of a network that computes some of its weights from what is stored of them.

    Parameters
    ----------
    model
        Left as it is.
    stored
        Weights that are stored as integers with scales or as indices of palettes, by their qualified names.
    """
    made = copy.deepcopy(model)
    for name, weight in stored.items():
        module = made.get_submodule(name.rpartition(".")[0])
        # The float weight goes: as a constant that nothing reads it would be written all the same.
        module.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        own = _Integers(weight) if isinstance(weight, Levels) else _Indices(weight)
        parametrize.register_parametrization(module, "weight", own, unsafe=True)
    return made


@contextmanager
def _steady_names() -> Iterator[None]:
    """Have Apple's composite operators named from a fixed seed; they draw eight letters from the system's otherwise."""
    choose = random.Random(0).choice  # noqa: S311 - names, no secrets
    modules = [coreai(name) for name in _NAMERS]
    before = [module.choice for module in modules]
    for module in modules:
        module.choice = choose
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            module.choice = own


def _name_constants(program: Any) -> None:  # noqa: ANN401 - untyped package
    """Name large constants by their order, and equal ones alike: these are stored once, whichever functions read them.

    The converter draws random names.
    """
    ir = coreai("coreai._compiler.ir")
    resource, go_on = ir.DenseResourceElementsAttr, ir.WalkResult.ADVANCE
    copied = coreai("coreai._compiler._mlir_libs._coreaiIR")._bindings.compiler.copy_constant_value_to_array
    named: dict[tuple[str, bytes], Any] = {}

    def visit(op: Any) -> Any:  # noqa: ANN401 - untyped package
        if op.name == _CONSTANT and resource.isinstance(op.attributes[_VALUE]):
            kind = op.results[0].type
            content = np.zeros(-(-int(np.prod(kind.shape)) * kind.element_type.width // 8), np.uint8)
            copied(constant_op=op, destination=content)
            key = f"{kind}", hashlib.sha256(content.tobytes()).digest()
            with op.context, op.location:
                if key not in named:
                    named[key] = resource.get_from_buffer(content, f"constant_{len(named)}", kind)
                op.attributes[_VALUE] = named[key]
        return go_on

    program._module._mlir_module.operation.walk(visit)


def _settle(path: Path) -> None:
    """Take the date out of an asset, and write its facts in one order."""
    facts = json.loads((path / METADATA).read_bytes())
    facts.pop(_DATE, None)
    (path / METADATA).write_text(f"{json.dumps(facts, indent=1, sort_keys=True)}\n", encoding="utf-8")
    (path / DIGEST).write_bytes(hashlib.sha256((path / PROGRAM).read_bytes()).digest())
