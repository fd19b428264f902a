"""The steps table: figures of tiles whose restoration is known, and weights of any size through the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from pocketcrafter.benchmarks.common.frames import MeasuredFrame, measured_frames
from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.common.names import AS_IT_IS, STEPS_KINDS, FrameKind
from pocketcrafter.benchmarks.common.result_files import result_of
from pocketcrafter.benchmarks.steps import (
    NetworkFacts,
    StepsReport,
    measure_steps,
    networks_table,
    step_counts,
    steps_table,
)
from pocketcrafter.benchmarks.training_commands import steps as steps_command
from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.export.models import save_component
from pocketcrafter.export.models.restore import Restore, RestoreConfig

SMALL = RestoreConfig(steps=2, widths=(4, 8), blocks=(1, 1))


@pytest.fixture(scope="module")
def frames(photos: list[Path], noise_profiles: Path) -> list[MeasuredFrame]:
    whole = measured_frames(photos[:2], noise_profiles, STEPS_KINDS, per_photo=1, seed=2)
    made = []
    for measured in whole:
        frame = measured.frame
        pictures = (np.ascontiguousarray(p[:64, :64]) for p in (frame.degraded, frame.tonal, frame.clean))
        made.append(replace(measured, frame=Frame(*pictures, plan=frame.plan)))
    return made


@pytest.fixture
def brightening() -> Restore:
    """Adds 51 levels to every pixel, in whatever number of steps."""
    network = Restore(SMALL)
    with torch.no_grad():
        network.tail.bias.fill_(0.2)
    return network.eval()


def report_of(frames: list[MeasuredFrame], networks: dict[str, Restore], steps: tuple[int, ...]) -> StepsReport:
    facts = tuple(NetworkFacts(name=n, sha256="0" * 64, parameters=9, config=SMALL) for n in networks)
    found = tuple(measure_steps(frames, networks, dict.fromkeys(networks, steps)))
    return StepsReport(machine=this_machine(), threads=1, split="heldout", seed=2, networks=facts, frames=found)


def test_a_network_that_does_nothing_gains_nothing_in_any_number_of_steps(frames: list[MeasuredFrame]) -> None:
    report = report_of(frames, {"fresh": Restore(SMALL).eval()}, (1, 4))
    assert [(r.kind, r.network, r.steps) for r in report.rows] == [
        (kind, name, steps) for kind in STEPS_KINDS for name, steps in ((AS_IT_IS, 0), ("fresh", 1), ("fresh", 4))
    ]
    for row in report.rows:
        assert row.psnr_gain_db.mean == 0
        assert row.tiles == 2
        assert row.feature_distance is row.brisque is None


def test_a_network_that_mends_its_fault_gains_it(frames: list[MeasuredFrame], brightening: Restore) -> None:
    dark = []
    for measured in frames:
        tonal = np.clip(measured.frame.tonal, 60, 200)
        darker = (tonal - 51).astype(np.uint8)
        dark.append(replace(measured, frame=replace(measured.frame, degraded=darker, tonal=tonal)))
    for row in report_of(dark, {"bright": brightening}, (1, 3)).rows:
        if row.network == "bright":
            assert row.psnr_db == 100
            assert row.psnr_gain_db.low is not None
            assert row.psnr_gain_db.low > 80
            assert row.delta_e == 0


def test_a_network_is_measured_in_its_own_number_of_steps_too(brightening: Restore) -> None:
    networks = {"two": brightening, "three": brightening.in_steps(3)}
    assert step_counts(networks) == {"two": [1, 2, 4], "three": [1, 2, 3, 4]}
    assert step_counts(networks, [8, 1]) == {"two": [1, 8], "three": [1, 8]}


def test_a_report_survives_json_and_uneven_frames_are_refused(frames: list[MeasuredFrame]) -> None:
    report = report_of(frames, {"fresh": Restore(SMALL).eval()}, (1,))
    again = result_of(report.model_dump_json(), StepsReport)
    assert again == report
    assert again.rows == report.rows
    for table in (steps_table(report), networks_table(report)):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    uneven = report.frames[0].model_copy(update={"tiles": report.frames[0].tiles[:1]})
    with pytest.raises(ValueError, match="same networks and steps"):
        StepsReport(**{**dict(report), "frames": (*report.frames, uneven)})


def run(*arguments: object) -> Result:
    words = [
        "--no-features",
        "--no-brisque",
        "--threads",
        "1",
        "--kind",
        "noise",
        "--most-photos",
        "1",
        *map(str, arguments),
    ]
    return CliRunner().invoke(steps_command, words, catch_exceptions=False)


def test_networks_of_different_sizes_stand_in_one_table(data: Path, tmp_path: Path) -> None:
    other = RestoreConfig(steps=3, widths=(4, 6, 8), blocks=(1, 1, 1))
    for name, config in (("a", SMALL), ("b", other)):
        save_component(Restore(config), tmp_path / f"{name}.safetensors")
    named = [f"--network={name}={tmp_path / name}.safetensors" for name in "ab"]
    result = run("--data", data, *named, "--euler-steps", 3, "--json")
    assert result.exit_code == 0, result.output
    report = result_of(result.stdout, StepsReport)
    assert [(r.network, r.steps) for r in report.rows] == [
        (AS_IT_IS, 0),
        ("a", 3),
        ("b", 3),
    ]
    assert [n.config for n in report.networks] == [SMALL, other]
    assert json.loads(result.stdout)["rows"][0]["network"] == AS_IT_IS
    assert {frame.kind for frame in report.frames} == {FrameKind.NOISE}


@pytest.mark.parametrize("value", ["nameless", "=file", "a=", f"{AS_IT_IS}=x"])
def test_weights_without_a_name_are_refused(value: str) -> None:
    result = run("--network", value)
    assert result.exit_code == 2
    assert "give NAME=FILE" in result.output
