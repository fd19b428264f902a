"""What a decoded photo is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import numpy as np

from pocketcrafter.runtime.arrays import PixelArray
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.metadata import Metadata


class PhotoFormat(StrEnum):
    """A file format that photos are read from and written to."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HEIC = "heic"
    AVIF = "avif"


SUFFIXES: Final[Mapping[str, PhotoFormat]] = {
    ".jpg": PhotoFormat.JPEG,
    ".jpeg": PhotoFormat.JPEG,
    ".jpe": PhotoFormat.JPEG,
    ".jfif": PhotoFormat.JPEG,
    ".png": PhotoFormat.PNG,
    ".webp": PhotoFormat.WEBP,
    ".heic": PhotoFormat.HEIC,
    ".heif": PhotoFormat.HEIC,
    ".hif": PhotoFormat.HEIC,
    ".avif": PhotoFormat.AVIF,
}
"""File name suffixes, in lower case, and the format each one asks for."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as it is looked at: orientation applied, three channels, its metadata beside it.

    Attributes
    ----------
    pixels
        Shape ``(H, W, 3)``, uint8 or uint16, C-contiguous, RGB in the encoding of `icc`.
    alpha
        Opacity, shape ``(H, W)``, of the pixels' dtype; `None` when the photo is opaque.
    icc
        ICC profile of `pixels`, from the file or built from what it says in another way; `None` means sRGB.
    metadata
        What stands beside the pixels, as it holds for an edited photo: upright, of this size, no thumbnails.
    source_format
        What the photo was read from.
    chroma_subsampling
        Pillow's subsampling code of a JPEG source (0 4:4:4, 1 4:2:2, 2 4:2:0); 0 for other sources.
    significant_bits
        How many bits of a sample the source filled: 10 or 12 of uint16 from HEIC; otherwise no less than the dtype's.
    path
        The file whose content it is. A photo made from another one, as by `with_pixels`, has none.
    notes
        What of the source is not in here (other frames, a gain map…) or was converted (HDR, CMYK…), one short sentence
        each, in the order found.
    """

    pixels: PixelArray
    alpha: PixelArray | None = None
    icc: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)
    source_format: PhotoFormat = PhotoFormat.JPEG
    chroma_subsampling: int = 0
    significant_bits: int = 16
    notes: tuple[str, ...] = ()
    path: Path | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Check the planes, and lay them out in order.

        Raises
        ------
        PhotoError
            If they are not of the documented shapes and types.
        """
        if not isinstance(self.pixels, np.ndarray):
            kind = type(self.pixels).__name__
            raise PhotoError(f"A photo's pixels are a numpy array, not of {kind}; `load` takes files and pictures.")
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or 0 in self.pixels.shape:
            raise PhotoError(f"A photo's pixels have the shape (H, W, 3), not {self.pixels.shape}.")
        if self.pixels.dtype not in {np.dtype(np.uint8), np.dtype(np.uint16)}:
            raise PhotoError(f"A photo's pixels are uint8 or uint16, not {self.pixels.dtype}; `load` takes floats.")
        plane = self.pixels.shape[:2], self.pixels.dtype
        if self.alpha is not None and (self.alpha.shape, self.alpha.dtype) != plane:
            raise PhotoError(
                f"A photo's alpha is of the shape and type of one of its channels, {plane[0]} and {plane[1]}, not of "
                f"{self.alpha.shape} and {self.alpha.dtype}."
            )
        object.__setattr__(self, "pixels", np.ascontiguousarray(self.pixels))

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    def with_pixels(self, pixels: PixelArray) -> Self:
        """Return the photo with other pixels of the same shape and dtype."""
        return replace(self, pixels=pixels)

    def of_file(self, path: Path) -> Self:
        """Return the photo as the content of a file."""
        photo = replace(self)
        object.__setattr__(photo, "path", path)
        return photo


def format_of(path: Path) -> PhotoFormat:
    """Return the format that a file name asks for.

    Raises
    ------
    PhotoError
        If the suffix is not one of `SUFFIXES`.
    """
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise PhotoError(
            f"{path}: '{path.suffix}' is not a photo format that can be written; use one of {known}."
        ) from None
