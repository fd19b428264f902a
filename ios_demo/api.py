"""The public API of the Swift package, as the compiler tells it, compared with the list that is checked in."""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

LIST: Final = Path(__file__).resolve().parent / "PocketCrafterKit/API.txt"
"""One declaration a line, below the name of its module."""
MODULES: Final = ("PocketCrafterCore", "PocketCrafterKit", "OnnxRunner", "CoreMLRunner", "PocketCrafterImages")
EXTRACT: Final = "/usr/libexec/swift/bin/swift-symbolgraph-extract"
MACHINE: Final = "x86_64-pc-linux-gnu"


def listed(graphs: Path) -> str:
    """Return the list of what symbol graphs declare.

    Parameters
    ----------
    graphs
        Folder of the compiler's ``<module>.symbols.json``; what is inherited or made by the compiler is left out.
    """
    parts = []
    for module in MODULES:
        symbols = json.loads((graphs / f"{module}.symbols.json").read_text(encoding="utf-8"))["symbols"]
        parts.append("\n".join([f"# {module}", *sorted(_declarations(symbols)), ""]))
    return "\n".join(parts)


def difference(found: str) -> str:
    """Return how a list differs from the one that is checked in; nothing where it does not."""
    written = LIST.read_text(encoding="utf-8") if LIST.is_file() else ""
    return "\n".join(difflib.unified_diff(written.splitlines(), found.splitlines(), LIST.name, "compiled", lineterm=""))


def _declarations(symbols: Iterable[dict[str, Any]]) -> set[str]:
    return {
        f"{'.'.join(symbol['pathComponents'])}: {_declaration(symbol)}" for symbol in symbols if "location" in symbol
    }


def _declaration(symbol: dict[str, Any]) -> str:
    return " ".join("".join(part["spelling"] for part in symbol["declarationFragments"]).split())
