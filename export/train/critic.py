"""Training the critic's judgement on stored evidence: plan regression and the picture that the plan gives.

The attribute gate is tuned on training frames too, judged by cross-fitting: judges trained on the other folds of
sources judge each fold (Chernozhukov et al., 2018). That gives more unseen photos than a validation split holds.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.critic import Judge, Judgement
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.export.train.fit import FitSettings, fit, picture_loss
from pocketcrafter.export.train.folds import FOLDS

_PICTURE_WEIGHT: Final = 0.2
_PICTURES: Final = 16
_NEAR: Final = 0.2
"""An amount this close to the truth, in plan-vector units, counts as right for `confidence`."""
_SCENE_TEMPERATURE: Final = 0.1
_KEPT_WEIGHT: Final = 0.25


class CriticTask:
    """Plan, presence, confidence, score and scene, from stored evidence.

    Parameters
    ----------
    model
        The judge.
    store
        Stored frames.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    rows
        The frames to train on, ``(N,)``; all when `None`.
    kept
        Plan tokens of every stored frame that the model's are held to, so that networks that were trained to read
        those can read these: ``(N, TOKENS, TOKEN_DIM)``. Free when `None`.
    """

    def __init__(
        self,
        model: Judge,
        store: EvidenceStore,
        settings: FitSettings,
        device: torch.device,
        rows: npt.NDArray[np.int64] | None = None,
        kept: Tensor | None = None,
    ) -> None:
        self.store, self.settings, self.device, self.kept = store, settings, device, kept
        self.kept_variance = 1.0 if kept is None else float(kept.var())
        self.rows = np.arange(len(store)) if rows is None else rows
        standardize(model, store)
        self.model = model.to(device)
        self.foreseeable = model.foreseeable

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of random frames."""
        rows = self.draw(step)
        losses = self.losses(self.model(self.vectors(rows)), rows)
        total = torch.stack([*losses.values()]).sum()
        return total, {name: float(part.detach()) for name, part in losses.items()}

    def draw(self, step: int) -> npt.NDArray[np.int64]:
        """Return the rows of a step's batch."""
        rng = np.random.default_rng([self.settings.seed, step])
        count = min(self.settings.batch, len(self.rows))
        return np.asarray(rng.choice(self.rows, count, replace=False), dtype=np.int64)

    def vectors(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Return the rows' evidence vectors."""
        return torch.from_numpy(self.store.vectors[rows]).to(self.device)

    def losses(self, said: Judgement, rows: npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """Return what a judgement of these rows costs, by part."""
        plan = torch.from_numpy(self.store.plans[rows]).to(self.device)
        score = torch.from_numpy(self.store.scores[rows]).to(self.device)
        present = (plan != 0).float()
        near = ((said.plan - plan).abs() < _NEAR).float().detach()
        # Tokens that learn to tell photos apart know the faults of unseen photos less well (R² 0.566 for 0.594).
        scene = self.model.embed(said.tokens.detach().flatten(1))
        losses = {
            "plan": ((said.plan - plan).square() * self.foreseeable).mean(),
            "picture": _PICTURE_WEIGHT * self._picture_loss(said.plan, rows),
            "presence": 0.05
            * (F.binary_cross_entropy(said.presence.float(), present, reduction="none") * self.foreseeable).mean(),
            "confidence": 0.02 * F.binary_cross_entropy(said.confidence.float(), near),
            "score": 0.2 * (said.score[:, 0] - score).abs().mean(),
            "scene": 0.005 * _same_scene_loss(scene, torch.from_numpy(self.store.photos[rows]).to(self.device)),
        }
        if self.kept is not None:
            apart = (said.tokens - self.kept[rows].to(self.device)).square().mean()
            losses["kept_tokens"] = _KEPT_WEIGHT * apart / self.kept_variance
        return losses

    def _picture_loss(self, plan: Tensor, rows: npt.NDArray[np.int64]) -> Tensor:
        """Return the loss of the rendered pictures, of `_PICTURES` rows as rendering is slow."""
        plan, rows = plan[:_PICTURES], rows[:_PICTURES]
        views, cleans = (to_batch(p[rows]).to(self.device) for p in (self.store.small_views, self.store.small_cleans))
        return picture_loss(render(plan.float(), views), cleans)


@torch.no_grad()
def judge_store(judge: nn.Module, store: EvidenceStore, batch: int = 1024) -> Judgement:
    """Return the judgement of every stored frame by a `Judge`, or by a studio of them, on the CPU.

    Parameters
    ----------
    judge
        A `Judge`, or a studio of them.
    store
        Stored frames.
    batch
        Frames at a time.
    """
    judge = judge.cpu().eval()
    # Copies, as torch warns of arrays that cannot be written to.
    starts = range(0, len(store), batch)
    parts = [judge(torch.from_numpy(np.array(store.vectors[start : start + batch]))) for start in starts]
    return Judgement(*(torch.cat(column) for column in zip(*parts, strict=True)))


def standardize(model: Judge, store: EvidenceStore) -> None:
    """Set a judge's center and spread from stored evidence."""
    sample = np.asarray(store.vectors[:: max(1, len(store) // 4000)], dtype=np.float64)
    model.center.copy_(torch.from_numpy(sample.mean(0)))
    model.spread.copy_(torch.from_numpy(sample.std(0) + 1e-3))


def _same_scene_loss(scene: Tensor, photos: Tensor) -> Tensor:
    """InfoNCE over frames of one photo in the batch (van den Oord et al., 2018); zero where no photo occurs twice."""
    similarity = scene.float() @ scene.float().T / _SCENE_TEMPERATURE
    itself = torch.eye(len(photos), dtype=torch.bool, device=photos.device)
    same = (photos[:, None] == photos[None]) & ~itself
    log_probability = similarity.masked_fill(itself, -1e4).log_softmax(1)
    return -(log_probability * same).sum() / same.sum().clamp(min=1)


def cross_judge(
    store: EvidenceStore,
    folds: npt.NDArray[np.int64],
    settings: FitSettings,
    folder: Path,
    device: torch.device,
    on_step: Callable[[int], object] = lambda _: None,
    kept: Tensor | None = None,
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
    kept
        Plan tokens that all of them are held to, as in `CriticTask`.
    """
    fold_of_frame = folds[store.photos]
    judgements = []
    for fold in range(FOLDS):
        torch.manual_seed(settings.seed)
        rows = np.flatnonzero(fold_of_frame != fold)
        task = CriticTask(Judge(), store, settings, device, rows, kept)
        done = 0

        def on_each(step: int, _: object) -> None:
            nonlocal done
            on_step(step - done)
            done = step

        judgements.append(judge_store(fit(task, settings, folder / f"fold-{fold}", on_each), store))
        on_step(settings.steps - done)
    frames = np.arange(len(store))
    return Judgement(*(torch.stack(column)[fold_of_frame, frames] for column in zip(*judgements, strict=True)))
