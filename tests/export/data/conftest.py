import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

WritePhoto = Callable[..., Path]


@pytest.fixture
def write_photo() -> WritePhoto:
    """Writes a colorful picture of its own content for every seed."""

    def write(path: Path, size: tuple[int, int] = (900, 700), *, seed: int = 0, artist: str = "", **save: Any) -> Path:
        rng = np.random.default_rng(seed)
        small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        exif = Image.Exif()
        if artist:
            exif[0x013B] = artist.encode()  # cameras write UTF-8 although the tag says ASCII
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize(size, Image.Resampling.BICUBIC).save(path, exif=exif, **save)
        return path

    return write


@pytest.fixture
def make_resource_file() -> Callable[..., bytes]:
    return encode_resource_file


def encode_resource_file(
    files: Mapping[str, bytes], *, version: int = 2, compress: bool = False, flags: int = 0
) -> bytes:
    """Encodes a Qt resource file from the description of its format: breadth-first tree, names, size-prefixed data."""
    root: dict[str, Any] = {}
    for name, content in files.items():
        *folders, last = name.split("/")
        node = root
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = content
    names, data, tree = bytearray(), bytearray(), []
    queue: list[tuple[str, Any]] = [("", root)]
    position, next_free = 0, 1
    while position < len(queue):
        name, node = queue[position]
        position += 1
        name_offset = len(names)
        if position > 1:
            names += struct.pack(">HI", len(name.encode("utf-16-be")) // 2, 0) + name.encode("utf-16-be")
        if isinstance(node, dict):
            entry = struct.pack(">IHII", name_offset, 2, len(node), next_free)
            queue += list(node.items())
            next_free += len(node)
        else:
            stored = struct.pack(">I", len(node)) + zlib.compress(node) if compress else node
            entry = struct.pack(">IHII", name_offset, flags | int(compress), 0, len(data))
            data += struct.pack(">I", len(stored)) + stored
        tree.append(entry + (bytes(8) if version >= 2 else b""))
    header = 24 if version >= 3 else 20
    tree_bytes = b"".join(tree)
    offsets = (header, header + len(tree_bytes), header + len(tree_bytes) + len(data))
    return (
        b"qres" + struct.pack(">IIII", version, *offsets) + bytes(header - 20) + tree_bytes + bytes(data) + bytes(names)
    )
