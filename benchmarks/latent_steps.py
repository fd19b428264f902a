"""A latent teacher in several numbers of steps and its few-step students, on degraded frames at the artist's size."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import Field

from pocketcrafter.benchmarks.common.in_place import InPlace
from pocketcrafter.benchmarks.common.machine import Machine
from pocketcrafter.benchmarks.common.markdown import markdown, percent, plain
from pocketcrafter.benchmarks.common.picture_metrics import Extras, PictureFigures, Reference, psnr_db
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.families.family import WEIGHTS
from pocketcrafter.export.families.latent.networks import LATENT_NETWORKS, PHOTOS, TorchPair, settings_of
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.families.latent.parts import load_part
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.shipped import CALIBRATION_PHOTOS
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.latent.artist import LatentArtist, Network
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture
from pocketcrafter.runtime.latent.settings import Latent
from pocketcrafter.runtime.photo import Photo
from pocketcrafter.runtime.words import counted

UNTOUCHED: Final = "untouched"
TEACHER: Final = "teacher"
_CALIBRATION_SAMPLES: Final = 32
_CALIBRATION_SEED: Final = 20
"""The shipped recipe's."""


class StepsMeans(Config):
    """Means over all frames of one artist in one number of steps."""

    artist: str
    steps: int = Field(ge=0)
    figures: PictureFigures = Field(description="Means; the picture beside the clean frame.")
    teacher_db: float = Field(description="Mean PSNR to the picture of the teacher in its own steps.")
    kept: float | None = Field(description="Of what the teacher's own steps lower ΔE2000 by; null of the untouched.")
    seconds: float = Field(ge=0, description="A frame: encoding, steps, and decoding twice.")


class LatentStepsReport(Config):
    """What `bench latent-steps` measured."""

    machine: Machine
    threads: int
    frames: int
    rows: tuple[StepsMeans, ...]


@dataclass(frozen=True)
class Contestant:
    """An artist in a number of steps."""

    name: str
    artist: LatentArtist

    @property
    def steps(self) -> int:
        """Steps that it runs."""
        return len(self.artist.settings.steps)


def contestants(
    teacher: Path, steps: Sequence[int], students: Mapping[str, Path], *, int8: bool = False
) -> tuple[TorchPair, list[Contestant]]:
    """Return the teacher, and who is measured: it in its own and in other numbers of steps, and its students.

    Parameters
    ----------
    teacher
        Folder of its pair.
    steps
        Further numbers of steps, as its scheduler spaces them.
    students
        Folders of pairs by name; their artists read the teacher's critic.
    int8
        Whether each student is measured with its denoising network in INT8 too.

    Raises
    ------
    ConfigError
        If one has no artist.
    """
    pair = read_pair(teacher)
    opened = TorchPair(pair)
    own = _artist_of(opened, teacher)
    found = [Contestant(TEACHER, own)]
    for count in steps:
        settings = settings_of(replace(pair, config=pair.config.model_copy(update={"steps": count})), None).artist
        if settings is not None and count != len(own.settings.steps):
            found.append(Contestant(TEACHER, replace(own, settings=settings)))
    for name, folder in students.items():
        student = Contestant(name, _artist_of(TorchPair(read_pair(folder)), folder))
        found += [student, in_int8(student, folder)] if int8 else [student]
    return opened, found


def in_int8(student: Contestant, folder: Path) -> Contestant:
    """Return an artist whose denoising network has static INT8 weights and activations, calibrated on its own steps.

    Parameters
    ----------
    student
        In full precision.
    folder
        Of its pair.
    """
    part = load_part(read_pair(folder), Latent.DENOISE)
    inputs = {WEIGHTS: folder, PHOTOS: CALIBRATION_PHOTOS}
    drawn = LATENT_NETWORKS.draw(part, inputs, _CALIBRATION_SAMPLES, _CALIBRATION_SEED)
    samples = [as_tensors(sample, part.spec) for sample in drawn.samples]
    network = Network(InPlace(FakeQuantSwitches(part.network, samples).run, part.spec), part.spec)
    return Contestant(f"{student.name}, INT8", replace(student.artist, denoise=network))


