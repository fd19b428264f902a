"""The manifest's JSON Schema for other languages; `python -m pocketcrafter.runtime.vectors` writes it."""

import json
from pathlib import Path
from typing import Final

from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.families import FAMILIES

SCHEMA_FILE: Final = Path(__file__).with_name("manifest.schema.json")


def schema_text() -> str:
    """Return the JSON Schema of the manifest, with the settings of each family, as it is checked in."""
    schema = Manifest.model_json_schema()
    rules = []
    for name, family in FAMILIES.items():
        settings = family.settings.model_json_schema(ref_template="#/$defs/{model}")
        schema["$defs"] |= settings.pop("$defs", {})
        rules.append(
            {"if": {"properties": {"family": {"const": name}}}, "then": {"properties": {"settings": settings}}}
        )
    schema["allOf"] = rules
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
