"""Puts a finished bundle where it was asked for, at once, and never over something else."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
    with replacing_folder(out) as fresh:
        shutil.copytree(made, fresh)
    return True


@contextmanager
def replacing_folder(out: Path) -> Iterator[Path]:
    """Give the name of a folder to make; it takes the place of ``out`` when the block ends well, and is removed if not.

    What is there already stays until the end, and whole.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        yield fresh
        if out.exists():
            out.replace(old)
        fresh.replace(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


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
