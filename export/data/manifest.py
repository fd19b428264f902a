"""The manifest of prepared photos: what each one is, where it came from, and on which side of the split it stands."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, Protocol, Self

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from pocketcrafter.export.data.errors import DataError, SplitError
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.validation import check_json

MANIFEST_NAME: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 256 * 2**20

_NOT_A_PERSON: Final = frozenset({"", "anonymous", "unknown", "see file name", "various", "n a", "none"})
_NOT_ONE_PERSON: Final = re.compile(r"\b(contributors?|community|team|and others|users?)\b")


class Split(StrEnum):
    """The side of a photo: fitted on, tuned on, or only ever measured on."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELDOUT = "heldout"


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or not pure.parts or ".." in pure.parts or "\\" in path or ":" in path:
        raise ValueError(f"{path!r} is not a path inside the data folder")
    return path


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
InnerPath = Annotated[str, Field(min_length=1), AfterValidator(_inside)]


class PhotoRecord(Config):
    """One prepared photo."""

    file: InnerPath = Field(description="Prepared PNG, sRGB, 8 bits; relative to the folder of the manifest.")
    source: str = Field(description="Where the original comes from: a package, or what a folder says about it.")
    group: str = Field(description="What stays on one side of the split as a whole.")
    licence: str = Field(description="Licence of the original, as its source states it.")
    author: str = Field(description="Photographer, several separated by ';', or a phrase that names nobody.")
    original: str = Field(description="Name of the original inside its source.")
    original_sha256: Sha256 = Field(description="Hash of the original file.")
    prepared_sha256: Sha256 = Field(description="Hash of the prepared file.")
    split: Split = Field(description="Side of the split.")
    width: PositiveInt = Field(description="Prepared width, pixels.")
    height: PositiveInt = Field(description="Prepared height, pixels.")
    scale: float = Field(ge=1.0, description="Original size divided by prepared size.")

    @model_validator(mode="after")
    def _lies_on_its_side(self) -> Self:
        pure = PurePosixPath(self.file)
        if pure.parts[0] != self.split or len(pure.parts) != 2 or pure.suffix != ".png":
            raise ValueError(f"{self.file!r} is no PNG right inside {self.split}/")
        return self


class Placed(Protocol):
    """What the check of the split needs to know about a photo."""

    @property
    def file(self) -> str:
        """Prepared file."""

    @property
    def source(self) -> str:
        """Where the original comes from."""

    @property
    def group(self) -> str:
        """What stays on one side."""

    @property
    def author(self) -> str:
        """Photographers, separated by ';'."""

    @property
    def original_sha256(self) -> str:
        """Hash of the original."""

    @property
    def split(self) -> Split:
        """Side of the split."""


class PackageRecord(Config):
    """One package that photos or measurements were taken from."""

    name: str
    archive: str = Field(description="File name of the package, which holds its version.")
    sha256: Sha256


class MeasurementRecord(Config):
    """A data file that is no photo."""

    file: InnerPath
    package: str
    licence: str
    sha256: Sha256


class LeftOutRecord(Config):
    """A photo that was looked at and not kept."""

    source: str
    original: str
    reason: str


class Manifest(Config):
    """Everything that ``data prepare`` made in one folder."""

    schema_version: Literal[1] = 1
    recipe_version: PositiveInt = Field(description="Changes when photos are prepared differently.")
    packages: tuple[PackageRecord, ...] = ()
    measurements: tuple[MeasurementRecord, ...] = ()
    records: tuple[PhotoRecord, ...] = ()
    left_out: tuple[LeftOutRecord, ...] = ()

    def photos(self, split: Split | str) -> tuple[PhotoRecord, ...]:
        """Give the photos of one side, ordered by file name.

        Raises
        ------
        DataError
            If there is no such side.
        """
        try:
            wanted = Split(split)
        except ValueError as error:
            raise DataError(f"{split!r} is no split; there are {', '.join(Split)}") from error
        return tuple(sorted((r for r in self.records if r.split is wanted), key=lambda r: r.file))


def load_manifest(folder: Path, *, verify: bool = False) -> Manifest:
    """Read and check the manifest of a prepared folder.

    Parameters
    ----------
    folder
        What ``data prepare`` got as ``--out``.
    verify
        Also hash every file that the manifest lists.

    Raises
    ------
    DataError
        If the manifest is missing, damaged, or does not describe the files.
    SplitError
        If a photographer, a group or a photo is on two sides.
    """
    path = folder / MANIFEST_NAME
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise DataError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes; this is no manifest of photos")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}; make it with `pocketcrafter data prepare --out {folder}`"
        ) from error
    remedy = "make it again with `pocketcrafter data prepare`"
    manifest = check_json(Manifest, content, f"{path}: not a valid manifest ({remedy})", DataError)
    check_split(manifest.records)
    if verify:
        verify_files(manifest, folder)
    return manifest


def save_manifest(manifest: Manifest, folder: Path) -> Path:
    """Write the manifest into ``folder`` under a temporary name, then rename it; returns its path."""
    check_split(manifest.records)
    path = folder / MANIFEST_NAME
    text = json.dumps(manifest.model_dump(mode="json"), ensure_ascii=False, indent=1)
    write_text(path, text + "\n")
    return path


def verify_files(manifest: Manifest, folder: Path) -> None:
    """Hash every listed file.

    Raises
    ------
    DataError
        Naming the files (at most ten) that are missing or changed.
    """
    listed = [(r.file, r.prepared_sha256) for r in manifest.records]
    listed += [(m.file, m.sha256) for m in manifest.measurements]
    wrong = [file for file, expected in listed if file_sha256(folder / file) != expected]
    if wrong:
        names = "\n  ".join(wrong[:10])
        raise DataError(
            f"{folder}: {len(wrong)} of {len(listed)} files are missing or changed:\n  {names}\n"
            "Run `pocketcrafter data prepare` again; it makes only these anew."
        )


def check_split(records: Iterable[Placed]) -> None:
    """Refuse a photographer, a group or a photo on two sides of the split.

    Raises
    ------
    SplitError
        Naming both files.
    """
    owners: dict[str, Placed] = {}
    files: set[str] = set()
    for record in records:
        if record.file in files:
            raise SplitError(f"{record.file} is listed twice")
        files.add(record.file)
        marks = [f"package or folder {record.group!r}", f"photo with sha256 {record.original_sha256[:12]}…"]
        marks += [f"photographer {key!r}" for key in photographers(record.author, record.source)]
        for mark in marks:
            first = owners.setdefault(mark, record)
            if first.split is not record.split:
                raise SplitError(
                    f"{mark} would be on two sides of the split:\n"
                    f"  {first.split}: {first.file} (source {first.source})\n"
                    f"  {record.split}: {record.file} (source {record.source})\n"
                    "Leave one of the two out, or give both the same `source` in a MANIFEST.csv beside the photos."
                )


def photographers(author: str, source: str) -> tuple[str, ...]:
    """Give comparable names of the people in ``author``; a phrase that names nobody is told apart by ``source``."""
    names = []
    for part in author.split(";"):
        letters = unicodedata.normalize("NFKD", part).casefold()
        plain = " ".join(re.findall(r"\w+", "".join(c for c in letters if not unicodedata.combining(c))))
        nobody = plain in _NOT_A_PERSON or _NOT_ONE_PERSON.search(plain)
        names.append(f"{source}: {plain or 'unknown'}" if nobody else plain)
    return tuple(dict.fromkeys(names))


def file_sha256(path: Path) -> str | None:
    """Hash one file; None where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
