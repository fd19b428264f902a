"""The JSON Schema of latency results; `python -m pocketcrafter.benchmarks.latency.schema` writes it."""

import json
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.latency.results import LatencyReport
from pocketcrafter.runtime.files import write_text

SCHEMA_FILE: Final = Path(__file__).with_name("latency.schema.json")


def schema_text() -> str:
    """Return the JSON Schema, as it is checked in."""
    schema = LatencyReport.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA_FILE, schema_text())
