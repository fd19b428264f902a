"""``python -m pocketcrafter.runtime.vectors``: writes what is generated from the Python source into this checkout.

That is the manifest's JSON Schema, and the apps' constants in Kotlin and Swift.
"""

import sys

from pocketcrafter.runtime.bundle.schema import SCHEMA_FILE, schema_text
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.vectors import kotlin, swift


def main() -> None:
    """Write every generated file, and say which."""
    for folder in (kotlin.FOLDER, swift.FOLDER):
        if not folder.is_dir():
            sys.exit(f"There is no {folder} here: run this at the top of a checkout.")
    generated = {SCHEMA_FILE: schema_text()}
    generated |= {kotlin.FOLDER / name: text for name, text in kotlin.kotlin_sources().items()}
    generated |= {swift.FOLDER / name: text for name, text in swift.swift_sources().items()}
    for path, text in generated.items():
        write_text(path, text)
        print(path)  # noqa: T201 - a development command


if __name__ == "__main__":
    main()
