"""Results that commands wrote as JSON, read back with nothing taken on trust."""

import json
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from pocketcrafter.runtime.config import Config, parse_json
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.validation import check_json

C = TypeVar("C", bound=Config)


def read_result(path: Path, model: type[C], what: str, command: str, most_bytes: int) -> C:
    """Read a result file.

    Parameters
    ----------
    path
        The file.
    model
        What it holds.
    what, command
        What to call it in errors, and the command that writes it.
    most_bytes
        A larger file is not read.

    Raises
    ------
    ConfigError
        If it is missing, too large or something else; the message names the faults' places.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise ConfigError(f"{path}: larger than {most_bytes >> 20} MiB; no {what} is.")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return result_of(content, model, f"{path}: not what `pocketcrafter {command}` writes")


def result_of(content: str | bytes, model: type[C], where: str = "not a result") -> C:
    """Return a result that was written as JSON.

    Parameters
    ----------
    content
        What a command printed or wrote.
    model
        What it holds.
    where
        As the error's message begins.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    return check_json(model, _without_computed(content, model), where)


def _without_computed(content: str | bytes, model: type[Config]) -> str | bytes:
    """Leave out what the model computes anew of the rest, which is written for readers of the file alone."""
    if not model.model_computed_fields:
        return content
    try:
        raw = parse_json(content)
    except (ValueError, RecursionError):
        return content  # which is told as what it is
    if not isinstance(raw, dict):
        return content
    return json.dumps({key: value for key, value in raw.items() if key not in model.model_computed_fields})


Name = Annotated[str, Field(min_length=1, max_length=200)]


ShortName = Annotated[str, Field(min_length=1, max_length=80)]
