"""Propose and judge: parts of a predicted plan, what each does to a small view, and the one that is carried out.

Whether a remedy helps shows in the remedied picture. A judge network looks at each proposal's preview beside the photo
and predicts quantiles of what it gains; a proposal is carried out only where even the low quantile is a gain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import Field

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import TONAL, UNITS, Attribute, EditPlan, attribute_limits
from pocketcrafter.runtime.render import render

PROPOSALS: Final = 12
"""Proposals that a judge looks at, in one batch."""
PREVIEW_PX: Final = 32
"""Side of a preview: tones and casts survive this size."""


class Proposal(Config):
    """A part of the critic's predicted plan."""

    attributes: tuple[Attribute, ...] = Field(min_length=1, max_length=len(TONAL), description="What it keeps.")
    dead_zone: float = Field(0.0, ge=0, le=4, description="Smaller predicted amounts are dropped; in vector units.")
    strength: float = Field(1.0, gt=0, le=4, description="Factor on what is left.")


class JudgeSettings(Config):
    """What a bundle's judge chooses from, and how sure it must be."""

    proposals: tuple[Proposal, ...] = Field(
        min_length=PROPOSALS, max_length=PROPOSALS, description="What the judge was trained to look at, in order."
    )
    bar: float = Field(ge=-100, le=100, description="What the low quantile of a gain must exceed, in CIEDE2000.")
    worth: float = Field(ge=0, le=100, description="What its median must exceed: less is not seen, in CIEDE2000.")


@dataclass(frozen=True)
class Chosen:
    """A proposal that is carried out.

    Attributes
    ----------
    tones
        The proposal; nothing but tones is in it.
    gain
        Quantiles of its gain in CIEDE2000 as the judge predicts them, lowest first: 10, 50 and 90 %.
    """

    tones: EditPlan
    gain: tuple[float, float, float]


def propose(plan: FloatArray, proposals: Sequence[Proposal]) -> FloatArray:
    """Return the proposals that a predicted plan comes to; some may be equal, or change nothing.

    Parameters
    ----------
    plan
        As the critic predicts it, in vector units: ``(…, len(Attribute))``; what is not finite counts as no change.
    proposals
        Which parts.

    Returns
    -------
    FloatArray
        ``(…, len(proposals), len(Attribute))`` in vector units, each amount in its range; only tones.
    """
    finite = np.where(np.isfinite(plan), plan, 0)[..., None, :]
    kept = np.array([[a in TONAL and a in p.attributes for a in Attribute] for p in proposals])
    dead_zones = np.array([[p.dead_zone] for p in proposals])
    strengths = np.array([[p.strength] for p in proposals])
    low, high = (limit / UNITS for limit in attribute_limits())
    parts = np.where(kept & (np.abs(finite) >= dead_zones), finite * strengths, 0.0)
    return np.clip(parts, low, high).astype(np.float32)


def preview(view: FloatArray) -> FloatArray:
    """Return the mean of each square of a view: ``(1, 3, VIEW_PX, VIEW_PX)`` to ``(1, 3, PREVIEW_PX, PREVIEW_PX)``."""
    _, channels, height, width = view.shape
    squares = view.reshape(1, channels, PREVIEW_PX, height // PREVIEW_PX, PREVIEW_PX, width // PREVIEW_PX)
    small: FloatArray = squares.mean(axis=(3, 5), dtype=np.float32)
    return small


def rendered_previews(small: FloatArray, plans: FloatArray) -> FloatArray:
    """Return a preview after the analytic render of each plan.

    Parameters
    ----------
    small
        As `preview` gives it.
    plans
        In vector units: ``(K, len(Attribute))``.

    Returns
    -------
    FloatArray
        ``(K, 3, PREVIEW_PX, PREVIEW_PX)``, sRGB-encoded in [0, 1].
    """
    pixels = np.ascontiguousarray(small[0].transpose(1, 2, 0))
    rendered = np.stack([render(EditPlan.from_vector(plan), pixels) for plan in plans])
    return np.ascontiguousarray(rendered.transpose(0, 3, 1, 2))


def judge_inputs(small: FloatArray, plans: FloatArray, tokens: FloatArray) -> dict[str, FloatArray]:
    """Return what a judge reads: every proposal beside the photo.

    Parameters
    ----------
    small
        As `preview` gives it.
    plans
        In vector units: ``(PROPOSALS, len(Attribute))``.
    tokens
        The critic's plan tokens: ``(1, TOKENS, TOKEN_DIM)``.
    """
    return {
        "view": np.repeat(small, len(plans), axis=0),
        "rendered": rendered_previews(small, plans),
        "plan": plans,
        "tokens": np.repeat(tokens, len(plans), axis=0),
    }


def best(gains: FloatArray, bar: float, worth: float) -> int | None:
    """Return which proposal is carried out: that of the best median, among those that are sure enough and worth it.

    Parameters
    ----------
    gains
        Predicted quantiles, ``(K, 3)``, lowest first.
    bar, worth
        What the low quantile and the median must exceed, in CIEDE2000.
    """
    medians = np.where((gains[:, 0] > bar) & (gains[:, 1] > worth), gains[:, 1], -np.inf)
    place = int(medians.argmax())
    return place if np.isfinite(medians[place]) else None


def choose(
    plan: FloatArray, view: FloatArray, tokens: FloatArray, settings: JudgeSettings, judge: Callable[[], Session]
) -> Chosen | None:
    """Let a judge choose among a predicted plan's proposals.

    Parameters
    ----------
    plan
        As the critic predicts it, in vector units: ``(len(Attribute),)``.
    view
        What the critic saw, sRGB-encoded in [0, 1]: ``(1, 3, VIEW_PX, VIEW_PX)``.
    tokens
        The critic's plan tokens: ``(1, TOKENS, TOKEN_DIM)``.
    settings
        What is proposed, and the bar.
    judge
        Opens the judge; called where there is something to judge.

    Returns
    -------
    Chosen or None
        `None` where the photo is better left as it is.

    Raises
    ------
    BackendError
        If the judge fails.
    """
    plans = propose(plan, settings.proposals)
    if not plans.any():
        return None
    gains = judge().run(judge_inputs(preview(view), plans, tokens))["gain"]
    place = best(gains, settings.bar, settings.worth)
    if place is None or not plans[place].any():
        return None
    low, middle, high = (float(quantile) for quantile in gains[place])
    return Chosen(EditPlan.from_vector(plans[place]), (low, middle, high))
