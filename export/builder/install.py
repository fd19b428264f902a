"""Puts a finished bundle where it was asked for, at once, and never over something else."""

import shutil
from pathlib import Path

from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import BundleError, ConfigError


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
    """
    check_free(out)
    if _is_same(made, out):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(made, fresh)
    if out.exists():
        out.replace(old)
    fresh.replace(out)
    shutil.rmtree(old, ignore_errors=True)
    return True


def check_free(out: Path) -> None:
    """Raise `ConfigError` where something other than a bundle or an empty directory lies at ``out``."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ConfigError(f"{out} is not a directory; choose another --out.")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise ConfigError(f"{out} holds something that is not a bundle; choose another --out, or empty it.")


def _is_same(made: Path, out: Path) -> bool:
    try:
        Bundle.open(out).check_integrity()
    except BundleError:
        return False
    return (out / DIGEST).read_bytes() == (made / DIGEST).read_bytes()
