"""Results that commands wrote as JSON, read back with nothing taken on trust."""

from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

C = TypeVar("C", bound=Config)

_MOST_FAULTS: Final = 10


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
        If it is missing, too large or something else; the message names the faults' places, ten at most.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise ConfigError(f"{path}: larger than {most_bytes >> 20} MiB; no {what} is.")
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:_MOST_FAULTS]]
        told = faults[0] if len(faults) == 1 else "".join(f"\n  {fault}" for fault in faults)
        raise ConfigError(f"{path}: not what `pocketcrafter {command}` writes: {told}") from error
