"""Learning curves: means over trainings, what a doubling brings, and lines that are no points."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.benchmarks.learning import doublings, means
from pocketcrafter.benchmarks.training_commands import learning_curve
from pocketcrafter.export.train.learning import LearningPoint, read_points
from pocketcrafter.runtime.errors import ConfigError


def point(photos: int, frames: int, r2: float, change: float = -1.0, seed: int = 0) -> LearningPoint:
    return LearningPoint(photos=photos, frames=frames, seed=seed, plan_r2=r2, delta_e_change=change)


def written(path: Path, points: list[LearningPoint]) -> Path:
    path.write_text("\n\n".join(p.model_dump_json() for p in points) + "\n")
    return path


@given(st.lists(st.builds(point, st.integers(1, 9), st.integers(1, 9), st.floats(-5, 1), st.floats(-9, 9)), min_size=1))
def test_a_curve_survives_its_file(points: list[LearningPoint]) -> None:
    lines = "\n".join(p.model_dump_json() for p in points)
    assert [LearningPoint.model_validate_json(line) for line in lines.splitlines()] == points
    assert sum(m.trainings for m in means(points)) == len(points)


def test_trainings_of_one_size_are_averaged_with_their_spread() -> None:
    (single, pair) = means([point(9, 100, 0.2), point(9, 100, 0.4, seed=1), point(4, 100, 0.1)])
    assert (single.photos, single.trainings, single.plan_r2_spread) == (4, 1, None)
    assert (pair.photos, pair.trainings) == (9, 2)
    assert pair.plan_r2 == pytest.approx(0.3)
    assert pair.plan_r2_spread == pytest.approx(0.2 / 2**0.5)


def test_a_doubling_is_told_for_what_was_varied_at_the_most_of_the_other() -> None:
    points = [point(48, 10_000, 0.1, -1.0), point(96, 10_000, 0.2, -1.5), point(192, 10_000, 0.3, -2.0)]
    points += [point(192, 5_000, 0.25, -1.9), point(48, 5_000, 0.9)]
    photos, frames = doublings(means(points))
    assert (photos.of, photos.at, frames.of, frames.at) == ("photos", 10_000, "frames", 192)
    assert photos.plan_r2 == pytest.approx(0.1)
    assert photos.delta_e_change == pytest.approx(-0.5)
    assert frames.plan_r2 == pytest.approx(0.05)
    assert doublings(means(points[:1])) == []


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("{}", "photos"),
        ("nonsense", "not JSON"),
        ('{"photos": 1, "frames": 1, "plan_r2": 2, "delta_e_change": 0}', "plan_r2"),
    ],
)
def test_a_line_that_is_no_point_is_named(line: str, place: str, tmp_path: Path) -> None:
    path = written(tmp_path / "curve.jsonl", [point(1, 1, 0.5)])
    path.write_text(path.read_text() + line)
    with pytest.raises(ConfigError, match=rf"line 2: not a point of a learning curve:\s+{place}"):
        read_points(path)


def test_an_empty_file_is_no_curve(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="no training in it"):
        read_points(tmp_path / "empty.jsonl")


def test_the_command_draws_and_tells(tmp_path: Path) -> None:
    results = written(tmp_path / "curve.jsonl", [point(48, 10_000, 0.08), point(96, 10_000, 0.23)])
    plot = tmp_path / "made/curve.svg"
    run = CliRunner().invoke(learning_curve, [str(results), "--plot", str(plot)], catch_exceptions=False)
    assert run.exit_code == 0
    assert "Twice the photos (at 10000 frames): R² +0.150" in run.stdout
    assert "<svg" in plot.read_text()
    assert [p.name for p in plot.parent.iterdir()] == ["curve.svg"]
    told = json.loads(CliRunner().invoke(learning_curve, [str(results), "--json"]).stdout)
    assert [m["photos"] for m in told["means"]] == [48, 96]
    with pytest.raises(ConfigError, match=r"written as \.svg"):
        CliRunner().invoke(learning_curve, [str(results), "--plot", "x.gif"], catch_exceptions=False)
