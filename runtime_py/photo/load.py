"""Photos from paths, the bytes of a file, Pillow images and numpy arrays."""

import io
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from pocketcrafter.runtime.arrays import PixelArray
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo.decode import MAX_PIXELS, decode
from pocketcrafter.runtime.photo.model import Photo

PhotoLike = Photo | str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any]
"""What `load` takes, and with it every function of a pipeline."""

_TAKEN: Final = (
    "Give a path (str or Path), the bytes of a photo's file, a Photo, a Pillow image, or an array of shape (H, W, 3): "
    "uint8, uint16, or floats in [0, 1]."
)
_PILLOW_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""What PNG holds without loss."""
_TOP_LEVEL: Final = 65535


def load(source: PhotoLike) -> Photo:
    """Return a photo, whatever holds it.

    Parameters
    ----------
    source
        - A path or the content of a file: JPEG, PNG, WebP, HEIC or AVIF, read with its color and metadata.
        - A Pillow image of mode 1, L, LA, P, RGB, RGBA or I;16: read in the color space of its ICC profile (sRGB
          without one) and turned upright by its EXIF. Other metadata stays behind; to keep it, give the file.
        - An array of shape ``(H, W, 3)``, sRGB-encoded RGB. Integers are taken as they are, without a copy where they
          lie in order; floats in [0, 1] become uint16, the nearest of 65535 steps.
        - A `Photo`, which is returned.

    Raises
    ------
    PhotoError
        If it is none of these, or damaged, too large, of another shape or type, or holds floats that are not finite or
        outside [0, 1].
    """
    match source:
        case Photo():
            return source
        case str() | os.PathLike():
            return decode(Path(source))
        case bytes():
            return decode(source)
        case Image.Image():
            return _of_pillow(source)
        case np.ndarray():
            return _of_array(source)
        case _:
            raise PhotoError(f"No photo can be made of {type(source).__name__} objects. {_TAKEN}")


def _of_pillow(image: Image.Image) -> Photo:
    if image.mode not in _PILLOW_MODES:
        raise PhotoError(
            f"Pillow images of mode {image.mode} are not taken; give the file they came from, whose colors are then "
            'converted by its profile, or image.convert("RGB").'
        )
    _check_size(image.width, image.height)
    # PNG holds pixels, opacity, profile and EXIF: decoding it treats them as those of any file.
    file = io.BytesIO()
    try:
        image.save(file, "PNG", compress_level=0, icc_profile=image.info.get("icc_profile"), exif=image.getexif())
    # AssertionError is Pillow's, of a palette that is missing.
    except (AssertionError, OSError, ValueError, SyntaxError, RuntimeError) as error:
        raise PhotoError(f"The Pillow image cannot be read ({error}).") from error
    return decode(file.getvalue())


def _of_array(array: npt.NDArray[Any]) -> Photo:
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise PhotoError(f"An array of shape {array.shape} is no photo: {_advice(array.shape)}. {_TAKEN}")
    _check_size(array.shape[1], array.shape[0])
    if array.dtype in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        return Photo(pixels=np.asarray(array))
    if not np.issubdtype(array.dtype, np.floating):
        raise PhotoError(f"Arrays of {array.dtype} are not taken as photos. {_TAKEN}")
    return Photo(pixels=_sixteen_bits(array))


def _sixteen_bits(array: npt.NDArray[np.floating]) -> PixelArray:
    if unknown := int(np.size(array) - np.count_nonzero(np.isfinite(array))):
        raise PhotoError(f"{unknown} of the array's {array.size} values are NaN or infinite. {_TAKEN}")
    levels = np.rint(np.multiply(array, _TOP_LEVEL, dtype=np.float32))
    if levels.min() < 0 or levels.max() > _TOP_LEVEL:
        raise PhotoError(
            f"The array's values lie in [{array.min():g}, {array.max():g}], and floats stand for a photo in [0, 1]: "
            "divide them by their white, or clip them."
        )
    samples: PixelArray = levels.astype(np.uint16)
    return samples


def _advice(shape: tuple[int, ...]) -> str:
    for is_so, advice in (
        (0 in shape, "it is empty"),
        (len(shape) == 2, "there are three channels; of a grey picture give np.stack([grey] * 3, axis=-1)"),
        (len(shape) == 3 and shape[2:] == (1,), "there are three channels; give np.repeat(grey, 3, axis=2)"),
        (len(shape) == 3 and shape[2:] == (4,), "of RGBA give Photo(pixels=rgba[..., :3], alpha=rgba[..., 3])"),
        (len(shape) == 3 and shape[:1] == (3,), "channels go last; give array.transpose(1, 2, 0)"),
        (len(shape) == 4, "photos go one by one; give array[0]"),
    ):
        if is_so:
            return advice
    return "its axes are not those of a picture"


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PhotoError(f"{width}×{height} is over the limit of {MAX_PIXELS / 1e6:.0f} MP; scale it down first.")
