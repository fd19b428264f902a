"""Further functions of a component: opened by name, proved with goldens of their own, and never taken for another."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pydantic import ValidationError

from pocketcrafter.runtime.backends.qnn import QnnEmulatorBackend
from pocketcrafter.runtime.bundle.goldens import write_tensors
from pocketcrafter.runtime.bundle.manifest import ArtifactFunction, Golden, Manifest
from pocketcrafter.runtime.bundle.reader import Bundle, open_artifact
from pocketcrafter.runtime.bundle.split import split
from pocketcrafter.runtime.bundle.verify import verify
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.components import ComponentSpec, FunctionSpec, TensorSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError

TWICE = FunctionSpec(
    name="twice",
    inputs=(TensorSpec(name="x", shape=(2, 3), semantics="numbers"),),
    outputs=(TensorSpec(name="y", shape=(2, 3), semantics="twice as large"),),
)
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def save_twice(path: Path) -> None:
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3))] for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "twice", *ends)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture
def two_functions(bundle_dir: Path) -> Path:
    """The small bundle, whose component has a second function in a file of its own."""
    save_twice(bundle_dir / "targets/onnx/restore.twice.onnx")
    files = {end: f"goldens/restore/twice.{end}_0.npz" for end in ("inputs", "outputs")}
    write_tensors(bundle_dir / files["inputs"], {"x": X}, TWICE.inputs)
    write_tensors(bundle_dir / files["outputs"], {"y": 2 * X}, TWICE.outputs)
    raw = json.loads((bundle_dir / "manifest.json").read_bytes())
    (entry,) = raw["components"]
    entry["spec"]["functions"] = [TWICE.model_dump(mode="json")]
    entry["goldens"].append(Golden(**files, function="twice").model_dump(mode="json"))
    made = ArtifactFunction(name="twice", file="restore.twice.onnx", inputs=TWICE.inputs, outputs=TWICE.outputs)
    entry["artifacts"]["onnx"]["functions"] = [made.model_dump(mode="json")]
    added = ["targets/onnx/restore.twice.onnx", *files.values()]
    raw["files"] += [{"path": path, "sha256": "0" * 64, "size": 0} for path in added]
    reseal(bundle_dir, Manifest.model_validate(raw))
    return bundle_dir


def test_a_function_is_opened_by_its_name_and_proved_by_its_own_goldens(two_functions: Path, tmp_path: Path) -> None:
    opened = Bundle.open(two_functions)
    np.testing.assert_array_equal(opened.session("restore", 1, function="twice").run({"x": X})["y"], 2 * X)
    assert "restored" in opened.session("restore", 1).run(
        {t.name: np.zeros(t.shape, np.float32) for t in opened.manifest.entry("restore").spec.inputs}
    )
    report = verify(two_functions, 1)
    assert report.ok, report
    assert [f.output for f in report.goldens[0].fidelity] == ["restored", "twice.y"]
    (part,) = split(two_functions, tmp_path / "parts").values()
    assert verify(part, 1).ok


def test_a_function_that_computes_something_else_fails(two_functions: Path) -> None:
    write_tensors(two_functions / "goldens/restore/twice.outputs_0.npz", {"y": 3 * X}, TWICE.outputs)
    reseal(two_functions, Bundle.open(two_functions).manifest)
    assert "SQNR of `twice.y`" in verify(two_functions, 1).goldens[0].reason


def test_a_function_that_is_not_there_is_told_with_those_that_are(two_functions: Path) -> None:
    with pytest.raises(ConfigError, match="`restore` has no function `thrice`; it has `twice`"):
        Bundle.open(two_functions).session("restore", 1, function="thrice")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e["artifacts"]["onnx"].update(functions=[]), "for onnx lacks the function `twice`"),
        (lambda e: e["artifacts"]["onnx"]["functions"][0]["inputs"][0].update(shape=[9]), "has other tensors"),
        (lambda e: e["artifacts"]["onnx"]["functions"][0].update(file="other.onnx"), "is used but not in `files`"),
        (lambda e: e["goldens"][1].update(function="thrice"), "is no function of it"),
        (lambda e: e["goldens"].pop(0), "no golden of its default function"),
        (lambda e: e["spec"]["functions"].append(e["spec"]["functions"][0]), "lists a function twice"),
    ],
)
def test_functions_that_do_not_fit_are_refused(two_functions: Path, change: Any, message: str) -> None:
    raw = json.loads((two_functions / "manifest.json").read_bytes())
    change(raw["components"][0])
    with pytest.raises(ValidationError, match=message):
        Manifest.model_validate(raw)


def test_a_backend_of_one_graph_a_file_says_that_it_has_no_functions(spec: ComponentSpec, tmp_path: Path) -> None:
    both = spec.model_copy(update={"functions": (TWICE,)})
    inside = ArtifactFunction(name="twice", inputs=TWICE.inputs, outputs=TWICE.outputs)
    with pytest.raises(BackendError, match="cannot open the function `twice`"):
        open_artifact(QnnEmulatorBackend(), tmp_path / "a.onnx", both, (inside,), 1, "twice")


def test_a_program_of_two_methods_is_opened_by_each(spec: ComponentSpec, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    exir = pytest.importorskip("executorch.exir")
    from pocketcrafter.runtime.backends.executorch import ExecutorchBackend  # noqa: PLC0415

    class Default(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, tile: Any, amounts: Any) -> Any:
            return tile + amounts.reshape(1, 3, 1, 1)

    class Twice(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x + x

    programs = {
        "forward": torch.export.export(Default(), tuple(torch.zeros(t.shape) for t in spec.inputs)),
        "twice": torch.export.export(Twice(), (torch.zeros(2, 3),)),
    }
    path = tmp_path / "both.pte"
    path.write_bytes(exir.to_edge_transform_and_lower(programs).to_executorch().buffer)
    both = spec.model_copy(update={"functions": (TWICE,)})
    inside = ArtifactFunction(name="twice", inputs=TWICE.inputs, outputs=TWICE.outputs)
    backend = ExecutorchBackend()
    np.testing.assert_array_equal(open_artifact(backend, path, both, (inside,), 1, "twice").run({"x": X})["y"], 2 * X)
    zeros = {t.name: np.zeros(t.shape, np.float32) for t in spec.inputs}
    assert not open_artifact(backend, path, both, (inside,), 1, None).run(zeros)["restored"].any()
    with pytest.raises(BackendError, match="cannot open it"):
        backend.open_function(path, both.of("twice"), 1, "thrice")
