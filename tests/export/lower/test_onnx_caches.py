"""Cache writes on ONNX Runtime: what is scattered is what the products made, to the last bit."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.export.backend import WEIGHTS
from pocketcrafter.export.lower.onnx import export_onnx
from pocketcrafter.export.lower.onnx_caches import written_in_place
from pocketcrafter.export.models import decoder_network
from pocketcrafter.runtime.components import POCKET_SPECS, Component, ComponentSpec, TensorSpec

_SHAPE = (2, 5, 3)


class _Writer(nn.Module):
    def __init__(self, whole: float) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, position: Tensor, cache: Tensor, new: Tensor) -> Tensor:
        here = position.reshape(1, 5, 1)
        return new * 2 * here + (self.whole - here) * cache


def _spec() -> ComponentSpec:
    tensors = {"position": (1, 5), "cache": _SHAPE, "new": (2, 1, 3)}
    inputs = tuple(TensorSpec(name=name, shape=shape, semantics=name) for name, shape in tensors.items())
    output = TensorSpec(name="next_cache", shape=_SHAPE, semantics="cache")
    return ComponentSpec(component=Component.DECODER, inputs=inputs, outputs=(output,))


def _exported(module: nn.Module, spec: ComponentSpec, path: Path) -> onnx.ModelProto:
    export_onnx(module, tuple(torch.zeros(t.shape) for t in spec.inputs), spec, path)
    return onnx.load(path)


def _run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


@pytest.mark.parametrize("place", range(5))
def test_a_scatter_writes_what_products_wrote(tmp_path: Path, place: int) -> None:
    model = _exported(_Writer(1.0), _spec(), tmp_path / "model.onnx")
    made = written_in_place(model, "position")
    operators = [node.op_type for node in made.graph.node]
    assert operators.count("ScatterElements") == 1
    assert "Sub" not in operators, "nothing reads the rest any more"
    rng = np.random.default_rng(place)
    inputs = {t.name: rng.standard_normal(t.shape, np.float32) for t in _spec().inputs}
    inputs["position"] = np.eye(5, dtype=np.float32)[place : place + 1]
    for before, after in zip(_run(model, inputs), _run(made, inputs), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(("whole", "selector"), [(2.0, "position"), (1.0, "cache")])
def test_what_only_looks_like_a_cache_is_left(tmp_path: Path, whole: float, selector: str) -> None:
    model = _exported(_Writer(whole), _spec(), tmp_path / "model.onnx")
    assert written_in_place(model, selector) == model


def test_every_cache_of_the_decoder_is_written_in_place(tmp_path: Path) -> None:
    spec = POCKET_SPECS[Component.DECODER]
    model = _exported(decoder_network(WEIGHTS / "decoder.safetensors").eval(), spec, tmp_path / "decoder.onnx")
    made = written_in_place(model, "position")
    assert sum(node.op_type == "ScatterElements" for node in made.graph.node) == 8, "four layers' keys and values"
    rng = np.random.default_rng(0)
    inputs = {t.name: rng.standard_normal(t.shape, np.float32) for t in spec.inputs}
    inputs["position"] = np.eye(inputs["position"].shape[1], dtype=np.float32)[7:8]
    for before, after in zip(_run(model, inputs), _run(made, inputs), strict=True):
        np.testing.assert_array_equal(after, before)
