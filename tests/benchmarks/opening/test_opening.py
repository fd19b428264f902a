"""What the check of an artifact costs, on a small one: order and exit code, not a figure."""

import pytest

from pocketcrafter.benchmarks.opening import OpeningReport
from pocketcrafter.runtime.cli import run


def test_a_later_check_is_cheaper_than_the_first_and_than_opening(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "opening", "--mib", "40", "--repeats", "3", "--json"]) == 0
    report = OpeningReport.model_validate_json(capsys.readouterr().out)
    assert 40 << 20 <= report.artifact_bytes < 41 << 20
    assert report.later_check_ms < report.first_check_ms / 4
    assert report.later_share < 0.05
