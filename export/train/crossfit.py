"""Judgements of training frames by judges that never saw the photo: more unseen photos than a validation split holds.

Cross-fitting: each fold of sources is judged by a judge trained on the others (Chernozhukov et al., 2018).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from pocketcrafter.export.models.critic import Judge, Judgement
from pocketcrafter.export.train.critic import CriticTask
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.tone import judge_store

FOLDS: Final = 5


def folds_of(sources: Sequence[str], photographers: Sequence[str]) -> npt.NDArray[np.int64]:
    """Deal photos out to `FOLDS` folds of about equal size, all photos of one source to one of them.

    The photos of a source that is larger than a fold are dealt out too, all of one photographer to one fold.

    Parameters
    ----------
    sources, photographers
        Of each photo.
    """
    whole = {name for name in sources if sources.count(name) <= -(-len(sources) // FOLDS)}
    kept = [(s, "" if s in whole else p) for s, p in zip(sources, photographers, strict=True)]
    names, owner, counts = np.unique(np.array(kept).reshape(-1, 2), axis=0, return_inverse=True, return_counts=True)
    fold_of = np.zeros(len(names), dtype=np.int64)
    sizes = np.zeros(FOLDS, dtype=np.int64)
    for name in np.argsort(-counts, kind="stable"):
        fold_of[name] = sizes.argmin()
        sizes[fold_of[name]] += counts[name]
    return fold_of[owner]


def cross_judge(
    store: EvidenceStore,
    folds: npt.NDArray[np.int64],
    settings: FitSettings,
    folder: Path,
    device: torch.device,
    on_step: Callable[[int], object] = lambda _: None,
) -> Judgement:
    """Judge every stored frame by a judge that was trained without its photo's fold.

    Parameters
    ----------
    store
        Training frames.
    folds
        Fold of each photo, as `folds_of` gives them.
    settings
        How each judge is trained.
    folder
        Where the judges' checkpoints are kept, one folder each.
    device
        Where they are trained.
    on_step
        Called with the number of steps that became done.
    """
    fold_of_frame = folds[store.photos]
    judgements = []
    for fold in range(FOLDS):
        torch.manual_seed(settings.seed)
        rows = np.flatnonzero(fold_of_frame != fold)
        task = CriticTask(Judge(), store, settings, device, rows)
        done = 0

        def on_each(step: int, _: object) -> None:
            nonlocal done
            on_step(step - done)
            done = step

        judgements.append(judge_store(fit(task, settings, folder / f"fold-{fold}", on_each), store))
        on_step(settings.steps - done)
    frames = np.arange(len(store))
    return Judgement(*(torch.stack(column)[fold_of_frame, frames] for column in zip(*judgements, strict=True)))
