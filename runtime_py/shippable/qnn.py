"""Qualcomm's libraries and context binaries: which build they are of, and which chip they are for."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from pocketcrafter.runtime.targets import HTP_ARCHITECTURES, SOC_IDS, Soc

RUNTIME: Final = "libQnnHtp.so"
STUB: Final = "libQnnHtpV{version}Stub.so"
SKEL: Final = "libQnnHtpV{version}Skel.so"
_LIBRARY: Final = re.compile(r"libQnn\w*\.so")
_BUILD: Final = re.compile(rb"v?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{10,14})")
_CONTEXT: Final = re.compile(rb"\x00\x00\x00\x02\x00\x00\x00\x03.{4}\x00\x00\x00\x01.{4}\x00{5}\x10\x00{6}", re.DOTALL)
"""How a context binary of QNN 2.49 to 2.51 begins: its format, and its alignment to pages of 4 KB."""
_SOC_AT: Final = slice(188, 192)

Build = tuple[int, ...]


def is_library(name: str) -> bool:
    """Whether a path is that of one of Qualcomm's libraries."""
    return _LIBRARY.fullmatch(PurePosixPath(name).name) is not None


def build_of(content: bytes) -> Build | None:
    """Return major, minor and patch of the QNN build that a library or a context states; `None` where none is there."""
    found = _BUILD.search(content)
    return None if found is None else tuple(map(int, found.groups()[:3]))


def socs_of(content: bytes) -> Iterator[Soc | int]:
    """Yield the chip of each context binary within an artifact; QNN's number where it is none of ours."""
    names = {number: soc for soc, number in SOC_IDS.items()}
    for found in _CONTEXT.finditer(content):
        number = int.from_bytes(content[found.start() :][_SOC_AT], "little")
        yield names.get(number, number)


def needed_libraries(soc: Soc) -> tuple[str, str]:
    """Return the names of the stub and the skel that a chip needs beside `RUNTIME`."""
    version = HTP_ARCHITECTURES[soc]
    return STUB.format(version=version), SKEL.format(version=version)


def spelled(build: Build) -> str:
    """Return a build as Qualcomm writes it."""
    return ".".join(map(str, build))
