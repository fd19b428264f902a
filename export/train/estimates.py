"""What estimators say of stored frames: the critic's own, or siblings of it that never saw the photographer.

Where a judgement of estimates is learnt, siblings say them: an estimator knows the amounts of its training photos.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.models import critic_network
from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.critic import Evidence, Judgement
from pocketcrafter.export.models.estimator import ESTIMATES
from pocketcrafter.export.models.pretrained import imagenet_backbone
from pocketcrafter.export.train.critic import judge_store
from pocketcrafter.export.train.estimator import (
    ESTIMATOR_STEPS,
    EstimatorTask,
    SmallFrames,
    estimator_settings,
    new_estimator,
)
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.export.train.fit import fit
from pocketcrafter.export.train.folds import FOLDS, folds_of
from pocketcrafter.export.train.memmap_store import weights_digest, write_array
from pocketcrafter.export.train.options import (
    TrainOptions,
    evidence_folder,
    photographers_of,
    photos_of,
    sources_of,
    stored_frames,
)

_BATCH: Final = 64

_Floats = npt.NDArray[np.float32]


def critic_frames(options: TrainOptions, split: Split, evidence: Evidence) -> EvidenceStore:
    """Build or open the stored frames of a split, with all that this critic's judgement reads.

    Parameters
    ----------
    options
        The command line's.
    split
        Which photos.
    evidence
        The critic's.
    """
    store, estimator = stored_frames(options, split), evidence.estimator
    name = weights_digest({name: tensor.cpu() for name, tensor in estimator.state_dict().items()})
    path = evidence_folder(options, split) / f"estimates-{name[:16]}.npy"
    return store.with_estimates(_kept(path, lambda: estimates_of(estimator, store, np.arange(len(store)))))


def judged_frames(options: TrainOptions) -> tuple[EvidenceStore, Judgement]:
    """Build or open the stored training frames, and return them with what the critic in ``options.weights`` says.

    Parameters
    ----------
    options
        The command line's.

    Raises
    ------
    ConfigError
        If the critic is missing or damaged; before any frame is made.
    """
    critic = critic_network(options.weights / "critic.safetensors")
    store = critic_frames(options, Split.TRAIN, critic.evidence)
    return store, judge_store(critic.judge, store)


def unseen_frames(options: TrainOptions) -> EvidenceStore:
    """Build or open the stored training frames, with estimates by siblings that never saw their photographers.

    They are trained where they are missing: on four fifths of the photos, in four fifths of the steps.

    Parameters
    ----------
    options
        The command line's.

    Raises
    ------
    ConfigError
        If all training photos are of one photographer.
    """
    folds = folds_of(sources_of(options, Split.TRAIN), photographers_of(options, Split.TRAIN))
    store = stored_frames(options, Split.TRAIN)
    settings = estimator_settings(ESTIMATOR_STEPS * (FOLDS - 1) // FOLDS, options.seed)
    backbone, device = imagenet_backbone(options.run), options.torch_device()

    def ask() -> _Floats:
        frames = SmallFrames(photos_of(options, Split.TRAIN), options.data)
        fold_of_frame, estimates = folds[store.photos], np.empty((len(store), ESTIMATES), np.float32)
        with tqdm(total=FOLDS * settings.steps, desc="estimators' cross-fitting", unit="step") as bar:
            for fold in range(FOLDS):
                torch.manual_seed(settings.seed)
                task = EstimatorTask(new_estimator(backbone), frames.without(folds == fold), settings, device)

                def on_each(step: int, _: object, before: int = fold * settings.steps) -> None:
                    bar.update(before + step - bar.n)

                sibling = fit(task, settings, options.run / "estimator-siblings" / f"fold-{fold}", on_each)
                on_each(settings.steps, None)
                rows = np.flatnonzero(fold_of_frame == fold)
                estimates[rows] = estimates_of(sibling, store, rows)
        return estimates

    name = sha256(settings.model_dump_json().encode() + folds.tobytes()).hexdigest()
    return store.with_estimates(_kept(evidence_folder(options, Split.TRAIN) / f"unseen-{name[:16]}.npy", ask))


@torch.no_grad()
def estimates_of(estimator: nn.Module, store: EvidenceStore, rows: npt.NDArray[np.int64]) -> _Floats:
    """Return what an estimator says of stored frames, asked on the CPU: ``(len(rows), ESTIMATES)``.

    Parameters
    ----------
    estimator
        An `Estimator`.
    store
        Stored frames.
    rows
        Which of them.
    """
    asked = channels_last(estimator.cpu()).eval()
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    said = [np.empty((0, ESTIMATES), np.float32)]
    said += [asked(to_batch(np.array(store.views[some]))).numpy() for some in tqdm(parts, desc="estimates")]
    return np.concatenate(said)


def _kept(path: Path, ask: Callable[[], _Floats]) -> _Floats:
    if not path.exists():
        write_array(path, ask())
    estimates: _Floats = np.load(path)
    return estimates
