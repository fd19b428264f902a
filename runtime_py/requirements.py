"""Which packages that something requires are missing, or of a version that does not fit."""

import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import distributions, requires
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DISTRIBUTION: Final = "pocketcrafter"
_EXTRA: Final = re.compile(r"extra == ['\"]([^'\"]+)['\"]")


def required(extra: str | None) -> list[Requirement]:
    """Return what an extra of this distribution requires; `None` stands for the runtime itself."""
    found = []
    for text in requires(DISTRIBUTION) or []:
        requirement = Requirement(text)
        belongs_to = _EXTRA.search(f"{requirement.marker or ''}")
        if requirement.name.lower() != DISTRIBUTION and (belongs_to[1] if belongs_to else None) == extra:
            found.append(requirement)
    return found


def unmet(requirements: Iterable[Requirement], path: Sequence[str] | None = None) -> dict[str, str | None]:
    """Return the requirements that are not met, each with the version that is there; `None` where there is none.

    Parameters
    ----------
    requirements
        What is required; only names and versions are looked at.
    path
        Where packages lie; those of this interpreter when `None`.
    """
    where = sys.path if path is None else list(path)
    found: dict[str, str | None] = {}
    for wanted in requirements:
        version = next((one.version for one in distributions(name=wanted.name, path=where)), None)
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            found[f"{canonicalize_name(wanted.name)}{wanted.specifier}"] = version
    return found
