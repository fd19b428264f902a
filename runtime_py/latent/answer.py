"""The critic's answer as text, and what can be read off it."""

from pathlib import Path
from typing import Any, Final

from pydantic import Field

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.prose.parse import MAX_CHARACTERS, Prose, ProseError, parse_prose
from pocketcrafter.runtime.words import counted

_FIRST: Final = 72


class LatentCritique(Config):
    """What the critic of a latent bundle says of one photo."""

    text: str = Field(description="The whole answer, special words too, without the one that ended it.")
    ended: bool = Field(description="Whether the critic came to an end by itself.")
    ids: tuple[int, ...] = Field(description="Words of the answer.")
    prose: Prose | None = Field(description="The answer taken apart; null where it is no critique in our form.")
    unread: str | None = Field(description="Why it could not be taken apart; null where it was.")
    seconds: float = Field(ge=0, description="What looking and writing took.")

    @property
    def words(self) -> str:
        """The answer's beginning, in one line."""
        line = _shown(" ".join(self.text.split()))
        return line if len(line) <= _FIRST else f"{line[: _FIRST - 1]}…"

    def lines(self) -> list[str]:
        """Return what people read: the score where there is one, the answer, and what is missing."""
        head = f"{counted(len(self.ids), 'word')} in {self.seconds:.1f} s"
        if self.prose is not None:
            head = f"score {self.prose.score}, {head}"
        notes = [] if self.ended else ["note: the answer was cut off at its longest."]
        notes += [f"note: {self.unread}"] if self.unread else []
        return [head, *(f"  {_shown(line)}" for line in self.text.strip().splitlines()), *notes]


class Vocabulary:
    """Turns ids into text; opened from a ``tokenizer.json``.

    Raises
    ------
    ConfigError
        If the package `tokenizers` is not installed.
    BundleError
        If the file is not a tokenizer.
    """

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer  # noqa: PLC0415 - enhancing does not need it
        except ImportError as error:
            raise ConfigError("The critic's words need tokenizers: pip install 'pocketcrafter[latent]'") from error
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # it raises bare exceptions
            raise BundleError(f"{path}: not a tokenizer ({error}). Build the bundle again.") from error

    def text(self, ids: tuple[int, ...]) -> str:
        """Return the text of ids, special words too.

        Parameters
        ----------
        ids
            Of the vocabulary.
        """
        found: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return found


def _shown(line: str) -> str:
    """Return a line without what a terminal would take for commands."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def critique_of(ids: tuple[int, ...], stops: tuple[int, ...], words: Vocabulary, seconds: float) -> LatentCritique:
    """Return the critique that an answer is.

    Parameters
    ----------
    ids
        Words of the answer, the one that ended it too.
    stops
        Words that end answers.
    words
        The critic's vocabulary.
    seconds
        What looking and writing took.
    """
    ended = ids[-1] in stops
    text = words.text(ids[:-1] if ended else ids)[:MAX_CHARACTERS]
    prose, unread = None, None
    try:
        prose = parse_prose(text)
    except ProseError as error:
        unread = str(error)
    return LatentCritique(text=text, ended=ended, ids=ids, prose=prose, unread=unread, seconds=seconds)
