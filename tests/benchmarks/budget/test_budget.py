"""A bundle's parameters and bytes are counted as they are, and what is too much is said."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors import safe_open

from pocketcrafter.benchmarks.budget import BudgetReport, Spent
from pocketcrafter.benchmarks.cli import bench
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.errors import BackendError, GateError


@pytest.fixture
def shipped(make_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """A bundle that says it was built from the shipped weights."""
    root = make_bundle(tmp_path / "shipped.pcbundle")
    manifest = Bundle.open(root).manifest
    components = tuple(
        entry.model_copy(
            update={"source": entry.source.model_copy(update={"sha256": sha256_of(WEIGHTS / entry.source.weights)})}
        )
        for entry in manifest.components
    )
    reseal(root, manifest.model_copy(update={"components": components}))
    return root


def stored(name: str) -> int:
    with safe_open(WEIGHTS / f"{name}.safetensors", "np") as file:
        return sum(file.get_tensor(key).size for key in file.keys())  # noqa: SIM118 - not a mapping


def test_the_sums_are_those_of_weights_and_files(shipped: Path) -> None:
    result = CliRunner().invoke(bench, ["budget", str(shipped), "--json"])
    assert result.exit_code == 0, result.exception
    said = json.loads(result.stdout)
    parameters = {part["name"]: part["made_of"] for part in said["parameters"]}
    assert parameters["artist"] == {"tone": stored("tone"), "restore": stored("restore")}
    files = list((shipped / "targets").rglob("*.onnx"))
    assert sum(said["targets"][0]["made_of"].values()) == sum(f.stat().st_size for f in files)


def test_artifacts_that_are_too_large_fail_after_the_table(shipped: Path) -> None:
    manifest, artifact = Bundle.open(shipped).manifest, shipped / "targets/onnx/restore.onnx"
    artifact.write_bytes(artifact.read_bytes() + bytes(12_000_000))
    reseal(shipped, manifest)
    result = CliRunner().invoke(bench, ["budget", str(shipped)])
    assert "| artist | tone " in result.stdout
    assert isinstance(result.exception, GateError)
    assert "onnx 12.10 M bytes" in str(result.exception)


def test_other_weights_than_the_bundles_are_not_counted(bundle: Path) -> None:
    result = CliRunner().invoke(bench, ["budget", str(bundle)])
    assert isinstance(result.exception, BackendError)


def test_a_budget_may_be_spent_to_the_last() -> None:
    assert Spent(name="a", made_of={"x": 3, "y": 4}, budget=7).kept
    over = Spent(name="a", made_of={"x": 8_000_001}, budget=8_000_000)
    assert BudgetReport(bundle="b", parameters=(over,), targets=()).overspent == ["a 8.00 M parameters (at most 8 M)"]