def _artist_of(opened: TorchPair, folder: Path) -> LatentArtist:
    if opened.artist is None:
        raise ConfigError(f"{folder}: has no artist to measure.")
    return opened.artist


def measure_latent_steps(
    teacher: TorchPair,
    artists: Sequence[Contestant],
    store: EvidenceStore,
    frames: int,
    extras: Extras | None,
    on_frame: Callable[[int], object] = lambda _: None,
) -> tuple[StepsMeans, ...]:
    """Measure the first degraded frames; the artists read what the teacher's critic itself says of them.

    Parameters
    ----------
    teacher
        Its critic is asked.
    artists
        The teacher in its own steps first.
    store
        Stored frames.
    frames
        How many.
    extras
        Further metrics; left out where none are given.
    on_frame
        Called with 1 for each frame measured.
    """
    degraded = [row for row in range(len(store)) if store.plans[row].any()][:frames]
    side = artists[0].artist.settings.side
    names = [(UNTOUCHED, 0), *((one.name, one.steps) for one in artists)]
    figures: list[list[PictureFigures]] = [[] for _ in names]
    alike: list[list[float]] = [[] for _ in names]
    seconds: list[list[float]] = [[] for _ in names]
    for row in degraded:
        photo = Photo(np.array(store.views[row]))
        picture = artists_picture(photo, side)
        reference = Reference(_bytes(artists_picture(Photo(np.array(store.cleans[row])), side)), extras)
        hidden = _hidden(teacher, photo)
        made, took = [_bytes(picture)], [0.0]
        for one in artists:
            start = time.perf_counter()
            change = one.artist.change(picture, hidden)
            took.append(time.perf_counter() - start)
            made.append(_bytes(picture + change.after - change.before))
        for place, edited in enumerate(made):
            figures[place].append(reference.figures(edited))
            alike[place].append(psnr_db(edited, made[1]))
            seconds[place].append(took[place])
        on_frame(1)
    means = [_mean(each) for each in figures]
    gain = means[0].delta_e - means[1].delta_e
    return tuple(
        StepsMeans(
            artist=name,
            steps=steps,
            figures=means[place],
            teacher_db=float(np.mean(alike[place])),
            kept=None if place == 0 else (means[0].delta_e - means[place].delta_e) / gain,
            seconds=float(np.mean(seconds[place])),
        )
        for place, (name, steps) in enumerate(names)
    )


def _hidden(teacher: TorchPair, photo: Photo) -> FloatArray | None:
    critic, settings, artist = teacher.critic, teacher.settings.critic, teacher.settings.artist
    if critic is None or settings is None or artist is None:
        return None
    return critic.begin(critics_picture(photo, settings.picture)).states(artist.bridge_tokens)


def _bytes(picture: FloatArray) -> ByteImage:
    return np.asarray(np.rint(np.clip(picture, 0, 1) * 255), np.uint8)


def _mean(figures: Sequence[PictureFigures]) -> PictureFigures:
    rows = [f.model_dump() for f in figures]
    known = {name: [row[name] for row in rows] for name in rows[0]}
    return PictureFigures(
        **{name: None if None in values else float(np.mean(values)) for name, values in known.items()}
    )


def latent_steps_text(report: LatentStepsReport) -> str:
    """Return the figures as a Markdown table.

    Parameters
    ----------
    report
        What was measured.
    """
    head = (
        "artist", "steps", "PSNR, dB", "SSIM", "ΔE2000", "gain kept", "features", "BRISQUE", "to the teacher, dB", "s",
    )  # fmt: skip
    rows = [
        (
            row.artist,
            str(row.steps),
            plain(row.figures.psnr_db, 2),
            plain(row.figures.ssim, 3),
            plain(row.figures.delta_e, 2),
            percent(row.kept) if row.kept is not None else "–",
            plain(row.figures.feature_distance, 3),
            plain(row.figures.brisque, 1),
            plain(row.teacher_db, 1),
            plain(row.seconds, 2),
        )
        for row in report.rows
    ]
    said = (
        f"{counted(report.frames, 'frame')} on {counted(report.threads, 'thread')}, load "
        f"{report.machine.load_before:.1f} before: compare seconds within the table."
    )
    return f"{markdown(head, rows)}\n\n{said}"
