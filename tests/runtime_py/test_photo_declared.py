"""Colors told by anything but an ICC profile are read as the file means them; expected values come from formulas."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo import Photo, decode, encode
from pocketcrafter.runtime.photo.color import handling_of, pixels_to_srgb
from pocketcrafter.runtime.photo.icc import BT2020, CURVES, CodePoints, Curve, curve_tag, grey_profile, matrix_profile

Profile = Callable[[str], bytes]

# Linear RGB of the space to linear sRGB, as published (Display P3: CSS Color 4; BT.2020: BT.2087, inverted).
TO_SRGB = {
    1: np.eye(3),
    12: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]),
    9: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
}
BT709 = np.vectorize(lambda v: v / 4.5 if v < 0.081 else ((v + 0.099) / 1.099) ** (1 / 0.45))
TO_LINEAR = {
    1: BT709,
    4: lambda v: v**2.2,
    5: lambda v: v**2.8,
    6: BT709,
    7: np.vectorize(lambda v: v / 4 if v < 0.0913 else ((v + 0.1115) / 1.1115) ** (1 / 0.45)),
    8: lambda v: v,
    11: BT709,
    12: BT709,
    13: np.vectorize(lambda v: v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4),
    14: BT709,
    15: BT709,
    17: lambda v: v**2.6,
}
COLORS = np.array([[0.9, 0.5, 0.4], [0.3, 0.6, 0.35], [0.4, 0.45, 0.8], [0.02, 0.03, 0.05], [0.5, 0.5, 0.5], [1, 1, 1]])


def png(samples: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of samples (H, W, C), uint8 or uint16, with further chunks before its pixels."""
    height, width, channels = samples.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.dtype.itemsize, color_type, 0, 0, 0)
    rows = samples.astype(f">u{samples.dtype.itemsize}").reshape(height, -1)
    raw = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    every = [(b"IHDR", header), *chunks, (b"IDAT", raw), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in every
    )


def cicp(primaries: int, transfer: int, *, full_range: bool = True, matrix: int = 0) -> tuple[bytes, bytes]:
    return b"cICP", bytes([primaries, transfer, matrix, full_range])


def iccp(icc: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"profile\0\0" + zlib.compress(icc)


def gama(exponent: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(100_000 / exponent))


def chrm(*white_red_green_blue: float) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in white_red_green_blue))


def deep(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1], (N, C), as one row of uint16 samples."""
    return np.rint(values[None] * 65535).astype(np.uint16)


def shown(photo: Photo) -> np.ndarray:
    """The first row in sRGB, in [0, 1]: at 16 bits by our own arithmetic, at 8 by littlecms."""
    pixels = photo.pixels if photo.icc is None else pixels_to_srgb(photo.pixels, photo.icc)
    return pixels[0] / np.iinfo(pixels.dtype).max


def srgb(linear: np.ndarray) -> np.ndarray:
    clipped = np.clip(linear, 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def heic(samples: np.ndarray, mode: str, **options: object) -> bytes:
    """A lossless HEIC, its R'G'B' stored as such."""
    file = io.BytesIO()
    height, width = samples.shape[:2]
    options = {"matrix_coefficients": 0, "full_range_flag": 1, "chroma": 444, "quality": -1, **options}
    pillow_heif.encode(mode, (width, height), samples.tobytes(), file, **options)
    return file.getvalue()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# PNG: cICP, gAMA, cHRM


@pytest.mark.parametrize("transfer", sorted(CURVES))
@pytest.mark.parametrize("primaries", sorted(TO_SRGB))
def test_every_code_point_is_read_by_its_formula(primaries: int, transfer: int) -> None:
    photo = decode(png(deep(COLORS), cicp(primaries, transfer)))
    expected = srgb(TO_LINEAR[transfer](COLORS) @ TO_SRGB[primaries].T)
    np.testing.assert_allclose(shown(photo), expected, atol=0.004)
    eight = decode(png(np.rint(COLORS[None] * 255).astype(np.uint8), cicp(primaries, transfer)))
    np.testing.assert_allclose(shown(eight)[[0, 1, 2, 4, 5]], expected[[0, 1, 2, 4, 5]], atol=2 / 255)


