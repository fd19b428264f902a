"""What was measured so far, kept on disk line by line, so that a measurement that was stopped goes on where it was."""

from pathlib import Path
from typing import Final, Self

from pydantic import Field

from pocketcrafter.benchmarks.journal import LineJournal
from pocketcrafter.benchmarks.quantization.damage import Damage
from pocketcrafter.benchmarks.quantization.setup import TrialSettings
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

MAX_BYTES: Final = 16 << 20


class Head(Config):
    """What is measured: the first line."""

    trial: TrialSettings
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @classmethod
    def of(cls, trial: TrialSettings) -> Self:
        """Return the head of a trial's journal.

        Raises
        ------
        ConfigError
            If the weights are missing.
        """
        weights = trial.weights / f"{trial.component}.safetensors"
        if not weights.is_file():
            raise ConfigError(f"{weights}: no such weights; name their folder with --weights.")
        return cls(trial=trial, weights_sha256=sha256_of(weights))


class Measured(Config):
    """One combination of cheap units and what it did."""

    cheap: tuple[str, ...]
    damage: Damage
    size: int = Field(ge=0, description="Bytes of all weights.")


class Journal:
    """Measured combinations: a `LineJournal` of a `Head` and a `Measured` for each.

    Parameters
    ----------
    path
        The file; without one they are kept in memory alone.
    head
        What is measured.

    Raises
    ------
    ConfigError
        As `LineJournal` does.
    """

    def __init__(self, path: Path | None, head: Head) -> None:
        self._lines = LineJournal(path, head, Measured, "pocketcrafter quantize", MAX_BYTES)
        self.done = {measured.cheap: measured for measured in self._lines.lines}

    def add(self, measured: Measured) -> None:
        """Keep a measurement."""
        self._lines.append(measured)
        self.done[measured.cheap] = measured
