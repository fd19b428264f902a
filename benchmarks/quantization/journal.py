"""What was measured so far, kept on disk line by line, so that a measurement that was stopped goes on where it was."""

import json
from pathlib import Path
from typing import Final, Self

from pydantic import Field, ValidationError

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
    """A file of JSON lines; without a path it is kept in memory alone.

    Raises
    ------
    ConfigError
        If the file cannot be read or written, is damaged, or is of another measurement.
    """

    def __init__(self, path: Path | None, head: Head) -> None:
        self._path, self.done = path, dict[tuple[str, ...], Measured]()
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size > MAX_BYTES:
                raise ConfigError(f"{path}: larger than {MAX_BYTES >> 20} MiB; no journal of this command is.")
            lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
            if len(lines) > 1:
                self._read(path, head, lines)
            else:
                path.write_text(f"{head.model_dump_json()}\n", encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be kept as a journal: {error}") from error

    def add(self, measured: Measured) -> None:
        """Keep a measurement."""
        self.done[measured.cheap] = measured
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{measured.model_dump_json()}\n")

    def _read(self, path: Path, head: Head, lines: list[str]) -> None:
        try:
            if json.loads(lines[0]) != head.model_dump(mode="json"):
                raise ConfigError(f"{path} holds another measurement; remove it, or name another file.")
            found = [Measured.model_validate_json(line) for line in lines[1:-1]]
        except (ValidationError, ValueError) as error:
            raise ConfigError(f"{path} is no journal of `pocketcrafter quantize`; remove it.") from error
        self.done = {measured.cheap: measured for measured in found}
        if lines[-1]:
            # Stopped in the middle of a line: it is measured again.
            path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
