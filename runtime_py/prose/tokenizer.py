"""The decoder's words: ids to text and back for the few that a program needs, read from ``tokenizer.json``."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import PROSE_WORDS
from pocketcrafter.runtime.prose.prompt import (
    AMOUNT,
    HIDDEN_WORDS,
    LADDERS,
    PROMPT_WORDS,
    STOPS_WORD,
    plan_word,
)
from pocketcrafter.runtime.prose.wording import INSTRUCTIONS, NO_CHANGE, STOPS, amount_text

_MAX_BYTES: Final = 1 << 20


class Mark(StrEnum):
    """The words that give a critique its structure; each is one id."""

    THINK = "<think>"
    PART_1 = "\n1. "
    PART_2 = "\n2. "
    PART_3 = "\n3. "
    PART_4 = "\n4. "
    PART_5 = "\n5. "
    END_THINK = "\n</think>\n"
    EDIT = "<edit_start>"
    ITEM = "\n- "
    END_EDIT = "\n</edit_end>\n"
    ANSWER = "<answer>"
    END = "</answer>"

    @classmethod
    def parts(cls) -> tuple["Mark", ...]:
        """Return what opens each of the five thoughts."""
        return (cls.PART_1, cls.PART_2, cls.PART_3, cls.PART_4, cls.PART_5)


SPECIAL_WORDS: Final = (*Mark, *PROMPT_WORDS, AMOUNT, STOPS_WORD)
"""Words that are never split, in the order of their ids."""


@dataclass(frozen=True)
class Words:
    """The decoder's vocabulary.

    Attributes
    ----------
    texts
        Text of each id; empty where an id is not used.
    ids
        Id of each special word and of each single character that can be written.
    plain
        Which ids may stand inside a sentence: bool, shape ``(PROSE_WORDS,)``; printable ASCII, no angle brackets and
        no digits.
    """

    texts: tuple[str, ...]
    ids: dict[str, int]
    plain: npt.NDArray[np.bool_]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a tokenizer file of the `tokenizers` format: byte-level BPE with the special words added.

        Raises
        ------
        BundleError
            If it cannot be read, is larger than a tokenizer can be, or lacks a word that prose needs.
        """
        try:
            if (size := path.stat().st_size) > _MAX_BYTES:
                raise BundleError(f"{path}: {size} bytes; a tokenizer has at most {_MAX_BYTES}.")
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls._parse(content)
        except (OSError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{path}: not a tokenizer of this decoder: {error}. Build the bundle again.") from error

    @classmethod
    def _parse(cls, content: Any) -> Self:  # noqa: ANN401 - whatever the JSON holds
        texts = [""] * PROSE_WORDS
        unbyte = _byte_of_symbol()
        for symbols, number in content["model"]["vocab"].items():
            if symbols not in SPECIAL_WORDS:
                _put(texts, number, bytes(unbyte[s] for s in symbols).decode("utf-8", "replace"))
        for added in content["added_tokens"]:
            _put(texts, added["id"], added["content"])
        ids = {text: number for number, text in enumerate(texts) if text in SPECIAL_WORDS or len(text) == 1}
        if absent := [word for word in (*SPECIAL_WORDS, *_LETTERS) if word not in ids]:
            raise ValueError(f"it lacks {', '.join(map(repr, absent[:5]))}")
        special = frozenset(SPECIAL_WORDS)
        plain = np.array([bool(t) and t not in special and t.isascii() and _is_prose(t) for t in texts])
        return cls(tuple(texts), ids, plain)

    def text(self, ids: Iterable[int]) -> str:
        """Return what people see of ids."""
        return shown(self.texts[number] for number in ids)

    def numbers(self, words: Sequence[str]) -> list[int]:
        """Return the ids of special words or single characters."""
        return [self.ids[word] for word in words]


def shown(words: Iterable[str]) -> str:
    """Return what people see of words: hidden ones have no text, and amounts that of the plan words before them."""
    parts, amounts = [], {AMOUNT: "", STOPS_WORD: ""}
    for word in words:
        if word in _STATED:
            amounts |= _STATED[word]
        parts.append(amounts.get(word, "" if word in HIDDEN_WORDS else word))
    return "".join(parts)


def _stated() -> dict[str, dict[str, str]]:
    found = {}
    for attribute in Attribute:
        for amount in LADDERS[attribute]:
            texts = {AMOUNT: amount_text(amount)}
            if attribute is Attribute.EXPOSURE:
                texts[STOPS_WORD] = STOPS.get(abs(amount), "")
            found[plan_word(attribute, amount)] = texts
    return found


_LETTERS: Final = sorted(
    {
        *"0123456789.",
        *"".join(line.format(amount="") for lines in (*INSTRUCTIONS.values(), NO_CHANGE) for line in lines),
    }
)
"""Of numbers and instructions: whatever else a vocabulary lacks, these it can spell."""
_STATED: Final = _stated()
"""What amounts read like after a plan word."""


def _is_prose(text: str) -> bool:
    # Digits come from the plan alone.
    return text.isprintable() and not set("<>0123456789") & set(text)


def _put(texts: list[str], number: object, text: object) -> None:
    if not isinstance(number, int) or not 0 <= number < len(texts) or not isinstance(text, str) or texts[number]:
        raise ValueError(f"word {text!r} has the id {number!r}")
    texts[number] = text


def _byte_of_symbol() -> dict[str, int]:
    """Map the printable symbols of byte-level BPE (Radford et al., 2019) to the bytes that they stand for."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in set(printable)]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}
