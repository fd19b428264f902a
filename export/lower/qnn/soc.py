"""Qualcomm's systems-on-chip: QNN's numbers of them, and the check that a binary is for the one that was asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.targets import SOC_IDS, TARGETS, Soc, TargetKind

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
    socs = TARGETS[target].socs
    if len(socs) != 1:
        raise TypeError(f"the row of {target} names {len(socs)} systems-on-chip")
    return socs[0]


def check_socs(soc_ids: Sequence[int], socs: Sequence[Soc], model: Path) -> None:
    """Refuse context binaries for other systems-on-chip than were asked for.

    Parameters
    ----------
    soc_ids
        QNN's numbers, one a context binary.
    socs
        The systems-on-chip that were asked for.
    model
        Named in the message.

    Raises
    ------
    WrongSocError
        If a number is that of another one, or one is missing.
    """
    wanted = {SOC_IDS[soc]: soc for soc in socs}
    if set(soc_ids) != wanted.keys():
        names = {number: name for name, number in SOC_IDS.items()}
        found = ", ".join(names.get(number, f"QNN's number {number}") for number in sorted(set(soc_ids))) or "none"
        asked = ", ".join(f"{soc} (QNN's number {number})" for number, soc in wanted.items())
        raise WrongSocError(f"{model.name} was compiled for {found}, not for {asked}; nothing was kept.")
