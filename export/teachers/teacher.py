"""What every teacher can be asked, whichever system it is, and how one is loaded."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pocketcrafter.export.families.family import referenced
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.teachers.layout import Layout, read_layout
from pocketcrafter.export.teachers.systems import Sampling, SystemName
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError


@dataclass(frozen=True)
class Critique:
    """What a teacher says of a photo.

    Attributes
    ----------
    text
        As its release decodes it.
    prompt, ids
        Words of the prompt, the picture's places among them, and of the answer, the one that ended it too; int32.
    hidden
        Last hidden states of all that was read, ``(prompt + answer − 1, width)``; float32.
    """

    text: str
    prompt: npt.NDArray[np.int32]
    ids: npt.NDArray[np.int32]
    hidden: FloatArray


@dataclass(frozen=True)
class Wish:
    """What a photo is edited by; each system reads its own of these.

    Attributes
    ----------
    critique
        Made beforehand; a teacher with a critic makes it itself where there is none.
    instruction
        In words.
    maps
        Levels that are aimed at, ``(channels, height, width)`` in [−1, 1].
    seed
        Of the noise; the release's where none is given.
    """

    critique: Critique | None = None
    instruction: str | None = None
    maps: FloatArray | None = None
    seed: int | None = None


NOTHING = Wish()
"""Leaves all to the teacher."""


@dataclass(frozen=True)
class Trajectory:
    """How an edit came about.

    Attributes
    ----------
    latents
        Before each step and after the last one, ``(steps + 1, channels, height, width)``, or ``(steps + 1, tokens,
        channels)`` where a pipeline keeps them as tokens; float32.
    times
        What the network was told of each step's noise, ``(steps,)``: 1,000 is noise alone.
    picture
        What came of it, sRGB.
    photo
        What of the photo the picture shows, at the picture's size, sRGB.
    conditions
        What the artist read, ``(positions, width)``; `None` where it reads none of these.
    """

    latents: FloatArray
    times: FloatArray
    picture: Image.Image
    photo: Image.Image
    conditions: FloatArray | None = field(default=None)


class Teacher(ABC):
    """A full-precision critic, artist or both.

    Parameters
    ----------
    layout
        Of its folder.
    device
        As torch names it.
    dtype
        Of weights and activations.
    sampling
        Steps, sizes and lengths in place of the release's.
    """

    def __init__(
        self, layout: Layout, device: str, dtype: torch.dtype | None = None, sampling: Sampling | None = None
    ) -> None:
        self.layout, self.device = layout, device
        self.sampling = sampling or layout.system.sampling
        own = torch.float32 if self.sampling.value_bytes == 4 else torch.bfloat16
        self.dtype = own if dtype is None else dtype

    def critique(self, photo: Image.Image) -> Critique:
        """Say what is to be edited.

        Parameters
        ----------
        photo
            sRGB, upright.

        Raises
        ------
        BackendError
            If the teacher has no critic.
        """
        return self.critiques([photo])[0]

    def critiques(self, photos: Sequence[Image.Image]) -> list[Critique]:
        """Say of each of several photos what is to be edited; a language model answers of all of them at once.

        Parameters
        ----------
        photos
            sRGB, upright, of any sizes.

        Raises
        ------
        BackendError
            If the teacher has no critic.
        """
        del photos
        raise BackendError(f"{self.layout.folder}: {self.layout.system.title} has no critic; ask it to edit.")

    def edit(self, photo: Image.Image, wish: Wish = NOTHING) -> Image.Image:
        """Edit a photo.

        Parameters
        ----------
        photo
            sRGB, upright.
        wish
            What to edit it by.

        Returns
        -------
        PIL.Image.Image
            sRGB, of the size that the release makes of such a photo.

        Raises
        ------
        BackendError
            If the teacher has no artist, or lacks what it edits by.
        """
        return self.trajectory(photo, wish).picture

    @abstractmethod
    def trajectory(self, photo: Image.Image, wish: Wish = NOTHING) -> Trajectory:
        """Edit a photo, and keep the latents of each step; as :meth:`edit`.

        Parameters
        ----------
        photo, wish
            As for :meth:`edit`.

        Raises
        ------
        BackendError
            As :meth:`edit`.
        """


def load_teacher(
    folder: Path, device: str = "cpu", dtype: torch.dtype | None = None, sampling: Sampling | None = None,
    name: SystemName | None = None,
) -> Teacher:  # fmt: skip
    """Load a teacher from its released folder.

    Parameters
    ----------
    folder
        As it was downloaded.
    device
        As torch names it.
    dtype
        Of weights and activations; the release's where none is given.
    sampling
        Steps, sizes and lengths in place of the release's.
    name
        Which system it is; told by its marks where none is given.

    Raises
    ------
    CheckpointError
        If something is missing or damaged, or does not fit the rest.
    BackendError
        If the system can only be inspected.
    """
    layout = read_layout(folder, name)
    if layout.system.adapter is None:
        raise BackendError(f"{folder}: {layout.system.title} can be inspected alone: {layout.system.not_run}.")
    if layout.missing:
        absent = "\n".join(f"  {text}" for text in layout.missing)
        raise CheckpointError(f"{folder}: {layout.system.title} is not whole; missing is:\n{absent}")
    made: Teacher = referenced(layout.system.adapter)(layout, device, dtype, sampling)
    return made
