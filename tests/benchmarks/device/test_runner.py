"""The runner itself, compiled here: what it computes on the phone is what this machine computes."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import executorch
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import nn

from pocketcrafter.benchmarks.device import measure
from pocketcrafter.benchmarks.device.adb import RunnerError, open_device
from pocketcrafter.benchmarks.device.command import device as device_command
from pocketcrafter.benchmarks.device.measure import run_latency
from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.backends.executorch import ExecutorchBackend
from pocketcrafter.runtime.backends.names import BackendName
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
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Coverage, Precision, sqnr_gate
from pocketcrafter.runtime.bundle.writer import reseal, seal
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.pocket import Pocket, PocketSettings
from pocketcrafter.runtime.targets import XNNPACK

SPEC = ComponentSpec(
    name=Pocket.RESTORE,
    role=Role.EDIT,
    inputs=(TensorSpec(name="tile", shape=(1, 3, 16, 16), minimum=0, maximum=1, semantics="a tile"),),
    outputs=(TensorSpec(name="restored", shape=(1, 3, 16, 16), semantics="a tile"),),
)
SOURCE = Path(measure.__file__).parent / "runner"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("compiling the runner needs cmake and a C++ compiler")
    build = tmp_path_factory.mktemp("runner")
    wheel = f"-DEXECUTORCH_WHEEL={next(iter(executorch.__path__))}"
    for command in (["cmake", "-S", str(SOURCE), "-B", str(build), wheel], ["cmake", "--build", str(build)]):
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own sources
    return build / "pocketcrafter_runner"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One convolution for XNNPACK."""
    root = tmp_path_factory.mktemp("bundle") / "tiny.pcbundle"
    for folder in ("targets", "goldens", "LICENSES"):
        (root / folder).mkdir(parents=True)
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 3, padding=1).eval().requires_grad_(False)
    exported = torch.export.export(network, (torch.rand(1, 3, 16, 16),))
    edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    (root / "targets/restore.pte").write_bytes(edge.to_executorch().buffer)
    tile = np.random.default_rng(0).random((1, 3, 16, 16)).astype(np.float32)
    write_tensors(root / "goldens/in.npz", {"tile": tile}, SPEC.inputs)
    session = ExecutorchBackend().open(root / "targets/restore.pte", SPEC, 1)
    write_tensors(
        root / "goldens/out.npz", session.run(read_tensors(root / "goldens/in.npz", SPEC.inputs)), SPEC.outputs
    )
    (root / "LICENSES/Apache-2.0.txt").write_text("Apache License, Version 2.0\n")
    artifact = Artifact(
        path="targets/restore.pte",
        precision=Precision.FP32,
        coverage=Coverage(macs_total=1, macs_delegated=1, delegated_ops=1, subgraphs=1),
        rungs=(),
        golden_gate=sqnr_gate(40),
    )
    entry = ComponentEntry(
        spec=SPEC,
        source=Source(weights="restore.safetensors", sha256="0" * 64, license="Apache-2.0"),
        goldens=(Golden(inputs="goldens/in.npz", outputs="goldens/out.npz"),),
        artifacts={"executorch-xnnpack": artifact},
    )
    seal(
        root,
        name="tiny",
        components=(entry,),
        targets={"executorch-xnnpack": TargetEntry(kind=XNNPACK, backend=BackendName.EXECUTORCH)},
        family="pocket",
        settings=PocketSettings(gate=GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.05)).model_dump(
            mode="json"
        ),
        licenses=(LicenseEntry(spdx="Apache-2.0", path="LICENSES/Apache-2.0.txt", covers="everything"),),
        training_data=TrainingData(),
        tools={},
    )
    return root


def test_rung_4_goes_into_the_bundle_and_nothing_stays_on_the_phone(
    phone: Any, plug: Callable[[Any], str], bundle: Path, runner: Path, tmp_path: Path
) -> None:
    serial, mine = plug(phone), tmp_path / "tiny.pcbundle"
    shutil.copytree(bundle, mine)
    place = ["--serial", serial, "--folder", f"{phone.folder}/pc", "--threads", "1"]
    result = CliRunner().invoke(device_command, ["goldens", str(mine), "--runner", str(runner), *place])
    assert result.exit_code == 0, result.output
    kept = Bundle.open(mine)
    kept.check_integrity()
    (rung,) = kept.manifest.entry(Pocket.RESTORE).artifacts["executorch-xnnpack"].rungs
    assert (rung.rung, rung.passed) == (4, True)
    assert "Testphone (TS1, Android 15)" in rung.how
    assert json.loads((mine / "reports/device-executorch-xnnpack.json").read_text())["device"]["model"] == "Testphone"
    assert not any(phone.folder.iterdir())


def test_times_come_with_temperature_and_battery(
    phone: Any, plug: Callable[[Any], str], bundle: Path, runner: Path, tmp_path: Path
) -> None:
    place = ["--serial", plug(phone), "--folder", f"{phone.folder}/pc", "--threads", "1", "--cool-down", "0"]
    command = ["bench", str(bundle), "--runner", str(runner), "--repeats", "7", "--keep", "--json", *place]
    result = CliRunner().invoke(device_command, command)
    assert result.exit_code == 0, result.output
    (case,) = json.loads(result.stdout)["cases"]
    assert len(case["warm"]["samples_ms"]) == 7
    assert case["warm"]["median_ms"] > 0
    assert (case["before"]["battery_percent"], case["after"]["battery_celsius"]) == (83, 28.7)
    pulled = CliRunner().invoke(device_command, ["fetch", "--out", str(tmp_path / "out"), *place[:4]])
    assert pulled.exit_code == 0, pulled.output
    (path,) = (tmp_path / "out").rglob("result.json")
    assert json.loads(path.read_text())["samples_ms"] == pytest.approx(case["warm"]["samples_ms"])


def test_a_program_that_is_none_is_the_runners_error(
    phone: Any, plug: Callable[[Any], str], bundle: Path, runner: Path, tmp_path: Path
) -> None:
    device, mine = open_device(plug(phone)), tmp_path / "tiny.pcbundle"
    shutil.copytree(bundle, mine)
    (mine / "targets/restore.pte").write_bytes(bytes((mine / "targets/restore.pte").stat().st_size))
    reseal(mine, Bundle.open(bundle).manifest)
    with pytest.raises(RunnerError, match=r"exit code 3: .*loading the method"):
        run_latency(Bundle.open(mine), "executorch-xnnpack", device, runner, f"{phone.folder}/pc", cool_down_s=0)
    assert not any(phone.folder.iterdir())
