"""Options and types of options that several commands share."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from pocketcrafter.runtime.backends.names import BackendName

_SUFFIX: Final = re.compile(r"\.[a-z][a-z0-9]{2,7}", re.IGNORECASE)
"""What looks like the suffix of a file: of `2024.06` and `results.v2` it is part of the name."""


def wrong_suffix(path: Path, suffixes: Sequence[str]) -> str | None:
    """Return why a name promises another format than those of ``suffixes``, or `None` where it promises none."""
    suffix = path.suffix.lower()
    if suffix in suffixes or not _SUFFIX.fullmatch(suffix):
        return None
    return f"{path}: {suffix} files are not written here; known are {', '.join(suffixes)}"


class OutputFile(click.Path):
    """A file to write, in a format that its name does not contradict."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the file's path.

        Parameters
        ----------
        value, param, ctx
            As for :meth:`click.ParamType.convert`.

        Raises
        ------
        click.BadParameter
            If it is a folder, or its suffix is that of another format.
        """
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if reason := wrong_suffix(path, self._suffixes):
            self.fail(reason, param, ctx)
        return path


class OutputFolder(click.Path):
    """A folder to write into, which is not called as if it were a file; one that is there is taken as it is called."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(file_okay=False, path_type=Path)
        self._suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the folder's path.

        Parameters
        ----------
        value, param, ctx
            As for :meth:`click.ParamType.convert`.

        Raises
        ------
        click.BadParameter
            If it is a file, or is called like one.
        """
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() not in self._suffixes and _SUFFIX.fullmatch(path.suffix) and not path.is_dir():
            allowed = f" without a suffix, or with {' or '.join(self._suffixes)}" if self._suffixes else ""
            self.fail(f"{path} is called like a file; name a folder{allowed}, or make it first.", param, ctx)
        return path


photos_argument = click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
bundle_option = click.option(
    "--bundle", type=click.Path(path_type=Path), help="Bundle to run [default: build/default.pcbundle here]."
)
backend_option = click.option(
    "--backend",
    type=click.Choice(["auto", *(name.value for name in BackendName)]),
    default="auto",
    show_default=True,
    help="What runs the networks.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=lambda: min(8, os.cpu_count() or 1),
    help="Threads to compute with [default: the cores of this machine, 8 at most].",
)
JSON: Final = "--json"
json_option = click.option(JSON, "as_json", is_flag=True, help="Print the result as JSON.")
