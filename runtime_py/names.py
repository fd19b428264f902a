"""Names and limits that commands offer, apart from what works with them: ``--help`` must not wait for numpy."""

from enum import StrEnum
from typing import Final

MAX_STRENGTH: Final = 2.0
"""What an edit plan is multiplied by at most."""


class Mode(StrEnum):
    """How much is written."""

    FULL = "full"
    SHORT = "short"
