"""Learning curves: parts of the photos, trained on and measured; a finished training is not repeated."""

from pathlib import Path

import numpy as np
import pytest

from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.learning import learning_sizes, read_points, rows_of, train_point, write_points

SETTINGS = FitSettings(steps=3, batch=2, learning_rate=3e-3, warmup=1, seed=1)


def test_sizes_halve_photos_at_equal_frames_and_frames_at_all_photos(store: EvidenceStore) -> None:
    photos, frames = len(np.unique(store.photos)), len(store)
    assert learning_sizes(store, 2) == sorted(
        {(photos, frames), (photos, frames // 2), (photos, frames // 4), (photos // 2, frames // 4)}
    )


def test_rows_are_of_as_many_photos_and_follow_the_seed(store: EvidenceStore) -> None:
    rows = rows_of(store, 2, 4, 0)
    assert len(np.unique(store.photos[rows])) <= 2
    assert len(set(rows.tolist())) == 4
    assert (rows_of(store, 2, 4, 0) == rows).all()
    assert any((rows_of(store, 2, 4, seed) != rows).any() for seed in range(1, 6))


def test_a_training_is_measured_on_the_other_frames(store: EvidenceStore, tmp_path: Path) -> None:
    steps: list[int] = []
    point = train_point(store, store, (2, 4), SETTINGS, tmp_path / "run", steps.append)
    assert (point.photos, point.frames, point.seed) == (2, 4, 1)
    assert sum(steps) == SETTINGS.steps
    assert np.isfinite(point.delta_e_change)
    # What it is measured on matters: truths that are further away are met worse.
    worse = type(store)(**{**vars(store), "plans": np.array(store.plans) * 3})
    assert train_point(store, worse, (2, 4), SETTINGS, tmp_path / "run").plan_r2 != pytest.approx(point.plan_r2)
    write_points(tmp_path / "points.jsonl", [point])
    assert read_points(tmp_path / "points.jsonl") == [point]