def test_p3_by_cicp_keeps_values_and_gets_a_profile() -> None:
    samples = np.rint(COLORS[None] * 255).astype(np.uint8)
    photo = decode(png(samples, cicp(12, 13)))
    np.testing.assert_array_equal(photo.pixels, samples)
    assert photo.icc == CodePoints(12, 13).profile()
    assert photo.notes == ()


def test_srgb_by_cicp_needs_no_profile() -> None:
    assert decode(png(deep(COLORS), cicp(1, 13))).icc is None


def test_narrow_range_is_stretched() -> None:
    samples = np.array([[[16, 126, 235], [0, 16, 255]]], np.uint8)
    photo = decode(png(samples, cicp(1, 13, full_range=False)))
    np.testing.assert_array_equal(photo.pixels, [[[0, 128, 255], [0, 0, 255]]])
    assert decode(png(samples * np.uint16(256), cicp(1, 13, full_range=False))).pixels[0, 0, 2] == 65535


@pytest.mark.parametrize(
    ("dtype", "exponent", "tolerance"), [(np.uint8, 1.6, 1 / 255), (np.uint8, 1.0, 1 / 255), (np.uint16, 1.0, 1e-4)]
)
def test_gamma_is_honored(dtype: type, exponent: float, tolerance: float) -> None:
    levels = np.iinfo(dtype).max
    samples = np.rint(np.linspace(0.05, 1, 20)[None, :, None].repeat(3, 2) * levels).astype(dtype)
    photo = decode(png(samples, gama(exponent)))
    np.testing.assert_allclose(shown(photo), srgb((samples[0] / levels) ** exponent), atol=tolerance)
    assert photo.icc is None
    assert "gamma" in photo.notes[0]


