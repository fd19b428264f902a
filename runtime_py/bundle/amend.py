"""Writes results that come later than the build into a finished bundle, which is whole before and after."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pocketcrafter.runtime.bundle.archive import pack
from pocketcrafter.runtime.bundle.manifest import Manifest, safe_path
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.files import replacing, write_bytes, writing
from pocketcrafter.runtime.lock import only_writer


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
