"""Small picture files written byte by byte: every kind of PNG, JPEG segments, RIFF chunks, EXIF blocks, ICC profiles.

Nothing here uses what reads photos: the files are material to hold it against.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image

Samples = npt.NDArray[np.integer[Any]]
Chunk = tuple[bytes, bytes]

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPE: Final = {1: 0, 2: 4, 3: 2, 4: 6}
_PALETTE: Final = 3
_WHOLE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps between columns and rows, of each pass."""

_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50: Final = np.array([0.9642, 1.0, 0.8249])
_D65: Final = np.array([0.95047, 1.0, 1.08883])
_PRIMARIES: Final = {
    "srgb": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "display-p3": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    "adobe-rgb": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    "prophoto": ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
}
_GAMMA: Final = {"adobe-rgb": 563 / 256, "prophoto": 1.8}
_TIFF_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}


def png(samples: Samples, depth: int, *chunks: Chunk, palette: bytes | None = None, interlaced: bool = False) -> bytes:
    """Write a PNG.

    Parameters
    ----------
    samples
        Shape ``(H, W, C)``, values of ``depth`` bits; C is 1 (grey, or indices where there is a palette), 2 (grey,
        alpha), 3 or 4.
    depth
        1, 2, 4, 8 or 16.
    chunks
        What stands behind the header, and the palette.
    palette
        Its RGB triples.
    interlaced
        Adam7.
    """
    height, width, channels = samples.shape
    color_type = _COLOR_TYPE[channels] if palette is None else _PALETTE
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, interlaced)
    rows = b""
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE:
        part = samples[top::down, left::across]
        rows += b"".join(b"\0" + _row(row.ravel(), depth) for row in part if row.size)
    every = [(b"IHDR", header), *([] if palette is None else [(b"PLTE", palette)]), *chunks]
    return png_of([*every, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def png_of(chunks: list[Chunk]) -> bytes:
    """Write chunks behind PNG's signature."""
    return PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Write one chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def into_png(data: bytes, *chunks: Chunk) -> bytes:
    """Put chunks behind a PNG's header."""
    header_end = len(PNG_SIGNATURE) + 25
    return data[:header_end] + b"".join(png_chunk(*chunk) for chunk in chunks) + data[header_end:]


def with_right_checksums(data: bytes) -> bytes:
    """Give the chunks of a PNG the checksums that their content has."""
    pieces, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = min(int.from_bytes(data[at : at + 4], "big"), len(data) - at - 12)
        pieces.append(png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join([*pieces, data[at:]])


def into_jpeg(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Put segments, a marker and a body each, behind a JPEG's start marker and its JFIF segment."""
    at = 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2
    added = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return data[:at] + added + data[at:]


def into_riff(data: bytes, *chunks: Chunk) -> bytes:
    """Put chunks at the end of a WebP."""
    added = b"".join(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) for kind, body in chunks)
    return data[:4] + struct.pack("<I", len(data) - 8 + len(added)) + data[8:] + added


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    """Write a picture with Pillow."""
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def heic(samples: Samples, mode: str, **options: Any) -> bytes:  # noqa: ANN401 - pillow-heif's
    """Write a lossless HEIC of R'G'B' stored as such; ``mode`` is ``RGB``, ``RGBA;10`` and the like."""
    file = io.BytesIO()
    height, width = samples.shape[:2]
    options = {"matrix_coefficients": 0, "full_range_flag": 1, "chroma": 444, "quality": -1, **options}
    pillow_heif.encode(mode, (width, height), samples.tobytes(), file, **options)
    return file.getvalue()


def exif(
    tags: Mapping[int, tuple[int, bytes]],
    camera: Mapping[int, tuple[int, bytes]] | None = None,
    thumbnail: bytes = b"",
    order: str = "<",
) -> bytes:
    """Write a TIFF structure as EXIF has it, without its prefix.

    Parameters
    ----------
    tags, camera
        Type and packed values by tag, of the main directory and the camera's (0x8769).
    thumbnail
        A JPEG.
    order
        Of bytes, ``<`` or ``>``.
    """
    start = 8
    main = dict(tags)
    camera_size = 0 if camera is None else len(_directory(camera, 0, 0, order))
    if camera is not None:
        main[0x8769] = 4, struct.pack(f"{order}I", start)
    second = start + camera_size
    thumb = {0x0201: (4, bytes(4)), 0x0202: (4, struct.pack(f"{order}I", len(thumbnail)))}
    if thumbnail:
        thumb_size = len(_directory(thumb, 0, 0, order))
        thumb[0x0201] = 4, struct.pack(f"{order}I", second + thumb_size)
    else:
        thumb_size = 0
    at = second + thumb_size + len(thumbnail) + len(thumbnail) % 2
    blocks = [
        b"" if camera is None else _directory(camera, start, 0, order),
        _directory(thumb, second, 0, order) if thumbnail else b"",
        thumbnail + bytes(len(thumbnail) % 2),
        _directory(main, at, second if thumbnail else 0, order),
    ]
    signature = b"II*\0" if order == "<" else b"MM\0*"
    return signature + struct.pack(f"{order}I", at) + b"".join(blocks)


def short(value: int, order: str = "<") -> tuple[int, bytes]:
    """Type and value of a SHORT."""
    return 3, struct.pack(f"{order}H", value)


def long(value: int, order: str = "<") -> tuple[int, bytes]:
    """Type and value of a LONG."""
    return 4, struct.pack(f"{order}I", value)


def ascii_text(text: str) -> tuple[int, bytes]:
    """Type and value of a text."""
    return 2, text.encode() + b"\0"


def icc_profile(name: str) -> bytes:
    """Write a matrix profile (ICC 2.4) of ``srgb``, ``display-p3``, ``adobe-rgb`` or ``prophoto``."""
    white = _D50 if name == "prophoto" else _D65
    xyz = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _PRIMARIES[name]]).T
    matrix = xyz * np.linalg.solve(xyz, white)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    tags: dict[bytes, bytes] = {}
    for channel, colorant in zip(b"rgb", (adapt @ matrix).T, strict=True):
        tags[bytes([channel]) + b"XYZ"] = _xyz(colorant)
        tags[bytes([channel]) + b"TRC"] = _curve(_GAMMA.get(name))
    return _profile(name, b"RGB ", tags)


def icc_grey_profile(gamma: float) -> bytes:
    """Write a profile of grey with a power for its curve."""
    return _profile("grey", b"GRAY", {b"kTRC": _curve(gamma)})


def _row(values: Samples, depth: int) -> bytes:
    if depth >= 8:
        return values.astype(f">u{depth // 8}").tobytes()
    bits = (values[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def _directory(tags: Mapping[int, tuple[int, bytes]], at: int, following: int, order: str) -> bytes:
    behind = at + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        kind, value = tags[tag]
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place = struct.pack(f"{order}I", behind + len(values))
            values += value + bytes(len(value) % 2)
        entries += struct.pack(f"{order}HHI", tag, kind, len(value) // _TIFF_BYTES[kind]) + place
    return struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", following) + values


def _profile(name: str, space: bytes, own: Mapping[bytes, bytes]) -> bytes:
    tags = {b"desc": _text(name), b"cprt": b"text\0\0\0\0none\0", b"wtpt": _xyz(_D50), **own}
    body, table = b"", struct.pack(">I", len(tags))
    start = 128 + 4 + 12 * len(tags)
    for key, tag in tags.items():
        table += key + struct.pack(">II", start + len(body), len(tag))
        body += tag + b"\0" * (-len(tag) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _xyz(_D50)[8:]
    return header.ljust(128, b"\0") + table + body


def _xyz(values: npt.NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *np.rint(values * 65536).astype(int))


def _text(value: str) -> bytes:
    content = value.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(content)) + content + bytes(78)


def _curve(gamma: float | None) -> bytes:
    """Write a power, or sRGB's curve where none is given."""
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    x = np.linspace(0, 1, 1024)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    samples: bytes = np.rint(linear * 65535).astype(">u2").tobytes()
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + samples
