"""What the headers of weights files record: which modules they are of, and what they were trained on top of."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.errors import ConfigError

_MAX_HEADER_BYTES: Final = 1 << 22
_LENGTH_BYTES: Final = 8
_FACTS: Final = "__metadata__"


def recorded_facts(weights: Path) -> dict[str, str]:
    """Return what a safetensors file records beside its tensors, without reading those.

    Raises
    ------
    ConfigError
        If it is no safetensors file.
    """
    try:
        return {str(name): str(value) for name, value in _header(weights).get(_FACTS, {}).items()}
    except AttributeError as error:
        raise ConfigError(f"{weights}: not a safetensors file ({error}); train it again.") from error


def modules_in(weights: Path) -> set[str]:
    """Return the modules that a safetensors file has tensors of, and those that they lie in; reads its header alone.

    Raises
    ------
    ConfigError
        If it is no safetensors file.
    """
    parts = [name.split(".")[:-1] for name in _header(weights) if name != _FACTS]
    return {".".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1)}


def _header(weights: Path) -> dict[str, Any]:
    try:
        with weights.open("rb") as file:
            length = min(int.from_bytes(file.read(_LENGTH_BYTES), "little"), _MAX_HEADER_BYTES)
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{weights}: not a safetensors file ({error}); train it again.") from error
    if not isinstance(header, dict):
        raise ConfigError(f"{weights}: not a safetensors file (its header is no mapping); train it again.")
    return header


def check_trained_with(weights: Path, needed: Mapping[str, Path], mend: str) -> None:
    """Refuse weights that were trained with other files than those beside them.

    Parameters
    ----------
    weights
        A safetensors file whose header records SHA-256 hashes.
    needed
        The file that each hash must be of.
    mend
        The command that makes it right.

    Raises
    ------
    ConfigError
        If a hash is another one, or not recorded.
    """
    facts = recorded_facts(weights)
    changed = [path.name for name, path in needed.items() if facts.get(name) != sha256_of(path)]
    if changed:
        raise ConfigError(f"{weights} was trained with another {' and another '.join(changed)}. Train it again: {mend}")
