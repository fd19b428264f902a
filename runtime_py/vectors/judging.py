"""Vectors of propose and judge: proposals, previews, what a judge reads, its choice, and the critique that follows."""

from typing import Final

import numpy as np

from pocketcrafter.runtime.critique import critique_from
from pocketcrafter.runtime.plan import RESTORATION, TONAL, Attribute, EditPlan
from pocketcrafter.runtime.plan_judge import (
    PROPOSALS,
    Chosen,
    JudgeSettings,
    Proposal,
    best,
    judge_inputs,
    preview,
    propose,
)
from pocketcrafter.runtime.pocket import TOKEN_DIM, TOKENS
from pocketcrafter.runtime.vectors.pictures import picture
from pocketcrafter.runtime.vectors.plans import GATE
from pocketcrafter.runtime.vectors.recording import Recording
from pocketcrafter.runtime.views import global_view

JUDGE: Final = JudgeSettings(
    proposals=tuple(
        Proposal(
            # The last keeps what restores, too, which no proposal may hold.
            attributes=TONAL[n % 4 :: 1 + n % 3] if n < PROPOSALS - 1 else (*RESTORATION, Attribute.EXPOSURE),
            dead_zone=0.1 * (n % 3),
            strength=(0.5, 1.0, 1.6)[n % 3],
        )
        for n in range(PROPOSALS)
    ),
    bar=0.25,
    worth=0.75,
)
_JUDGED: Final = GATE.model_copy(update={"judge": JUDGE})
_TONES: Final = EditPlan(exposure_ev=0.7, tint_mired=-8, dehaze=0.2)


def record_judging(recording: Recording) -> None:
    """Add the cases of every step between the critic's plan and the tones that are carried out."""
    tensor, rng = recording.tensor, np.random.default_rng(23)
    judge = JUDGE.model_dump(mode="json")
    predicted = rng.uniform(-1.5, 1.5, (4, len(Attribute))).astype(np.float32)
    predicted[1] *= 0.1
    predicted[2, ::3] = np.nan
    predicted[3] = 0
    recording.add(
        "propose",
        [{"plan": tensor(p), "judge": judge, "plans": tensor(propose(p, JUDGE.proposals))} for p in predicted],
    )
    view = global_view(picture(301, 223, 301))
    tokens = rng.normal(0, 1, (1, TOKENS, TOKEN_DIM)).astype(np.float32)
    read = judge_inputs(preview(view), propose(predicted[0], JUDGE.proposals), tokens)
    recording.add(
        "judge_inputs",
        [
            {
                "view": tensor(view),
                "plans": tensor(propose(predicted[0], JUDGE.proposals)),
                "tokens": tensor(tokens),
                "inputs": {name: tensor(array) for name, array in read.items()},
            }
        ],
    )
    gains = np.sort(rng.normal(0, 1, (6, PROPOSALS, 3)), axis=2).astype(np.float32)
    gains[0] -= 9
    gains[1, 3], gains[1, 7] = gains[1].max(axis=0) + 1, gains[1].max(axis=0) + 1
    gains[2, 0] = np.nan
    recording.add(
        "choose",
        [
            {"gains": tensor(g), "bar": bar, "worth": JUDGE.worth, "best": best(g, bar, JUDGE.worth)}
            for g in gains
            for bar in (-0.5, 0.25)
        ],
    )
    presence, confidence = rng.uniform(0, 1, (2, len(Attribute))).astype(np.float32)
    chosen = Chosen(_TONES, (0.5, 2.25, 4.0))
    recording.add(
        "judged_critique",
        [
            {
                "plan": tensor(predicted[0]),
                "presence": tensor(presence),
                "confidence": tensor(confidence),
                "score": 0.5,
                "gate": _JUDGED.model_dump(mode="json"),
                "tones": None if it is None else it.tones.model_dump(mode="json"),
                "critique": critique_from(predicted[0], presence, confidence, 0.5, _JUDGED, it).model_dump(mode="json"),
            }
            for it in (chosen, None)
        ],
    )
