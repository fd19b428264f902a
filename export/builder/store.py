"""The folder of finished stages, and the copy of a finished bundle to its place."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from pocketcrafter.export.builder.child import Ended
from pocketcrafter.export.builder.stage import Estimate, Stage
from pocketcrafter.export.content import content_hash
from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.files import replacing, writing

_RECORD: Final = "stage.json"
_SCRATCH: Final = ".tmp"
_KEPT_RESULTS: Final = 4


class Record(Config):
    """What a finished stage wrote and what it took."""

    name: str
    key: str
    seconds: float = Field(ge=0)
    cpu_seconds: float | None = Field(None, ge=0, description="Of all its processes; none in older records.")
    peak_rss_mib: int = Field(ge=0)
    files: Mapping[str, str] = Field(description="SHA-256 by path.")


class Store:
    """Results of stages under one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def lock(self) -> Path:
        """The file whose lock says that a build is at work here."""
        return self.root / ".lock"

    def record(self, stage: Stage) -> Record | None:
        """Return what is noted of a stage's result, or `None` where there is none."""
        return _read(self.root / stage.key() / _RECORD)

    def result(self, stage: Stage) -> Path | None:
        """Return the directory of a stage's result, or `None` where it was not made or has been changed since."""
        folder = self.root / stage.key()
        record = _read(folder / _RECORD)
        if record is None or record.key != folder.name:
            return None
        return folder if all(_is(folder / path, sha256) for path, sha256 in record.files.items()) else None

    def clear_scratch(self) -> None:
        """Remove what interrupted builds left; for the one build that is at work here."""
        for left in self.root.glob(f"*{_SCRATCH}"):
            shutil.rmtree(left)

    def scratch(self, stage: Stage) -> Path:
        """Return a new, empty directory for a stage to write to."""
        folder = self.root / f"{stage.key()}{_SCRATCH}"
        folder.mkdir(parents=True)
        return folder

    def keep(self, stage: Stage, scratch: Path, seconds: float, used: Ended) -> Path:
        """Make what a stage wrote its result, at once.

        Parameters
        ----------
        stage
            The stage that was run.
        scratch
            Where it wrote its result.
        seconds
            How long it took.
        used
            Memory and processor time of its process.
        """
        files = sorted(p for p in scratch.rglob("*") if p.is_file())
        record = Record(
            name=stage.name,
            key=stage.key(),
            seconds=seconds,
            cpu_seconds=used.cpu_seconds,
            peak_rss_mib=used.peak_mib,
            files={p.relative_to(scratch).as_posix(): content_hash(p) for p in files},
        )
        (scratch / _RECORD).write_text(record.model_dump_json(indent=1), encoding="utf-8")
        folder = self.root / stage.key()
        shutil.rmtree(folder, ignore_errors=True)
        scratch.replace(folder)
        return folder

    def prune(self, used: Sequence[Stage]) -> None:
        """Remove old results: of every stage name, the latest few stay, and all that are ``used``."""
        kept = {stage.key() for stage in used}
        results: dict[str, list[Path]] = {}
        for path in sorted(self.root.glob(f"*/{_RECORD}"), key=lambda p: p.stat().st_mtime, reverse=True):
            record = _read(path)
            results.setdefault(record.name if record else "", []).append(path.parent)
        for folders in results.values():
            for folder in folders[_KEPT_RESULTS:]:
                if folder.name not in kept:
                    shutil.rmtree(folder)

    def log(self, stage: Stage) -> Path:
        """Return the file that receives what a stage's process prints."""
        folder = self.root / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{stage.name.replace(' ', '-')}.log"

    def estimate(self, stage: Stage) -> Estimate:
        """Return what the latest stage of this name took here, or else its own estimate."""
        latest: tuple[float, Path, Record] | None = None
        for path in self.root.glob(f"*/{_RECORD}"):
            record = _read(path)
            made = path.stat().st_mtime
            if record is not None and record.name == stage.name and (latest is None or made > latest[0]):
                latest = (made, path, record)
        if latest is None:
            return stage.estimate
        _, path, record = latest
        size = sum(p.stat().st_size for p in path.parent.rglob("*") if p.is_file())
        return Estimate(seconds=record.seconds, ram_mib=record.peak_rss_mib, disk_mib=(size >> 20) + 1)


def _read(path: Path) -> Record | None:
    try:
        return Record.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and content_hash(path) == sha256


def install(made: Path, out: Path) -> bool:
    """Copy a bundle to its place.

    Parameters
    ----------
    made
        The bundle in the stage store.
    out
        Where it goes; replaced if it is a bundle, left alone if it is this very one and intact.

    Returns
    -------
    bool
        Whether anything was written.

    Raises
    ------
    ConfigError
        If something other than a bundle lies there.
    StorageError
        If it cannot be written; what was there is left as it was.
    """
    check_free(out)
    if _is_same(made, out):
        return False
    with replacing(out) as fresh, writing(out):
        shutil.copytree(made, fresh)
    return True


def check_free(out: Path, mark: str = MANIFEST, what: str = "a bundle") -> None:
    """Refuse an output folder that holds something other than an earlier result of the same kind.

    Parameters
    ----------
    out
        The folder that is to be written.
    mark
        File that tells a folder of this kind from others.
    what
        The kind, in words, for the message.

    Raises
    ------
    ConfigError
        If it does.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"{out} is not a directory; choose another --out.")
    if out.is_dir() and any(out.iterdir()) and not (out / mark).is_file():
        raise ConfigError(f"{out} holds something that is not {what}; choose another --out, or empty it.")


def _is_same(made: Path, out: Path) -> bool:
    try:
        Bundle.open(out).check_integrity()
    except BundleError:
        return False
    return (out / DIGEST).read_bytes() == (made / DIGEST).read_bytes()
