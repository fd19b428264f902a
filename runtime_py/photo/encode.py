"""Writing photos with the metadata they came with, whole or not at all."""

import io
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pillow_heif
from PIL import Image

from pocketcrafter.runtime.arrays import PixelArray
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.files import write_bytes
from pocketcrafter.runtime.photo.color import to_eight_bits
from pocketcrafter.runtime.photo.metadata.containers import exif_and_xmp
from pocketcrafter.runtime.photo.metadata.exif import without_orientation
from pocketcrafter.runtime.photo.metadata.jpeg import jpeg_segments, with_metadata
from pocketcrafter.runtime.photo.metadata.png import png_chunks
from pocketcrafter.runtime.photo.metadata.words import sentence
from pocketcrafter.runtime.photo.model import Photo, PhotoFormat, format_of
from pocketcrafter.runtime.photo.png import write_png

JPEG_QUALITY: Final = 95
WEBP_QUALITY: Final = 92
HEIC_QUALITY: Final = 90
AVIF_QUALITY: Final = 90
_JPEG_MAX_SIDE: Final = 65_500
_WEBP_MAX_SIDE: Final = 16_383
_BITS: Final = {PhotoFormat.PNG: 16, PhotoFormat.HEIC: 10} | dict.fromkeys(
    (PhotoFormat.JPEG, PhotoFormat.WEBP, PhotoFormat.AVIF), 8
)


def encode(photo: Photo, path: Path, *, threads: int = 2) -> tuple[str, ...]:
    """Write a photo in the format that the suffix of ``path`` asks for.

    PNG keeps 16-bit pixels, HEIC 10 bits of them, the others 8. All keep alpha but JPEG, which is laid over white. The
    file appears under its name only when it is complete.

    Parameters
    ----------
    photo
        What to write; its ICC profile and metadata go along where the format holds them.
    path
        Where; an existing file is replaced.
    threads
        Threads for PNG compression.

    Returns
    -------
    tuple of str
        The photo's notes, then what the format does not hold of it, one short sentence each.

    Raises
    ------
    PhotoError
        If the suffix is unknown, or the photo is too large for the format or for memory.
    StorageError
        If the file cannot be written.
    """
    kind = format_of(path)
    limit = {PhotoFormat.JPEG: _JPEG_MAX_SIDE, PhotoFormat.WEBP: _WEBP_MAX_SIDE}.get(kind)
    if limit is not None and max(photo.width, photo.height) > limit:
        raise PhotoError(f"{path}: {kind} holds at most {limit} px a side, not {photo.width}×{photo.height}; use .png.")
    try:
        content = _encoded(photo, kind, threads)
    except (OSError, ValueError, RuntimeError) as error:
        raise PhotoError(f"{path}: the photo cannot be encoded as {kind} ({error})") from error
    write_bytes(path, content)
    return (*photo.notes, *_left_out(photo, kind))


def save(photo: Photo, path: Path | str, *, threads: int = 2) -> tuple[str, ...]:
    """Write a photo; one that is as it was read is copied byte for byte where the format stays the same.

    Errors are those of `encode`.

    Parameters
    ----------
    photo
        What to write.
    path
        Where to; the suffix decides the format.
    threads
        Threads to encode with, ≥ 1.

    Returns
    -------
    tuple of str
        As `encode`; of a copy nothing, as it lacks nothing.

    Raises
    ------
    PhotoError
        Also if the file that is to be copied cannot be read any more.
    """
    path = Path(path)
    if photo.path is None or format_of(path) is not photo.source_format:
        return encode(photo, path, threads=threads)
    try:
        content = photo.path.read_bytes()
    except OSError as error:
        raise PhotoError(f"{photo.path}: it cannot be read ({error.strerror})") from error
    write_bytes(path, content)
    return ()


