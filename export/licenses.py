"""Licences of checkpoints: what a folder states, and which of them forbid commercial use."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_LICENSES: Final = ("LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING", "NOTICE")
_NOT_STATED: Final = "families/networks/no_license.txt"
UNKNOWN: Final = "NOASSERTION"
"""SPDX's identifier for a licence that is not stated."""
_OWN: Final = "LicenseRef-checkpoint"
_CARD: Final = "README.md"
_STATED: Final = re.compile(r"\A---\n(?:.*\n)*?license:[ \t]*([A-Za-z0-9.+-]+)[ \t]*\n(?:.*\n)*?---", re.MULTILINE)
_SPDX: Final[Mapping[str, str]] = {
    name.lower(): name for name in ("Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0")
}
"""Licences that model cards spell otherwise than SPDX."""
_MAX_CARD_BYTES: Final = 1 << 20
_NON_COMMERCIAL: Final = re.compile(r"(^|[^a-z])(nc|non-?commercial|research)([^a-z]|$)", re.IGNORECASE)


def stated_license(folder: Path) -> tuple[str, str]:
    """Return a checkpoint's licence, as SPDX has it, and the file of its text.

    Parameters
    ----------
    folder
        Of the checkpoint; its card is read, and whether it has a text.
    """
    stated = ""
    card = folder / _CARD
    if card.is_file() and card.stat().st_size <= _MAX_CARD_BYTES:
        found = _STATED.match(card.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n"))
        stated = found[1] if found else ""
    text = next((folder / name for name in _LICENSES if (folder / name).is_file()), None)
    spdx = _SPDX.get(stated.lower(), f"LicenseRef-{stated}" if stated else _OWN if text else UNKNOWN)
    return spdx, str(text) if text else _NOT_STATED


def forbids_commerce(spdx: str) -> bool:
    """Return whether a licence is for non-commercial use, as its identifier has it.

    Parameters
    ----------
    spdx
        An SPDX expression, or an identifier of its kind: ``CC-BY-NC-SA-4.0``, ``LicenseRef-foo-research``.
    """
    return _NON_COMMERCIAL.search(spdx) is not None
