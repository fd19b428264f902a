"""Pictures through the whole pipeline, once in full precision and again with something quantized."""

from collections.abc import Mapping, Sequence

import numpy as np

from pocketcrafter.benchmarks.parity.photos import mean_delta_e
from pocketcrafter.benchmarks.quality.metrics import psnr_db
from pocketcrafter.benchmarks.quantization.damage import Damage, PictureDamage
from pocketcrafter.benchmarks.quantization.sessions import Networks, TriedSession
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat
from pocketcrafter.runtime.pipeline import Enhanced, PhotoPipeline


class PictureSubject:
    """Pictures and what full precision makes of them.

    Parameters
    ----------
    networks
        The pipeline in full precision.
    pictures
        sRGB, uint8, ``(H, W, 3)``.
    """

    def __init__(self, networks: Networks, pictures: Sequence[ByteImage]) -> None:
        self.networks = networks
        self._photos = [Photo(p, source_format=PhotoFormat.PNG) for p in pictures]
        self._right = self._enhanced(networks)

    @property
    def changed(self) -> int:
        """Pictures that full precision changes; the others say nothing of the artist."""
        return sum(not np.array_equal(r.photo.pixels, p.pixels) for r, p in zip(self._right, self._photos, strict=True))

    def nearness_db(self, clean: Sequence[ByteImage], tried: Mapping[str, TriedSession] | None = None) -> float:
        """Return the mean PSNR of the pipeline's pictures against clean ones; in full precision if nothing is tried."""
        said = self._right if tried is None else self._enhanced(self.networks.with_tried(tried))
        pairs = zip(said, clean, strict=True)
        return float(np.mean([psnr_db(np.asarray(s.photo.pixels, np.uint8), c) for s, c in pairs]))

    def damage(self, tried: Mapping[str, TriedSession]) -> Damage:
        """Enhance every picture with quantized networks in their components' place.

        Pictures that neither pipeline changes say nothing of the networks: they are left out of the means.
        """
        said = self._enhanced(self.networks.with_tried(tried))
        pairs = list(zip(self._right, said, self._photos, strict=True))
        changed = [(r, s) for r, s, p in pairs if not all(np.array_equal(e.photo.pixels, p.pixels) for e in (r, s))]
        pictures = [_between(r, s) for r, s in changed or [(r, s) for r, s, _ in pairs]]
        ratios = [ratio for session in tried.values() if (ratio := session.sqnr_db) is not None]
        return Damage.of_pictures(pictures, min(ratios, default=None))

    def _enhanced(self, networks: Networks) -> list[Enhanced]:
        pipeline = PhotoPipeline(networks, threads=1)
        return [pipeline.enhance(photo) for photo in self._photos]


def _between(right: Enhanced, said: Enhanced) -> PictureDamage:
    first, second = (np.asarray(e.photo.pixels, np.uint8) for e in (right, said))
    return PictureDamage(
        delta_e=mean_delta_e(first, second),
        psnr_db=psnr_db(second, first),
        plan_error=float(np.abs(right.plan.vector() - said.plan.vector()).mean()),
    )
