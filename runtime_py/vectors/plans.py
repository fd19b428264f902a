"""Vectors of plans and judgements: plan vectors, the gate, the critique of 21 items, a plan in words."""

from typing import Final

import numpy as np

from pocketcrafter.runtime.attribute_gate import AttributeGate, GateSettings, apply_gate
from pocketcrafter.runtime.critique import Item, critique_from, describe, with_tilt
from pocketcrafter.runtime.geometry.decide import TiltOpinion
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.vectors.pictures import PLANS
from pocketcrafter.runtime.vectors.recording import Recording

GATE: Final = GateSettings(
    attributes={
        a: AttributeGate(
            presence=0.3 + 0.02 * n, confidence=0.2 + 0.03 * n, dead_zone=0.01 * n, shrink=(1.0, 0.8, 0.0)[n % 3]
        )
        for n, a in enumerate(Attribute)
    }
)
"""A gate whose every third attribute never opens."""
_TILTS: Final = (None, (0.3, 0.9), (-2.49, 0.9), (-2.5, 0.7), (5.0, 0.69), (4.4, 0.95), (-12.0, 0.8))
"""Tilts in degrees, with their confidence."""
_SPOILED: Final = (float("nan"), float("inf"), float("-inf"))


def record_plans(recording: Recording) -> None:
    """Add the cases of plans, gate and critique."""
    plans = (*PLANS, EditPlan(denoise=0.45, deblur=0.25, dejpeg=1.0, tilt_degrees=-1.25))
    tensor = recording.tensor
    recording.add(
        "plan",
        [
            {
                "plan": plan.model_dump(mode="json"),
                "vector": tensor(plan.vector()),
                "strength": strength,
                "scaled": plan.scaled(strength).model_dump(mode="json"),
                "words": describe(plan),
            }
            for plan in plans
            for strength in (0.0, 0.7, 2.0)
        ],
    )
    rng = np.random.default_rng(11)
    vectors = (rng.uniform(-3, 3, (4, len(Attribute)))).astype(np.float32)
    recording.add(
        "plan_from_vector",
        [{"vector": tensor(v), "plan": EditPlan.from_vector(v).model_dump(mode="json")} for v in vectors],
    )
    judged = []
    for round_ in range(12):
        plan = rng.uniform(-1.2, 1.2, len(Attribute)).astype(np.float32)
        presence, confidence = rng.uniform(0, 1, (2, len(Attribute))).astype(np.float32)
        if round_ >= 9:
            plan[round_ - 9 :: 4] = _SPOILED[round_ - 9]
        score = float(np.float32(rng.uniform(-0.1, 1.1)))
        critique = critique_from(plan, presence, confidence, score, GATE)
        seen = _TILTS[round_ % len(_TILTS)]
        tilt = None if seen is None else TiltOpinion(degrees=seen[0], confidence=seen[1])
        levelled = with_tilt(critique, tilt)
        judged.append(
            {
                "plan": tensor(plan),
                "presence": tensor(presence),
                "confidence": tensor(confidence),
                "score": score,
                "gate": GATE.model_dump(mode="json"),
                "gated": apply_gate(plan, presence, confidence, GATE).model_dump(mode="json"),
                "critique": critique.model_dump(mode="json"),
                "tilt": tilt and tilt.model_dump(),
                "horizon": levelled.findings[Item.VIEWPOINT],
                "lines": levelled.lines(),
            }
        )
    recording.add("critique", judged)