def test_gamma_and_chromaticities_of_adobe_rgb_are_edited_in_place() -> None:
    chunks = gama(2.2), chrm(0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    photo = decode(png(deep(COLORS), *chunks))
    np.testing.assert_array_equal(photo.pixels, deep(COLORS))
    adobe_to_srgb = np.array([[1.3984, -0.3984, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429, 1.0429]])
    np.testing.assert_allclose(shown(photo), srgb(COLORS**2.2 @ adobe_to_srgb.T), atol=0.002)


def test_chromaticities_without_gamma_have_srgbs_curve() -> None:
    photo = decode(png(deep(COLORS), chrm(0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)))
    expected = decode(png(deep(COLORS), cicp(12, 13)))
    np.testing.assert_allclose(shown(photo), shown(expected), atol=1e-4)


@pytest.mark.parametrize(
    "chunk", [gama(50.0), (b"gAMA", bytes(4)), chrm(0.3127, 0, 0.6, 0.3, 0.3, 0.6, 0.1, 0.1), chrm(*[0.3] * 8)]
)
def test_senseless_gamma_and_chromaticities_are_ignored(chunk: tuple[bytes, bytes]) -> None:
    photo = decode(png(deep(COLORS), chunk))
    np.testing.assert_array_equal(photo.pixels, deep(COLORS))
    assert photo.icc is None


def test_cicp_goes_before_profile_before_srgb_before_gamma(rgb_profile: Profile) -> None:
    """The order of PNG's third edition, section 4.3."""
    chunks = [gama(1.0), (b"sRGB", b"\0"), iccp(rgb_profile("adobe-rgb")), cicp(12, 13)]
    found = [decode(png(deep(COLORS), *chunks[: count + 1])) for count in range(len(chunks))]
    assert [photo.icc for photo in found] == [None, None, rgb_profile("adobe-rgb"), CodePoints(12, 13).profile()]
    assert shown(found[0])[4, 0] == pytest.approx(srgb(np.array(0.5)), abs=1e-4)
    np.testing.assert_array_equal(found[1].pixels, deep(COLORS))


@pytest.mark.parametrize("chunk", [cicp(12, 9), cicp(99, 13), cicp(0, 0)])
def test_unknown_code_points_are_told(chunk: tuple[bytes, bytes]) -> None:
    photo = decode(png(deep(COLORS), chunk))
    np.testing.assert_array_equal(photo.pixels, deep(COLORS))
    assert "not known" in photo.notes[0]


def test_a_cicp_chunk_for_ycbcr_is_invalid() -> None:
    assert decode(png(deep(COLORS), cicp(12, 13, matrix=6))).icc is None


# Grey


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
def test_grey_honors_its_profile(dtype: type, alpha: bool) -> None:
    """Linear light: 0.637 is shown as 0.82, not as 0.637."""
    levels = np.iinfo(dtype).max
    grey = np.rint(np.array([0, 0.1, 0.637, 1])[None, :, None] * levels).astype(dtype)
    samples = np.concatenate([grey, np.full_like(grey, levels // 2)], axis=2) if alpha else grey
    photo = decode(png(samples, iccp(grey_profile(curve_tag(Curve(1.0))))))
    expected = srgb(grey[0] / levels).repeat(3, axis=1)
    np.testing.assert_allclose(shown(photo), expected, atol=0.6 / 255 if dtype is np.uint8 else 1e-4)
    assert (photo.alpha is not None) == alpha
    assert photo.pixels.dtype == dtype


def test_grey_honors_gamma_and_code_points() -> None:
    grey = deep(np.array([[0.1], [0.5], [0.9]]))
    np.testing.assert_allclose(shown(decode(png(grey, gama(1.0))))[:, 1], srgb(grey[0, :, 0] / 65535), atol=1e-4)
    np.testing.assert_allclose(shown(decode(png(grey, cicp(12, 8))))[:, 1], srgb(grey[0, :, 0] / 65535), atol=1e-3)


def test_a_profile_of_another_model_is_left_out_with_a_word(rgb_profile: Profile) -> None:
    photo = decode(png(deep(np.array([[0.5]])), iccp(rgb_profile("adobe-rgb"))))
    assert "is for RGB pixels" in photo.notes[0]
    assert "damaged" in decode(png(deep(COLORS), iccp(b"no profile" * 20))).notes[0]


@pytest.mark.parametrize("tag", [b"rTRC", b"gXYZ"])
def test_a_profile_without_its_curves_or_colorants_is_left_out(tag: bytes, rgb_profile: Profile) -> None:
    photo = decode(png(deep(COLORS), iccp(rgb_profile("prophoto").replace(tag, b"none"))))
    assert "damaged" in photo.notes[0]
    np.testing.assert_array_equal(photo.pixels, deep(COLORS))


# 16 bits in profiles that are converted


def test_sixteen_bits_keep_their_precision_in_the_conversion(rgb_profile: Profile) -> None:
    ramp = np.arange(0, 65536, 16, dtype=np.uint16)[None, :, None].repeat(3, axis=2)
    photo = decode(png(ramp, iccp(rgb_profile("prophoto"))))
    np.testing.assert_allclose(shown(photo)[:, 1], srgb((ramp[0, :, 1] / 65535) ** (461 / 256)), atol=3e-4)
    assert len(np.unique(photo.pixels[..., 1])) > 4000


# HEIC and AVIF


@pytest.mark.parametrize(("primaries", "transfer"), [(12, 13), (9, 14), (1, 1), (1, 13)])
def test_heic_code_points_are_read_by_their_formula(primaries: int, transfer: int) -> None:
    block = np.rint(COLORS * 255).astype(np.uint8).repeat(16, axis=0)[None].repeat(16, axis=0)
    photo = decode(heic(block, "RGB", color_primaries=primaries, transfer_characteristics=transfer))
    expected = srgb(TO_LINEAR[transfer](COLORS) @ TO_SRGB[primaries].T)
    np.testing.assert_allclose(shown(photo)[8::16], expected, atol=2.5 / 255)


def test_code_points_are_carried_out_again(tmp_path: Path) -> None:
    block = np.rint(COLORS * 255).astype(np.uint8).repeat(16, axis=0)[None].repeat(16, axis=0)
    photo = decode(heic(block, "RGB", color_primaries=12, transfer_characteristics=13))
    for suffix in (".jpg", ".png", ".webp", ".heic", ".avif"):
        encode(photo, tmp_path / f"out{suffix}")
        again = decode(tmp_path / f"out{suffix}")
        assert again.icc == CodePoints(12, 13).profile(), suffix
        np.testing.assert_allclose(again.pixels[0, 8::16].astype(int), photo.pixels[0, 8::16], atol=8)


def test_heic_does_not_call_a_profile_srgb(rgb_profile: Profile, tmp_path: Path) -> None:
    encode(Photo(np.zeros((16, 16, 3), np.uint8), icc=rgb_profile("adobe-rgb")), tmp_path / "out.heic")
    assert decode(tmp_path / "out.heic").icc == rgb_profile("adobe-rgb")
    assert b"nclx" not in (tmp_path / "out.heic").read_bytes()


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_heic_keeps_every_level(bits: int, channels: int) -> None:
    most = (1 << bits) - 1
    samples = np.arange(64 * 64 * channels, dtype=np.uint32).reshape(64, 64, channels) * 7 % (most + 1)
    name = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    photo = decode(heic(samples.astype(np.uint16), f"{name};{bits}", bit_depth=bits, color_primaries=1))
    expected = np.rint(samples / most * 65535)
    np.testing.assert_array_equal(photo.pixels, expected[..., : min(channels, 3)].repeat(3 if channels == 1 else 1, 2))
    if channels == 4:
        np.testing.assert_array_equal(photo.alpha, expected[..., 3])
    assert photo.significant_bits == bits


@pytest.mark.parametrize("mode", ["RGBa", "RGBa;10"])
def test_premultiplied_alpha_is_undone(mode: str) -> None:
    most, dtype = (1023, np.uint16) if mode.endswith("10") else (255, np.uint8)
    samples = np.full((32, 32, 4), most // 4, dtype)
    samples[..., 3] = most // 2
    photo = decode(heic(samples, mode, color_primaries=1, **({"bit_depth": 10} if most == 1023 else {})))
    assert abs(photo.pixels.mean() / np.iinfo(dtype).max - (most // 4) / (most // 2)) < 0.002


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_the_general_brand_is_read_by_the_right_decoder(kind: str) -> None:
    data = bytearray(saved(Image.new("RGB", (32, 32), (90, 90, 90)), kind))
    data[8:12] = b"mif1"
    assert abs(int(decode(bytes(data)).pixels.mean()) - 90) <= 1


def test_ten_bits_come_out_as_ten_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0.25, 0.75, 512)[None, :, None].repeat(64, 0).repeat(3, 2)
    samples = np.rint(ramp * 1023).astype(np.uint16)
    photo = decode(heic(samples, "RGB;10", bit_depth=10, color_primaries=1, transfer_characteristics=13))
    assert encode(photo, tmp_path / "out.heic") == ()
    again = decode(tmp_path / "out.heic")
    assert again.significant_bits == 10
    assert np.abs(again.pixels.astype(int) - photo.pixels).mean() < 65
    assert len(np.unique(again.pixels[..., 1])) > 256
    assert encode(photo, tmp_path / "out.png") == ()
    np.testing.assert_array_equal(decode(tmp_path / "out.png").pixels, photo.pixels)


@pytest.mark.parametrize(("suffix", "bits"), [(".jpg", 8), (".webp", 8), (".avif", 8), (".heic", 10)])
def test_bits_that_a_container_does_not_hold_are_told(suffix: str, bits: int, tmp_path: Path) -> None:
    photo = decode(png(np.full((32, 32, 3), 12345, np.uint16)))
    (note,) = encode(photo, tmp_path / f"out{suffix}")
    assert f"16 bits a sample became {bits}" in note
    assert abs(float(decode(tmp_path / f"out{suffix}").pixels.mean()) / (65535 if bits == 10 else 255) - 0.1884) < 0.004


def test_avif_code_points_are_read() -> None:
    block = np.rint(COLORS * 255).astype(np.uint8).repeat(16, axis=0)[None].repeat(16, axis=0)
    data = saved(Image.fromarray(block), "AVIF", quality=100, subsampling="4:4:4")
    told = data.replace(b"nclx" + struct.pack(">HH", 1, 13), b"nclx" + struct.pack(">HH", 12, 13))
    assert told != data
    assert decode(data).icc is None
    assert decode(told).icc == CodePoints(12, 13).profile()


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_narrow_range_video_levels_are_stretched_by_the_decoder(kind: str) -> None:
    block = np.rint(COLORS * 255).astype(np.uint8).repeat(16, axis=0)[None].repeat(16, axis=0)
    if kind == "AVIF":
        data = saved(Image.fromarray(block), kind, quality=100, subsampling="4:4:4", range="limited")
    else:
        data = heic(block, "RGB", matrix_coefficients=1, full_range_flag=0, color_primaries=1)
    np.testing.assert_allclose(decode(data).pixels[8, 8::16].astype(int), block[8, 8::16], atol=3)


def test_ten_bit_avif_says_that_eight_are_read(tmp_path: Path) -> None:
    path = tmp_path / "deep.avif"
    cv2.imwrite(str(path), np.full((64, 64, 3), 700, np.uint16), [cv2.IMWRITE_AVIF_DEPTH, 10])
    photo = decode(path)
    assert "10-bit AVIF" in photo.notes[0]
    assert abs(int(photo.pixels.mean()) - 700 / 1023 * 255) < 2


# EXIF


def exif(space: int | None, index: str | None) -> bytes:
    block = Image.Exif()
    if space is not None:
        block.get_ifd(0x8769)[0xA001] = space
    if index is not None:
        block.get_ifd(0x8769)[0xA005] = {1: index}
    return block.tobytes()


@pytest.mark.parametrize(
    ("space", "index", "adobe"),
    [(0xFFFF, "R03", True), (2, None, True), (0xFFFF, "R98", False), (0xFFFF, None, False), (1, "R03", False)],
)
def test_adobe_rgb_by_exif(space: int | None, index: str | None, adobe: bool, rgb_profile: Profile) -> None:
    block = np.rint(COLORS * 255).astype(np.uint8).repeat(16, axis=0)[None].repeat(16, axis=0)
    photo = decode(saved(Image.fromarray(block), "JPEG", quality=100, subsampling=0, exif=exif(space, index)))
    expected = pixels_to_srgb(photo.pixels, rgb_profile("adobe-rgb")) if adobe else photo.pixels
    np.testing.assert_allclose(shown(photo), expected[0] / 255, atol=1.5 / 255)
    assert (photo.icc is not None) == adobe


def test_a_profile_goes_before_exif(rgb_profile: Profile) -> None:
    icc = rgb_profile("display-p3")
    data = saved(Image.new("RGB", (16, 16)), "JPEG", exif=exif(0xFFFF, "R03"), icc_profile=icc)
    assert decode(data).icc == icc


def test_pixels_converted_to_srgb_say_so_against_exif(rgb_profile: Profile, tmp_path: Path) -> None:
    """Without a profile, the EXIF that is carried along would make Adobe RGB of them."""
    data = saved(
        Image.new("RGB", (16, 16), (200, 90, 60)), "JPEG", exif=exif(0xFFFF, "R03"), icc_profile=rgb_profile("prophoto")
    )
    photo = decode(data)
    encode(photo, tmp_path / "out.png")
    again = decode(tmp_path / "out.png")
    assert handling_of(again.icc) == "srgb"
    np.testing.assert_array_equal(again.pixels, photo.pixels)


# HDR


M1, M2, C1, C2, C3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875


def pq(nits: float) -> float:
    power = (nits / 10000) ** M1
    return float(((C1 + C2 * power) / (1 + C3 * power)) ** M2)


def inverse_pq(value: float) -> float:
    root = value ** (1 / M2)
    return float(10000 * (max(root - C1, 0) / (C2 - C3 * root)) ** (1 / M1))


def bt2390(nits: float, peak: float, white: float = 203.0) -> float:
    """ITU-R BT.2390-11, 5.4.1, black at 0; luminance of the result over white."""
    e1, most = pq(nits) / pq(peak), pq(white) / pq(peak)
    knee = 1.5 * most - 0.5
    t = (e1 - knee) / (1 - knee)
    p = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return inverse_pq((e1 if e1 < knee else p) * pq(peak)) / white


def hlg(scene: float) -> float:
    return float(np.sqrt(3 * scene)) if scene <= 1 / 12 else 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073


def test_pq_is_tone_mapped_after_bt2390() -> None:
    nits = np.array([0.0, 1, 20, 60, 100, 203, 400, 1000])
    photo = decode(png(deep(np.array([[pq(n)] * 3 for n in nits])), cicp(9, 16)))
    expected = srgb(np.array([bt2390(n, 1000) for n in nits]))
    np.testing.assert_allclose(photo.pixels[0] / 65535, expected[:, None].repeat(3, axis=1), atol=1e-3)
    assert photo.pixels[0, -1, 0] == 65535
    assert photo.icc == CodePoints(12, 13).profile()
    assert photo.notes == ("HDR pixels (PQ, BT.2020, up to 1000 cd/m²) were tone-mapped to Display P3 after BT.2390.",)


def test_a_dark_pq_photo_is_only_decoded() -> None:
    photo = decode(png(deep(np.array([[pq(n)] * 3 for n in (10.15, 101.5, 203)])), cicp(1, 16)))
    np.testing.assert_allclose(photo.pixels[0, :, 1] / 65535, srgb(np.array([0.05, 0.5, 1])), atol=1e-3)
    assert photo.icc is None


def test_tone_mapping_keeps_the_ratio_of_channels_and_the_gamut() -> None:
    """A BT.2020 color within P3, 200 : 600 : 300 cd/m², beside a white of 1,000 that sets the peak."""
    photo = decode(png(deep(np.array([[pq(200), pq(600), pq(300)], [pq(1000)] * 3])), cicp(9, 16)))
    linear = np.array([200, 600, 300]) / 600 * bt2390(600, 1000)
    np.testing.assert_allclose(shown(photo)[0], srgb(TO_SRGB[9] @ linear), atol=0.004)


def test_hlg_is_tone_mapped_after_its_system_gamma() -> None:
    scene = np.array([0.001, 0.02, 0.1, 0.265, 1.0])
    photo = decode(png(deep(np.array([[hlg(s)] * 3 for s in scene])), cicp(9, 18)))
    expected = srgb(np.array([bt2390(1000 * s**1.2, 1000) for s in scene]))
    np.testing.assert_allclose(photo.pixels[0, :, 1] / 65535, expected, atol=2e-3)
    assert "HLG" in photo.notes[0]


def test_pq_in_heic_and_in_a_profiles_cicp_tag() -> None:
    nits = np.array([1, 60, 203, 1000])
    codes = np.rint(np.array([[pq(n)] * 3 for n in nits]) * 1023).astype(np.uint16)
    block = codes.repeat(16, axis=0)[None].repeat(16, axis=0)
    photo = decode(heic(block, "RGB;10", bit_depth=10, color_primaries=9, transfer_characteristics=16))
    peak = inverse_pq(codes[-1, 0] / 1023)
    expected = srgb(np.array([bt2390(inverse_pq(code / 1023), peak) for code in codes[:, 0]]))
    np.testing.assert_allclose(photo.pixels[8, 8::16, 1] / 65535, expected, atol=2e-3)
    icc = matrix_profile("PQ", BT2020, Curve(2.2), code_points=bytes([9, 16, 0, 1]))
    assert "PQ" in decode(png(deep(COLORS), iccp(icc))).notes[0]


# What stands beside or in other models


def xmp(inner: bytes) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
        + inner
        + b"/></x:xmpmeta>"
    )


@pytest.mark.parametrize(("inner", "told"), [(b' hdrgm:Version="1.0"', True), (b"", False)])
def test_an_ultra_hdr_jpeg_says_that_its_gain_map_is_left_out(inner: bytes, told: bool) -> None:
    photo = decode(saved(Image.new("RGB", (16, 16)), "JPEG", xmp=xmp(inner)))
    assert any("gain map" in note for note in photo.notes) == told


def test_apples_gain_map_in_heic_is_told(rgb_profile: Profile) -> None:
    """An alpha plane renamed; the profile beside it gives up the bytes that the longer name takes."""
    alpha, gain = b"urn:mpeg:hevc:2015:auxid:1", b"urn:com:apple:photo:2020:aux:hdrgainmap"
    longer = len(gain) - len(alpha)
    icc = rgb_profile("display-p3") + bytes(longer)
    data = heic(np.full((64, 64, 4), 90, np.uint8), "RGBA", icc_profile=icc)
    for kind, old, new in ((b"colr", b"prof" + icc, b"prof" + icc[:-longer]), (b"auxC", alpha, gain)):
        start = data.index(old) - (4 if kind == b"auxC" else 0)
        (size,) = struct.unpack_from(">I", data, start - 8)
        assert data[start - 4 : start] == kind
        resized = struct.pack(">I", size + len(new) - len(old))
        data = data[: start - 8] + resized + data[start - 4 :].replace(old, new, 1)
    photo = decode(data)
    assert photo.icc == icc[:-longer]
    assert "gain map" in photo.notes[0]


def test_the_brand_of_tone_maps_is_told_and_the_word_bitmap_is_not() -> None:
    data = saved(Image.new("RGB", (32, 32)), "HEIF")
    assert decode(data).notes == ()
    assert "gain map" in decode(data.replace(b"miaf", b"tmap", 1)).notes[0]
    assert decode(png(deep(COLORS), (b"tEXt", b"Software\0Bitmap"))).notes == ()


def test_cmyk_without_a_profile_is_told() -> None:
    photo = decode(saved(Image.new("CMYK", (16, 16), (0, 0, 0, 128)), "JPEG", quality=100))
    assert abs(int(photo.pixels.mean()) - 127) <= 2
    assert "CMYK" in photo.notes[0]


def test_rgb_jpeg_without_ycbcr_is_read_as_rgb() -> None:
    data = saved(Image.new("RGB", (16, 16), (200, 100, 50)), "JPEG", quality=100, keep_rgb=True)
    np.testing.assert_allclose(decode(data).pixels[8, 8].astype(int), [200, 100, 50], atol=2)


def test_a_twelve_bit_jpeg_is_refused_by_name() -> None:
    data = bytearray(saved(Image.new("RGB", (16, 16)), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(PhotoError, match="12 bits a sample"):
        decode(bytes(data))


def test_profiles_built_here_are_what_littlecms_makes_of_them(rgb_profile: Profile) -> None:
    """Against profiles that are put together in another way, with sampled curves."""
    samples = np.random.default_rng(0).integers(0, 256, (1, 500, 3)).astype(np.uint8)
    ours = pixels_to_srgb(samples, CodePoints(12, 13).profile() or b"")
    theirs = pixels_to_srgb(samples, rgb_profile("display-p3"))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
