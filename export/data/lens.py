"""Real lenses from lensfun's measurements: distortion, lateral chromatic aberration and vignetting."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeAlias
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from pocketcrafter.export.data.errors import FetchError
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import ConfigError

Triple: TypeAlias = tuple[float, float, float]

_LONGEST_SHIFT: Final = 0.08
"""A distortion that moves a point by more of the half height belongs to a fisheye lens."""


@dataclass(frozen=True)
class Lens:
    """One lens at one focal length and a middle aperture, in lensfun's models; radii from the picture's center.

    Attributes
    ----------
    distortion
        PTLens ``a, b, c``: a point at radius r is drawn at ``a·r⁴ + b·r³ + c·r² + (1 − a − b − c)·r``; r is 1 at half
        the shorter side.
    red, blue
        ``b, c, v`` of that channel: drawn at ``b·r³ + c·r² + v·r`` of green's picture.
    vignetting
        ``k1, k2, k3``: light times ``1 + k1·r² + k2·r⁴ + k3·r⁶``; r is 1 in the corners.
    """

    distortion: Triple
    red: Triple
    blue: Triple
    vignetting: Triple

    def distorted(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Draw a picture ``(H, W, 3)`` as this lens does; enlarged a little where its edges would show."""
        a, b, c = self.distortion
        x, y, radius = _polar(picture.shape[:2], corner=False)
        factor = a * radius**3 + b * radius**2 + c * radius + (1 - a - b - c)
        inside = factor / max(1.0, float(factor.max()))
        return np.asarray(_resampled(picture, x, y, inside.astype(np.float32)), dtype=np.uint8)

    def through(self, linear: FloatArray) -> FloatArray:
        """Darken a picture ``(H, W, 3)`` in linear light towards its corners and move its red and blue apart."""
        x, y, radius = _polar(linear.shape[:2], corner=False)
        planes = [linear[..., 0], linear[..., 1], linear[..., 2]]
        for channel, (b, c, v) in ((0, self.red), (2, self.blue)):
            drawn = (b * radius**2 + c * radius + v).astype(np.float32)
            planes[channel] = np.asarray(_resampled(planes[channel], x, y, drawn), dtype=np.float32)
        corner = _polar(linear.shape[:2], corner=True)[2] ** 2
        k1, k2, k3 = self.vignetting
        light = 1 + corner * (k1 + corner * (k2 + corner * k3))
        shaded = np.stack(planes, axis=-1) * np.clip(light, 0.05, 1.0)[..., None]
        return shaded.astype(np.float32)


def read_lensfun(folder: Path) -> bytes:
    """Turn lensfun's XML files into the JSON that `load_lenses` reads.

    Raises
    ------
    FetchError
        If no file of the folder holds a lens with all three measurements.
    """
    found: list[Lens] = []
    for path in sorted(folder.glob("*.xml")):
        # The files come out of a package whose hash is recorded; expat refuses entity bombs by itself.
        root = ET.parse(path).getroot()  # noqa: S314
        for calibration in root.iterfind(".//lens/calibration"):
            found += _lenses(calibration)
    if not found:
        raise FetchError(f"{folder}: no lens with distortion, chromatic aberration and vignetting in its XML files")
    return json.dumps([asdict(lens) for lens in found]).encode()


def load_lenses(path: Path) -> tuple[Lens, ...]:
    """Read what `read_lensfun` wrote.

    Raises
    ------
    ConfigError
        If the file is missing or damaged.
    """
    try:
        lenses = TypeAdapter(tuple[Lens, ...]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{path}: no list of lenses; `pocketcrafter data prepare` puts it there.") from error
    if not lenses:
        raise ConfigError(f"{path}: an empty list of lenses; `pocketcrafter data prepare` makes it anew.")
    return lenses


def _lenses(calibration: ET.Element) -> Iterator[Lens]:
    """Yield one lens for each focal length with all three measurements, at the middle one of its apertures."""
    distortions = {e.get("focal"): e for e in calibration.iterfind("distortion[@model='ptlens']")}
    aberrations = {e.get("focal"): e for e in calibration.iterfind("tca[@model='poly3']")}
    vignettings: dict[str | None, list[ET.Element]] = {}
    for element in calibration.iterfind("vignetting[@model='pa']"):
        vignettings.setdefault(element.get("focal"), []).append(element)
    for focal in sorted(distortions.keys() & aberrations.keys() & vignettings.keys(), key=str):
        tca = aberrations[focal]
        apertures = sorted(vignettings[focal], key=lambda e: _number(e, "aperture"))
        lens = Lens(
            distortion=_numbers(distortions[focal], ("a", "b", "c")),
            red=_numbers(tca, ("br", "cr", "vr")),
            blue=_numbers(tca, ("bb", "cb", "vb")),
            vignetting=_numbers(apertures[len(apertures) // 2], ("k1", "k2", "k3")),
        )
        if max(map(abs, lens.distortion)) <= _LONGEST_SHIFT:
            yield lens


def _numbers(element: ET.Element, names: Sequence[str]) -> Triple:
    first, second, third = (_number(element, name) for name in names)
    return first, second, third


def _number(element: ET.Element, name: str) -> float:
    value = element.get(name)
    # A scale that is not written is 1, every other coefficient 0.
    return float(value) if value is not None else float(name.startswith("v"))


def _polar(shape: tuple[int, int], *, corner: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    height, width = shape
    x = np.arange(width, dtype=np.float32)[None] - np.float32((width - 1) / 2)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
    unit = np.hypot(width, height) / 2 if corner else min(width, height) / 2
    radius = np.sqrt(x**2 + y**2) / np.float32(unit)
    return np.broadcast_to(x, shape), np.broadcast_to(y, shape), radius.astype(np.float32)


def _resampled(
    plane: FloatArray | npt.NDArray[np.uint8], x: FloatArray, y: FloatArray, factor: FloatArray
) -> npt.NDArray[np.generic]:
    height, width = plane.shape[:2]
    at_x = (x * factor + (width - 1) / 2).astype(np.float32)
    at_y = (y * factor + (height - 1) / 2).astype(np.float32)
    return np.asarray(cv2.remap(plane, at_x, at_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT))