def _encoded(photo: Photo, kind: PhotoFormat, threads: int) -> bytes:
    file = io.BytesIO()
    if kind is PhotoFormat.PNG:
        stacked = photo.pixels if photo.alpha is None else _with_alpha(photo.pixels, photo.alpha)
        write_png(file, stacked, icc=photo.icc, chunks=png_chunks(photo.metadata)[0], threads=threads)
        return file.getvalue()
    if kind is PhotoFormat.HEIC:
        _write_heic(photo, file)
        return file.getvalue()
    formats: dict[PhotoFormat, tuple[str, dict[str, Any]]] = {
        PhotoFormat.JPEG: ("JPEG", {"quality": JPEG_QUALITY, "subsampling": photo.chroma_subsampling}),
        PhotoFormat.WEBP: ("WEBP", {"quality": WEBP_QUALITY, "method": 4}),
        PhotoFormat.AVIF: ("AVIF", {"quality": AVIF_QUALITY, "speed": 8}),
    }
    name, options = formats[kind]
    blocks = {} if kind is PhotoFormat.JPEG else exif_and_xmp(photo.metadata)[0]
    if kind is PhotoFormat.AVIF and "exif" in blocks:
        # Pillow writes a block with an orientation anew for AVIF, which would move maker notes.
        blocks["exif"] = without_orientation(blocks["exif"])
    Image.fromarray(_picture(photo, kind)).save(file, name, **options, **_profile(photo), **blocks)
    return with_metadata(file.getvalue(), photo.metadata) if kind is PhotoFormat.JPEG else file.getvalue()


def _write_heic(photo: Photo, file: BinaryIO) -> None:
    pixels, alpha, depth = photo.pixels, photo.alpha, 8
    if pixels.dtype == np.uint16:
        pixels, alpha, depth = _ten_bits(pixels), None if alpha is None else _ten_bits(alpha), 10
    stacked = pixels if alpha is None else _with_alpha(pixels, alpha)
    mode = ("RGB" if alpha is None else "RGBA") + (";10" if depth == 10 else "")
    pillow_heif.encode(
        mode,
        (photo.width, photo.height),
        stacked.tobytes(),
        file,
        quality=HEIC_QUALITY,
        # x265's own preset takes six times as long for 0.9 dB, at 54 dB.
        enc_params={"preset": "ultrafast"},
        bit_depth=depth,
        **_profile(photo),
        **exif_and_xmp(photo.metadata)[0],
    )


def _ten_bits(values: PixelArray) -> PixelArray:
    return ((values.astype(np.uint32) * 1023 + 32767) // 65535).astype(np.uint16)


def _profile(photo: Photo) -> dict[str, bytes]:
    return {} if photo.icc is None else {"icc_profile": photo.icc}


def _picture(photo: Photo, kind: PhotoFormat) -> PixelArray:
    pixels = to_eight_bits(photo.pixels)
    if photo.alpha is None:
        return pixels
    alpha = to_eight_bits(photo.alpha)
    if kind is not PhotoFormat.JPEG:
        return _with_alpha(pixels, alpha)
    opacity = alpha[..., None].astype(np.float32) / 255
    return np.rint(pixels * opacity + 255 * (1 - opacity)).astype(np.uint8)


def _with_alpha(pixels: PixelArray, alpha: PixelArray) -> PixelArray:
    stacked: PixelArray = np.empty((*alpha.shape, 4), dtype=pixels.dtype)
    stacked[..., :3], stacked[..., 3] = pixels, alpha
    return stacked


def _left_out(photo: Photo, kind: PhotoFormat) -> tuple[str, ...]:
    notes = []
    if photo.alpha is not None and kind is PhotoFormat.JPEG:
        notes.append("JPEG holds no transparency: it was laid over white.")
    held = _BITS[kind]
    if photo.pixels.dtype == np.uint16 and photo.significant_bits > held:
        notes.append(f"Its {photo.significant_bits} bits a sample became {held}, which is what {kind.upper()} holds.")
    if kind is PhotoFormat.JPEG:
        words = jpeg_segments(photo.metadata)[1]
    elif kind is PhotoFormat.PNG:
        words = png_chunks(photo.metadata)[1]
    else:
        words = exif_and_xmp(photo.metadata)[1]
    return (*notes, *sentence(words))
