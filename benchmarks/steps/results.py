"""What the steps come to: means of each kind of fault, and the gain with its interval over photos."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from pydantic import Field, computed_field, model_validator

from pocketcrafter.benchmarks.clusters import Effect, clustered_mean
from pocketcrafter.benchmarks.latency.machine import Machine
from pocketcrafter.benchmarks.names import AS_IT_IS, FrameKind
from pocketcrafter.benchmarks.quality.pictures import Name
from pocketcrafter.benchmarks.quality.tables import markdown, plain
from pocketcrafter.benchmarks.steps.measure import StepsFrame, TileQuality
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.models.restore import RestoreConfig
from pocketcrafter.runtime.config import Config


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

    @model_validator(mode="before")
    @classmethod
    def _rows_are_computed_anew(cls, data: object) -> object:
        """Leave out what was written as rows: the frames say it."""
        return {k: v for k, v in data.items() if k != "rows"} if isinstance(data, dict) else data

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
