"""Which photos a command line names, and where their results go."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click

from pocketcrafter.runtime.cli.options import wrong_suffix
from pocketcrafter.runtime.errors import ConfigError, PhotoError
from pocketcrafter.runtime.files import identities
from pocketcrafter.runtime.photo.model import SUFFIXES, Photo

DEFAULT_BUNDLE: Final = Path("build/default.pcbundle")
_MARK: Final = ".enhanced"
_PREFERRED_SUFFIX: Final = {kind: suffix for suffix, kind in reversed(tuple(SUFFIXES.items()))}


def find_photos(arguments: Sequence[str]) -> tuple[list[Path], list[PhotoError]]:
    """Turn files, folders and glob patterns into photos, each once and in the order given.

    A folder stands for the photos directly in it, by suffix, without hidden files, as macOS puts beside photos on
    foreign disks (``._*.jpg``), and without earlier results (``*.enhanced.*``). A named file is taken whatever it is
    called.

    Returns
    -------
    tuple
        The files, and one error for each argument that names none.
    """
    photos: dict[str, Path] = {}
    errors = []
    for argument in arguments:
        try:
            found = {os.path.realpath(path): path for path in _named(argument)}
        except OSError as error:
            errors.append(PhotoError(f"{argument}: {error.strerror}"))
            continue
        if not found:
            errors.append(PhotoError(f"{argument}: no photo there"))
        photos |= {key: path for key, path in found.items() if key not in photos}
    return list(photos.values()), errors


def place_result(photo: Photo, source: Path, out: Path | None, *, out_is_folder: bool) -> Path:
    """Return where a photo's result goes: ``out``, a name in it, or ``<name>.enhanced.<ext>`` beside the photo.

    The suffix is the source's, or that of its real format where the source's is not a photo's.

    Parameters
    ----------
    photo
        The decoded source.
    source
        Its path.
    out
        The file or folder that was asked for, if any.
    out_is_folder
        Whether ``out`` is a folder.
    """
    if out is not None and not out_is_folder:
        return out
    suffix = source.suffix if source.suffix.lower() in SUFFIXES else _PREFERRED_SUFFIX[photo.source_format]
    if out is not None:
        return out / f"{source.stem}{suffix}"
    return source.with_name(f"{source.stem}{_MARK}{suffix}")


class Names:
    """The file names of one call: inputs are never overwritten, and no result takes the name of another.

    Files are told apart by what they are, not by what they are called: links and foldings of case included.
    """

    def __init__(self, inputs: Iterable[Path]) -> None:
        inputs = list(inputs)
        self._inputs = {known for path in inputs for known in identities(path)}
        self._results: set[object] = set()
        self._claimed: list[Path] = []

    def claim(self, result: Path) -> None:
        """Reserve a file name for one result.

        Raises
        ------
        PhotoError
            If it is that of an input or of another result.
        """
        # A file that was claimed by name alone may be there by now, and be found under other names.
        self._results |= {known for path in self._claimed for known in identities(path)}
        self._claimed.clear()
        keys = identities(result)
        if not keys.isdisjoint(self._inputs):
            raise PhotoError(f"{result}: this is one of the inputs, which are never overwritten; use another -o.")
        if not keys.isdisjoint(self._results):
            raise PhotoError(f"{result}: another photo's result of this call already has this name; enhance it apart.")
        self._results.add(os.path.realpath(result))
        self._claimed.append(result)


def is_folder(out: Path | None, photos: int, option: str = "-o") -> bool:
    """Decide whether an option names a folder or a file.

    Parameters
    ----------
    out
        The option's value.
    photos
        How many results there are.
    option
        The option's name, for messages.

    Raises
    ------
    click.UsageError
        If it names a file for several photos.
    """
    if out is None:
        return False
    if out.is_dir():
        return True
    if out.suffix.lower() not in SUFFIXES:
        if reason := wrong_suffix(out, tuple(SUFFIXES)):
            raise click.UsageError(f"{option} {reason}; make the folder first if that is what it is.")
        return True
    if photos > 1:
        raise click.UsageError(f"{option} {out} names one file for {photos} photos; name a folder.")
    return False


def make_folder(folder: Path) -> None:
    """Make a folder for results, with its parents.

    Raises
    ------
    PhotoError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(f"{folder}: the folder cannot be made ({error.strerror})") from error


def bundle_or_default(bundle: Path | None) -> Path:
    """Return the bundle to use.

    Raises
    ------
    ConfigError
        If none is named and the default one has not been built here.
    """
    if bundle is not None:
        return bundle
    if not DEFAULT_BUNDLE.exists():
        raise ConfigError(
            f"There is no {DEFAULT_BUNDLE} here. Make it with `pocketcrafter build`, or name a bundle with --bundle."
        )
    return DEFAULT_BUNDLE


def _named(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        return sorted(p for p in path.iterdir() if _is_photo(p))
    if path.exists() or not glob.has_magic(argument):
        # A missing file is told apart from an unreadable one when it is opened.
        return [path]
    # Path.glob takes no absolute patterns.
    names = glob.glob(argument, recursive=True)  # noqa: PTH207
    return [p for p in sorted(Path(name) for name in names) if p.is_file()]


def _is_photo(path: Path) -> bool:
    named = path.suffix.lower() in SUFFIXES and not path.stem.endswith(_MARK) and not path.name.startswith(".")
    return named and path.is_file()
