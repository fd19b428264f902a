"""Degraded and clean validation frames through a latent bundle: with its own words, and with true ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field
from tokenizers import Tokenizer

from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.common.picture_metrics import Reference
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.latent.texts import TOLD, answer_ids, critique_text
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import Pipeline
from pocketcrafter.runtime.latent.pipeline import LatentPipeline
from pocketcrafter.runtime.photo.model import Photo
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.parse import ProseError, parse_prose

UNTOUCHED: Final = "untouched"
OWN: Final = "own words"
TRUE: Final = "true words"
_WORSE: Final = 1.0
"""CIEDE2000 by which a frame has to change to count as worse or better."""


class PictureMeans(Config):
    """Means over frames of one kind."""

    words: str = Field(description="Whose words the artist read.")
    frames: int
    delta_e: float = Field(description="Mean CIEDE2000 to the clean frame.")
    psnr_db: float = Field(description="Mean PSNR to the clean frame, data range 255; at most 100.")
    worse: float = Field(description="Share of frames whose CIEDE2000 rose by more than 1.")
    better: float = Field(description="Share of frames whose CIEDE2000 fell by more than 1.")


class StudioFigures(Config):
    """What came of all frames."""

    degraded: tuple[PictureMeans, ...]
    clean: tuple[PictureMeans, ...]
    readable: float = Field(description="Share of own answers that parse as a critique.")
    faults_right: float = Field(
        description="Share of (frame, attribute) whose change own answers tell in its direction."
    )

    @property
    def missed(self) -> list[str]:
        """What does not beat the untouched frames."""
        by = {means.words: means for means in self.degraded}
        before = by[UNTOUCHED]
        return [
            f"{words}: {what}"
            for words in (OWN, TRUE)
            for what, better in (
                ("ΔE2000", by[words].delta_e < before.delta_e),
                ("PSNR", by[words].psnr_db > before.psnr_db),
            )
            if not better
        ]


@dataclass(frozen=True)
class _Seen:
    """One frame's pictures by whose words made them, and what its own words were worth."""

    pictures: dict[str, ByteImage]
    readable: bool
    right: float


def measure_studio(
    pipeline: Pipeline,
    tokenizer: Tokenizer,
    store: EvidenceStore,
    frames: int,
    on_frame: Callable[[int], object] = lambda _: None,
    keep: Callable[[Sequence[ByteImage]], None] = lambda _pictures: None,
) -> StudioFigures:
    """Measure the first stored frames.

    Parameters
    ----------
    pipeline
        Of a bundle of the latent family with an artist.
    tokenizer
        Of its critic.
    store
        Stored frames.
    frames
        How many.
    on_frame
        Called with 1 for each frame measured.
    keep
        Given each degraded frame's pictures: untouched, by own words, by true words, and the clean one.

    Raises
    ------
    ConfigError
        If the bundle is of another family.
    """
    if not isinstance(pipeline, LatentPipeline):
        raise ConfigError("bench latent-studio measures bundles of the latent family: build latent-studio.")
    figures: dict[bool, dict[str, list[tuple[float, float]]]] = {True: {}, False: {}}
    readable, right = [], []
    for row in range(min(frames, len(store))):
        seen = _see(pipeline, tokenizer, store, row)
        clean, degraded = np.array(store.cleans[row]), bool(store.plans[row].any())
        reference = Reference(clean)
        for words, picture in seen.pictures.items():
            made = reference.figures(picture)
            figures[degraded].setdefault(words, []).append((made.delta_e, made.psnr_db))
        readable.append(seen.readable)
        right.append(seen.right)
        if degraded:
            keep([*seen.pictures.values(), clean])
        on_frame(1)
    return StudioFigures(
        degraded=_means(figures[True]),
        clean=_means(figures[False]),
        readable=float(np.mean(readable)),
        faults_right=float(np.mean(right)),
    )


def _see(pipeline: LatentPipeline, tokenizer: Tokenizer, store: EvidenceStore, row: int) -> _Seen:
    photo = Photo(np.array(store.views[row]))
    own = pipeline.answer(photo)
    true = answer_ids(tokenizer, critique_text(store.plans[row], float(store.scores[row])))
    pictures = {UNTOUCHED: photo.pixels.astype(np.uint8)}
    for words, answer in ((OWN, own), (TRUE, pipeline.follow(photo, true))):
        pictures[words] = pipeline.edited(photo, answer.hidden)[0].astype(np.uint8)
    said = _directions(tokenizer.decode(list(own.ids), skip_special_tokens=True))
    wanted = np.sign([store.plans[row][[*Attribute].index(a)] for a in TOLD])
    return _Seen(pictures, said is not None, 0.0 if said is None else float(np.mean(said == wanted)))


def _directions(text: str) -> npt.NDArray[np.float64] | None:
    """Return the direction in which a critique changes each of `TOLD`; `None` where it is none."""
    try:
        told = {said.attribute: said.direction for said in parse_prose(text).instructions}
    except ProseError:
        return None
    return np.array([told.get(a, 0) for a in TOLD], np.float64)


def _means(figures: dict[str, list[tuple[float, float]]]) -> tuple[PictureMeans, ...]:
    made = {words: np.array(rows) for words, rows in figures.items()}
    return tuple(
        PictureMeans(
            words=words,
            frames=len(rows),
            delta_e=float(rows[:, 0].mean()),
            psnr_db=float(rows[:, 1].mean()),
            worse=float(np.mean(rows[:, 0] - made[UNTOUCHED][:, 0] > _WORSE)),
            better=float(np.mean(made[UNTOUCHED][:, 0] - rows[:, 0] > _WORSE)),
        )
        for words, rows in made.items()
    )


def studio_text(figures: StudioFigures) -> str:
    """Return the figures as a Markdown table and a sentence."""
    rows = [
        (kind, m.words, str(m.frames), plain(m.delta_e, 2), plain(m.psnr_db, 2), f"{m.worse:.0%}", f"{m.better:.0%}")
        for kind, means in (("degraded", figures.degraded), ("clean", figures.clean))
        for m in means
    ]
    head = ("frames", "artist reads", "count", "ΔE2000", "PSNR, dB", "worse by > 1", "better by > 1")
    said = (
        f"{figures.readable:.0%} of the critic's answers can be read; of six attributes a frame they tell "
        f"{figures.faults_right:.0%} in the right direction, or rightly not."
    )
    return f"{markdown(head, rows)}\n\n{said}"


def sheet(rows: Sequence[Sequence[ByteImage]]) -> Image.Image:
    """Return pictures as one: a frame a row."""
    return Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows], 0))
