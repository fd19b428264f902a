"""Training the plan judge: quantiles of what proposals do to pictures, and the order of two proposals for one photo."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.plan_judge import QUANTILES, PlanJudge
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.train.fit import FitSettings, quantile_loss
from pocketcrafter.export.train.gate_frames import JudgedFrames, Kind, kinds_of
from pocketcrafter.export.train.judge_frames import JudgeStore
from pocketcrafter.export.train.plan_proposals import SHIPPED

_DRAWN: Final = 4
"""Proposals of each frame in a batch."""
_RANK_WEIGHT: Final = 0.2
_CLEARLY: Final = 0.5
"""Proposals whose CIEDE2000 differs by less are not ranked: the difference is invisible."""
_LOWEST_GAIN: Final = -8.0
_HIGHEST_GAIN: Final = 12.0
_MOST_ROWS: Final = 32
_RARE: Final = 4.0
"""How often a frame with one fault of restoration alone is drawn for each other one: there the right answer is none."""


class JudgeTask:
    """A judge learns what proposals do to stored frames.

    Parameters
    ----------
    model
        The judge.
    store
        Frames and proposals.
    shares
        How often each frame is drawn, as `draw_shares` gives it: ``(N,)``.
    settings
        Steps, batch (of frames), learning rate, seed.
    device
        Where to train.
    """

    def __init__(
        self,
        model: PlanJudge,
        store: JudgeStore,
        shares: npt.NDArray[np.float64],
        settings: FitSettings,
        device: torch.device,
    ) -> None:
        self.store, self.shares, self.settings, self.device = store, shares, settings, device
        self.model = channels_last(model, device)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the quantile loss and the order loss of a batch of frames, half of them mirrored."""
        rng = np.random.default_rng([self.settings.seed, step])
        rows = np.sort(rng.choice(len(self.store), size=self.settings.batch, p=self.shares))
        columns = rng.permuted(np.tile(np.arange(self.store.gains.shape[1]), (len(rows), 1)), axis=1)[:, :_DRAWN]
        gains = np.clip(self.store.gains[rows[:, None], columns], _LOWEST_GAIN, _HIGHEST_GAIN)
        views = self.store.views[rows]
        mirrored = rng.random(len(rows)) < 0.5
        views[mirrored] = views[mirrored, :, ::-1]
        plans, tokens = self.store.candidates[rows[:, None], columns], self.store.tokens[rows]
        said = judged_gains(self.model, *(torch.from_numpy(a).to(self.device) for a in (views, plans, tokens)))
        true = torch.from_numpy(gains).to(self.device)
        quantile, order = quantile_loss(said, true, QUANTILES), order_loss(said[..., QUANTILES.index(0.5)], true)
        parts = {"quantiles": float(quantile.detach()), "order": float(order.detach())}
        return quantile + _RANK_WEIGHT * order, parts


def draw_shares(frames: JudgedFrames) -> npt.NDArray[np.float64]:
    """Return how often each frame is drawn, ``(N,)``, in all 1: rare sources and kinds more often than they occur.

    A user's photo is of a source that was not seen, so that a source weighs as the root of its frames.
    """
    _, source, counts = np.unique(frames.sources, return_inverse=True, return_counts=True)
    kinds = kinds_of(frames.plans)
    weights = counts[source] ** -0.5 * np.where(np.isin(kinds, (Kind.DEGRADED, Kind.CLEAN)), 1.0, _RARE)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def order_loss(said: Tensor, true: Tensor) -> Tensor:
    """Return the logistic loss of pairs of proposals for one photo (Bradley and Terry, 1952); both ``(B, K)``.

    Pairs that are about equally good do not count; zero where there are no others.
    """
    better = (true[:, :, None] - true[:, None]) > _CLEARLY
    losses = F.softplus(said[:, None].float() - said[:, :, None].float())
    return (losses * better).sum() / better.sum().clamp(min=1)


def judged_gains(model: nn.Module, views: Tensor, plans: Tensor, tokens: Tensor) -> Tensor:
    """Return `QUANTILES` of the gain of each frame's proposals, ``(B, K, 3)``.

    Parameters
    ----------
    model
        The judge.
    views
        uint8 ``(B, 32, 32, 3)``.
    plans
        ``(B, K, len(Attribute))`` in plan-vector units.
    tokens
        ``(B, TOKENS, TOKEN_DIM)``.
    """
    count = plans.shape[1]
    pictures = (views.permute(0, 3, 1, 2).float() / 255).repeat_interleave(count, 0)
    flat = plans.flatten(0, 1)
    with torch.no_grad(), torch.autocast(views.device.type, enabled=False):
        rendered = render(flat, pictures).contiguous(memory_format=torch.channels_last)
    said: Tensor = model(pictures, rendered, flat, tokens.repeat_interleave(count, 0))
    return said.reshape(len(plans), count, -1)


@torch.no_grad()
def judge_proposals(model: nn.Module, store: JudgeStore) -> npt.NDArray[np.float32]:
    """Return `QUANTILES` of the gain of every stored frame's proposals, ``(N, len(SHIPPED), 3)``, on the CPU."""
    model = model.cpu().eval()
    parts = []
    for start in range(0, len(store), _MOST_ROWS):
        rows = slice(start, start + _MOST_ROWS)
        # Copies, as torch warns of arrays that cannot be written to.
        arrays = (store.views[rows], store.candidates[rows, : len(SHIPPED)], store.tokens[rows])
        parts.append(judged_gains(model, *(torch.from_numpy(np.array(array)) for array in arrays)))
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)
