"""A small real bundle: one component, a convolution made with onnx.helper, with goldens that it meets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.bundle.goldens import read_tensors, write_tensors
from pocketcrafter.runtime.bundle.manifest import (
    Artifact,
    ComponentEntry,
    Golden,
    LicenseEntry,
    Source,
    TargetEntry,
    TrainingData,
)
from pocketcrafter.runtime.bundle.results import Coverage, Precision, Rung, sqnr_gate
from pocketcrafter.runtime.bundle.writer import seal
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.pocket import Pocket, PocketSettings
from pocketcrafter.runtime.targets import ONNX

SPEC = ComponentSpec(
    name=Pocket.RESTORE,
    role=Role.EDIT,
    inputs=(
        TensorSpec(name="tile", shape=(1, 3, 16, 16), minimum=0, maximum=1, semantics="RGB tile"),
        TensorSpec(name="amounts", shape=(1, 3), minimum=0, maximum=1, semantics="amounts"),
    ),
    outputs=(TensorSpec(name="restored", shape=(1, 3, 16, 16), semantics="RGB tile"),),
)


def weights() -> FloatArray:
    return np.random.default_rng(7).normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32)


def save_onnx(path: Path, external: str | None = None) -> None:
    """Convolve the tile and add the amounts per channel; ``external`` keeps the weights in another file."""
    kernel = numpy_helper.from_array(weights(), "kernel")
    if external is not None:
        kernel.ClearField("raw_data")
        kernel.data_location = TensorProto.EXTERNAL
        kernel.external_data.add(key="location", value=external)
    nodes = [
        helper.make_node("Conv", ["tile", "kernel"], ["convolved"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["amounts", "shape"], ["per_channel"]),
        helper.make_node("Add", ["convolved", "per_channel"], ["restored"]),
    ]
    shape = numpy_helper.from_array(np.array([1, 3, 1, 1]), "shape")
    ends = [
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in tensors]
        for tensors in (SPEC.inputs, SPEC.outputs)
    ]
    graph = helper.make_graph(nodes, "tiny", *ends, [kernel, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    if external is None:
        onnx.checker.check_model(onnx.load(path))


def random_inputs(seed: int = 0) -> dict[str, FloatArray]:
    rng = np.random.default_rng(seed)
    return {t.name: rng.random(t.shape).astype(np.float32) for t in SPEC.inputs}


def make_bundle(root: Path) -> Path:
    """Write a whole bundle with one ONNX target."""
    for folder in ("targets/onnx", "goldens/restore", "LICENSES"):
        (root / folder).mkdir(parents=True)
    artifact = root / "targets/onnx/restore.onnx"
    save_onnx(artifact)
    inputs, outputs = root / "goldens/restore/inputs_0.npz", root / "goldens/restore/outputs_0.npz"
    write_tensors(inputs, random_inputs(), SPEC.inputs)
    session = OnnxRuntimeBackend().open(artifact, SPEC, threads=1)
    write_tensors(outputs, session.run(read_tensors(inputs, SPEC.inputs)), SPEC.outputs)
    (root / "LICENSES/Apache-2.0.txt").write_text("Apache License, Version 2.0\n")
    seal(
        root,
        name="tiny",
        components=(
            ComponentEntry(
                spec=SPEC,
                source=Source(weights="restore.safetensors", sha256="0" * 64, license="Apache-2.0"),
                goldens=(Golden(inputs="goldens/restore/inputs_0.npz", outputs="goldens/restore/outputs_0.npz"),),
                artifacts={
                    "onnx": Artifact(
                        path="targets/onnx/restore.onnx",
                        precision=Precision.FP32,
                        coverage=Coverage(macs_total=20736, macs_delegated=20736, delegated_ops=3, subgraphs=1),
                        rungs=(Rung(rung=4, passed=None, how="on a phone"),),
                        golden_gate=sqnr_gate(40),
                    )
                },
            ),
        ),
        targets={"onnx": TargetEntry(kind=ONNX, backend=BackendName.ONNXRUNTIME)},
        family="pocket",
        settings=PocketSettings(gate=GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.05)).model_dump(
            mode="json"
        ),
        licenses=(LicenseEntry(spdx="Apache-2.0", path="LICENSES/Apache-2.0.txt", covers="everything"),),
        training_data=TrainingData(summary="none"),
        tools={"onnx": onnx.__version__},
    )
    return root


@pytest.fixture
def bundle_dir(tmp_path: Path) -> Path:
    """A fresh bundle that a test may damage."""
    return make_bundle(tmp_path / "tiny.pcbundle")


@pytest.fixture
def spec() -> ComponentSpec:
    return SPEC


@pytest.fixture
def inputs() -> dict[str, FloatArray]:
    return random_inputs(seed=1)


@pytest.fixture
def kernel() -> FloatArray:
    return weights()


@pytest.fixture
def onnx_model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    save_onnx(path)
    return path


@pytest.fixture
def external_model(tmp_path: Path) -> Callable[[str], Path]:
    """Write the model with its weights at a location of the test's choice."""

    def save(location: str) -> Path:
        path = tmp_path / "models" / "tiny.onnx"
        path.parent.mkdir(exist_ok=True)
        save_onnx(path, external=location)
        return path

    return save
