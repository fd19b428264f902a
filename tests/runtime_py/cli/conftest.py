"""A whole bundle of four networks that are plain arithmetic: dark photos are brightened, noisy-blue ones denoised."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import pocketcrafter
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
from pocketcrafter.runtime.bundle.results import Coverage, Precision, sqnr_gate
from pocketcrafter.runtime.bundle.writer import seal
from pocketcrafter.runtime.grid import IDENTITY
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import (
    POCKET_SPECS,
    PROSE_KEYS,
    PROSE_ROWS,
    PROSE_VALUES,
    TOKENIZER,
    Pocket,
    PocketSettings,
)
from pocketcrafter.runtime.targets import ONNX

_MEAN_GAIN = 2.0
"""The critic asks for 4·(0.5 − mean) EV: nothing near mid-grey, where the dead zone closes the gate."""


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _bundle(tmp_path_factory.mktemp("bundle") / "arithmetic.pcbundle", Pocket.DECODER)


@pytest.fixture(scope="session")
def talking_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a decoder, one that wants to say its last word again; without composition, as it may be."""
    return _bundle(_with_tokenizer(tmp_path_factory.mktemp("bundle") / "talking.pcbundle"), Pocket.COMPOSITION)


@pytest.fixture(scope="session")
def whole_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All five networks."""
    return _bundle(_with_tokenizer(tmp_path_factory.mktemp("bundle") / "whole.pcbundle"))


def _with_tokenizer(root: Path) -> Path:
    (root / "tokenizer").mkdir(parents=True)
    tokenizer = Path(pocketcrafter.__file__).parent / "export/weights/decoder.tokenizer.json"
    shutil.copyfile(tokenizer, root / TOKENIZER)
    return root


def _bundle(root: Path, without: str | None = None) -> Path:
    (root / "LICENSES").mkdir(parents=True)
    (root / "LICENSES/Apache-2.0.txt").write_text("Apache License, Version 2.0\n")
    seal(
        root,
        name="arithmetic",
        components=tuple(_entry(root, component) for component in _GRAPHS if component is not without),
        targets={"onnx": TargetEntry(kind=ONNX, backend=BackendName.ONNXRUNTIME)},
        family="pocket",
        settings=PocketSettings(gate=GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.1)).model_dump(
            mode="json"
        ),
        licenses=(LicenseEntry(spdx="Apache-2.0", path="LICENSES/Apache-2.0.txt", covers="everything"),),
        training_data=TrainingData(summary="none"),
        tools={"onnx": onnx.__version__},
    )
    return root


def _entry(root: Path, component: str) -> ComponentEntry:
    spec = POCKET_SPECS[component]
    path, golden = f"targets/onnx/{component}.onnx", f"goldens/{component}"
    for folder in (root / "targets/onnx", root / golden):
        folder.mkdir(parents=True, exist_ok=True)
    nodes, constants = _GRAPHS[component]()
    ends = [
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in tensors]
        for tensors in (spec.inputs, spec.outputs)
    ]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, component, *ends, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    (root / path).write_bytes(model.SerializeToString())
    inputs, outputs = f"{golden}/inputs_0.npz", f"{golden}/outputs_0.npz"
    rng = np.random.default_rng(0)
    write_tensors(root / inputs, {t.name: rng.random(t.shape, np.float32) for t in spec.inputs}, spec.inputs)
    session = OnnxRuntimeBackend().open(root / path, spec, threads=1)
    write_tensors(root / outputs, session.run(read_tensors(root / inputs, spec.inputs)), spec.outputs)
    return ComponentEntry(
        spec=spec,
        source=Source(weights=f"{component}.safetensors", sha256="0" * 64, license="Apache-2.0"),
        goldens=(Golden(inputs=inputs, outputs=outputs),),
        artifacts={
            "onnx": Artifact(
                path=path,
                precision=Precision.FP32,
                coverage=Coverage(macs_total=1, macs_delegated=1, delegated_ops=1, subgraphs=1),
                rungs=(),
                golden_gate=sqnr_gate(40),
            )
        },
    )


_Graph = tuple[list[onnx.NodeProto], dict[str, np.ndarray]]


def _critic() -> _Graph:
    exposure = np.zeros((1, len(Attribute)), np.float32)
    exposure[0, 0] = -_MEAN_GAIN
    ones = np.full((1, len(Attribute)), 0.9, np.float32)
    constants = {
        "axes": np.array([1, 2, 3]),
        "half": np.float32(0.5),
        "exposure": exposure,
        "sure": ones,
        "zero": np.float32(0),
        "no_tokens": np.zeros((1, 4, 64), np.float32),
        "no_scene": np.zeros((1, 64), np.float32),
        "column": np.array([1, 1]),
    }
    nodes = [
        helper.make_node("ReduceMean", ["view", "axes"], ["means"]),
        helper.make_node("Reshape", ["means", "column"], ["score"]),
        helper.make_node("Sub", ["score", "half"], ["distance"]),
        helper.make_node("Mul", ["distance", "exposure"], ["plan"]),
        helper.make_node("ReduceMean", ["crops"], ["detail"], keepdims=0),
        helper.make_node("Mul", ["detail", "zero"], ["nothing"]),
        helper.make_node("Add", ["sure", "nothing"], ["presence"]),
        helper.make_node("Add", ["sure", "nothing"], ["confidence"]),
        helper.make_node("Add", ["no_tokens", "nothing"], ["tokens"]),
        helper.make_node("Add", ["no_scene", "nothing"], ["scene"]),
    ]
    return nodes, constants


def _tone() -> _Graph:
    names = ["view", "rendered", "plan", "tokens"]
    nodes = [helper.make_node("ReduceMean", [name], [f"{name}_mean"], keepdims=0) for name in names]
    nodes += [
        helper.make_node("Sum", [f"{name}_mean" for name in names], ["all"]),
        helper.make_node("Mul", ["all", "zero"], ["nothing"]),
        helper.make_node("Add", ["identity", "nothing"], ["grid"]),
    ]
    return nodes, {"zero": np.float32(0), "identity": IDENTITY[None]}


def _restore() -> _Graph:
    """Every tile becomes the brighter the more is to be restored: goldens of what changes nothing prove nothing."""
    nodes = [
        helper.make_node("ReduceMean", ["amounts"], ["amount"], keepdims=0),
        helper.make_node("Mul", ["amount", "tenth"], ["light"]),
        helper.make_node("Add", ["tile", "light"], ["restored"]),
    ]
    return nodes, {"tenth": np.float32(0.1)}


def _composition() -> _Graph:
    """Every photo is tilted by 4°, and it is the redder the better framed."""
    nodes = [
        helper.make_node("ReduceMean", ["inside"], ["share"]),
        helper.make_node("Reshape", ["share", "column"], ["covered"]),
        helper.make_node("Mul", ["covered", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "four"], ["tilt"]),
        helper.make_node("Add", ["nothing", "sure"], ["confidence"]),
        helper.make_node("Split", ["view"], ["red", "others"], axis=1, num_outputs=2),
        helper.make_node("ReduceMean", ["red"], ["redness"]),
        helper.make_node("Reshape", ["redness", "column"], ["score"]),
    ]
    constants = {
        "column": np.array([1, 1]),
        "zero": np.float32(0),
        "four": np.float32(4),
        "sure": np.float32(0.95),
    }
    return nodes, constants


def _decoder() -> _Graph:
    names = ["soft", "position", *PROSE_KEYS, *PROSE_VALUES]
    nodes = [helper.make_node("ReduceMean", [name], [f"{name}_mean"], keepdims=0) for name in names]
    nodes += [
        helper.make_node("Sum", [f"{name}_mean" for name in names], ["all"]),
        helper.make_node("Mul", ["all", "zero"], ["nothing"]),
        helper.make_node("Add", ["word", "nothing"], ["logits"]),
        *(helper.make_node("Add", ["rows", "nothing"], [name]) for name in ("key", "value")),
    ]
    return nodes, {"zero": np.float32(0), "rows": np.zeros(PROSE_ROWS, np.float32)}


_GRAPHS = {
    Pocket.CRITIC: _critic,
    Pocket.TONE: _tone,
    Pocket.RESTORE: _restore,
    Pocket.COMPOSITION: _composition,
    Pocket.DECODER: _decoder,
}
