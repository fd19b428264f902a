"""What the default pair's networks are trained on, made of labels: frames with inferred plans, and pictures to restore.

A frame is the photo itself as the pair sees it on a phone: the view, and crops of native resolution. Its plan is what
the teacher's picture was inferred to be of the photo, or what the teacher's text tells where there is no picture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import nn

from pocketcrafter.export.data.degrade import ByteImage, Frame
from pocketcrafter.export.data.manifest import file_sha256
from pocketcrafter.export.distill.labels.plans import carried, infer_plan, unit
from pocketcrafter.export.labels.store import Label, LabelStore
from pocketcrafter.export.models.critic import VECTOR_DIM
from pocketcrafter.export.train.evidence import LAYOUT, EvidenceStore, photo_score, small
from pocketcrafter.export.train.memmap_store import Layout, open_progress, weights_digest
from pocketcrafter.export.train.restore import PATCH_PX, RESTORED, Patches
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.photo import decode
from pocketcrafter.runtime.photo.color import in_srgb
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.render import render
from pocketcrafter.runtime.views import global_view, native_crops

_VERSION: Final = 1
_PATCHES: Final = 4
"""Patches of each photo that restoration is taught on."""
RESIDUALS: Final = ("untouched_db", "plan_db", "grid_db")
_MOST_DB: Final = 99.0


class LabelFramesConfig(Config):
    """What identifies stored frames; others need another folder."""

    version: int
    labels: tuple[str, ...] = Field(description="Hashes of the photos, in their order.")
    teacher_sha256: str
    evidence_sha256: str


@dataclass(frozen=True)
class LabelFrames(EvidenceStore):
    """Memory-mapped arrays, one row a photo: those of degraded frames, and what labels have beside.

    Attributes
    ----------
    told
        Edits that the teacher's text tells and its score, not numbers where it does not: float32, ``(N, 12)``.
    residuals
        How near the teacher's picture is: `RESIDUALS`, dB, not numbers without a picture: float32, ``(N, 3)``.
    restorable, restored
        Patches of the photo, and what restoration is to make of them: uint8, ``(N, _PATCHES, 128, 128, 3)``.
    """

    told: npt.NDArray[np.float32]
    residuals: npt.NDArray[np.float32]
    restorable: npt.NDArray[np.uint8]
    restored: npt.NDArray[np.uint8]

    @property
    def stated(self) -> npt.NDArray[np.float32]:
        """Plans as texts tell them, and as pictures do where a text tells nothing: ``(N, len(Attribute))``."""
        told = np.nan_to_num(self.told[:, :-1])
        known = ~np.isnan(self.told[:, -1:])
        return np.where(known, told, self.plans).astype(np.float32)


_LAYOUT: Final[Layout] = {
    **LAYOUT,
    "vectors": (np.float32, (VECTOR_DIM,)),
    "told": (np.float32, (len(Attribute) + 1,)),
    "residuals": (np.float32, (len(RESIDUALS),)),
    "restorable": (np.uint8, (_PATCHES, PATCH_PX, PATCH_PX, 3)),
    "restored": (np.uint8, (_PATCHES, PATCH_PX, PATCH_PX, 3)),
}


def build_label_frames(
    folder: Path,
    store: LabelStore,
    photos: Path,
    evidence: nn.Module,
    on_progress: Callable[[int], object] = lambda _done: None,
) -> LabelFrames:
    """Make a frame of each label, or of those that are missing, and open them.

    Parameters
    ----------
    folder
        Where the arrays are kept.
    store
        The labels.
    photos
        The folder that was labelled.
    evidence
        The critic's.
    on_progress
        Called with the number of frames that were there already, then with 1 for each made.

    Raises
    ------
    ConfigError
        If there are no labels, a photo is no longer there, or the folder holds frames of another configuration.
    """
    names = tuple(sorted(label.sha256 for label in store.labels(hidden=False, pictures=False)))
    if not names:
        raise ConfigError(f"{store.folder}: holds no labels; make some with `pocketcrafter data label`.")
    config = LabelFramesConfig(
        version=_VERSION,
        labels=names,
        teacher_sha256=store.settings.teacher_sha256,
        evidence_sha256=weights_digest(evidence.state_dict()),
    )
    done = open_progress(folder, config, _LAYOUT, len(names), len(names))
    on_progress(int(done.sum()))
    made, places = LabelFrames.open(folder, "r+"), {name: row for row, name in enumerate(names)}
    if not done.all():
        for label in store.labels(hidden=False):
            if not done[row := places[label.sha256]]:
                _fill(made, row, label, photos, evidence)
                done[row] = True
                done.flush()
                on_progress(1)
    return LabelFrames.open(folder)


@torch.no_grad()
def _fill(made: LabelFrames, row: int, label: Label, photos: Path, evidence: nn.Module) -> None:
    path = photos / label.path
    if file_sha256(path) != label.sha256:
        raise ConfigError(f"{path}: is missing, or another photo than was labelled; name its folder with --photos.")
    photo = decode(path)
    pixels = in_srgb(photo.pixels, photo.icc)
    view = global_view(pixels)
    vectors = evidence(torch.from_numpy(view), torch.from_numpy(native_crops(pixels)))
    shown = np.ascontiguousarray(view[0].transpose(1, 2, 0))
    if label.before is None or label.after is None:
        plan = EditPlan.from_vector(np.nan_to_num(label.told[:-1]))
        clean, before, target = render(plan, shown), pixels, pixels
        score = 1.0
        made.residuals[row] = np.nan
    else:
        found = infer_plan(label.before, label.after)
        plan, target = found.plan, found.target
        before, after = (np.asarray(image) for image in (label.before, label.after))
        # At the view's size, whatever the teacher's picture's is.
        clean = carried(shown, unit(before), unit(after))
        score = photo_score(Frame(before, before, after, plan))
        made.residuals[row] = [min(getattr(found, name), _MOST_DB) for name in RESIDUALS]
    made.views[row], made.cleans[row] = (np.rint(picture * 255).astype(np.uint8) for picture in (shown, clean))
    made.small_views[row], made.small_cleans[row] = small(made.views[row]), small(made.cleans[row])
    made.vectors[row], made.plans[row], made.photos[row] = vectors[0].numpy(), plan.vector(), row
    made.told[row] = label.told
    made.scores[row] = score if np.isnan(label.told[-1]) else label.told[-1]
    rng = np.random.default_rng(row)
    for number in range(_PATCHES):
        made.restorable[row, number], made.restored[row, number] = _patches(before, target, rng)


def _patches(before: ByteImage, target: ByteImage, rng: np.random.Generator) -> tuple[ByteImage, ByteImage]:
    """Return the same random square of both; pictures that are smaller are reflected."""
    missing = [(0, max(0, PATCH_PX - side)) for side in before.shape[:2]]
    both = [np.pad(picture, (*missing, (0, 0)), "symmetric") for picture in (before, target)]
    top, left = (int(rng.integers(side - PATCH_PX + 1)) for side in both[0].shape[:2])
    one, other = (picture[top : top + PATCH_PX, left : left + PATCH_PX] for picture in both)
    return one, other


class LabelPatches(Patches):
    """Patches of labelled photos, and what the teacher's pictures are in the photos' own tones.

    Parameters
    ----------
    frames
        The frames of which restoration is asked.
    """

    def __init__(self, frames: LabelFrames) -> None:
        self._frames = frames
        self._rows = np.flatnonzero(frames.plans[:, RESTORED].any(1))

    def __len__(self) -> int:
        return len(self._rows)

    def _frame(self, rng: np.random.Generator) -> Frame:
        row, number = int(rng.choice(self._rows)), int(rng.integers(_PATCHES))
        before, target = (np.array(p[row, number]) for p in (self._frames.restorable, self._frames.restored))
        return Frame(before, target, target, EditPlan.from_vector(np.array(self._frames.plans[row])))
