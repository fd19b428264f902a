"""How near a pair comes to the pictures that a teacher made of the same photos, as `data label` stored them."""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from PIL import Image
from pydantic import Field

from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.common.picture_metrics import Reference
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.labels.store import Label
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import Pipeline
from pocketcrafter.runtime.photo.model import Photo

_NEARER: Final = 0.5
"""CIEDE2000 by which a photo has to come nearer, or go farther, to count."""


class LabelLikeness(Config):
    """Photos and a pair's pictures beside a teacher's; means over photos."""

    photos: int
    untouched_delta_e: float = Field(description="CIEDE2000 from the photos to the teacher's pictures.")
    untouched_psnr_db: float
    delta_e: float = Field(description="CIEDE2000 from the pair's pictures to the teacher's.")
    psnr_db: float
    changed: float = Field(description="Share of photos that the pair changes.")
    nearer: float = Field(description="Share that comes nearer to the teacher's picture by more than 0.5.")
    farther: float = Field(description="Share that goes away from it by more than 0.5.")

    @property
    def kept(self) -> float:
        """Share of the distance between photos and teacher's pictures that the pair takes away."""
        return 1 - self.delta_e / self.untouched_delta_e


def measure_likeness(
    pipeline: Pipeline, labels: Iterable[Label], on_photo: Callable[[int], object] = lambda _: None
) -> LabelLikeness:
    """Edit each labelled photo as the teacher saw it, and compare.

    Parameters
    ----------
    pipeline
        Of any family.
    labels
        With their pictures; labels without one are left out.
    on_photo
        Called with 1 for each photo.

    Raises
    ------
    ConfigError
        If no label has a picture.
    """
    rows = []
    for label in labels:
        if label.before is None or label.after is None:
            continue
        photo, teacher = _pixels(label.before), Reference(_pixels(label.after))
        made = np.asarray(pipeline.enhance(Photo(photo)).photo.pixels, dtype=np.uint8)
        before, after = teacher.figures(photo), teacher.figures(made)
        changed = not np.array_equal(made, photo)
        rows.append((before.delta_e, before.psnr_db, after.delta_e, after.psnr_db, changed))
        on_photo(1)
    if not rows:
        raise ConfigError("No label has a picture: label photos by a teacher that edits, without `--pictures none`.")
    table = np.array(rows, np.float64)
    gain = table[:, 0] - table[:, 2]
    untouched_delta_e, untouched_psnr_db, delta_e, psnr_db, changed = table.mean(0).tolist()
    return LabelLikeness(
        photos=len(rows),
        untouched_delta_e=untouched_delta_e,
        untouched_psnr_db=untouched_psnr_db,
        delta_e=delta_e,
        psnr_db=psnr_db,
        changed=changed,
        nearer=float((gain > _NEARER).mean()),
        farther=float((gain < -_NEARER).mean()),
    )


def likeness_text(found: LabelLikeness) -> str:
    """Return the figures as a Markdown table and a sentence."""
    rows = [
        ("photos as they are", plain(found.untouched_delta_e, 2), plain(found.untouched_psnr_db, 2)),
        ("the pair's pictures", plain(found.delta_e, 2), plain(found.psnr_db, 2)),
    ]
    said = (
        f"Of {found.photos} photos the pair changes {found.changed:.0%}; {found.nearer:.0%} come nearer to the "
        f"teacher's pictures, {found.farther:.0%} go away. It keeps {found.kept:.0%} of the teacher's change."
    )
    return f"{markdown(('to the teacher', 'ΔE2000', 'PSNR, dB'), rows)}\n\n{said}"


def _pixels(picture: Image.Image) -> ByteImage:
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)
