"""What of a shared library decides whether Android loads it: its machine, and what its segments are aligned to."""

import struct
from dataclasses import dataclass
from typing import Final

from pocketcrafter.runtime.errors import ConfigError

MACHINES: Final = {"arm64-v8a": 183, "x86_64": 62, "armeabi-v7a": 40, "x86": 3, "riscv64": 243}
"""ELF's number of the processor, by the name of Android's ABI."""
LARGE_PAGES: Final = frozenset({"arm64-v8a", "x86_64"})
"""ABIs of systems whose pages may have 16 KB."""
_LOAD: Final = 1
_WIDE: Final = 2


@dataclass(frozen=True)
class Library:
    """A shared library's header: ELF's number of its machine, and the smallest alignment of a loaded segment."""

    machine: int
    alignment: int


def read_library(content: bytes, name: str) -> Library:
    """Read the headers of a shared library.

    Raises
    ------
    ConfigError
        If it is none, or cut off.
    """
    try:
        if content[:4] != b"\x7fELF" or content[5] != 1:
            raise ConfigError(f"{name}: not a little-endian ELF library.")
        wide = content[4] == _WIDE
        machine = struct.unpack_from("<H", content, 18)[0]
        start = struct.unpack_from("<Q" if wide else "<I", content, 32 if wide else 28)[0]
        size, count = struct.unpack_from("<HH", content, 54 if wide else 42)
        alignments = []
        for header in (start + size * n for n in range(count)):
            if struct.unpack_from("<I", content, header)[0] == _LOAD:
                at = header + (48 if wide else 28)
                alignments.append(struct.unpack_from("<Q" if wide else "<I", content, at)[0])
    except (struct.error, IndexError) as error:
        raise ConfigError(f"{name}: a library that is cut off.") from error
    if not alignments:
        raise ConfigError(f"{name}: a library without a segment that is loaded.")
    return Library(machine, min(alignments))
