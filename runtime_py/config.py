"""The base of every configuration and contract: frozen, closed, validated; and JSON without a key given twice."""

import json
from collections import Counter
from typing import Any

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A frozen pydantic model that refuses unknown keys and non-finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def parse_json(content: str | bytes) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """Parse JSON; of a key given twice, Python's parser would take the last and say nothing.

    Raises
    ------
    ValueError
        If it is not JSON, or an object has a key twice.
    RecursionError
        If it is nested too deeply.
    """
    return json.loads(content, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        ((repeated, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {repeated!r} is there twice in one object")
    return found
