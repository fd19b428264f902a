"""ONNX models of several functions: one graph with a free axis of positions, so that weights are stored once."""

import copy
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from onnx.external_data_helper import uses_external_data
from torch import Tensor, nn
from torch.export import Dim

from pocketcrafter.export.lower.measure import (
    Simulation,
    as_tensors,
    function_samples,
    hold_back,
    measured,
    run_functions,
    run_torch,
    with_functions,
)
from pocketcrafter.export.lower.onnx.attention import ATTENTION, expand_attention, with_marked_attention
from pocketcrafter.export.lower.onnx.caches import put_caches_in_place
from pocketcrafter.export.lower.onnx.coverage import onnx_coverage, optimized_graph
from pocketcrafter.export.lower.onnx.passes import fused
from pocketcrafter.export.lower.onnx.simulation import DECODED, UNFUSED, simulate
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.export.models.language import Language
from pocketcrafter.quantize.algorithms.equalization import smoothing_factor
from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.quantize.algorithms.rounding import bits_for
from pocketcrafter.quantize.config import DynamicInt8, WeightOnly
from pocketcrafter.quantize.modules import check_modules, is_within
from pocketcrafter.quantize.onnx.dynamic import quantize_dynamic_int8, with_whole_products
from pocketcrafter.quantize.onnx.graph import strip_metadata
from pocketcrafter.quantize.onnx.matmul_nbits import decoded, quantize_matmul_nbits
from pocketcrafter.quantize.onnx.storage import read_external, with_float16_storage
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import ONNX

_OPSET: Final = 20
_FREE: Final = "positions"
_LARGEST: Final = 2_000_000_000
"""Bytes of a model in one file: protobuf ends at 2 GiB."""
_HOW: Final = "The .onnx in ONNX Runtime on this machine's CPU"
_FINE: Final = 8
_SMOOTHING: Final = 0.5
"""Of the strengths 0.3, 0.5 and 0.7, what left SmolLM2-135M nearest to its float32 logits."""


def lower_functions(request: LoweringRequest) -> LoweredArtifact:
    """Export one graph for all functions of a component, quantize weights where asked, and run each function.

    The exporter's float32 weights stay in a file of their own, from which they are rounded one after another. ONNX
    Runtime plans memory for each number of positions as it comes.

    Raises
    ------
    ConfigError
        If the functions differ in more than one number of positions, or the model would be too large for one file.
    """
    _, out = request.only
    spec, scheme = request.spec, request.scheme(ONNX)
    if not (scheme is None or isinstance(scheme, (DynamicInt8, WeightOnly))):
        raise TypeError(f"{spec.name} in {request.precision}: `Profile.functions` promises what is not lowered here")
    model = request.module()
    check_modules(model, request.keep_fp32)
    check_modules(model, tuple(request.weight_bits), "weight_bits")
    used, held = hold_back(request.calibration, spec)
    samples, hessians = function_samples(held, spec, request.functions), request.hessians
    reference = {name: run_torch(model, given, about) for name, (about, given) in samples.items()}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        folder, made = Path(name), Path(name) / "made.onnx"
        given = {name: as_tensors(some[0], about) for name, (about, some) in samples.items()}
        if isinstance(scheme, DynamicInt8):
            model = for_integer_activations(model, [as_tensors(sample, spec) for sample in used])
        elif isinstance(scheme, WeightOnly):
            model, hessians = for_grouped_integers(model, scheme, hessians, [as_tensors(one, spec) for one in used])
        exported = _export(model if request.to_compile else with_marked_attention(model), spec, given, folder)
        expand_attention(exported)
        graph, simulations = exported, dict[str | None, Simulation]()
        if isinstance(scheme, WeightOnly):
            graph = quantize_matmul_nbits(exported, scheme, hessians, folder)
        _load(graph, folder)
        simulated, how = graph, UNFUSED
        if isinstance(scheme, DynamicInt8):
            simulated = quantize_dynamic_int8(graph, scheme)
            graph = with_whole_products(simulated)
        elif scheme is not None:
            simulated, how = decoded(graph), DECODED
        if scheme is not None:
            onnx.save(simulated, folder / "simulated.onnx")
            simulations = {
                function: Simulation(simulate(folder / "simulated.onnx", given, about), how)
                for function, (about, given) in samples.items()
            }
        if not request.to_compile:
            graph = fused(graph)
            put_caches_in_place(graph)
        _save(graph, made)
        coverage = onnx_coverage(_at(exported, spec), optimized_graph(made, folder))
        actual = run_functions(OnnxRuntimeBackend(), made, samples)
        results = {
            function: measured(
                out,
                coverage,
                about,
                samples[function][1],
                reference[function],
                simulations.get(function),
                actual[function],
                _HOW,
            )
            for function, (about, _) in samples.items()
        }
        move(made, out)
    default = results.pop(None)
    return with_functions(default, {str(function): result for function, result in results.items()}, spec)


