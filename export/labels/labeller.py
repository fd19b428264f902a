"""What one worker does: it loads the teacher once, and makes a part of each shard that it is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from pocketcrafter.export.labels.photos import Shard
from pocketcrafter.export.labels.store import Label, LabelSettings, LabelStore, PictureForm, Quarantined
from pocketcrafter.export.teachers.layout import Layout, read_layout
from pocketcrafter.export.teachers.systems import Part
from pocketcrafter.export.teachers.teacher import Critique, Teacher, Wish, load_teacher
from pocketcrafter.export.teachers.told import told_by
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError, PhotoError, StorageError
from pocketcrafter.runtime.photo import decode
from pocketcrafter.runtime.photo.color import in_srgb

_MOST_FAILURES: Final = 3
"""So many photos in a row on which a teacher fails that has made no label yet: the fault is the teacher's."""
_NO_WORDS: Final = np.zeros(0, np.int32)
_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 1 << 16
"""How many places of a file tell it from another, and how much is read at each."""


class Job(Config):
    """What all workers are told; paths are the same on every node.

    Attributes
    ----------
    teacher, photos, out
        Folders.
    device
        As torch names it.
    threads
        Of torch, in each worker; torch's own choice when `None`.
    batch
        Photos that a language model answers of at once.
    settings
        Of the labels.
    """

    teacher: Path
    photos: Path
    out: Path
    device: str
    threads: int | None
    batch: int = Field(1, ge=1)
    settings: LabelSettings


class Outcome(Config):
    """What became of a shard.

    Attributes
    ----------
    name
        Of its part.
    labelled, quarantined
        How many photos.
    seconds
        That the teacher took.
    node
        Of Ray, where it was made.
    error
        Why it was not made: a fault of the teacher, or of the disk, that other shards would meet too.
    """

    name: str
    labelled: int = 0
    quarantined: int = 0
    seconds: float = 0.0
    node: str = ""
    error: str | None = None


@dataclass(frozen=True)
class _Shot:
    """A photo that was read: its path, hash and pixels."""

    path: str
    digest: str
    photo: Image.Image


class Labeller:
    """Labels shards.

    Parameters
    ----------
    job
        What to do.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._store = job, LabelStore(job.out, job.settings)
        self._made = self._failed = 0
        if job.threads is not None:
            torch.set_num_threads(job.threads)

    @cached_property
    def _teacher(self) -> Teacher:
        settings = self._job.settings
        own = read_layout(self._job.teacher, settings.teacher).system.sampling
        sampling = replace(own, steps=settings.steps, side=settings.side, answer=settings.answer, seed=settings.seed)
        return load_teacher(self._job.teacher, self._job.device, sampling=sampling, name=settings.teacher)

    def label(self, shard: Shard) -> Outcome:
        """Make a shard's part, unless it is there.

        Parameters
        ----------
        shard
            What to label.

        Returns
        -------
        Outcome
            With an error where nothing was written.
        """
        if self._store.has(shard.name):
            return Outcome(name=shard.name)
        labels: list[Label] = []
        bad: list[Quarantined] = []
        try:
            shots: list[_Shot] = []
            for path, digest in zip(shard.paths, shard.hashes, strict=True):
                try:
                    shots.append(_Shot(path, digest, self._photo(path, digest)))
                except PhotoError as error:
                    bad.append(Quarantined(digest, path, str(error)))
                if len(shots) == self._job.batch:
                    self._answer(shots, labels, bad)
                    shots = []
            if shots:
                self._answer(shots, labels, bad)
            self._store.write(shard.name, labels, bad)
        except (BackendError, StorageError) as error:
            return Outcome(name=shard.name, error=str(error))
        return Outcome(
            name=shard.name,
            labelled=len(labels),
            quarantined=len(bad),
            seconds=sum(label.seconds for label in labels),
        )

    def _answer(self, shots: Sequence[_Shot], labels: list[Label], bad: list[Quarantined]) -> None:
        """Label photos together; where the teacher fails on one of them, each alone."""
        try:
            teacher = self._teacher
        except Exception as error:
            raise BackendError(f"The teacher cannot be loaded by a worker: {error}") from error
        try:
            made = self._asked(teacher, shots)
        except Exception as error:  # whatever torch and the libraries raise on one photo
            if len(shots) > 1:
                for shot in shots:
                    self._answer([shot], labels, bad)
                return
            self._failed += 1
            if not self._made and self._failed >= _MOST_FAILURES:
                raise BackendError(f"The teacher fails on every photo, on {shots[0].path} by: {error!r}") from error
            bad.append(Quarantined(shots[0].digest, shots[0].path, f"the teacher fails: {error!r}"))
            return
        self._made += len(made)
        labels += made

    def _photo(self, path: str, digest: str) -> Image.Image:
        try:
            content = (self._job.photos / path).read_bytes()
        except OSError as error:
            raise PhotoError(f"cannot be read ({error.strerror})") from error
        if sha256(content).hexdigest() != digest:
            raise PhotoError("has changed since it was found")
        photo = decode(content)
        return Image.fromarray(in_srgb(photo.pixels, photo.icc))

    def _asked(self, teacher: Teacher, shots: Sequence[_Shot]) -> list[Label]:
        parts = {found.place.part for found in teacher.layout.networks}
        begun = perf_counter()
        critiques: Sequence[Critique | None] = [None] * len(shots)
        if Part.CRITIC in parts:
            critiques = teacher.critiques([shot.photo for shot in shots])
        each = (perf_counter() - begun) / len(shots)
        edits = Part.ARTIST in parts and self._job.settings.pictures is not PictureForm.NONE
        return [self._label(teacher, s, c, each, edits=edits) for s, c in zip(shots, critiques, strict=True)]

    def _label(self, teacher: Teacher, shot: _Shot, critique: Critique | None, seconds: float, *, edits: bool) -> Label:
        begun = perf_counter()
        wish = Wish(critique, self._job.settings.instruction)
        run = teacher.trajectory(shot.photo, wish) if edits else None
        return Label(
            sha256=shot.digest,
            path=shot.path,
            text="" if critique is None else critique.text,
            prompt=_NO_WORDS if critique is None else critique.prompt,
            ids=_NO_WORDS if critique is None else critique.ids,
            told=told_by("" if critique is None else critique.text),
            hidden=None if critique is None else critique.hidden,
            before=None if run is None else run.photo,
            after=None if run is None else run.picture,
            seconds=seconds + perf_counter() - begun,
        )


def teacher_sha256(layout: Layout) -> str:
    """Return a hash over the names, sizes and samples of a teacher's files: tens of gigabytes are not read for it.

    Parameters
    ----------
    layout
        Of the teacher's folder.
    """
    files = {file for found in layout.networks for file in found.stored.files}
    files |= {file for found in layout.networks for adapter in found.written for file in adapter.files}
    # Prompts, bridges and configurations lie beside them.
    files |= {file for file in layout.folder.iterdir() if file.is_file()}
    whole = sha256()
    for file in sorted(files):
        last = max(0, file.stat().st_size - _SAMPLE_BYTES)
        whole.update(f"{file.name} {file.stat().st_size}".encode())
        with file.open("rb") as stream:
            for place in range(_SAMPLES):
                stream.seek(place * last // (_SAMPLES - 1))
                whole.update(stream.read(_SAMPLE_BYTES))
    return whole.hexdigest()
