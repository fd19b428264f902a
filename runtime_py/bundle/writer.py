"""Seals a directory as a bundle, and adds later results (parity, device goldens) to a sealed one."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import JsonValue

from pocketcrafter.runtime.bundle.archive import pack
from pocketcrafter.runtime.bundle.integrity import digest_text, is_clutter, sha256_of
from pocketcrafter.runtime.bundle.manifest import (
    DIGEST,
    MANIFEST,
    RESERVED,
    SCHEMA_VERSION,
    ComponentEntry,
    FileEntry,
    LicenseEntry,
    Manifest,
    TargetEntry,
    TrainingData,
    safe_path,
)
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.families import family_settings
from pocketcrafter.runtime.files import only_writer, replacing, write_bytes, writing


def seal(
    root: Path,
    *,
    name: str,
    components: tuple[ComponentEntry, ...],
    targets: Mapping[str, TargetEntry],
    family: str,
    settings: Mapping[str, JsonValue],
    licenses: tuple[LicenseEntry, ...],
    training_data: TrainingData,
    tools: Mapping[str, str],
) -> Manifest:
    """Write the manifest of a directory that holds everything else of the bundle.

    The manifest has no times in it: the same files and facts give the same bytes.

    Parameters
    ----------
    root
        The directory; every file in it goes into the manifest, but for what Finder or Explorer left there.
    name, components, targets, family, settings, licenses, training_data, tools
        As in :class:`~pocketcrafter.runtime.bundle.manifest.Manifest`.

    Returns
    -------
    Manifest
        What was written.

    Raises
    ------
    pydantic.ValidationError
        If the facts contradict each other or the files.
    BundleError
        If the settings are not the family's.
    StorageError
        If the manifest cannot be written.
    """
    return _write(
        root,
        Manifest(
            schema_version=SCHEMA_VERSION,
            name=name,
            components=components,
            targets=targets,
            family=family,
            settings=settings,
            licenses=licenses,
            training_data=training_data,
            tools=tools,
            files=_entries(root),
        ),
    )


def reseal(root: Path, manifest: Manifest) -> Manifest:
    """Write the manifest again for the files that lie in a bundle's directory now; returns it with their hashes."""
    return _write(root, Manifest.model_validate(manifest.model_copy(update={"files": _entries(root)}).model_dump()))


def _entries(root: Path) -> tuple[FileEntry, ...]:
    found = sorted(p for p in root.rglob("*") if p.is_file())
    paths = {p.relative_to(root).as_posix(): p for p in found}
    return tuple(
        FileEntry(path=path, sha256=sha256_of(file), size=file.stat().st_size)
        for path, file in paths.items()
        if path not in RESERVED and not is_clutter(path)
    )


def _write(root: Path, manifest: Manifest) -> Manifest:
    family_settings(manifest)
    data = manifest.to_bytes()
    write_bytes(root / MANIFEST, data)
    write_bytes(root / DIGEST, digest_text(data))
    return manifest


def amend(path: Path, change: Callable[[Manifest], Manifest], reports: Mapping[str, bytes]) -> Manifest:
    """Change what a bundle's manifest records, and put reports beside it.

    Parameters
    ----------
    path
        A bundle directory or a zip of one. Its hashes are checked first, so that a damaged bundle is not sealed anew.
    change
        Returns the manifest to be; the list of files is made again whatever it says.
    reports
        Content by path in the bundle, `reports/…`; replaced where they are there already.

    Returns
    -------
    Manifest
        What was written.

    Raises
    ------
    BundleError
        If it is no bundle or damaged.
    BusyError
        If another process writes to it, which may be a build.
    StorageError
        If it cannot be written; it is left as it was.
    """
    path = path.resolve()
    with only_writer(path):
        bundle = Bundle.open(path)
        bundle.check_integrity()
        if not path.is_dir():
            manifest = _amended(bundle.root, bundle.manifest, change, reports)
            pack(bundle.root, path)
            return manifest
        with replacing(path) as fresh, writing(path):
            shutil.copytree(bundle.root, fresh, copy_function=_link)
            return _amended(fresh, bundle.manifest, change, reports)


def _amended(
    folder: Path, manifest: Manifest, change: Callable[[Manifest], Manifest], reports: Mapping[str, bytes]
) -> Manifest:
    for name, content in reports.items():
        write_bytes(folder / safe_path(name), content)
    return reseal(folder, change(manifest))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
