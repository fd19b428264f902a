"""What a plan judge chooses from: parts of the critic's plan, each at two strengths."""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from pocketcrafter.runtime.plan import TONAL, UNITS, Attribute, attribute_limits

_BALANCE: Final = (Attribute.TEMPERATURE, Attribute.TINT)
_STRENGTHS: Final = (0.5, 1.0)


def _only(*attributes: Attribute) -> Callable[[Tensor, Tensor], Tensor]:
    kept = torch.tensor([a in attributes for a in Attribute])
    return lambda plan, _: plan * kept


_PARTS: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "all": lambda plan, _: plan,
    "likely": lambda plan, presence: plan * (presence >= 0.5),
    "sure": lambda plan, presence: plan * (presence >= 0.8),
    "medium": lambda plan, _: plan * (plan.abs() >= 0.2),
    "large": lambda plan, _: plan * (plan.abs() >= 0.35),
    "exposure": _only(Attribute.EXPOSURE),
    "balance": _only(*_BALANCE),
    "tones": _only(*(a for a in TONAL if a not in _BALANCE)),
    "haze": _only(Attribute.DEHAZE),
    "light": _only(Attribute.EXPOSURE, Attribute.DEHAZE, Attribute.CONTRAST),
}
PROPOSALS: Final = tuple(f"{part} × {strength:g}" for part in _PARTS for strength in _STRENGTHS)
"""What each of `propose`'s columns is."""


def propose(plan: Tensor, presence: Tensor) -> Tensor:
    """Return the proposals for photos; nothing but tones is in them, and every amount lies in its range.

    Parameters
    ----------
    plan, presence
        As the critic says them: ``(N, len(Attribute))``.

    Returns
    -------
    Tensor
        ``(N, len(PROPOSALS), len(Attribute))`` in plan-vector units; some may be equal, or change nothing.
    """
    tonal = plan * torch.tensor([a in TONAL for a in Attribute])
    parts = [part(tonal, presence) for part in _PARTS.values()]
    return within_limits(torch.stack([strength * part for part in parts for strength in _STRENGTHS], 1))


def within_limits(plans: Tensor) -> Tensor:
    """Clip plan vectors ``(…, len(Attribute))`` to each attribute's range."""
    low, high = (torch.from_numpy(limit / UNITS).to(plans) for limit in attribute_limits())
    return torch.clamp(plans, low, high)
