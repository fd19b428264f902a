"""A corpus of small photos that this file builds: format × color × metadata × damage, each with what must come of it.

Every picture is a 2×2 grid of flat patches. What each patch must look like in sRGB is computed here, from the formulas
of the standards; what was decoded is brought to sRGB by littlecms. Whatever decodes is encoded again, as PNG and in its
own format, and must come out the same.
"""

import hashlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from pocketcrafter.benchmarks.fuzz.containers import (
    Chunk,
    ascii_text,
    exif,
    heic,
    icc_grey_profile,
    icc_profile,
    into_jpeg,
    into_png,
    into_riff,
    long,
    png,
    png_chunk,
    png_of,
    saved,
    short,
)
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo import Photo, decode, encode

CELL = 32
COLORS = np.array([[[200, 120, 90], [70, 140, 80]], [[60, 80, 160], [128, 128, 128]]]) / 255
GREYS = COLORS[..., :1]
OPACITY = np.array([[1.0, 0.6], [0.2, 0.8]])
SUFFIX = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "heic": ".heic", "avif": ".avif"}
LOSSY = 5.0

Build = Callable[[], bytes]


@dataclass(frozen=True)
class Case:
    """A file and what must come of it."""

    name: str
    build: Build
    shown: np.ndarray | None = None
    """Each patch in sRGB, (2, 2, 3) in [0, 1]; none where the file must be refused."""
    refusal: str = ""
    """Pattern of what is said then."""
    alpha: np.ndarray | None = None
    tolerance: float = 1.0
    """Levels of 255."""
    notes: tuple[str, ...] = ()
    """Patterns of the notes of decoding and of encoding in the same format, in this order, and none beside them."""
    kept: tuple[bytes, ...] = ()
    """Patterns of bytes that the photo has when it was encoded again in its own format."""
    gone: tuple[bytes, ...] = ()
    """Patterns of bytes that it must not have then."""
    sixteen: bool = False
    size: tuple[int, int] = (2 * CELL, 2 * CELL)


def patches(values: np.ndarray, levels: int = 255, dtype: type = np.uint8) -> np.ndarray:
    """A picture (H, W, C) of values (2, 2, C) in [0, 1]."""
    return np.rint(values * levels).astype(dtype).repeat(CELL, 0).repeat(CELL, 1)


def image(values: np.ndarray = COLORS) -> Image.Image:
    pixels = patches(values)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def with_alpha(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, OPACITY[..., None]], axis=2)


def rgb(values: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values, (2, 2, 3))


def oetf(linear: np.ndarray) -> np.ndarray:
    """sRGB's curve (IEC 61966-2-1)."""
    assert linear.min() >= -1e-3
    assert linear.max() <= 1 + 1e-3
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def eotf(encoded: np.ndarray) -> np.ndarray:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


# Linear RGB of a space to linear sRGB, as published (CSS Color 4; BT.2087 inverted; Lindbloom's tables).
P3 = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
ADOBE = np.array([[1.3984, -0.3984, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429, 1.0429]])
BT2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
PROPHOTO = np.array([[2.0344, -0.7276, -0.3068], [-0.2288, 1.2318, -0.0029], [-0.0086, -0.1533, 1.1618]])
MUTED = 0.45 + 0.35 * (COLORS - 0.45)
"""Of wide spaces: colors that sRGB holds."""


def seen(matrix: np.ndarray, linear: np.ndarray) -> np.ndarray:
    return oetf(linear @ matrix.T)


