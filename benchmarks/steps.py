"""Restoration networks on tiles with one fault each, told the true amounts, in different numbers of steps."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import numpy as np
import torch
from pydantic import Field, computed_field, model_validator

from pocketcrafter.benchmarks.common.clusters import Effect, clustered_mean
from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.benchmarks.common.machine import Machine
from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.common.names import AS_IT_IS, FrameKind
from pocketcrafter.benchmarks.common.picture_metrics import Extras, PictureFigures, Reference
from pocketcrafter.benchmarks.common.result_files import Name
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.models.restore import Restore, RestoreConfig
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


class NetworkFacts(Config):
    """One restoration network that was measured."""

    name: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Hash of its weights file.")
    parameters: int = Field(ge=1)
    config: RestoreConfig


class StepsRow(Config):
    """Means over the tiles of one kind by one network in one number of steps."""

    kind: FrameKind
    network: Name
    steps: int
    tiles: int
    psnr_db: float
    psnr_gain_db: Effect = Field(description="Against the tile as it is.")
    ssim: float
    delta_e: float
    feature_distance: float | None
    brisque: float | None
    seconds: float = Field(description="Of the network alone, a tile.")


class StepsReport(Config):
    """Everything that one `pocketcrafter bench steps` measured."""

    schema_version: Literal[1] = 1
    machine: Machine
    threads: int = Field(ge=1)
    split: Split
    seed: int
    networks: tuple[NetworkFacts, ...] = Field(min_length=1)
    frames: tuple[StepsFrame, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _same_tiles_everywhere(self) -> "StepsReport":
        cases = [(t.network, t.steps) for t in self.frames[0].tiles]
        if cases[0] != (AS_IT_IS, 0) or any([(t.network, t.steps) for t in f.tiles] != cases for f in self.frames):
            raise ValueError(f"every frame must have the same networks and steps, `{AS_IT_IS}` first")
        return self

    @computed_field  # type: ignore[prop-decorator] # mypy has no property under a decorator
    @property
    def rows(self) -> tuple[StepsRow, ...]:
        """The means, computed from the frames: kind by kind, the tile as it is first."""
        return tuple(
            _row(chosen, kind, place)
            for kind in FrameKind
            if (chosen := [frame for frame in self.frames if frame.kind is kind])
            for place in range(len(chosen[0].tiles))
        )


def steps_table(report: StepsReport) -> str:
    """Return the rows as a Markdown table."""
    head = (
        "frames", "network", "steps", "n", "PSNR", "gain (95 %)", "SSIM", "ΔE2000", "feature distance", "BRISQUE",
        "s a tile",
    )  # fmt: skip
    rows = [
        (
            row.kind,
            row.network,
            str(row.steps) if row.steps else "–",
            str(row.tiles),
            f"{row.psnr_db:.2f} dB",
            f"{row.psnr_gain_db} dB" if row.steps else "–",
            f"{row.ssim:.3f}",
            f"{row.delta_e:.2f}",
            plain(row.feature_distance, 3),
            plain(row.brisque, 1),
            f"{row.seconds:.2f}" if row.steps else "–",
        )
        for row in report.rows
    ]
    return markdown(head, rows)


def networks_table(report: StepsReport) -> str:
    """Return the networks' sizes as a Markdown table."""
    rows = [
        (
            n.name,
            f"{n.parameters / 1e6:.2f} M",
            "–".join(map(str, n.config.widths)),
            "–".join(map(str, n.config.blocks)),
        )
        for n in report.networks
    ]
    return markdown(("network", "parameters", "widths", "blocks"), rows)


def _row(frames: list[StepsFrame], kind: FrameKind, place: int) -> StepsRow:
    tiles = [frame.tiles[place] for frame in frames]
    gains = [f.tiles[place].figures.psnr_db - f.tiles[0].figures.psnr_db for f in frames]
    return StepsRow(
        kind=kind,
        network=tiles[0].network,
        steps=tiles[0].steps,
        tiles=len(tiles),
        psnr_db=_mean(tiles, lambda t: t.figures.psnr_db) or 0.0,
        psnr_gain_db=clustered_mean(gains, [frame.photo for frame in frames]),
        ssim=_mean(tiles, lambda t: t.figures.ssim) or 0.0,
        delta_e=_mean(tiles, lambda t: t.figures.delta_e) or 0.0,
        feature_distance=_mean(tiles, lambda t: t.figures.feature_distance),
        brisque=_mean(tiles, lambda t: t.figures.brisque),
        seconds=_mean(tiles, lambda t: t.seconds) or 0.0,
    )


def _mean(tiles: list[TileQuality], value: Callable[[TileQuality], float | None]) -> float | None:
    values = [value(tile) for tile in tiles]
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