def for_integer_activations(model: nn.Module, samples: Sequence[tuple[Tensor, ...]]) -> nn.Module:
    """Return a language model that computes the same, whose activations lose less in 8 bits.

    All positions of a call share the scale of a product's input. Normalized inputs are divided by a power of each
    channel's root mean square, which multiplies the weights (SmoothQuant). The feed-forward network's products of gate
    and value are not normalized: each position is divided by its largest value, which multiplies the result.

    Parameters
    ----------
    model
        Left as it is; what is no :class:`Language` is returned itself.
    samples
        Steps that channels are observed on.
    """
    if not isinstance(model, Language):
        return model
    made, _ = _smoothed(model, model.normalized(), samples)
    for layer in made.layers:
        down = layer.get_submodule("down")
        down.product = _OfScaledRows(down.get_submodule("product"))
    return made


def for_grouped_integers(
    model: nn.Module, scheme: WeightOnly, hessians: Hessians, samples: Sequence[tuple[Tensor, ...]]
) -> tuple[nn.Module, Hessians]:
    """Return a language model that computes the same, whose activations lose less in groups of 8 bits.

    Normalized inputs that layers of 8-bit weights alone read are divided as by `for_integer_activations`: a channel far
    beyond the rest of its group leaves the others few levels. Weights of fewer bits have none to spare for it.

    Parameters
    ----------
    model, samples
        As there.
    scheme
        Says which layers have 8 bits.
    hessians
        Of the model's linear layers.

    Returns
    -------
    torch.nn.Module
        The model.
    Mapping
        The Hessians of its layers.
    """
    if not isinstance(model, Language):
        return model, hessians

    def is_fine(layer: str) -> bool:
        return not is_within(layer, scheme.keep_fp32) and bits_for(layer, scheme.bits, scheme.module_bits) == _FINE

    pairs = {norm: readers for norm, readers in model.normalized().items() if all(map(is_fine, readers))}
    if not pairs:
        return model, hessians
    made, factors = _smoothed(model, pairs, samples)
    own = {name: hessians[name] / (by[:, None] * by).double() for name, by in factors.items() if name in hessians}
    return made, {**hessians, **own}


def _smoothed(
    model: Language, pairs: Mapping[str, Sequence[str]], samples: Sequence[tuple[Tensor, ...]]
) -> tuple[Language, dict[str, Tensor]]:
    """Return an equal model whose norms give what is divided by factors, and what each reader's weights have more."""
    spreads = _spreads(model, tuple(pairs), samples)
    made = copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
    factors = dict[str, Tensor]()
    for norm, readers in pairs.items():
        factor = smoothing_factor(spreads[norm], _SMOOTHING)
        factors |= dict.fromkeys(readers, factor)
        for name, by in ((norm, 1 / factor), *((reader, factor) for reader in readers)):
            module = made.get_submodule(name)
            module.weight = nn.Parameter(module.get_parameter("weight") * by, requires_grad=False)
    return made, factors


@torch.no_grad()
def _spreads(model: Language, names: Sequence[str], samples: Sequence[tuple[Tensor, ...]]) -> dict[str, Tensor]:
    """Return the root mean square of each channel of modules' outputs."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_hook(lambda _m, _i, output, name=name: seen[name].append(output))
        for name in names
    ]
    try:
        for sample in samples:
            model(*sample)
    finally:
        for handle in handles:
            handle.remove()
    return {name: torch.cat(outputs).square().mean(0).sqrt() for name, outputs in seen.items()}


class _OfScaledRows(nn.Module):
    """A linear layer without bias, of rows that are divided by their largest values."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        largest = x.abs().amax(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        y: Tensor = self.layer(x / largest) * largest
        return y


