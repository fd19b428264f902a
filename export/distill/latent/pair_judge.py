"""A latent pair, opened to be judged by rewards: its answers, its pictures, and what they are worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from pocketcrafter.export.distill.latent.flow import Shown
from pocketcrafter.export.distill.latent.frames import as_tensor
from pocketcrafter.export.distill.latent.rewards import Judged, Shot, judge
from pocketcrafter.export.families.latent.networks import TorchPair
from pocketcrafter.export.families.latent.pair import Pair
from pocketcrafter.export.families.latent.prompt import tokenizer_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.latent.critic import Answer
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture


@dataclass(frozen=True)
class Asked:
    """What an artist is asked of a frame.

    Attributes
    ----------
    shot
        The frame.
    text
        The critic's answer.
    photo
        The frame's latents, ``(1, channels, side, side)``.
    hidden, mask
        The critic's hidden states, padded, ``(1, positions, width)``, and 1 where they are some, ``(1, positions)``.
    """

    shot: Shot
    text: str
    photo: FloatArray
    hidden: FloatArray
    mask: FloatArray


def shown_of(asked: Sequence[Asked], device: torch.device, times: int = 1) -> Shown:
    """Return what an artist is shown of some frames.

    Parameters
    ----------
    asked
        The frames and the critic's answers.
    device
        Where to.
    times
        How often each frame follows itself.
    """
    given = (np.concatenate(each) for each in zip(*((a.photo, a.hidden, a.mask) for a in asked), strict=True))
    return Shown(*(as_tensor(np.repeat(array, times, 0), device) for array in given))


class PairJudge:
    """Judges what a pair writes and paints, in full precision and as phones run it.

    Parameters
    ----------
    pair
        Its folder.

    Raises
    ------
    ConfigError
        If it is no critic with an artist that reads it.
    """

    def __init__(self, pair: Pair) -> None:
        opened = TorchPair(pair)
        if opened.critic is None or opened.artist is None or opened.settings.critic is None:
            raise ConfigError(f"{pair.folder}: rewards are of whole pairs: a critic, and an artist that reads it.")
        if not opened.artist.reads_critic:
            raise ConfigError(f"{pair.folder}: its artist does not read the critic, so that its words have no reward.")
        self._critic, self._artist, self.settings = opened.critic, opened.artist, opened.settings.critic
        self._words = tokenizer_of(pair)

    @property
    def side(self) -> int:
        """Pixels of the artist's picture."""
        return self._artist.settings.side

    def seen(self, shot: Shot) -> FloatArray:
        """Return a frame as the critic's vision encoder reads it, ``(1, 3, side, side)``.

        Parameters
        ----------
        shot
            The frame.
        """
        return critics_picture(shot.photo, self.settings.picture)

    def answer(self, shot: Shot) -> Answer:
        """Return the critic's own answer to a frame.

        Parameters
        ----------
        shot
            The frame.
        """
        return self._critic.answer(self.seen(shot))

    def said(self, shot: Shot, answer: Answer) -> Judged:
        """Judge an answer by what the artist makes of it.

        Parameters
        ----------
        shot
            The frame.
        answer
            Its words and the hidden states that the artist reads.
        """
        change = self._artist.change(artists_picture(shot.photo, self.side), self._read(answer))
        return judge(shot, self._text(answer), change.after - change.before)

    def asked(self, shot: Shot) -> Asked:
        """Return what the critic asks the artist for.

        Parameters
        ----------
        shot
            The frame.
        """
        answer = self.answer(shot)
        # What conditions are made of, not yet seen by the bridge, which is trained with the artist.
        given = replace(self._artist, bridge=None).conditions(self._read(answer))
        photo = self._artist.latents(artists_picture(shot.photo, self.side))
        return Asked(shot, self._text(answer), photo, given["text"], given["mask"])

    def painted(self, asked: Asked, latents: FloatArray) -> list[Judged]:
        """Judge what an artist made of one frame, several times.

        Parameters
        ----------
        asked
            What it was asked.
        latents
            As the artist's network has them, ``(N, channels, side, side)``.
        """
        before, scale = self._picture(asked.photo), self._artist.settings.latents
        made = latents / np.float32(scale.scale) + np.float32(scale.shift)
        return [judge(asked.shot, asked.text, self._picture(row[None]) - before) for row in made]

    def _read(self, answer: Answer) -> FloatArray:
        """Return the hidden states that the artist reads: of the prompt and of all or the first words."""
        words = self._artist.settings.bridge_tokens
        return answer.hidden if words is None else answer.hidden[: len(self.settings.prompt) + words]

    def _text(self, answer: Answer) -> str:
        return str(self._words.decode(list(answer.ids), skip_special_tokens=True))

    def _picture(self, latents: FloatArray) -> FloatArray:
        image = self._artist.decode.run({"latents": latents})["image"][0].transpose(1, 2, 0)
        made: FloatArray = np.clip(image / 2 + np.float32(0.5), 0, 1)
        return made
