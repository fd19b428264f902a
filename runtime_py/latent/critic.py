"""The critic: a photo and a fixed prompt go in, an answer and the hidden states of all that was read come out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.embedding import EmbeddingTable
from pocketcrafter.runtime.errors import BackendError, BundleError
from pocketcrafter.runtime.language import Read, Rotary, Text
from pocketcrafter.runtime.latent.settings import CriticSettings

Positions = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Answer:
    """What the critic said of a photo.

    Attributes
    ----------
    ids
        Words of the answer, the one that ended it too.
    hidden
        Hidden states of all that was read, ``(positions, width)``: of the prompt and of each word of the answer but
        the last, which nothing has read.
    """

    ids: tuple[int, ...]
    hidden: FloatArray


class LatentCritic:
    """Writes answers, greedily.

    Parameters
    ----------
    vision, step, prefill
        The opened vision encoder, and the language model's two functions.
    spec
        The language model's contract.
    table
        Vectors of its words.
    settings
        The prompt and what ends an answer.

    Raises
    ------
    BundleError
        If prompt or stops have words that the table has not.
    """

    def __init__(
        self,
        vision: Session,
        step: Session,
        prefill: Session,
        spec: ComponentSpec,
        table: EmbeddingTable,
        settings: CriticSettings,
    ) -> None:
        if (highest := max(*settings.prompt, *settings.stops)) >= (words := table.shape[0]):
            raise BundleError(f"The prompt has the word {highest}, and the table of word vectors has {words}.")
        self._vision, self._step, self._prefill, self._spec = vision, step, prefill, spec
        self._table, self._settings = table, settings
        rotary = settings.rotary
        self._rotary = Rotary(
            np.array(rotary.frequencies, np.float32), rotary.scale, rotary.sections, rotary.interleaved
        )

    def begin(self, picture: FloatArray) -> "Conversation":
        """Read a picture and the prompt; nothing is written yet.

        Parameters
        ----------
        picture
            As `pocketcrafter.runtime.latent.picture.critics_picture` makes it.

        Raises
        ------
        BackendError
            If a network fails.
        """
        text = Text(self._step, self._prefill, self._spec, self._rotary)
        return Conversation(text, self._read(text, picture), self.words, self._settings)

    def answer(self, picture: FloatArray, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Answer:
        """Read a picture and the prompt, and write until a stop or the longest answer.

        Parameters
        ----------
        picture
            As for :meth:`begin`.
        progress
            As for :meth:`Conversation.finish`.

        Raises
        ------
        BackendError
            If a network fails, or gives numbers that are not finite.
        """
        return self.begin(picture).finish(progress)

    def follow(self, picture: FloatArray, written: Sequence[int]) -> Answer:
        """Read an answer that is given, and return what the critic itself would write at each of its places.

        Parameters
        ----------
        picture
            As for :meth:`answer`.
        written
            The answer, at least one word.

        Returns
        -------
        Answer
            Hidden states of all that was read, as where the critic had written the answer; the ids are its choices.
        """
        text = Text(self._step, self._prefill, self._spec, self._rotary)
        reads = [self._read(text, picture)]
        ahead = _ahead(self._settings)
        reads += [text.read(self.words([word]), text.count + ahead) for word in written[:-1]]
        choices = tuple(int(read.logits.argmax()) for read in reads)
        return Answer(choices, np.concatenate([read.hidden for read in reads]))

    def _read(self, text: Text, picture: FloatArray) -> Read:
        vectors = self.embedded(self._vision.run({"pixels": picture})["tokens"])
        return text.read(vectors, prompt_positions(self._settings))

    def embedded(self, tokens: FloatArray) -> FloatArray:
        """Return the vectors of the whole prompt, ``(positions, width)``: the picture's tokens in their places.

        Parameters
        ----------
        tokens
            What the vision encoder gives, ``(…, places, width)``.

        Raises
        ------
        BundleError
            If the prompt has another number of places.
        """
        prompt = np.array(self._settings.prompt)
        seen = tokens.reshape(-1, tokens.shape[-1])
        places = prompt == self._settings.picture_token
        if (count := int(places.sum())) != len(seen):
            raise BundleError(
                f"The prompt has places for {count} tokens of a picture; the vision encoder gives {len(seen)}."
            )
        vectors = self.words(prompt)
        vectors[places] = seen
        return vectors

    def words(self, ids: Sequence[int] | Positions) -> FloatArray:
        """Return what the language model reads of words: their vectors, and nothing where it reads more of pictures.

        Parameters
        ----------
        ids
            ``(N,)``.
        """
        vectors = self._table.rows(ids)
        wide = next(t.shape[1] for t in self._spec.inputs if t.name == "embeddings")
        return np.pad(vectors, ((0, 0), (0, wide - vectors.shape[1])))


class Conversation:
    """A prompt that was read, and the answer as far as it is written; it goes on where it was left.

    Parameters
    ----------
    text
        The language model's caches.
    read
        What reading the prompt gave.
    words
        From ids to what the language model reads of them.
    settings
        What ends an answer.
    """

    def __init__(
        self, text: Text, read: Read, words: Callable[[Sequence[int]], FloatArray], settings: CriticSettings
    ) -> None:
        self._text, self._words, self._settings = text, words, settings
        self._last, self._hidden, self._ids = read, [read.hidden], list[int]()

    @property
    def ended(self) -> bool:
        """Whether the answer is whole: it came to a stop, or is as long as answers may be."""
        written, settings = self._ids, self._settings
        return bool(written) and (written[-1] in settings.stops or len(written) == settings.longest_answer)

    def states(self, words: int | None, progress: Callable[[int, int], None] = lambda _done, _of: None) -> FloatArray:
        """Return the hidden states of the prompt and of the answer's first words, writing them where they are not yet.

        Parameters
        ----------
        words
            How many words are read; there are fewer where the answer ends. `None` reads all.
        progress
            As for :meth:`finish`.

        Returns
        -------
        FloatArray
            ``(positions, width)``.

        Raises
        ------
        BackendError
            If a network fails, or gives numbers that are not finite.
        """
        while not self.ended and (words is None or len(self._hidden) <= words):
            self._write(progress)
            if not self.ended:
                where = self._text.count + _ahead(self._settings)
                self._last = self._text.read(self._words(self._ids[-1:]), where)
                self._hidden.append(self._last.hidden)
        return np.concatenate(self._hidden if words is None else self._hidden[: words + 1])

    def finish(self, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Answer:
        """Write the rest of the answer.

        Parameters
        ----------
        progress
            Told how many words of at most how many are written; what it raises ends the work between two words.

        Raises
        ------
        BackendError
            If a network fails, or gives numbers that are not finite.
        """
        hidden = self.states(None, progress)
        return Answer(tuple(self._ids), hidden)

    def _write(self, progress: Callable[[int, int], None]) -> None:
        if not np.isfinite(self._last.logits).all():
            raise BackendError("The language model gave logits that are not finite; try another --backend.")
        self._ids.append(int(self._last.logits.argmax()))
        progress(len(self._ids), self._settings.longest_answer)


def prompt_positions(settings: CriticSettings) -> Positions:
    """Return where the words of a prompt are, ``(N,)``, or ``(3, N)`` where a picture's tokens lie in rows.

    Parameters
    ----------
    settings
        Of the critic; its prompt has one picture.
    """
    prompt = np.array(settings.prompt)
    if settings.rows is None:
        return np.arange(len(prompt))
    first, rows = int(np.argmax(prompt == settings.picture_token)), settings.rows
    count = rows**2
    row, column = np.divmod(np.arange(count), rows)
    picture = first + np.stack([np.zeros(count, np.int64), row, column])
    after = first + rows + np.arange(len(prompt) - first - count)
    before, behind = (np.broadcast_to(text, (3, len(text))) for text in (np.arange(first), after))
    return np.concatenate([before, picture, behind], 1)


def _ahead(settings: CriticSettings) -> Positions:
    """Return how far a word's position is from how many were read, ``(1,)``: tokens of a picture in rows share some."""
    return np.array([0 if settings.rows is None else settings.rows - settings.rows**2])