def _export(
    model: nn.Module, spec: ComponentSpec, inputs: Mapping[str | None, tuple[Tensor, ...]], folder: Path
) -> onnx.ModelProto:
    """Export a module with its number of positions free; return the graph, whose weights stay in the folder."""
    further = spec.functions[0].name
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            inputs[further],
            dynamo=True,
            opset_version=_OPSET,
            input_names=[t.name for t in spec.inputs],
            output_names=[t.name for t in spec.outputs],
            dynamic_shapes=_free_axes(spec),
            verbose=False,
        )
    if program is None:
        raise TypeError("torch.onnx.export returned no program")
    path = folder / "exported.onnx"
    program.save(path, external_data=True)
    return onnx.load(path, load_external_data=False)


def _free_axes(spec: ComponentSpec) -> tuple[dict[int, Any], ...]:
    """Return for each input the axes that differ between functions, each as one number of positions and a constant."""
    counts = {function: _positions(spec, spec.of(function)) for function in (None, *(f.name for f in spec.functions))}
    free = Dim(_FREE, min=1, max=max(counts.values()))
    axes: list[dict[int, Any]] = [{} for _ in spec.inputs]
    for function, count in counts.items():
        for found, default, wide in zip(axes, spec.inputs, spec.of(function).inputs, strict=True):
            for axis, (one, many) in enumerate(zip(default.shape, wide.shape, strict=True)):
                if many - one not in {0, count - 1}:
                    raise ConfigError(
                        f"{spec.name}.{default.name}: axis {axis} is {one} long, {many} in `{function}` of {count} "
                        "positions: functions may differ in how many positions they read, and in nothing else."
                    )
                if many != one:
                    found[axis] = free if one == 1 else free + (one - 1)
    return tuple(axes)


def _positions(spec: ComponentSpec, function: ComponentSpec) -> int:
    """Return how many positions a function reads where the default one reads a single one."""
    return function.inputs[0].shape[0] - spec.inputs[0].shape[0] + 1


def _load(graph: onnx.ModelProto, folder: Path) -> None:
    """Read what a graph still needs of the exporter's weights."""
    outside = sum(_float_bytes(t) for t in graph.graph.initializer if uses_external_data(t))
    if outside > _LARGEST:
        raise ConfigError(
            f"The model has {outside / 1e9:.1f} GB of float32 weights, and an ONNX file holds 2 GB: build w4 or w8."
        )
    for tensor in graph.graph.initializer:
        if uses_external_data(tensor):
            read_external(tensor, folder)


def _save(graph: onnx.ModelProto, path: Path) -> None:
    strip_metadata(graph)
    onnx.save(with_float16_storage(graph), path)


def _float_bytes(tensor: onnx.TensorProto) -> int:
    """Return the bytes of a float32 tensor."""
    return 4 * math.prod(int(size) for size in tensor.dims)


def fix_shapes(graph: onnx.ModelProto, spec: ComponentSpec) -> None:
    """Give a graph of free axes the shapes of one function; what lies between inputs and outputs is left to infer.

    Parameters
    ----------
    graph
        As :func:`lower_functions` writes it; changed in place.
    spec
        The function's contract.
    """
    del graph.graph.value_info[:]
    for value, tensor in zip((*graph.graph.input, *graph.graph.output), (*spec.inputs, *spec.outputs), strict=True):
        value.CopyFrom(onnx.helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, tensor.shape))


def _at(graph: onnx.ModelProto, spec: ComponentSpec) -> onnx.ModelProto:
    """Return a graph with the shapes of the default function, for what is counted of it."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    attended = {node.output[0] for node in made.graph.node if node.op_type == ATTENTION}
    known = [value for value in made.graph.value_info if value.name in attended]
    for value in known:
        value.type.tensor_type.shape.dim[1].dim_value = spec.inputs[0].shape[0]
    fix_shapes(made, spec)
    made.graph.value_info.extend(known)
    return onnx.shape_inference.infer_shapes(made, data_prop=True)
