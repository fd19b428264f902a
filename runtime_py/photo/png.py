"""16-bit PNG: read in two passes of Pillow's 8-bit decoder, and written in parallel by a writer of our own."""

import struct
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final

import numpy as np
from PIL import Image, PngImagePlugin

from pocketcrafter.runtime.arrays import PixelArray
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.metadata.png import Chunk

_STRIP_BYTES: Final = 4 << 20
_ZLIB_LEVEL: Final = 4
_COLOR_TYPE: Final = {3: 2, 4: 6}


def is_sixteen_bit(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded PNG stores 16 bits a sample."""
    return isinstance(image, PngImagePlugin.PngImageFile) and _raw_mode(image).endswith("16B")


def read_sixteen_bit(image: Image.Image, reopen: BinaryIO) -> PixelArray:
    """Decode a 16-bit PNG to all its bits.

    Pillow unpacks 16-bit color to its high bytes. Asked for little-endian samples, the same decoder gives the low
    bytes, so that two passes give both.

    Parameters
    ----------
    image
        The opened, not yet loaded picture.
    reopen
        The same file, for the second pass.

    Returns
    -------
    PixelArray
        uint16, shape ``(H, W, C)`` with C = 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).
    """
    raw = _raw_mode(image)
    if raw.startswith("I;"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if raw.startswith("LA;"):
        # Four bytes a pixel, as 8-bit RGBA has, so that the same filters undo it: grey high, low, alpha high, low.
        return _unpacked(image, "RGBA").view(">u2").astype(np.uint16)
    second = Image.open(reopen, formats=("PNG",))
    high = _unpacked(image, raw).astype(np.uint16)
    high <<= 8
    high |= _unpacked(second, raw.replace("16B", "16L"))
    return high


def write_png(
    file: BinaryIO,
    pixels: PixelArray,
    *,
    icc: bytes | None = None,
    chunks: Iterable[Chunk] = (),
    threads: int = 2,
) -> None:
    """Write an RGB or RGBA PNG of the pixels' bit depth.

    Parameters
    ----------
    file
        Where to write.
    pixels
        Shape ``(H, W, 3)`` or ``(H, W, 4)``, uint8 or uint16.
    icc
        ICC profile.
    chunks
        What else stands before the pixels, in this order.
    threads
        Strips are filtered and compressed on this many threads.
    """
    height, width, channels = pixels.shape
    depth = 8 * pixels.dtype.itemsize
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, _COLOR_TYPE[channels], 0, 0, 0))
    if icc is not None:
        _chunk(file, b"iCCP", b"ICC profile\x00\x00" + zlib.compress(icc))
    for kind, body in chunks:
        _chunk(file, kind, body)

    rows = max(1, _STRIP_BYTES // (width * channels * depth // 8))
    starts = range(0, height, rows)

    def compressed(start: int) -> tuple[bytes, bytes]:
        filtered = _filtered(pixels, start, min(start + rows, height))
        deflate = zlib.compressobj(_ZLIB_LEVEL, zlib.DEFLATED, -15)
        last = start + rows >= height
        return filtered, deflate.compress(filtered) + deflate.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)

    # Strips end byte-aligned (a full flush), so that their deflate streams join into one zlib stream.
    checksum = zlib.adler32(b"")
    _chunk(file, b"IDAT", b"\x78\x5e")
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(starts), 2 * threads):
            for filtered, stream in pool.map(compressed, starts[first : first + 2 * threads]):
                checksum = zlib.adler32(filtered, checksum)
                _chunk(file, b"IDAT", stream)
    _chunk(file, b"IDAT", struct.pack(">I", checksum))
    _chunk(file, b"IEND", b"")


def _filtered(pixels: PixelArray, start: int, stop: int) -> bytes:
    """Rows with PNG's Sub filter inside the photo's first row and Up elsewhere; photos differ little between rows."""
    depth_bytes = pixels.dtype.itemsize
    rows = np.ascontiguousarray(pixels[max(start - 1, 0) : stop].astype(f">u{depth_bytes}"))
    data = rows.view(np.uint8).reshape(len(rows), -1)
    if start == 0:
        data = np.concatenate([np.zeros_like(data[:1]), data])
    out = np.empty((stop - start, data.shape[1] + 1), dtype=np.uint8)
    out[:, 0] = 2
    np.subtract(data[1:], data[:-1], out=out[:, 1:])
    return out.tobytes()


def _chunk(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind)
    file.write(body)
    file.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))


def _raw_mode(image: Image.Image) -> str:
    if not isinstance(image, PngImagePlugin.PngImageFile) or not image.tile:
        raise PhotoError("the PNG has no picture data")
    return str(image.tile[0][3])


def _unpacked(image: Image.Image, raw_mode: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if not isinstance(image, PngImagePlugin.PngImageFile):
        raise PhotoError("not a PNG")
    image.tile = [image.tile[0]._replace(args=raw_mode)]
    if raw_mode == "RGBA":
        image._mode = "RGBA"
    return np.asarray(image)
