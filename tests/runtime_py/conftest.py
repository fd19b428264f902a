"""ICC profiles built from their published primaries, so that no profile file has to be shipped."""

import struct
from collections.abc import Callable

import numpy as np
import pytest

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50, D65 = np.array([0.9642, 1.0, 0.8249]), np.array([0.95047, 1.0, 1.08883])
PRIMARIES = {
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "display-p3": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    "adobe-rgb": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    "prophoto": ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
}
GAMMA = {"adobe-rgb": 563 / 256, "prophoto": 1.8}


@pytest.fixture
def rgb_profile() -> Callable[[str], bytes]:
    """A matrix profile of a known RGB space by name."""
    return build_profile


def build_profile(name: str) -> bytes:
    white = D50 if name == "prophoto" else D65
    xyz = np.array([(x / y, 1, (1 - x - y) / y) for x, y in PRIMARIES[name]]).T
    matrix = xyz * np.linalg.solve(xyz, white)
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD
    colorants = (adapt @ matrix).T
    tags = {b"desc": _text(name), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(D50)}
    for channel, colorant in zip(b"rgb", colorants, strict=True):
        tags[bytes([channel]) + b"XYZ"] = _xyz(colorant)
        tags[bytes([channel]) + b"TRC"] = _curve(GAMMA.get(name))
    body, table = b"", struct.pack(">I", len(tags))
    start = 128 + 4 + 12 * len(tags)
    for key, tag in tags.items():
        table += key + struct.pack(">II", start + len(body), len(tag))
        body += tag + b"\0" * (-len(tag) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(D50)[8:]
    return header.ljust(128, b"\0") + table + body


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *np.rint(values * 65536).astype(int))


def _text(value: str) -> bytes:
    ascii_ = value.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(ascii_)) + ascii_ + bytes(78)


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    x = np.linspace(0, 1, 1024)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + np.rint(linear * 65535).astype(">u2").tobytes()
