"""What a command says about its photos: lines for people or one JSON document, and the exit code."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import click
from tqdm import tqdm

from pocketcrafter.runtime.errors import PhotoError, PocketCrafterError


def error_document(error: BaseException) -> dict[str, str]:
    """Return what programs read of an error: its words, and the name of its type, as in `errors` or of click."""
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return {"error": text or type(error).__name__, "kind": type(error).__name__}


class PhotoReport:
    """Collects results and failures; people read each at once, programs read all of it at the end.

    A context: the JSON document is printed when it ends, with the results there are and the error where it ends in one.
    """

    def __init__(self, *, as_json: bool, failures: Iterable[PhotoError] = ()) -> None:
        self._as_json = as_json
        self._photos: list[dict[str, Any]] = []
        self._more: dict[str, object] = {}
        self._failed = False
        for error in failures:
            self.fail(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._as_json:
            ended = {} if error is None else error_document(error)
            tqdm.write(json.dumps({"photos": self._photos, **self._more, **ended}, indent=1), file=sys.stdout)
        if error is None and self._failed:
            sys.exit(PhotoError.exit_code)

    def say(self, text: str) -> None:
        """Print for people; above a progress bar, if there is one."""
        if not self._as_json:
            tqdm.write(text, file=sys.stdout)

    def add(self, result: dict[str, Any], text: str) -> None:
        """Record one photo's result."""
        self._photos.append(result)
        self.say(text)

    def tell(self, **more: object) -> None:
        """Record what goes beside the photos in the JSON document."""
        self._more |= more

    def fail(self, error: PocketCrafterError, photo: Path | None = None) -> None:
        """Record that a photo could not be handled; the others go on, and the exit code will be 2."""
        self._failed = True
        self._photos.append(({"photo": str(photo)} if photo else {}) | error_document(error))
        tqdm.write(f"error: {error}", file=sys.stderr)
