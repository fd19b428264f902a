"""Restoration networks on tiles with one fault each, told the true amounts, in different numbers of steps."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from pydantic import Field

from pocketcrafter.benchmarks.frames import MeasuredFrame
from pocketcrafter.benchmarks.names import AS_IT_IS, FrameKind
from pocketcrafter.benchmarks.quality.metrics import Extras, PictureFigures, Reference
from pocketcrafter.benchmarks.quality.pictures import Name
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import RESTORATION

_USUAL_STEPS: Final = (1, 2, 4)


class TileQuality(Config):
    """One tile by one network in one number of steps."""

    network: Name
    steps: int = Field(ge=0, le=1000)
    figures: PictureFigures
    seconds: float = Field(ge=0, description="Of the network alone.")


class StepsFrame(Config):
    """One degraded tile, as it is and restored."""

    kind: FrameKind
    photo: Name
    repeat: int = Field(ge=0)
    tiles: tuple[TileQuality, ...] = Field(min_length=1)


def step_counts(networks: Mapping[str, Restore], asked: Sequence[int] = ()) -> dict[str, list[int]]:
    """Return the numbers of steps to measure each network in: those asked for, or 1, 2, 4 and the network's own."""
    return {name: sorted(set(asked) or {*_USUAL_STEPS, n.config.steps}) for name, n in networks.items()}


def measure_steps(
    frames: Iterable[MeasuredFrame],
    networks: Mapping[str, Restore],
    steps: Mapping[str, Sequence[int]],
    extras: Extras | None = None,
) -> Iterator[StepsFrame]:
    """Restore every frame with every network in every number of steps.

    Parameters
    ----------
    frames
        Of `STEPS_KINDS`; sides are multiples of 16 pixels.
    networks
        In evaluation mode, by name.
    steps
        Numbers of Euler steps of each network, by its name.
    extras
        Further metrics; left out when not given.
    """
    contestants = [(name, n, network.in_steps(n).eval()) for name, network in networks.items() for n in steps[name]]
    for number, measured in enumerate(frames):
        if number == 0:
            for _, _, network in contestants:
                _restored(network, measured)
        yield _measure_one(measured, contestants, extras)


def _measure_one(
    measured: MeasuredFrame,
    contestants: Sequence[tuple[str, int, Restore]],
    extras: Extras | None,
) -> StepsFrame:
    reference = Reference(measured.frame.tonal, extras)

    def quality(network: str, steps: int, picture: ByteImage, seconds: float) -> TileQuality:
        return TileQuality(network=network, steps=steps, figures=reference.figures(picture), seconds=seconds)

    tiles = [quality(AS_IT_IS, 0, measured.frame.degraded, 0.0)]
    for name, steps, network in contestants:
        start = time.perf_counter()
        restored = _restored(network, measured)
        seconds = time.perf_counter() - start
        tiles.append(quality(name, steps, _to_bytes(restored), seconds))
    return StepsFrame(kind=measured.kind, photo=measured.photo, repeat=measured.repeat, tiles=tuple(tiles))


def _restored(network: Restore, measured: MeasuredFrame) -> torch.Tensor:
    tile = torch.from_numpy(measured.frame.degraded).permute(2, 0, 1)[None].float().div_(255)
    amounts = torch.tensor([[getattr(measured.frame.plan, a) for a in RESTORATION]], dtype=torch.float32)
    with torch.no_grad():
        restored: torch.Tensor = network(tile.contiguous(memory_format=torch.channels_last), amounts)
    return restored


def _to_bytes(restored: torch.Tensor) -> ByteImage:
    pixels = restored[0].permute(1, 2, 0).clamp(0, 1).mul(255).round()
    return np.ascontiguousarray(pixels.numpy().astype(np.uint8))
