"""Results that commands wrote as JSON, read back with nothing taken on trust."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from pocketcrafter.runtime.config import Config
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
    return check_json(model, content, f"{path}: not what `pocketcrafter {command}` writes", strict=False)


Name = Annotated[str, Field(min_length=1, max_length=200)]


ShortName = Annotated[str, Field(min_length=1, max_length=80)]
