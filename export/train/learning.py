"""What more photos and more frames would bring: critics trained on parts of the training photos."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from pocketcrafter.export.models.critic import FORESEEABLE, Judge
from pocketcrafter.export.train.critic import CriticTask, judge_store
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.gate_frames import JudgedFrames
from pocketcrafter.export.train.gate_tuning import AttributeGates, gate_figures
from pocketcrafter.runtime.attribute_gate import AttributeGate
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.plan import RESTORATION
from pocketcrafter.runtime.validation import check_json

_MOST_BYTES: Final = 16 << 20
_GATE: Final = AttributeGate(presence=0.6, confidence=0.0, dead_zone=0.2, shrink=0.85)
"""One gate for all trainings: tuned for each, the curve would be that of gates too."""


class LearningPoint(Config):
    """One training: a line of the results file."""

    photos: int = Field(ge=1, le=10_000_000, description="Distinct photos trained on.")
    frames: int = Field(ge=1, le=1_000_000_000, description="Frames cut from them.")
    seed: int = Field(0, description="Of the choice of photos and of the training.")
    plan_r2: float = Field(le=1, description="Mean R² over attributes on validation frames.")
    delta_e_change: float = Field(description="Mean change of CIEDE2000 on validation frames; negative is better.")


def learning_sizes(store: EvidenceStore, parts: int) -> list[tuple[int, int]]:
    """Return the numbers of photos and frames to train on: each halved ``parts - 1`` times while the other stays.

    Frames come with photos, so the photos are halved at as many frames as the fewest photos have.
    """
    photos, frames = len(np.unique(store.photos)), len(store)
    halves = [2**part for part in range(parts)]
    fewest = frames // (2 * halves[-1])
    return sorted({(photos // h, fewest) for h in halves} | {(photos, frames // h) for h in halves})


def rows_of(store: EvidenceStore, photos: int, frames: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw frames of some of the photos.

    Parameters
    ----------
    store
        Stored frames.
    photos
        From how many of its photos.
    frames
        How many, at most.
    seed
        Of the draw.

    Returns
    -------
    ndarray
        Rows of the store, ``(frames,)``, in order; fewer where those photos have no more.
    """
    rng = np.random.default_rng([seed, photos, frames])
    chosen = rng.choice(np.unique(store.photos), photos, replace=False)
    rows = np.flatnonzero(np.isin(store.photos, chosen))
    return np.sort(rng.choice(rows, min(frames, len(rows)), replace=False))


def train_point(
    store: EvidenceStore,
    validation: EvidenceStore,
    size: tuple[int, int],
    settings: FitSettings,
    folder: Path,
    on_step: Callable[[int], object] = lambda _: None,
) -> LearningPoint:
    """Train a judge on as many photos and frames, and measure it on all of the validation's.

    Parameters
    ----------
    store, validation
        Frames to draw from, and frames of other photos.
    size
        Photos and frames.
    settings
        How; its seed draws photos, frames, weights and batches.
    folder
        Where the checkpoint is kept.
    on_step
        Called with 1 after each step.
    """
    photos, frames = size
    rows = rows_of(store, photos, frames, settings.seed)
    torch.manual_seed(settings.seed)
    task = CriticTask(Judge(), store, settings, torch.device("cpu"), rows)

    def on_each(_step: int, _losses: object) -> None:
        on_step(1)

    judged = judge_store(fit(task, settings, folder, on_each), validation)
    truth, said = np.asarray(validation.plans, dtype=np.float64), judged.plan.numpy()
    spread = ((truth - truth.mean(0)) ** 2).sum(0)
    r2 = 1 - ((said - truth) ** 2).sum(0)[spread > 0] / spread[spread > 0]
    gates: AttributeGates = {a: _GATE for a in FORESEEABLE if a not in RESTORATION}
    one_source = ["validation"] * (int(validation.photos.max()) + 1)
    figures = gate_figures(JudgedFrames.of(validation, judged, one_source), gates)
    return LearningPoint(
        photos=photos,
        frames=len(rows),
        seed=settings.seed,
        plan_r2=float(r2.mean()),
        delta_e_change=figures.delta_e_change,
    )


def read_points(path: Path) -> list[LearningPoint]:
    """Read a file of JSON lines, one `LearningPoint` each; empty lines are skipped.

    Raises
    ------
    ConfigError
        If it is missing, too large, empty, or a line is not a point; the message names the line.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: larger than {_MOST_BYTES >> 20} MiB; no learning curve is.")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    points = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        points.append(check_json(LearningPoint, line, f"{path}, line {number}: not a point of a learning curve"))
    if not points:
        raise ConfigError(f"{path}: no training in it; a line holds photos, frames, seed, plan_r2 and delta_e_change.")
    return points


def write_points(path: Path, points: Sequence[LearningPoint]) -> None:
    """Write what `read_points` reads, at once."""
    write_text(path, "".join(f"{point.model_dump_json()}\n" for point in points))
