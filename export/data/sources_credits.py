"""Reads who made a photo out of paragraphs of ``Copyright:``, ``License:`` and ``Files:`` lines."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final

from pocketcrafter.export.data.sources import Credit

_FIELD: Final = re.compile(r"^(Copyright|Licen[cs]e|Files|Source|Comments?)\s*:\s*(.*)$", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"<[^>]*>|\([^)]*@[^)]*\)")
_YEARS: Final = re.compile(r"(?<!\S)\d{4}(?:\s*[-–]\s*\d{4})?[,.]?(?!\S)")


class CreditFile:
    """The credits of one text in Debian's machine-readable copyright format, or a README that looks like it.

    A pattern is compared by its last part only, because packages move files between the folders that the text names.
    """

    def __init__(self, text: str) -> None:
        self._credits = tuple(_paragraphs(text))

    def find(self, name: str) -> Credit | None:
        """Give the last credit whose patterns match the file ``name``, or None."""
        matches = (credit for pattern, credit in reversed(self._credits) if fnmatchcase(name, pattern))
        return next(matches, None)


def _paragraphs(text: str) -> Iterator[tuple[str, Credit]]:
    for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        fields: dict[str, list[str]] = {}
        current: list[str] = []
        for line in paragraph.splitlines():
            if match := _FIELD.match(line):
                current = fields.setdefault(match[1].casefold().replace("licence", "license"), [])
                current.append(match[2])
            else:
                current.append(line)
        licence = next(iter(fields.get("license", ())), "").strip()
        people = [name for line in fields.get("copyright", ()) if (name := _person(line))]
        if not licence or not people:
            continue
        credit = Credit(author="; ".join(people), licence=_licence(licence))
        for pattern in " ".join(fields.get("files", ())).split():
            last = PurePosixPath(pattern).name
            if last.strip("*"):
                yield last, credit


def _licence(text: str) -> str:
    """Spell the name as the other sources do: CC-BY-SA-4.0, Public Domain."""
    return re.sub(r"^(CC-BY(?:-SA)?) (?=\d)", r"\1-", text).replace("Public domain", "Public Domain")


def _person(line: str) -> str:
    line = line.removesuffix("/ Wikimedia Commons").strip()
    line = _YEARS.sub(" ", _ADDRESS.sub(" ", line.replace("©", " ")))
    return " ".join(line.split()).strip(" ,.;´")