def pq_nits(code: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084."""
    root = code ** (32 / 2523)
    return 10_000 * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)


def hlg_nits(code: np.ndarray) -> np.ndarray:
    """BT.2100 on a display of 1000 cd/m²; grey values of at most a half."""
    return 1000 * (code**2 / 3) ** 1.2


DIM = np.array([[[0.2], [0.35]], [[0.45], [0.55]]])
"""Codes of PQ and HLG so dark that no tone mapping touches them."""


# Formats


def jpegs() -> Iterator[Case]:
    def jpeg(name: str, picture: Image.Image, shown: np.ndarray, notes: Sequence[str] = (), **options: object) -> Case:
        build = lambda: saved(picture, "JPEG", quality=95, **options)  # noqa: E731
        return Case(f"jpeg {name}", build, shown, tolerance=LOSSY, notes=tuple(notes))

    for code, name in enumerate(("4:4:4", "4:2:2", "4:2:0")):
        yield jpeg(f"baseline {name}", image(), COLORS, subsampling=code)
        yield jpeg(f"progressive {name}", image(), COLORS, subsampling=code, progressive=True)
    yield jpeg("optimized", image(), COLORS, optimize=True)
    yield jpeg("with restart markers", image(), COLORS, restart_marker_blocks=2)
    yield jpeg("rgb", image(), COLORS, keep_rgb=True, subsampling=0)
    yield jpeg("grey", image(GREYS), rgb(GREYS))
    yield jpeg("grey progressive", image(GREYS), rgb(GREYS), progressive=True)
    ink = np.concatenate([1 - COLORS, np.zeros((2, 2, 1))], axis=2)
    cmyk = Image.fromarray(patches(ink), "CMYK")
    note = ["CMYK pixels have no profile"]
    yield jpeg("cmyk", cmyk, COLORS, note)
    yield jpeg("cmyk progressive", cmyk, COLORS, note, progressive=True)
    wrong = ["is for RGB pixels, which these are not", *note]
    yield jpeg("cmyk with a profile of rgb", cmyk, COLORS, wrong, icc_profile=icc_profile("srgb"))


def pngs() -> Iterator[Case]:
    palette = np.rint(COLORS * 255).astype(np.uint8).tobytes()
    index = np.array([[[0], [1]], [[2], [3]]])
    for interlaced in (False, True):
        way = " interlaced" if interlaced else ""

        def kind(
            name: str,
            values: np.ndarray,
            depth: int,
            shown: np.ndarray,
            alpha: np.ndarray | None = None,
            chunks: Sequence[Chunk] = (),
            colors: bytes | None = None,
            interlaced: bool = interlaced,
            way: str = way,
        ) -> Case:
            samples = patches(values, 1 if colors else (1 << depth) - 1, np.uint16)
            build = lambda: png(samples, depth, *chunks, palette=colors, interlaced=interlaced)  # noqa: E731
            is_deep = depth == 16
            return Case(f"png {name} {depth}{way}", build, shown, alpha=alpha, tolerance=0.51, sixteen=is_deep)

        for depth in (1, 2, 4, 8, 16):
            levels = (1 << depth) - 1
            greys = np.rint(GREYS * levels) / levels
            yield kind("grey", greys, depth, rgb(greys))
        for depth in (2, 4, 8):
            yield kind("palette", index, depth, COLORS, colors=palette)
        yield kind("palette", np.minimum(index, 1), 1, COLORS.reshape(4, 3)[np.minimum(index[..., 0], 1)],
                   colors=palette[:6])  # fmt: skip
        for depth in (8, 16):
            yield kind("grey+alpha", with_alpha(GREYS), depth, rgb(GREYS), OPACITY)
            yield kind("rgb", COLORS, depth, COLORS)
            yield kind("rgba", with_alpha(COLORS), depth, COLORS, OPACITY)
            key = np.rint(COLORS[0, 0] * ((1 << depth) - 1)).astype(">u2")
            hole = np.array([[0.0, 1.0], [1.0, 1.0]])
            yield kind("rgb with a key", COLORS, depth, COLORS, hole, [(b"tRNS", key.tobytes())])
            yield kind("grey with a key", GREYS, depth, rgb(GREYS), hole, [(b"tRNS", key[:1].tobytes())])
        opacities = np.rint(OPACITY * 255).astype(np.uint8).tobytes()
        yield kind("palette with opacity", index, 8, COLORS, OPACITY, [(b"tRNS", opacities)], palette)


def others() -> Iterator[Case]:
    transparent = Image.fromarray(patches(with_alpha(COLORS)))
    for lossless in (False, True):
        name = "lossless" if lossless else "lossy"
        tolerance = 1.0 if lossless else LOSSY
        options = {"lossless": lossless, "quality": 100, "exact": True}
        yield Case(f"webp {name}", lambda o=options: saved(image(), "WEBP", **o), COLORS, tolerance=tolerance)
        yield Case(
            f"webp {name} alpha",
            lambda o=options: saved(transparent, "WEBP", **o),
            COLORS,
            alpha=OPACITY,
            tolerance=tolerance,
        )
    frames = [image(COLORS[::-1]), image(COLORS[:, ::-1])]
    several = "Of its 3 frames the first was taken"
    animated = {"save_all": True, "append_images": frames, "duration": 100}
    yield Case("webp animated", lambda: saved(image(), "WEBP", lossless=True, **animated), COLORS, notes=(several,))
    yield Case("png animated", lambda: saved(image(), "PNG", **animated), COLORS, notes=(several,))
    yield Case("avif animated", lambda: saved(image(), "AVIF", quality=95, **animated), COLORS, tolerance=LOSSY,
               notes=(several,))  # fmt: skip
    for sampling in ("4:2:0", "4:4:4"):
        yield Case(f"avif {sampling}", lambda s=sampling: saved(image(), "AVIF", quality=95, subsampling=s), COLORS,
                   tolerance=LOSSY)  # fmt: skip
    yield Case("avif alpha", lambda: saved(transparent, "AVIF", quality=95), COLORS, alpha=OPACITY, tolerance=LOSSY)
    yield Case("avif grey", lambda: saved(image(GREYS), "AVIF", quality=95), rgb(GREYS), tolerance=LOSSY)
    yield Case("avif 10 bit", deep_avif, COLORS, tolerance=LOSSY, notes=("10-bit AVIF pixels were read as 8 bits",))
    yield Case("heic 8 bit", lambda: heic(patches(COLORS), "RGB", color_primaries=1), COLORS, tolerance=LOSSY)
    yield Case("heic alpha", lambda: heic(patches(with_alpha(COLORS)), "RGBA", color_primaries=1), COLORS,
               alpha=OPACITY, tolerance=LOSSY)  # fmt: skip
    yield Case("heic of Pillow's plugin", lambda: saved(image(), "HEIF", quality=95), COLORS, tolerance=LOSSY)
    for depth in (10, 12):
        build = lambda d=depth: deep_heic(COLORS, "RGB", d)  # noqa: E731
        told = ("12 bits a sample became 10",) if depth == 12 else ()
        yield Case(f"heic {depth} bit", build, COLORS, tolerance=LOSSY, sixteen=True, notes=told)
    yield Case("heic 10 bit alpha", lambda: deep_heic(with_alpha(COLORS), "RGBA", 10), COLORS, alpha=OPACITY,
               tolerance=LOSSY, sixteen=True)  # fmt: skip
    yield Case("heic 10 bit grey", lambda: deep_heic(GREYS, "L", 10), rgb(GREYS), tolerance=LOSSY, sixteen=True)


def deep_heic(values: np.ndarray, mode: str, bits: int, **options: object) -> bytes:
    samples = patches(values, (1 << bits) - 1, np.uint16)
    options = {"color_primaries": 1, "transfer_characteristics": 13} | options
    return heic(samples, f"{mode};{bits}", bit_depth=bits, **options)


def deep_avif() -> bytes:
    samples = patches(COLORS[..., ::-1], 1023, np.uint16)
    written, content = cv2.imencode(".avif", samples, [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 100])
    assert written
    return bytes(content)


# Color


def profiles() -> Iterator[Case]:
    wide = MUTED
    spaces = {
        "srgb": (COLORS, COLORS, ()),
        "display-p3": (wide, seen(P3, eotf(wide)), ()),
        "adobe-rgb": (wide, seen(ADOBE, wide ** (563 / 256)), ()),
        "prophoto": (wide, seen(PROPHOTO, wide**1.8), ("converted from prophoto to sRGB",)),
    }
    for name, (values, shown, notes) in spaces.items():
        icc = icc_profile(name)
        picture = image(values)
        files: dict[str, Build] = {
            "jpeg": lambda p=picture, i=icc: saved(p, "JPEG", quality=98, subsampling=0, icc_profile=i),
            "png 8": lambda v=values, i=icc: png(patches(v), 8, iccp(i)),
            "png 16": lambda v=values, i=icc: png(patches(v, 65535, np.uint16), 16, iccp(i)),
            "png palette": lambda p=picture, i=icc: saved(p.quantize(4), "PNG", icc_profile=i),
            "webp": lambda p=picture, i=icc: saved(p, "WEBP", lossless=True, icc_profile=i),
            "heic": lambda v=values, i=icc: heic(patches(v), "RGB", icc_profile=i),
            "heic 10": lambda v=values, i=icc: deep_heic(v, "RGB", 10, icc_profile=i),
            "avif": lambda p=picture, i=icc: saved(p, "AVIF", quality=98, subsampling="4:4:4", icc_profile=i),
        }
        for kind, build in files.items():
            lossless = kind.startswith(("png", "webp"))
            is_deep = kind in {"png 16", "heic 10"}
            yield Case(f"{kind} in {name} by icc", build, shown, tolerance=2.0 if lossless else LOSSY, notes=notes,
                       sixteen=is_deep)  # fmt: skip


def greys() -> Iterator[Case]:
    icc, shown = icc_grey_profile(1.0), rgb(oetf(GREYS))
    note = ("converted from grey to sRGB",)
    yield Case("jpeg grey in linear light", lambda: saved(image(GREYS), "JPEG", quality=98, icc_profile=icc), shown,
               tolerance=LOSSY, notes=note)  # fmt: skip
    for depth, dtype in ((8, np.uint8), (16, np.uint16)):
        levels = (1 << depth) - 1
        for name, values, alpha in (("grey", GREYS, None), ("grey+alpha", with_alpha(GREYS), OPACITY)):
            build = lambda v=values, n=levels, t=dtype, d=depth: png(patches(v, n, t), d, iccp(icc))  # noqa: E731
            yield Case(f"png {name} {depth} in linear light", build, shown, alpha=alpha, tolerance=1.0, notes=note,
                       sixteen=depth == 16)  # fmt: skip
    yield Case("png grey with a profile of rgb", lambda: png(patches(GREYS), 8, iccp(icc_profile("display-p3"))),
               rgb(GREYS), notes=("is for RGB pixels, which these are not",))  # fmt: skip
    yield Case("jpeg rgb with a profile of grey", lambda: saved(image(), "JPEG", quality=95, icc_profile=icc), COLORS,
               tolerance=LOSSY, notes=("is for GRAY pixels, which these are not",))  # fmt: skip


def declared() -> Iterator[Case]:
    """PNG's chunks, and the nclx box of HEIC and AVIF."""
    gamma = lambda exponent: (b"gAMA", struct.pack(">I", round(100_000 / exponent)))  # noqa: E731
    chrm = lambda *points: (b"cHRM", struct.pack(">8I", *(round(p * 100_000) for p in points)))  # noqa: E731
    cicp = lambda *points: (b"cICP", bytes(points))  # noqa: E731
    srgb_chunk = (b"sRGB", b"\0")
    white, p3 = (0.3127, 0.3290), (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
    adobe = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    w = MUTED
    by_chunks: dict[str, tuple[Sequence[Chunk], np.ndarray, np.ndarray, tuple[str, ...]]] = {
        "sRGB chunk": ([srgb_chunk], COLORS, COLORS, ()),
        "sRGB chunk before gamma": ([srgb_chunk, gamma(1.0)], COLORS, COLORS, ()),
        "gamma 1": ([gamma(1.0)], COLORS, oetf(COLORS), ("gamma",)),
        "gamma 1.6": ([gamma(1.6)], COLORS, oetf(COLORS**1.6), ("gamma",)),
        "gamma 2.2": ([gamma(2.2)], COLORS, oetf(COLORS**2.2), ()),
        "gamma and P3": ([gamma(2.2), chrm(*white, *p3)], w, seen(P3, w**2.2), ()),
        "gamma and Adobe RGB": ([gamma(2.2), chrm(*white, *adobe)], w, seen(ADOBE, w**2.2), ()),
        "chromaticities alone": ([chrm(*white, *p3)], w, seen(P3, eotf(w)), ()),
        "senseless gamma": ([gamma(50.0)], COLORS, COLORS, ("gAMA chunk .* makes no sense",)),
        "senseless chromaticities": ([chrm(*[0.3] * 8)], COLORS, COLORS, ("cHRM chunk makes no sense",)),
        "cICP sRGB": ([cicp(1, 13, 0, 1)], COLORS, COLORS, ()),
        "cICP P3": ([cicp(12, 13, 0, 1)], w, seen(P3, eotf(w)), ()),
        "cICP BT.2020 linear": ([cicp(9, 8, 0, 1)], w, seen(BT2020, w), ("BT.2020, linear to sRGB",)),
        "cICP before a profile": ([cicp(12, 13, 0, 1), iccp(icc_profile("adobe-rgb"))], w, seen(P3, eotf(w)), ()),
        "cICP narrow": ([cicp(1, 13, 0, 0)], (16 + 219 * COLORS) / 255, COLORS, ()),
        "cICP unknown": ([cicp(99, 13, 0, 1)], COLORS, COLORS, ("primaries 99, transfer 13",)),
        "cICP of Y'CbCr": ([cicp(12, 13, 6, 1)], COLORS, COLORS, ()),
        "cICP PQ": ([cicp(1, 16, 0, 1)], rgb(DIM), oetf(rgb(pq_nits(DIM)) / 203), (r"\(PQ, sRGB",)),
        "cICP HLG": ([cicp(9, 18, 0, 1)], rgb(DIM[::-1] * 0.9), oetf(rgb(hlg_nits(DIM[::-1] * 0.9)) / 203),
                     (r"\(HLG, BT.2020",)),
        "a damaged profile": ([iccp(icc_profile("adobe-rgb")[:300])], COLORS, COLORS, ("ICC profile is damaged",)),
    }  # fmt: skip
    for name, (chunks, values, shown, notes) in by_chunks.items():
        for depth, dtype in ((8, np.uint8), (16, np.uint16)):
            levels = (1 << depth) - 1
            # Narrow range counts in units of 8 bits whatever the depth.
            scale = 256 * 255 / 65535 if name == "cICP narrow" and depth == 16 else 1
            pixels = patches(values * scale, levels, dtype)
            build = lambda p=pixels, c=chunks, d=depth: png(p, d, *c)  # noqa: E731
            is_coarse = depth == 8 and name in {"cICP PQ", "cICP HLG", "gamma 1"}
            yield Case(f"png {depth} {name}", build, shown, tolerance=3.0 if is_coarse else 2.0, notes=notes,
                       sixteen=depth == 16)  # fmt: skip
    for name, primaries, transfer, values, shown, notes in (
        ("sRGB", 1, 13, COLORS, COLORS, ()),
        ("P3", 12, 13, w, seen(P3, eotf(w)), ()),
        ("PQ", 9, 16, rgb(DIM), oetf(rgb(pq_nits(DIM)) / 203), (r"\(PQ, BT.2020",)),
        ("HLG", 9, 18, rgb(DIM * 0.9), oetf(rgb(hlg_nits(DIM * 0.9)) / 203), (r"\(HLG, BT.2020",)),
    ):
        points = {"color_primaries": primaries, "transfer_characteristics": transfer}
        yield Case(f"heic nclx {name}", lambda v=values, p=points: heic(patches(v), "RGB", **p), shown, tolerance=LOSSY,
                   notes=notes)  # fmt: skip
        yield Case(f"heic 10 bit nclx {name}", lambda v=values, p=points: deep_heic(v, "RGB", 10, **p), shown,
                   tolerance=LOSSY, notes=notes, sixteen=True)  # fmt: skip
        yield Case(f"avif nclx {name}", lambda v=values, p=primaries, t=transfer: avif_of(v, p, t), shown,
                   tolerance=LOSSY, notes=notes)  # fmt: skip
    camera = {0xA001: short(2)}
    yield Case(
        "jpeg Adobe RGB by exif",
        lambda: saved(image(w), "JPEG", quality=98, subsampling=0, exif=b"Exif\0\0" + exif({}, camera)),
        seen(ADOBE, w ** (563 / 256)),
        tolerance=LOSSY,
    )


def iccp(icc: bytes) -> Chunk:
    return b"iCCP", b"profile\0\0" + zlib.compress(icc)


def avif_of(values: np.ndarray, primaries: int, transfer: int) -> bytes:
    data = saved(image(values), "AVIF", quality=98, subsampling="4:4:4")
    return data.replace(b"nclx" + struct.pack(">HH", 1, 13), b"nclx" + struct.pack(">HH", primaries, transfer))


# What stands beside the pixels

# Where the first stored row and column are shown (EXIF 2.32, 4.6.5): the patches as they are seen.
(A, B), (C, D) = COLORS
TURNED = {
    1: [[A, B], [C, D]],
    2: [[B, A], [D, C]],
    3: [[D, C], [B, A]],
    4: [[C, D], [A, B]],
    5: [[A, C], [B, D]],
    6: [[C, A], [D, B]],
    7: [[D, B], [C, A]],
    8: [[B, D], [A, C]],
}
NARROW = CELL
"""How much wider than high turned pictures are."""


def orientations() -> Iterator[Case]:
    height, width = 2 * CELL, 2 * CELL + 2 * NARROW
    picture = Image.fromarray(patches(COLORS).repeat(2, axis=1)[:, :width])
    for orientation, grid in TURNED.items():
        order = "<" if orientation % 2 else ">"
        sides = {0xA002: long(width, order), 0xA003: long(height, order)}
        main = {0x0112: short(orientation, order), 0x010F: ascii_text("Maker of Cameras")}
        block = exif(main, sides, order=order)
        upright = (height, width) if orientation < 5 else (width, height)
        for kind, options in (
            ("JPEG", {"quality": 95, "subsampling": 0}),
            ("PNG", {}),
            ("WEBP", {"lossless": True}),
            ("AVIF", {"quality": 95}),
            ("HEIF", {"quality": 95}),
        ):
            packed = block if kind == "PNG" else b"Exif\0\0" + block
            name = "heic" if kind == "HEIF" else kind.lower()
            yield Case(
                f"{name} orientation {orientation}",
                lambda k=kind, o=options, p=packed: saved(picture, k, exif=p, **o),
                np.array(grid),
                tolerance=1.0 if kind in {"PNG", "WEBP"} else LOSSY,
                size=upright,
                kept=(b"Maker of Cameras",),
            )


RDF = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">%s</rdf:RDF></x:xmpmeta>'
TITLED = RDF % b'<rdf:Description xmlns:p="http://ns.adobe.com/photoshop/1.0/" p:Headline="A headline" %s/>'
PLAIN_XMP = TITLED % b""
MOTION = TITLED % b'xmlns:c="http://ns.google.com/photos/1.0/camera/" c:MotionPhoto="1"'
GAIN = TITLED % b'xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/" h:Version="1.0"'
XAP = b"http://ns.adobe.com/xap/1.0/\0"


def iptc_resource() -> bytes:
    record = b"\x1c\x02\x78" + struct.pack(">H", 9) + b"A caption"
    return b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record


def extended_xmp() -> list[tuple[int, bytes]]:
    more = RDF % b'<rdf:Description xmlns:p="http://ns.adobe.com/photoshop/1.0/" p:History="A long history"/>'
    name = hashlib.md5(more, usedforsecurity=False).hexdigest().upper().encode()
    first = TITLED % (b'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="' + name + b'"')
    extension = b"http://ns.adobe.com/xmp/extension/\0" + name + struct.pack(">II", len(more), 0) + more
    return [(0xE1, XAP + first), (0xE1, extension)]


def thumbnail() -> bytes:
    return saved(Image.new("RGB", (16, 16), (255, 0, 0)), "JPEG", comment=b"the old thumbnail")


def beside() -> Iterator[Case]:
    plain = lambda: saved(image(), "JPEG", quality=95, subsampling=0)  # noqa: E731
    flat = lambda: png(patches(COLORS), 8)  # noqa: E731
    webp = lambda **more: saved(image(), "WEBP", lossless=True, **more)  # noqa: E731
    segments: dict[str, tuple[list[tuple[int, bytes]], tuple[bytes, ...], tuple[bytes, ...], tuple[str, ...]]] = {
        "comment": ([(0xFE, b"A comment")], (b"A comment",), (), ()),
        "two comments": ([(0xFE, b"one"), (0xFE, b"another")], (b"\xff\xfe\0\x05one\xff\xfe\0\x09another",), (), ()),
        "iptc": ([(0xED, iptc_resource())], (b"A caption",), (), ()),
        "xmp": ([(0xE1, XAP + PLAIN_XMP)], (b"A headline",), (), ()),
        "extended xmp": (extended_xmp(), (b"A headline", b"A long history"), (), ()),
        "motion": ([(0xE1, XAP + MOTION)], (b"A headline",), (b"MotionPhoto",), ("motion video",)),
        "gain map": ([(0xE1, XAP + GAIN)], (b"A headline",), (b"hdr-gain-map\\S+ h:",), ("gain map is left out",)),
        "damaged xmp": ([(0xE1, XAP + PLAIN_XMP[:-9])], (), (b"A headline",), (r"XMP \(damaged\)",)),
        "xmp with a document type": ([(0xE1, XAP + b'<!DOCTYPE a [<!ENTITY b "c">]>' + PLAIN_XMP)], (), (b"ENTITY",),
                                     (r"XMP \(damaged\)",)),
        "unknown segment": ([(0xE5, b"Something")], (), (b"Something",), ("APP5 segment 'Something'",)),
    }  # fmt: skip
    for name, (added, kept, gone, notes) in segments.items():
        yield Case(f"jpeg {name}", lambda a=added: into_jpeg(plain(), *a), COLORS, tolerance=LOSSY, notes=notes,
                   kept=kept, gone=gone)  # fmt: skip
    block = exif({0x010F: ascii_text("Maker of Cameras")}, thumbnail=thumbnail())
    for name, build in (
        ("jpeg", lambda: into_jpeg(plain(), (0xE1, b"Exif\0\0" + block))),
        ("png", lambda: into_png(flat(), (b"eXIf", block))),
        ("webp", lambda: webp(exif=block)),
    ):
        yield Case(f"{name} thumbnail", build, COLORS, tolerance=LOSSY, kept=(b"Maker of Cameras",),
                   gone=(b"the old thumbnail",))  # fmt: skip
    yield Case("webp xmp", lambda: webp(xmp=PLAIN_XMP), COLORS, tolerance=LOSSY, kept=(b"A headline",))
    yield Case("webp motion", lambda: webp(xmp=MOTION), COLORS, tolerance=LOSSY, kept=(b"A headline",),
               gone=(b"MotionPhoto",), notes=("motion video",))  # fmt: skip
    yield Case("webp unknown chunk", lambda: into_riff(webp(exif=block), (b"QQQQ", b"abc")), COLORS, tolerance=LOSSY,
               notes=("QQQQ chunk",))  # fmt: skip
    for kind in ("AVIF", "HEIF"):
        yield Case(f"{'heic' if kind == 'HEIF' else 'avif'} xmp", lambda k=kind: saved(image(), k, quality=95,
                   xmp=PLAIN_XMP), COLORS, tolerance=LOSSY, kept=(b"A headline",))  # fmt: skip
    texts: dict[str, tuple[Chunk, tuple[bytes, ...], tuple[str, ...]]] = {
        "tEXt": ((b"tEXt", b"Title\0A title"), (b"tEXtTitle\0A title",), ()),
        "zTXt": ((b"zTXt", b"Title\0\0" + zlib.compress(b"A title")), (b"tEXtTitle\0A title",), ()),
        "iTXt": ((b"iTXt", b"Title\0\0\0de\0Titel\0" + "Ein Stück".encode()), ("Titel\0Ein Stück".encode(),), ()),
        "xmp": ((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PLAIN_XMP), (b"A headline",), ()),
        "a text without keyword": ((b"tEXt", b"\0A title"), (), (r"tEXt chunk \(damaged\)",)),
        "a text that is not deflate": ((b"zTXt", b"Title\0\0abc"), (), (r"zTXt chunk \(damaged\)",)),
        "a text of 1 GB": ((b"zTXt", b"Title\0\0" + bomb()), (), (r"zTXt chunk \(damaged\)",)),
        "density": ((b"pHYs", struct.pack(">IIB", 11811, 11811, 1)), (b"pHYs\0\0\x2e\x23\0\0\x2e\x23\x01",), ()),
        "unknown chunk": ((b"quIz", b"abc"), (), ("quIz chunk",)),
    }
    for name, (chunk, kept, notes) in texts.items():
        yield Case(f"png {name}", lambda c=chunk: into_png(flat(), c), COLORS, kept=kept, notes=notes)


def bomb() -> bytes:
    """A text of 128 MiB, which is more than all texts may have, in 128 KiB: 1 GB would only take longer to make."""
    return zlib.compress(bytes(128 << 20), 1)


# Damage

HOSTILE = {
    "an offset past the end": b"II*\0\xf0\xff\xff\xff",
    "an entry of 4 GB": b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\xff\xff\xff\xff\x10\0\0\0\0\0\0\0",
    "65535 entries": b"II*\0\x08\0\0\0\xff\xff" + bytes(40),
    "a big tiff": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
    "no tiff": b"hello, world",
}
LOOPS = {
    "a directory that follows itself": b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\x08\0\0\0",
    "a directory within itself": b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\0\0\0\0",
}


WHOLE: dict[str, Build] = {
    "jpeg": lambda: saved(image(), "JPEG", quality=95),
    "jpeg progressive": lambda: saved(image(), "JPEG", quality=95, progressive=True),
    "png": lambda: png(patches(COLORS), 8),
    "png 16": lambda: png(patches(COLORS, 65535, np.uint16), 16),
    "webp": lambda: saved(image(), "WEBP", quality=95),
    "webp lossless": lambda: saved(image(), "WEBP", lossless=True),
    "heic": lambda: saved(image(), "HEIF"),
    "avif": lambda: saved(image(), "AVIF"),
}
NO_PHOTO = "damaged or incomplete|not a JPEG, PNG, WebP|no picture"


def ends() -> Iterator[Case]:
    behind = {"notes": ("data behind",), "gone": (b"garbage",)}
    for name, build in WHOLE.items():
        for share in (0.02, 0.3, 0.6, 0.8):
            cut = lambda b=build, s=share: b()[: max(1, int(len(b()) * s))]  # noqa: E731
            yield Case(f"{name} cut at {share:.0%}", cut, refusal=NO_PHOTO)
        tolerance = 1.0 if name in {"png", "png 16", "webp lossless"} else LOSSY
        yield Case(f"{name} with garbage behind", lambda b=build: b() + b"\x01garbage" * 9, COLORS,
                   tolerance=tolerance, sixteen=name == "png 16", **behind)  # fmt: skip
    yield Case("heic with motion behind", lambda: WHOLE["heic"]() + b"\0\0\0\x10mpvdmotion12", COLORS, tolerance=LOSSY,
               notes=("motion video",), gone=(b"motion12",))  # fmt: skip
    early = ("ends without JPEG's end marker",)
    for name in ("jpeg", "jpeg progressive"):
        yield Case(f"{name} without its end marker", lambda b=WHOLE[name]: b()[:-2], COLORS, tolerance=LOSSY,
                   notes=early)  # fmt: skip
    early = ("ends without PNG's end chunk",)
    yield Case("png without its end chunk", lambda: WHOLE["png"]()[:-12], COLORS, notes=early)
    yield Case("png without the checksum of its pixels", lambda: WHOLE["png"]()[:-16], COLORS, notes=early)


def checksums() -> Iterator[Case]:
    for kind, refusal in (("IHDR", "not a JPEG, PNG"), ("IDAT", "checksum of its pixels is wrong")):
        yield Case(f"png with a wrong checksum of {kind}", lambda k=kind: wrong_crc(WHOLE["png"](), k.encode()),
                   refusal=refusal)  # fmt: skip
    for chunk in ((b"tEXt", b"Title\0A title"), (b"eXIf", exif({0x0112: short(6)})), (b"pHYs", bytes(9))):
        name = chunk[0].decode()
        yield Case(f"png with a wrong checksum of {name}", lambda c=chunk: wrong_crc(into_png(WHOLE["png"](), c), c[0]),
                   COLORS, notes=(rf"{name} chunk \(damaged\)",))  # fmt: skip
    yield Case("png without pixels", lambda: png_of([(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)),
               (b"IEND", b"")]), refusal=NO_PHOTO)  # fmt: skip
    yield Case("png of a palette without its colors", lambda: without_chunk(png(patches(GREYS), 8, palette=bytes(768)),
               b"PLTE"), refusal=NO_PHOTO)  # fmt: skip
    yield Case("png of no width", lambda: sized_png(0, 4), refusal=NO_PHOTO)


def hostile_exif() -> Iterator[Case]:
    for name, block in (HOSTILE | LOOPS).items():
        # Of these the main directory is whole: it is carried as it was.
        notes = () if name in LOOPS or name == "an entry of 4 GB" else (r"EXIF \(damaged\)",)
        for kind, build in (
            ("jpeg", lambda b=block: into_jpeg(WHOLE["jpeg"](), (0xE1, b"Exif\0\0" + b))),
            ("png", lambda b=block: into_png(WHOLE["png"](), (b"eXIf", b))),
            ("webp", lambda b=block: riff_with_exif(b)),
        ):
            yield Case(f"{kind} exif with {name}", build, COLORS, tolerance=LOSSY, notes=notes)


def no_photos() -> Iterator[Case]:
    bombs = {
        "png of 40000²": lambda: sized_png(40_000, 40_000),
        "png of 4 billion": lambda: sized_png(0x7FFFFFFF, 0x7FFFFFFF),
        "png of 12000²": lambda: sized_png(12_000, 12_000),
        "jpeg of 65500²": lambda: sized_jpeg(WHOLE["jpeg"](), 65_500),
        "webp of 16383²": lambda: sized_webp(WHOLE["webp"](), 16_383),
    }
    for name, build in bombs.items():
        yield Case(name, build, refusal="over the limit|far more than")
    contents = {
        "nothing": (b"", "is empty"),
        "one byte": (b"\xff", NO_PHOTO),
        "zeros": (bytes(4096), NO_PHOTO),
        "a page": (b"<!DOCTYPE html><html></html>", NO_PHOTO),
        "a gif": (saved(Image.new("P", (4, 4)), "GIF"), NO_PHOTO),
        "a tiff": (saved(image(), "TIFF"), NO_PHOTO),
        "an AppleDouble file": (b"\0\x05\x16\x07" + bytes(200), "AppleDouble"),
        "a jpeg's first bytes": (b"\xff\xd8\xff\xe0", NO_PHOTO),
        "a png's signature": (b"\x89PNG\r\n\x1a\n", NO_PHOTO),
        "a webp's first bytes": (b"RIFF\x10\0\0\0WEBPVP8 ", NO_PHOTO),
        "a heic's first bytes": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", NO_PHOTO),
        "an avif's first bytes": (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", NO_PHOTO),
    }
    for name, (content, refusal) in contents.items():
        yield Case(name, lambda c=content: c, refusal=refusal)


def wrong_crc(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind)
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    return data[:end] + bytes([data[end] ^ 0xFF]) + data[end + 1 :]


def without_chunk(data: bytes, kind: bytes) -> bytes:
    at = data.index(kind)
    return data[: at - 4] + data[at + 8 + int.from_bytes(data[at - 4 : at], "big") :]


def riff_with_exif(block: bytes) -> bytes:
    whole = saved(image(), "WEBP", lossless=True, exif=exif({0x010F: ascii_text("x")}))
    at = whole.index(b"EXIF")
    body = whole[12:at]
    content = b"WEBP" + body + b"EXIF" + struct.pack("<I", len(block)) + block + bytes(len(block) % 2)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def sized_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def sized_jpeg(data: bytes, side: int) -> bytes:
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


def sized_webp(data: bytes, side: int) -> bytes:
    at = data.index(b"\x9d\x01\x2a") + 3
    return data[:at] + struct.pack("<HH", side, side) + data[at + 4 :]


CASES = [
    case
    for group in (
        jpegs,
        pngs,
        others,
        profiles,
        greys,
        declared,
        orientations,
        beside,
        ends,
        checksums,
        hostile_exif,
        no_photos,
    )
    for case in group()
]


def shown(photo: Photo) -> np.ndarray:
    """The middle of each patch in sRGB, by littlecms, which converts 8 bits."""
    height, width = photo.pixels.shape[:2]
    rows, columns = [height // 4, 3 * height // 4], [width // 4, 3 * width // 4]
    values = photo.pixels[np.ix_(rows, columns)]
    if photo.icc is None:
        return values / np.iinfo(values.dtype).max
    if values.dtype == np.uint16:
        values = (values.astype(np.uint32) // 257).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(photo.icc))
    converted = ImageCms.profileToProfile(Image.fromarray(values), profile, ImageCms.createProfile("sRGB"))
    return np.asarray(converted) / 255


def assert_looks(photo: Photo, case: Case, tolerance: float) -> None:
    assert case.shown is not None
    np.testing.assert_allclose(255 * shown(photo), 255 * case.shown, atol=tolerance)
    if case.alpha is None:
        assert photo.alpha is None
    else:
        assert photo.alpha is not None
        height, width = photo.alpha.shape
        opacity = photo.alpha[height // 4 :: height // 2, width // 4 :: width // 2] / np.iinfo(photo.alpha.dtype).max
        np.testing.assert_allclose(255 * opacity, 255 * case.alpha, atol=max(tolerance, 1))


def test_the_corpus_is_large_and_no_case_is_there_twice() -> None:
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [c for c in CASES if c.shown is not None], ids=lambda c: c.name)
def test_a_readable_photo_looks_as_it_must_and_comes_out_the_same(case: Case, tmp_path: Path) -> None:
    photo = decode(case.build())
    assert_looks(photo, case, case.tolerance)
    assert photo.pixels.shape[:2] == case.size
    assert (photo.pixels.dtype == np.uint16) == case.sixteen
    encode(photo, tmp_path / "lossless.png")
    again = decode(tmp_path / "lossless.png")
    np.testing.assert_array_equal(again.pixels, photo.pixels)
    assert_looks(again, case, case.tolerance)
    assert again.metadata.orientation == 1

    path = tmp_path / f"own{SUFFIX[photo.source_format]}"
    notes = encode(photo, path)
    assert len(notes) == len(case.notes), notes
    for note, pattern in zip(notes, case.notes, strict=True):
        assert re.search(pattern, note), notes
    content = path.read_bytes()
    assert all(kept in content for kept in case.kept), case.kept
    assert not any(re.search(pattern, content) for pattern in case.gone), case.gone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged entries
        block = Image.open(path).getexif()
        camera = block.get_ifd(0x8769)
    assert block.get(0x0112) in {None, 1}
    assert (camera.get(0xA002), camera.get(0xA003)) in {(None, None), photo.pixels.shape[1::-1]}
    # Flat patches lose little more when they are compressed once again.
    assert_looks(decode(path), case, case.tolerance if path.suffix == ".png" else case.tolerance + LOSSY)


@pytest.mark.parametrize("case", [c for c in CASES if c.shown is None], ids=lambda c: c.name)
def test_what_cannot_be_read_is_refused_by_a_typed_error(case: Case) -> None:
    with pytest.raises(PhotoError, match=case.refusal):
        decode(case.build())


@pytest.mark.parametrize("case", [c for c in CASES if c.name in {"png rgb 8", "webp lossless", "avif 4:4:4"}],
                         ids=lambda c: c.name)  # fmt: skip
def test_a_wrong_suffix_changes_nothing(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(case.build())
    assert_looks(decode(path), case, case.tolerance)
