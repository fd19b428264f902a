"""Has litert-torch write ``.tflite`` in the environment of its own that the target's toolchain row names."""

import copy
import operator
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torchao.quantization.pt2e  # noqa: F401 - registers the operators of quantized programs
from pydantic import Field
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from pocketcrafter.export.lower.programs import export_stateless
from pocketcrafter.export.lower.request import Sample
from pocketcrafter.runtime.backends.processes import JOB, call_process
from pocketcrafter.runtime.capabilities import why_no_sdk
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.targets import LITERT_TORCH

_SCRIPT: Final = Path(__file__).with_name("converter.py")
_ENGINE: Final = "litert-torch"
_aten: Final = torch.ops.aten
_decomposed: Final = torch.ops.quantized_decomposed
_QUANTIZE: Final = {
    _decomposed.dequantize_per_tensor.default: _decomposed.quantize_per_tensor.default,
    _decomposed.dequantize_per_channel.default: _decomposed.quantize_per_channel.default,
}


class ConverterJob(Config):
    """What the script in the other environment is to do."""

    program: Path | None = Field(description="An exported program to convert; null where the model is there already.")
    inputs: Mapping[str, tuple[int, ...]] = Field(description="Shapes of the inputs by name, in calling order.")
    outputs: tuple[str, ...]
    model: Path = Field(description="The `.tflite` that the program becomes, or that the recipe reads.")
    integers: bool = Field(description="Whether the program's quantization pairs become integers.")
    recipe: str | None = Field(
        None, description="`float16`, `linears-w8a8` or a recipe of AI Edge Quantizer; null for none."
    )
    samples: Path | None = Field(None, description="Stacked inputs to calibrate with; null for none.")
    quantized: Path | None = Field(None, description="The `.tflite` that the recipe writes.")


def convert(model: nn.Module, inputs: tuple[Tensor, ...], spec: ComponentSpec, out: Path) -> None:
    """Export a network, convert it and write the model; the same network gives the same bytes.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU, nothing trainable, or fake-quantized by PT2E; left as it is.
    inputs
        One float32 tensor for each of the component's inputs, in calling order; shapes are static.
    spec
        Names the model's inputs and outputs.
    out
        The ``.tflite`` file.

    Raises
    ------
    BackendError
        If the converter's environment is not there, or it refuses the network.
    """
    quantized = _with_float_weights(model) if isinstance(model, GraphModule) else None
    program = export_stateless(quantized or model, inputs)
    _with_plain_differences(program)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        path = Path(name) / "program.pt2"
        torch.export.save(program, path)
        _run(_job(spec, out, program=path, integers=quantized is not None), Path(name), spec)


def apply_recipe(model: Path, recipe: str, spec: ComponentSpec, out: Path, samples: Sequence[Sample] = ()) -> None:
    """Quantize a model with AI Edge Quantizer.

    Parameters
    ----------
    model
        A float32 ``.tflite`` of `convert`.
    recipe
        ``float16``, which stores weights in 16 bits, or a recipe of AI Edge Quantizer by its name.
    spec
        The component's contract.
    out
        The ``.tflite`` file.
    samples
        Inputs to calibrate with, where the recipe has static ranges.

    Raises
    ------
    BackendError
        If the environment is not there, or the quantizer refuses the model.
    """
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        stacked = Path(name) / "samples.npz" if samples else None
        if stacked is not None:
            arrays = {t.name: np.stack([sample[t.name] for sample in samples]) for t in spec.inputs}
            np.savez(stacked, allow_pickle=False, **arrays)
        job = _job(spec, model).model_copy(update={"recipe": recipe, "samples": stacked, "quantized": out})
        _run(job, Path(name), spec)


def _job(spec: ComponentSpec, model: Path, program: Path | None = None, *, integers: bool = False) -> ConverterJob:
    return ConverterJob(
        program=program,
        inputs={tensor.name: tensor.shape for tensor in spec.inputs},
        outputs=tuple(tensor.name for tensor in spec.outputs),
        model=model,
        integers=integers,
    )


def _run(job: ConverterJob, folder: Path, spec: ComponentSpec) -> None:
    python = converter_python()
    (folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
    # torchao would look for kernels that wheels for the CPU do not have, and say so.
    environment = {"PYTHONPATH": "", "TORCHAO_SKIP_LOADING_SO_FILES": "1"}
    call_process(_SCRIPT, folder, Path(spec.name), _ENGINE, environment=environment, python=python)


def converter_python() -> Path:
    """Return the Python of the converter's environment.

    Raises
    ------
    BackendError
        If it is not there, or lacks a package or its version.
    """
    folder, reason = LITERT_TORCH.folder(), why_no_sdk(LITERT_TORCH)
    if folder is None or reason:
        raise BackendError(f"LiteRT models cannot be written: {reason}")
    return folder / "bin" / "python"


def _with_float_weights(model: GraphModule) -> GraphModule:
    """Return a copy of a fake-quantized model whose weights are quantized in the graph, as the converter knows them.

    PT2E stores the integers; read as they are, the converter finds a dequantization without a quantization.
    """
    made = copy.deepcopy(model)
    for node in list(made.graph.nodes):
        if node.target not in _QUANTIZE or node.args[0].op != "get_attr":
            continue
        stored, *scheme = node.args
        values = [_value(made, argument) for argument in node.args]
        name = f"{stored.name}_float"
        made.register_buffer(name, node.target(*values, **node.kwargs))
        with made.graph.inserting_before(node):
            weight = made.graph.get_attr(name)
            rounded = made.graph.call_function(_QUANTIZE[node.target], (weight, *scheme))
        node.replace_input_with(stored, rounded)
        made.graph.erase_node(stored)
        delattr(made, stored.target)
    made.recompile()
    return made


def _value(model: GraphModule, argument: Any) -> Any:  # noqa: ANN401 - an fx argument
    return operator.attrgetter(str(argument.target))(model) if isinstance(argument, Node) else argument


def _with_plain_differences(program: ExportedProgram) -> None:
    """Write ``constant - x`` as ``constant + (-x)``.

    The converter (litert-converter 0.5.0) folds such a difference into the convolution before it with its sign turned,
    without a word: ``1 - conv(x)`` comes out as ``conv(x) - 1``.
    """
    graph, fed = program.graph, set(program.graph_signature.user_inputs)
    for node in list(graph.nodes):
        if node.target is _aten.rsub.Scalar:
            subtracted, constant = node.args[:2]
        elif node.target is _aten.sub.Tensor and _is_constant(node.args[0], fed):
            constant, subtracted = node.args[:2]
        else:
            continue
        with graph.inserting_before(node):
            turned = graph.call_function(_aten.neg.default, (subtracted,))
        turned.meta = {**node.meta, "val": subtracted.meta["val"].neg()}
        node.target = _aten.add.Tensor if isinstance(constant, Node) else _aten.add.Scalar
        node.args = (turned, constant)
    program.graph_module.recompile()


def _is_constant(value: Any, fed: set[str]) -> bool:  # noqa: ANN401 - an fx argument
    return not isinstance(value, Node) or (value.op == "placeholder" and value.name not in fed)
