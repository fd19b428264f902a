"""The critic: a photo and a fixed prompt go in, an answer and the hidden states of all that was read come out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.embedding import EmbeddingTable
from pocketcrafter.runtime.errors import BackendError, BundleError
from pocketcrafter.runtime.language import Rotary, Text
from pocketcrafter.runtime.latent.settings import CriticSettings


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
        self._rotary = Rotary(np.array(rotary.frequencies, np.float32), rotary.scale, rotary.sections)

    def answer(self, picture: FloatArray, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Answer:
        """Read a picture and the prompt, and write until a stop or the longest answer.

        Parameters
        ----------
        picture
            As `pocketcrafter.runtime.latent.picture.critics_picture` makes it.
        progress
            Told how many words of at most how many are written; what it raises ends the work between two words.

        Raises
        ------
        BackendError
            If a network fails, or gives numbers that are not finite.
        """
        settings = self._settings
        text = Text(self._step, self._prefill, self._spec, self._rotary)
        read = text.read(self.embedded(self._vision.run({"pixels": picture})["tokens"]))
        hidden, ids = [read.hidden], list[int]()
        while True:
            if not np.isfinite(read.logits).all():
                raise BackendError("The language model gave logits that are not finite; try another --backend.")
            ids.append(int(read.logits.argmax()))
            progress(len(ids), settings.longest_answer)
            if ids[-1] in settings.stops or len(ids) == settings.longest_answer:
                return Answer(tuple(ids), np.concatenate(hidden))
            read = text.read(self._table.rows(ids[-1:]))
            hidden.append(read.hidden)

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
        reads = [text.read(self.embedded(self._vision.run({"pixels": picture})["tokens"]))]
        reads += [text.read(self._table.rows([word])) for word in written[:-1]]
        choices = tuple(int(read.logits.argmax()) for read in reads)
        return Answer(choices, np.concatenate([read.hidden for read in reads]))

    def embedded(self, tokens: FloatArray) -> FloatArray:
        """Return the vectors of the whole prompt, ``(positions, width)``: the picture's tokens in their places.

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
        vectors = self._table.rows(prompt)
        vectors[places] = seen
        return vectors
