"""Whether weights that were trained on top of others still go with them: what their file's header records."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.errors import ConfigError

_MAX_HEADER_BYTES: Final = 1 << 22
_LENGTH_BYTES: Final = 8


def recorded_facts(weights: Path) -> dict[str, str]:
    """Return what a safetensors file records beside its tensors, without reading those.

    Raises
    ------
    ConfigError
        If it is no safetensors file.
    """
    try:
        with weights.open("rb") as file:
            length = min(int.from_bytes(file.read(_LENGTH_BYTES), "little"), _MAX_HEADER_BYTES)
            facts = json.loads(file.read(length)).get("__metadata__", {})
        return {str(name): str(value) for name, value in facts.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{weights}: not a safetensors file ({error}); train it again.") from error


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
