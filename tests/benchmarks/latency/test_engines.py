"""Engines of competitors: they keep the contract that targets keep."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pocketcrafter.benchmarks.latency.engines import (
    EngineName,
    LiteRtSession,
    convert_to_litert,
    opener,
    quantize_litert,
)
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError
from pocketcrafter.runtime.families import POCKET
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket

pytest.importorskip("openvino", reason="needs the extra `bench`")


def test_openvino_computes_what_onnxruntime_computes(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    entry = opened.manifest.entry(Pocket.RESTORE)
    rng = np.random.default_rng(3)
    inputs = {t.name: rng.random(t.shape, np.float32) for t in entry.spec.inputs}
    session = opener(EngineName.OPENVINO, POCKET).open(bundle / entry.artifacts["onnx"].path, entry.spec, 1)
    expected = opened.target_session(Pocket.RESTORE, 1, "onnx").run(inputs)
    np.testing.assert_allclose(session.run(inputs)["restored"], expected["restored"], atol=1e-5)
    with pytest.raises(ShapeMismatchError):
        session.run({})


def test_what_is_no_model_is_refused(tmp_path: Path, bundle: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"nothing")
    spec = Bundle.open(bundle).manifest.entry(Pocket.RESTORE).spec
    with pytest.raises(BackendError, match="OpenVINO cannot open it"):
        opener(EngineName.OPENVINO, POCKET).open(path, spec, 1)


def test_integers_of_litert_are_given_and_taken_by_their_scales() -> None:
    """A model in INT8 has inputs and outputs in INT8; the contract of a session is float32."""
    spec = POCKET_SPECS[Pocket.RESTORE]
    rng = np.random.default_rng(4)
    inputs = {t.name: rng.random(t.shape, np.float32) for t in spec.inputs}
    session = LiteRtSession(_Negated(), spec)
    restored = session.run(inputs)["restored"]
    assert restored.dtype == np.float32
    # One step of the input and one of the output.
    np.testing.assert_allclose(restored, 1 - inputs["tile"], atol=1 / 255)


class _Negated:
    """A signature as LiteRT has it: the first input, in integers of one scale, negated into those of another."""

    def get_input_details(self) -> dict[str, Any]:
        quantized = {"dtype": np.int8, "quantization": (1 / 255, -128)}
        return {"args_0": quantized, "args_1": {"dtype": np.float32, "quantization": (0.0, 0)}}

    def get_output_details(self) -> dict[str, Any]:
        return {"output_0": {"dtype": np.int8, "quantization": (1 / 255, -128)}}

    def __call__(self, args_0: Any, args_1: Any) -> dict[str, Any]:
        assert (args_0.dtype, args_1.dtype) == (np.int8, np.float32)
        return {"output_0": (-1 - args_0).astype(np.int8)}


def test_litert_converts_quantizes_and_runs_a_network(tmp_path: Path) -> None:
    pytest.importorskip("litert_torch", reason="needs the extra `litert`")
    spec = ComponentSpec(
        name=Pocket.RESTORE,
        role=Role.EDIT,
        inputs=(TensorSpec(name="tile", shape=(1, 3, 8, 8), minimum=0, maximum=1, semantics="sRGB"),),
        outputs=(TensorSpec(name="restored", shape=(1, 4, 8, 8), semantics="features"),),
    )
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 3, padding=1).eval()
    samples = [[np.random.default_rng(seed).random((1, 3, 8, 8), np.float32)] for seed in range(4)]
    whole, small = tmp_path / "a.tflite", tmp_path / "a.int8.tflite"
    convert_to_litert(model, samples[0], whole)
    quantize_litert(whole, samples, small)
    with torch.no_grad():
        expected = model(torch.from_numpy(samples[0][0])).numpy()
    for artifact, least in ((whole, 100), (small, 30)):
        actual = opener(EngineName.LITERT, POCKET).open(artifact, spec, 1).run({"tile": samples[0][0]})["restored"]
        assert sqnr_db(expected, actual) > least


def test_litert_that_is_not_installed_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(BackendError, match=r"pip install 'pocketcrafter\[litert\]'"):
        convert_to_litert(nn.Identity(), [], tmp_path / "a.tflite")
