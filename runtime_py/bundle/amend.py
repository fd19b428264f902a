"""Writes results that come later than the build into a finished bundle, which is whole before and after."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pocketcrafter.runtime.bundle.archive import pack
from pocketcrafter.runtime.bundle.manifest import Manifest, safe_path
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.errors import BundleError


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
        If it is no bundle or damaged, or cannot be written; it is left as it was.
    """
    path = path.resolve()
    bundle = Bundle.open(path)
    bundle.check_integrity()
    fresh = path.with_name(f".{path.name}.new")
    try:
        _remove(fresh)
        folder = fresh if path.is_dir() else bundle.root
        if path.is_dir():
            shutil.copytree(bundle.root, fresh, copy_function=_link)
        for name, content in reports.items():
            _put(folder / safe_path(name), content)
        for name in ("manifest.json", "manifest.sha256"):
            (folder / name).unlink()  # the linked files are the old bundle's own
        manifest = reseal(folder, change(bundle.manifest))
        if path.is_dir():
            _swap(fresh, path)
        else:
            pack(folder, fresh)
            fresh.replace(path)
    except OSError as error:
        raise BundleError(f"{path}: the results cannot be written into the bundle: {error}") from error
    finally:
        _remove(fresh)
    return manifest


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _swap(fresh: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    _remove(old)
    path.replace(old)
    try:
        fresh.replace(path)
    except OSError:
        old.replace(path)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
