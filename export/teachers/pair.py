"""A latent pair as a teacher, run by the code of its own bundles in full precision, on the CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from pocketcrafter.export.families.latent.networks import TorchPair
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.families.latent.prompt import tokenizer_of
from pocketcrafter.export.teachers.layout import Layout
from pocketcrafter.export.teachers.systems import Sampling
from pocketcrafter.export.teachers.teacher import NOTHING, Critique, Teacher, Trajectory, Wish
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture
from pocketcrafter.runtime.latent.settings import Latent
from pocketcrafter.runtime.photo import Photo


class LatentPairTeacher(Teacher):
    """A pair's critic and artist; the parameters are those of :class:`Teacher`.

    Its steps and sizes are those of ``pair.yaml``; only the answer's length is taken from ``sampling``.

    Raises
    ------
    BackendError
        If it is to run on another device than the CPU.
    """

    def __init__(
        self, layout: Layout, device: str, dtype: torch.dtype | None = None, sampling: Sampling | None = None
    ) -> None:
        if device != "cpu" or dtype not in {None, torch.float32}:
            raise BackendError(
                f"{layout.folder}: a latent pair runs in float32 on the CPU, not on {device} as {dtype}."
            )
        super().__init__(layout, device, dtype, sampling)
        pair = read_pair(layout.folder)
        self._kept: list[FloatArray] = []
        self._pair = TorchPair(pair, self._keep, longest_answer=self.sampling.answer or None)
        self._words = None if pair.critic is None else tokenizer_of(pair)

    def critiques(self, photos: Sequence[Image.Image]) -> list[Critique]:
        """See :meth:`Teacher.critiques`; one after another, as a phone runs it."""
        critic, settings = self._pair.critic, self._pair.settings.critic
        if critic is None or settings is None or self._words is None:
            return super().critiques(photos)
        answers = [critic.answer(critics_picture(_as_photo(photo), settings.picture)) for photo in photos]
        return [
            Critique(
                text=str(self._words.decode(list(said.ids), skip_special_tokens=True)).strip(),
                prompt=np.array(settings.prompt, np.int32),
                ids=np.array(said.ids, np.int32),
                hidden=said.hidden,
            )
            for said in answers
        ]

    def trajectory(self, photo: Image.Image, wish: Wish = NOTHING) -> Trajectory:
        """See :meth:`Teacher.trajectory`.

        As a bundle does, the difference of two decoded pictures is added to the photo, so that what the autoencoder
        loses is no edit.
        """
        artist = self._pair.artist
        if artist is None:
            raise BackendError(f"{self.layout.folder}: a critic alone; it edits nothing.")
        settings = artist.settings
        if wish.seed is not None:
            artist = replace(artist, settings=settings.model_copy(update={"seed": wish.seed}))
        hidden = (wish.critique or self.critique(photo)).hidden if artist.reads_critic else None
        shown = artists_picture(_as_photo(photo), settings.side)
        self._kept = []
        change = artist.change(shown, hidden)
        return Trajectory(
            latents=np.concatenate(self._kept),
            times=np.array([step.timestep for step in settings.steps], np.float32),
            picture=_as_image(shown + change.after - change.before),
            photo=_as_image(shown),
            conditions=hidden,
        )

    def _keep(self, component: str, function: str | None, sample: Mapping[str, FloatArray]) -> None:
        """Keep latents before each step, and of what `decode` is given first, the edit's: those after the last."""
        del function
        artist = self._pair.artist
        if artist is None or component not in {Latent.DENOISE, Latent.DECODE}:
            return
        steps, latents = artist.settings.steps, sample["latents"]
        if component == Latent.DENOISE:
            # The network is given scaled latents.
            self._kept.append(latents / np.float32(steps[len(self._kept)].scale))
        elif len(self._kept) == len(steps):
            own = artist.settings.latents
            self._kept.append((latents - np.float32(own.shift)) * np.float32(own.scale))


def _as_photo(image: Image.Image) -> Photo:
    return Photo(np.asarray(image.convert("RGB")))


def _as_image(picture: FloatArray) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))
