"""What `pocketcrafter bench quality --json` writes: every frame's figures, and the summary that follows from them."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, computed_field, model_validator

from pocketcrafter.benchmarks.latency.machine import Machine
from pocketcrafter.benchmarks.names import FrameKind
from pocketcrafter.benchmarks.quality.attributes import AttributeQuality, attribute_qualities, overall_r2
from pocketcrafter.benchmarks.quality.pictures import FrameQuality, KindQuality, Name, summarize
from pocketcrafter.benchmarks.quality.scoring import ScoreQuality, score_qualities, score_srcc
from pocketcrafter.benchmarks.result_files import read_result
from pocketcrafter.export.data.manifest import Split
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import Attribute

MAX_RESULT_BYTES: Final = 256 << 20


class QualitySummary(Config):
    """Means over frames: of pictures, attributes, scores, and of what peers made of the same frames."""

    kinds: dict[FrameKind, KindQuality]
    attributes: dict[Attribute, AttributeQuality] = Field(description="Empty without degraded and clean frames.")
    plan_r2: float | None = Field(description="Mean R² over attributes.")
    scores: dict[FrameKind, ScoreQuality]
    score_srcc: float | None
    peers: dict[str, dict[FrameKind, KindQuality]]

    @classmethod
    def of(cls, frames: tuple[FrameQuality, ...]) -> "QualitySummary":
        """Summarize frames."""
        attributes = attribute_qualities(frames)
        return cls(
            kinds=summarize(frames),
            attributes=attributes,
            plan_r2=overall_r2(attributes),
            scores=score_qualities(frames),
            score_srcc=score_srcc(frames),
            peers={name: summarize(frames, name) for name in frames[0].peers},
        )


class QualityReport(Config):
    """Everything that one `pocketcrafter bench quality` measured."""

    schema_version: Literal[1] = 1
    bundle: Name = Field(description="The name in the bundle's manifest.")
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    machine: Machine = Field(description="What the seconds were measured on.")
    threads: int = Field(ge=1)
    split: Split
    seed: int
    frames: tuple[FrameQuality, ...] = Field(min_length=1, max_length=100_000)

    @model_validator(mode="before")
    @classmethod
    def _summary_is_computed_anew(cls, data: object) -> object:
        """Leave out what was written as a summary: the frames say it."""
        return {k: v for k, v in data.items() if k != "summary"} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _same_peers_everywhere(self) -> "QualityReport":
        if any(set(f.peers) != set(self.frames[0].peers) for f in self.frames):
            raise ValueError("every frame must have the same peers")
        return self

    @computed_field  # type: ignore[prop-decorator] # mypy has no property under a decorator
    @property
    def summary(self) -> QualitySummary:
        """The means, computed from the frames."""
        return QualitySummary.of(self.frames)


def read_quality(path: Path) -> QualityReport:
    """Read a result file.

    Raises
    ------
    ConfigError
        If the file is missing, too large, or something else.
    """
    return read_result(path, QualityReport, "quality result", "bench quality --json", MAX_RESULT_BYTES)
