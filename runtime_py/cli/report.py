"""What a command says about its photos: lines for people or one JSON document, and the exit code."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pocketcrafter.runtime.errors import PhotoError


class PhotoReport:
    """Collects results and failures; people read each at once, programs read all of it at the end."""

    def __init__(self, *, as_json: bool, failures: Iterable[PhotoError] = ()) -> None:
        self._as_json = as_json
        self._photos: list[dict[str, Any]] = []
        self._failed = False
        for error in failures:
            self.fail(error)

    def say(self, text: str) -> None:
        """Print for people; above a progress bar, if there is one."""
        if not self._as_json:
            tqdm.write(text, file=sys.stdout)

    def add(self, result: dict[str, Any], text: str) -> None:
        """Record one photo's result."""
        self._photos.append(result)
        self.say(text)

    def fail(self, error: PhotoError, photo: Path | None = None) -> None:
        """Record that a photo could not be handled; the others go on."""
        self._failed = True
        self._photos.append(({"photo": str(photo)} if photo else {}) | {"error": str(error)})
        tqdm.write(f"error: {error}", file=sys.stderr)

    def finish(self, **more: object) -> None:
        """Print the JSON document, with ``more`` beside the photos, and exit with 2 if anything failed."""
        if self._as_json:
            tqdm.write(json.dumps({"photos": self._photos, **more}, indent=1, ensure_ascii=False), file=sys.stdout)
        if self._failed:
            sys.exit(PhotoError.exit_code)
