"""Cross-fitting: no frame is judged by a judge that saw its photographer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.export.models.critic import Judge
from pocketcrafter.export.train.critic import cross_judge, judge_store, standardize
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.folds import FOLDS, folds_of
from pocketcrafter.runtime.errors import ConfigError

CPU = torch.device("cpu")


@given(st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=60).filter(lambda names: len({*names}) > 1))
def test_a_large_sources_photographers_are_in_one_fold_each_and_folds_are_even(photographers: list[str]) -> None:
    folds = folds_of(["library"] * len(photographers), photographers)
    for name in set(photographers):
        assert len({int(f) for f, p in zip(folds, photographers, strict=True) if p == name}) == 1
    sizes = np.bincount(folds, minlength=FOLDS)
    assert sizes.sum() == len(photographers)
    largest_share = max(photographers.count(p) for p in photographers)
    assert sizes.max() - sizes.min() <= max(largest_share, 1)


def test_a_source_that_fits_into_a_fold_is_in_one_fold() -> None:
    sources = ["library"] * 30 + ["series"] * 10 + ["album"] * 10
    folds = folds_of(sources, [str(index) for index in range(50)])
    assert np.bincount(folds, minlength=FOLDS).tolist() == [10] * FOLDS
    assert [len(np.unique(folds[start:stop])) for start, stop in ((0, 30), (30, 40), (40, 50))] == [3, 1, 1]


def test_what_is_said_of_a_photo_does_not_depend_on_its_own_frames(store: EvidenceStore, tmp_path: Path) -> None:
    """Frames of the first photo get other truths: only what is said of the other photos may change."""
    settings = FitSettings(steps=3, batch=4, learning_rate=3e-3, warmup=1, seed=1)
    folds = np.array([0, 1, 2])
    before = cross_judge(store, folds, settings, tmp_path / "one", CPU)
    plans = np.array(store.plans)
    plans[store.photos == 0] += 1
    changed = type(store)(**{**vars(store), "plans": plans})
    steps: list[int] = []
    after = cross_judge(changed, folds, settings, tmp_path / "two", CPU, steps.append)
    own = torch.from_numpy(store.photos == 0)
    torch.testing.assert_close(after.plan[own], before.plan[own])
    assert not torch.equal(after.plan[~own], before.plan[~own])
    assert sum(steps) == FOLDS * settings.steps


def test_finished_judges_are_not_trained_again(store: EvidenceStore, tmp_path: Path) -> None:
    settings = FitSettings(steps=2, batch=4, learning_rate=3e-3, warmup=1, seed=1)
    folds = np.array([0, 1, 2])
    first = cross_judge(store, folds, settings, tmp_path, CPU)
    written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    again = cross_judge(store, folds, settings, tmp_path, CPU)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")} == written
    assert again.plan.numpy() == pytest.approx(first.plan.numpy())


def test_the_judges_of_all_folds_keep_the_tokens_they_are_given(store: EvidenceStore, tmp_path: Path) -> None:
    settings = FitSettings(steps=40, batch=8, learning_rate=3e-3, warmup=5, seed=1)
    folds = np.array([0, 1, 2])
    torch.manual_seed(5)
    judge = Judge()
    standardize(judge, store)
    tokens = judge_store(judge, store).tokens
    free, held = (
        cross_judge(store, folds, settings, tmp_path / str(kept is None), CPU, kept=kept).tokens
        for kept in (None, tokens)
    )
    apart = [float((said - tokens).square().mean() / tokens.var()) for said in (free, held)]
    assert apart[1] < 0.5 * apart[0]


def test_photos_of_one_photographer_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match="one photographer"):
        folds_of(["a"] * 3, ["one"] * 3)
