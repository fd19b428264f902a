"""Engines of competitors: they keep the contract that targets keep."""

from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.benchmarks.latency.engines import EngineName, opener
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import BackendError, ShapeMismatchError
from pocketcrafter.runtime.families import POCKET
from pocketcrafter.runtime.pocket import Pocket

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
