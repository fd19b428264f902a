"""Sealing a bundle: the files that lie in a directory become its manifest."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

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
)
from pocketcrafter.runtime.families import family_settings
from pocketcrafter.runtime.files import write_bytes


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
