"""Qualcomm's systems-on-chip: QNN's numbers of them, and the check that a binary is for the one that was asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.targets import TARGETS, Soc, TargetKind

SOC_IDS: Final[Mapping[Soc, int]] = {Soc.SM8650: 57, Soc.SM8750: 69, Soc.SM8850: 87}
"""QNN's numbers of the systems-on-chip."""
SOC_ID_AT: Final = slice(188, 192)
"""Where a context binary of QNN 2.49 to 2.51 keeps the system-on-chip's number, a little-endian u32."""


class WrongSocError(GateError):
    """A context binary was compiled for another system-on-chip than was asked for."""


def soc_of(target: TargetKind) -> Soc:
    """Return the system-on-chip of a target that is compiled for one.

    Raises
    ------
    TypeError
        If the target is not compiled for a single one.
    """
    soc = TARGETS[target].soc
    if soc is None:
        raise TypeError(f"the row of {target} names no system-on-chip")
    return soc


def check_socs(soc_ids: Sequence[int], soc: Soc, model: Path) -> None:
    """Refuse context binaries for another system-on-chip.

    Parameters
    ----------
    soc_ids
        QNN's numbers, one a context binary.
    soc
        The system-on-chip that was asked for.
    model
        Named in the message.

    Raises
    ------
    WrongSocError
        If a number is that of another one.
    """
    if wrong := sorted(set(soc_ids) - {SOC_IDS[soc]}):
        names = {number: name for name, number in SOC_IDS.items()}
        found = ", ".join(names.get(number, f"QNN's number {number}") for number in wrong)
        raise WrongSocError(
            f"{model.name} was compiled for {found}, not for {soc} (QNN's number {SOC_IDS[soc]}); nothing was kept."
        )
