"""Parts of transformers' VisionEncoderDecoder models (ViT with GPT-2, TrOCR, Donut), as optimum-onnx exports them."""

import importlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed
from torch import nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.language import MASKED, PROMPT
from pocketcrafter.export.families.networks.parts import tensor
from pocketcrafter.export.families.networks.vision_language import load_pretrained
from pocketcrafter.runtime.backends.onnxruntime import open_session, write_options
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec

_TASK: Final = "image-to-text-with-past"
_FILES: Final = {"encoder_model": "vision", "decoder_model": "prompt", "decoder_with_past_model": "step"}
"""What optimum writes, and the parts that they become, each reading what the ones before it made."""

_WORDS: Final = "input_ids"
_PIXELS: Final = "pixel_values"


UNREAD: Final = ("encoder.pooler.",)
"""The decoder reads the last hidden states: many checkpoints, TrOCR's among them, have no pooler for the network's."""


def load(folder: Path, variant: str | None) -> nn.Module:
    """Load the model, with attention that optimum's exporter takes apart."""
    return load_pretrained("VisionEncoderDecoderModel", folder, variant)


def parts(model: nn.Module, config: Mapping[str, Any]) -> list[Part]:
    """Return the vision encoder, and the decoder over a prompt and over a step after it.

    optimum holds each of its exports against torch itself. They come with free axes: these are fixed, what follows
    from them is worked out, and words go in as float32 like everything at a part's edge.
    """
    del config  # the loaded one has the defaults too
    known: Any = model.config
    export = importlib.import_module("optimum.exporters.onnx").onnx_export_from_model
    size = known.encoder.image_size
    height, width = (size, size) if isinstance(size, int) else size
    sizes = {"batch_size": 1, "num_channels": known.encoder.num_channels, "height": height, "width": width}
    found: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-optimum-") as name:
        export(model, name, task=_TASK, no_post_process=True)
        for file, part in _FILES.items():
            sizes["decoder_sequence_length"] = 1 if part == "step" else PROMPT
            sizes["past_sequence_length"] = PROMPT
            graph = _fixed(Path(name) / f"{file}.onnx", sizes)
            found.append(_part(part, graph, known.decoder.vocab_size))
            sizes.setdefault("encoder_sequence_length", found[0].spec.outputs[0].shape[1])
    return found


def _fixed(path: Path, sizes: Mapping[str, int]) -> ModelProto:
    """Return a model of static shapes, without the operators that worked with free ones."""
    model = onnx.load(path)
    for name, size in sizes.items():
        make_dim_param_fixed(model.graph, name, size)
    # As they were noted before: shape inference would hold what it finds against them.
    del model.graph.value_info[:]
    onnx.save(model, path)
    made = path.with_suffix(".static.onnx")
    open_session(path, write_options(made, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC))
    return onnx.load(made)


def _part(name: str, model: ModelProto, words: int) -> Part:
    graph = model.graph
    inputs = [_described(value.name, _shape(value), words) for value in graph.input]
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            _take_floats(graph, value)
    for node in graph.node:
        # Paths as names would be taken apart where layers are counted.
        node.name = node.name.strip("/").replace("/", ".")
    for constant in graph.initializer:
        _soften(constant)
    for value in (*graph.input, *graph.output):
        _rename(graph, value, _plain(value.name))
    zeros = {spec.name: np.zeros(spec.shape, np.float32) for spec in inputs}
    made = open_session(model.SerializeToString()).run(None, zeros)
    outputs = [tensor(value.name, array.shape) for value, array in zip(graph.output, made, strict=True)]
    for value, spec in zip(graph.output, outputs, strict=True):
        value.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, spec.shape))
    # Quantization asks for the shape of everything between.
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    role = Role.VISION if name == "vision" else Role.LANGUAGE
    return Part(model, ComponentSpec(name=name, role=role, inputs=tuple(inputs), outputs=tuple(outputs)))


def _described(name: str, shape: Sequence[int], words: int) -> TensorSpec:
    if name == _WORDS:
        return tensor(_plain(name), shape, 0.0, words - 1.0)
    return tensor(_plain(name), shape, -1.0, 1.0) if name == _PIXELS else tensor(_plain(name), shape)


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _take_floats(graph: GraphProto, value: onnx.ValueInfoProto) -> None:
    """Let an input of numbers of words come as float32."""
    whole = f"{value.name}_whole"
    for node in graph.node:
        for index, read in enumerate(node.input):
            if read == value.name:
                node.input[index] = whole
    graph.node.insert(0, helper.make_node("Cast", [value.name], [whole], name=whole, to=TensorProto.INT64))
    value.type.tensor_type.elem_type = TensorProto.FLOAT


def _soften(constant: TensorProto) -> None:
    """Put a mask's lowest of all numbers where integers and float16 still have room for it."""
    if constant.data_type != TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(constant)
    lowest = values == np.finfo(np.float32).min
    if lowest.any():
        constant.CopyFrom(numpy_helper.from_array(np.where(lowest, np.float32(MASKED), values), constant.name))


def _rename(graph: GraphProto, value: onnx.ValueInfoProto, name: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, old in enumerate(names):
                if old == value.name:
                    names[index] = name
    value.name = name
