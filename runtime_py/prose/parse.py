"""Reads a critique back: its five thoughts, its instructions as numbers, its score; from any source, trusted or not."""

import re
from collections.abc import Iterable
from typing import Final

from pydantic import Field

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import PocketCrafterError
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.wording import CLAUSE_PATTERNS, INSTRUCTION_PATTERNS, NO_CHANGE, Fault

MAX_CHARACTERS: Final = 20_000
MAX_INSTRUCTIONS: Final = 64
_PARTS: Final = 5


class ProseError(PocketCrafterError):
    """A critique's text is not one."""


class Instruction(Config):
    """One edit: what is changed, which way, and by how much where that is said."""

    attribute: Attribute
    direction: int = Field(ge=-1, le=1, description="Sign of the change: +1 or -1.")
    amount: float | None = Field(ge=0, le=1000, description="Magnitude in the attribute's own unit; null where unsaid.")


class Prose(Config):
    """A critique in words, and what they mean."""

    text: str = Field(max_length=MAX_CHARACTERS, description="The whole text.")
    thoughts: tuple[str, ...] = Field(
        min_length=_PARTS,
        max_length=_PARTS,
        description="Quality; color and light; composition; aesthetic; summary.",
    )
    faults: tuple[Instruction, ...] = Field(description="Faults that the thoughts name; they say no amounts.")
    instructions: tuple[Instruction, ...] = Field(description="The edit block, as far as it was understood.")
    unread: tuple[str, ...] = Field((), description="Lines of the edit block that were not understood.")
    score: int = Field(ge=0, le=100)


def parse_prose(text: str) -> Prose:
    """Parse a critique.

    Both closers of the edit block are read, ``</edit_end>`` and a second ``<edit_start>``; the answer's may be missing.

    Raises
    ------
    ProseError
        With the first thing that is missing, out of order or too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise ProseError(f"The critique has {len(text)} characters; {MAX_CHARACTERS} are the most that is read.")
    think, rest = _between(text, ("<think>",), ("</think>",), "five thoughts")
    edit, rest = _between(rest, ("<edit_start>",), ("</edit_end>", "<edit_start>"), "edit block")
    thoughts = _thoughts(think)
    lines = [line.strip().lstrip("-*").strip() for line in edit.splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise ProseError(f"The edit block is empty; it says at least one thing, such as {NO_CHANGE[0]!r}.")
    if len(lines) > MAX_INSTRUCTIONS:
        raise ProseError(f"The edit block has {len(lines)} lines; {MAX_INSTRUCTIONS} are the most that is read.")
    read = [(line, _instruction(line)) for line in lines]
    return Prose(
        text=text,
        thoughts=thoughts,
        faults=tuple(Instruction(attribute=a, direction=d, amount=None) for a, d in named_faults(thoughts)),
        instructions=tuple(said for _, said in read if said is not None),
        unread=tuple(line for line, said in read if said is None and line not in NO_CHANGE),
        score=_score(rest),
    )


def named_faults(thoughts: Iterable[str]) -> list[Fault]:
    """Return the faults that text names, each once, in a fixed order."""
    text = "\n".join(thoughts)
    return [fault for fault, pattern in CLAUSE_PATTERNS.items() if pattern.search(text)]


def _between(text: str, openers: tuple[str, ...], closers: tuple[str, ...], what: str) -> tuple[str, str]:
    """Return what stands between the first opener and the first closer after it, and the rest."""
    start = min((found + len(o) for o in openers if (found := text.find(o)) >= 0), default=-1)
    if start < 0:
        raise ProseError(f"The critique has no {what}: {openers[0]} is missing.")
    ends = [(found, found + len(c)) for c in closers if (found := text.find(c, start)) >= 0]
    if not ends:
        raise ProseError(f"The critique's {what} is not closed: {' or '.join(closers)} is missing.")
    end, after = min(ends)
    return text[start:end], text[after:]


def _thoughts(text: str) -> tuple[str, ...]:
    pieces = re.split(r"(?m)^[ \t]*([1-9])[.)][ \t]+", text)
    numbers, thoughts = pieces[1::2], tuple(" ".join(piece.split()) for piece in pieces[2::2])
    if numbers != [str(n + 1) for n in range(_PARTS)] or not all(thoughts):
        found = ", ".join(numbers) or "none"
        raise ProseError(f"The critique needs thoughts numbered 1 to {_PARTS}, none of them empty; it has {found}.")
    return thoughts


def _instruction(line: str) -> Instruction | None:
    for (attribute, direction), patterns in INSTRUCTION_PATTERNS.items():
        for pattern in patterns:
            if match := pattern.fullmatch(line):
                return Instruction(attribute=attribute, direction=direction, amount=float(match[1]))
    return None


def _score(text: str) -> int:
    match = re.search(r"<answer>\s*([0-9]{1,3})(?:\.[0-9]{1,9})?\s*(?:</answer>|$)", text)
    if match is None or int(match[1]) > 100:
        raise ProseError("The critique has no answer: <answer> and a score from 0 to 100 are missing after the edits.")
    return int(match[1])
