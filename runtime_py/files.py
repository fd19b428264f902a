"""Files that appear whole or not at all: written under a temporary name beside their place, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.errors import ConfigError

_LONGEST_STEM: Final = 40
"""Characters kept of a name, so that a temporary name is never too long where the name itself is not."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a file; what was written there takes the file's place when the block ends well.

    Parameters
    ----------
    path
        The file; its folder is made where there is none. What is there already stays until the end, and whole.

    Yields
    ------
    Path
        A name of this process's own in the same folder, with the same ending, as some writers go by that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:_LONGEST_STEM]}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made where there is none.

    Raises
    ------
    ConfigError
        If it cannot be written there.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode())


def user_cache() -> Path:
    """Return the user's folder for what can be made again; it need not be there."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(chosen) if Path(chosen).is_absolute() else Path("~/.cache").expanduser()) / "pocketcrafter"
