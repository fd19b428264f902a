"""Which parts of a plan earn their place among the proposals: forward selection by what an oracle gains with them."""

from collections.abc import Callable
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.export.train.gate_frames import Kind, kinds_of
from pocketcrafter.export.train.judge_frames import outcomes
from pocketcrafter.export.train.judge_inputs import Proposed
from pocketcrafter.export.train.plan_proposals import ALL, BALANCE, LIGHT, SHIPPED, TONES
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.plan_judge import Proposal, propose

_SETS: Final = (
    ALL,
    TONES,
    LIGHT,
    BALANCE,
    (*LIGHT, *BALANCE),
    (Attribute.EXPOSURE,),
    (Attribute.EXPOSURE, Attribute.DEHAZE),
    (Attribute.EXPOSURE, Attribute.CONTRAST),
    (Attribute.EXPOSURE, *BALANCE),
    (Attribute.DEHAZE,),
    (Attribute.DEHAZE, *BALANCE),
    (Attribute.CONTRAST, Attribute.SATURATION),
    (Attribute.TEMPERATURE,),
)
_LARGE: Final = tuple(product((ALL, TONES), (0.2, 0.35, 0.5)))
_STRENGTHS: Final = (0.5, 0.75, 1.0, 1.3, 1.6)
_BLOCK: Final = 64


class Selected(Config):
    """One step of the selection."""

    proposal: Proposal = Field(description="What was taken.")
    gain: float = Field(description="Mean CIEDE2000 that an oracle gains with it and all that were taken before.")
    ships: bool = Field(description="Whether the judge that ships looks at it.")


class Selection(Config):
    """The proposals that forward selection takes, beside those that ship."""

    frames: int = Field(description="Degraded frames.")
    parts: int = Field(description="How many there were to choose from.")
    steps: tuple[Selected, ...] = Field(description="In the order in which they were taken.")
    shipped_gain: float = Field(description="What the oracle gains with those that ship, on the same frames.")


def parts() -> tuple[Proposal, ...]:
    """Return what is chosen from: sets of attributes, and what is large in a plan, each at five strengths."""
    kinds = [*((attributes, 0.0) for attributes in _SETS), *_LARGE]
    return tuple(
        Proposal(attributes=attributes, dead_zone=dead_zone, strength=strength)
        for (attributes, dead_zone), strength in product(kinds, _STRENGTHS)
    )


def select_proposals(
    proposed: Proposed, frames: int, count: int, on_progress: Callable[[int], object] = lambda _: None
) -> Selection:
    """Take one proposal after the other, each time the one that adds most to what an oracle gains.

    Parameters
    ----------
    proposed
        Frames of photos that the critic never saw.
    frames
        How many degraded frames to look at, spread evenly over all of them.
    count
        How many proposals to take.
    on_progress
        Called with the number of frames of each block that is measured.
    """
    rows = np.array(proposed.judged.rows)
    rows = rows[kinds_of(np.array(proposed.evidence.plans[rows])) == Kind.DEGRADED]
    rows = rows[np.linspace(0, len(rows) - 1, min(frames, len(rows))).astype(np.int64)]
    candidates = parts()
    measured = []
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        plans = propose(proposed.said.plan[torch.from_numpy(block)].numpy(), (*candidates, *SHIPPED))
        pictures = (np.array(p[block]) for p in (proposed.evidence.small_views, proposed.evidence.small_cleans))
        measured.append(outcomes(torch.from_numpy(plans), *pictures)[0])
        on_progress(len(block))
    gains = np.concatenate(measured)
    steps = tuple(
        Selected(proposal=candidates[place], gain=gain, ships=candidates[place] in SHIPPED)
        for place, gain in forward_selection(gains[:, : len(candidates)], count)
    )
    best_shipped = np.maximum(gains[:, len(candidates) :].max(1), 0)
    return Selection(frames=len(rows), parts=len(candidates), steps=steps, shipped_gain=float(best_shipped.mean()))


def forward_selection(gains: npt.NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """Return columns in the order in which they add most to the mean of each row's largest gain, none counting as 0.

    Parameters
    ----------
    gains
        ``(N, K)``.
    count
        How many columns.

    Returns
    -------
    list
        Each column and the mean after it was taken.
    """
    best, taken = np.zeros(len(gains), dtype=np.float64), []
    for _ in range(min(count, gains.shape[1])):
        means = np.maximum(best[:, None], gains).mean(0)
        place = int(means.argmax())
        best = np.maximum(best, gains[:, place])
        taken.append((place, float(means[place])))
    return taken


def selection_text(selection: Selection) -> str:
    """Return the steps as a Markdown table, and what those that ship gain."""
    rows = [
        (
            plain(number, 0),
            " ".join(attribute.value for attribute in step.proposal.attributes),
            plain(step.proposal.dead_zone, 2),
            plain(step.proposal.strength, 2),
            plain(step.gain, 2),
            "yes" if step.ships else "",
        )
        for number, step in enumerate(selection.steps, 1)
    ]
    head = ("", "keeps", "above", "strength", "an oracle gains, ΔE2000", "ships")
    said = f"With those that ship an oracle gains {selection.shipped_gain:.2f} on the same {selection.frames} frames."
    return markdown(head, rows) + "\n\n" + said
