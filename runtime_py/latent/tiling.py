"""Runs networks of one fixed size over larger pictures and latents: overlapping tiles, blended."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from pocketcrafter.runtime.arrays import FloatArray

_OVERLAP: Final = 4
"""Neighbouring tiles share a quarter of their side, as in diffusers' autoencoders."""


@dataclass(frozen=True)
class Tiles:
    """Where tiles lie on a picture, counted in latents; a tile as large as the picture is the picture.

    Attributes
    ----------
    tile, height, width
        Sides of a tile and of the picture, in latents, neither side of the picture below the tile's.
    """

    tile: int
    height: int
    width: int

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Top and left of each tile, evenly spread."""
        tops, lefts = (_starts(side, self.tile) for side in (self.height, self.width))
        return tuple((top, left) for top in tops for left in lefts)

    def cut(self, values: FloatArray, top: int, left: int) -> FloatArray:
        """Return one tile of latents or pixels, ``(1, channels, …)``, contiguous.

        Parameters
        ----------
        values
            Latents or pixels of the whole picture, ``(1, channels, H, W)``.
        top, left
            In latents.
        """
        scale = values.shape[2] // self.height
        rows, columns = (slice(at * scale, (at + self.tile) * scale) for at in (top, left))
        return np.ascontiguousarray(values[:, :, rows, columns])

    def map(
        self,
        run: Callable[[Mapping[str, FloatArray]], FloatArray],
        given: Mapping[str, FloatArray],
        done: Callable[[], None] = lambda: None,
    ) -> FloatArray:
        """Run a network on each tile of its inputs, and blend what it gives.

        Parameters
        ----------
        run
            From tiles of the inputs, by name, to one tile ``(1, channels, side, side)`` of latents or pixels.
        given
            Latents or pixels of the whole picture, ``(1, channels, H, W)``; all at once is one tile.
        done
            Called after each tile; what it raises ends the work.

        Returns
        -------
        FloatArray
            What the network gives, of the whole picture.
        """
        if self.tile == self.height == self.width:
            made = run(given)
            done()
            return made
        total, weights = np.empty(0, np.float32), np.empty(0, np.float32)
        for top, left, tile in self._made(run, given):
            side = tile.shape[2]
            scale = side / self.tile
            if not total.size:
                shape = round(self.height * scale), round(self.width * scale)
                total, weights = np.zeros((1, tile.shape[1], *shape), np.float32), np.zeros(shape, np.float32)
            window = _window(side)
            rows, columns = (slice(round(at * scale), round(at * scale) + side) for at in (top, left))
            total[:, :, rows, columns] += tile * window
            weights[rows, columns] += window
            done()
        blended: FloatArray = total / weights
        return blended

    def _made(
        self, run: Callable[[Mapping[str, FloatArray]], FloatArray], given: Mapping[str, FloatArray]
    ) -> Iterator[tuple[int, int, FloatArray]]:
        for top, left in self.places:
            yield top, left, run({name: self.cut(values, top, left) for name, values in given.items()})


def _starts(side: int, tile: int) -> tuple[int, ...]:
    stride = tile - tile // _OVERLAP
    count = 1 + -(-(side - tile) // stride)
    return tuple(round(start) for start in np.linspace(0, side - tile, count))


def _window(side: int) -> FloatArray:
    """Return the weights of a tile's values: full in the middle, falling off to its edges over what tiles share."""
    ramp = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(max(1, side // _OVERLAP))
    along = np.minimum(1, np.minimum(ramp, ramp[::-1]))
    window: FloatArray = along[:, None] * along
    return window
