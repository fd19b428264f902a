"""Commands that are killed or have no room leave nothing half done; and a command that does is found out."""

from pathlib import Path

import pytest

from pocketcrafter.benchmarks.common.names import SubjectName
from pocketcrafter.benchmarks.endurance import subjects
from pocketcrafter.benchmarks.endurance.measure import Disturbance, endurance_table, measure_endurance
from pocketcrafter.benchmarks.endurance.subjects import Subject


def test_nothing_is_half_done_and_the_next_run_finishes(bundle: Path) -> None:
    report = measure_endurance({SubjectName.ENHANCE: (subjects.enhance(bundle, 1), 2)}, seed=1)
    assert report.faults == []
    expected = set(Disturbance) - {Disturbance.KILL} - ({Disturbance.FULL_DISK} if report.not_tried else set())
    assert {trial.disturbance for trial in report.trials if trial.disturbed} >= expected
    assert f"{SubjectName.ENHANCE:<14} {Disturbance.KILL}" in endurance_table(report)


def test_a_command_that_writes_in_place_and_calls_everything_a_success_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    careless = """
import sys, pathlib
results = pathlib.Path(sys.argv[2])
results.mkdir(exist_ok=True)
try:
    with (results / "photo.jpg").open("wb", buffering=0) as file:
        for block in range(4):
            file.write(bytes(64 << 10))
except OSError:
    pass
"""
    monkeypatch.setattr("pocketcrafter.benchmarks.endurance.measure._MAIN", careless)
    subject = Subject(
        SubjectName.ENHANCE, lambda _room: None, lambda room: ("enhance", room / subjects.RESULTS), goes_on=False
    )
    report = measure_endurance({SubjectName.ENHANCE: (subject, 1)}, seed=0)
    assert any("photo.jpg is not whole" in fault for fault in report.faults)
    assert any("exit code 0" in fault for fault in report.faults)
