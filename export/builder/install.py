"""Puts a finished bundle where it was asked for, at once, and never over something else."""

import shutil
from pathlib import Path

from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.files import replacing, writing


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
    """Raise `ConfigError` where something other than a folder that holds ``mark``, or an empty one, lies at ``out``."""
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
