"""An artist on pictures larger than its own, and edits of photos in wide color spaces."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.fidelity import psnr_db
from pocketcrafter.runtime.latent.artist import Change, LatentArtist, Network
from pocketcrafter.runtime.latent.native import carry, edited_in_tiles, tiles_of
from pocketcrafter.runtime.latent.picture import artists_picture, resized
from pocketcrafter.runtime.latent.settings import AffineSettings, ArtistSettings, StepSettings, TimeSettings
from pocketcrafter.runtime.latent.tiling import Tiles
from pocketcrafter.runtime.photo import Photo
from pocketcrafter.runtime.photo.color import pixels_to_srgb, srgb_to_profile
from pocketcrafter.runtime.photo.icc import CodePoints

SIDE, FACTOR = 32, 4
DISPLAY_P3_ICC = CodePoints(12, 13).profile() or b""


class _Local:
    """A network that treats each pixel or latent by itself, so that tiles make no difference."""

    def __init__(self, name: str, out: str, side: int) -> None:
        self.name, self.out, self.side = name, out, side

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        sides = {"latents": self.side // FACTOR, "image": self.side}
        assert all(inputs[name].shape[2:] == (side, side) for name, side in sides.items() if name in inputs)
        made = {
            "encode": lambda image: image.reshape(1, 3, self.side // FACTOR, FACTOR, -1, FACTOR).mean((3, 5)),
            "denoise": lambda latents: latents * 0.5 + np.tanh(latents),
            "decode": lambda latents: latents.repeat(FACTOR, 2).repeat(FACTOR, 3),
        }[self.name](inputs.get("image", inputs.get("latents")))
        return {self.out: made.astype(np.float32)}


def _artist(side: int, autoencoder: int | None = None, noise: float = 0.3) -> LatentArtist:
    def network(name: str, role: Role, given: str, out: str, side: int) -> Network:
        sides = {"image": side, "latents": side // FACTOR, "prediction": side // FACTOR}
        tensors = {
            name: TensorSpec(name=name, shape=(1, 3, length, length), semantics=name) for name, length in sides.items()
        }
        time = TensorSpec(name="time", shape=(1, 2), semantics="time")
        inputs = (tensors[given], time) if name == "denoise" else (tensors[given],)
        spec = ComponentSpec(name=name, role=role, inputs=inputs, outputs=(tensors[out],))
        return Network(_Local(name, out, side), spec)

    steps = tuple(StepSettings(timestep=t, keep=1.0, move=-0.3, noise=0.05) for t in (800.0, 400.0))
    settings = ArtistSettings(
        side=side, latents=AffineSettings(), picture=AffineSettings(), start_noise=noise, start_picture=0.7,
        steps=steps, time=TimeSettings(frequencies=(1.0,), cosines_first=True), seed=5,
    )  # fmt: skip
    small = autoencoder or side
    return LatentArtist(
        network("encode", Role.ENCODE, "image", "latents", small),
        network("denoise", Role.DENOISE, "latents", "prediction", side),
        network("decode", Role.DECODE, "latents", "image", small),
        None,
        settings,
    )


def _photo(height: int, width: int, icc: bytes | None = None) -> Photo:
    rows, columns = np.meshgrid(np.linspace(0, 3, height), np.linspace(0, 4, width), indexing="ij")
    waves = 0.5 + 0.4 * np.stack([np.sin(rows + columns), np.cos(rows * 2), np.sin(columns - rows)], -1)
    return Photo(np.rint(waves * 255).astype(np.uint8), icc=icc)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 9), (23, 41)])
def test_tiles_of_what_changes_nothing_are_the_picture(height: int, width: int) -> None:
    values = np.random.default_rng(0).random((1, 3, height, width), np.float32)
    made = Tiles(8, height, width).map(lambda given: given["latents"], {"latents": values})
    np.testing.assert_allclose(made, values, rtol=1e-5)


@pytest.mark.parametrize("autoencoder", [None, 16])
def test_tiles_of_local_networks_make_the_picture_of_one_large_artist(autoencoder: int | None) -> None:
    picture = np.random.default_rng(1).random((96, 96, 3), np.float32)
    told: list[tuple[int, int]] = []
    made = _artist(SIDE, autoencoder).edit(picture, None, lambda done, of: told.append((done, of)))
    np.testing.assert_allclose(made, _artist(96).edit(picture), atol=1e-5)
    tiles = len(Tiles(SIDE // FACTOR, 24, 24).places)
    assert told == [(done + 1, 2 * tiles) for done in range(2 * tiles)]


def test_what_progress_raises_ends_the_work_between_two_tiles() -> None:
    def stop(done: int, _of: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _artist(SIDE).edit(np.zeros((64, 64, 3), np.float32), None, stop)


def test_a_photo_in_tiles_is_the_small_edit_with_the_photos_details() -> None:
    photo, artist = _photo(90, 130), _artist(SIDE)
    before = artists_picture(photo, SIDE)
    change = artist.change(before)
    assert tiles_of(photo, artist) == len(Tiles(8, 23, 33).places)
    pixels = edited_in_tiles(photo, artist, change, None, 1.0)
    assert pixels.shape == photo.pixels.shape
    small = resized(pixels.astype(np.float32) / 255, SIDE, SIDE)
    assert psnr_db(np.clip(before + change.after - change.before, 0, 1), small, 1.0) > 25
    np.testing.assert_array_equal(edited_in_tiles(photo, artist, change, None, 0.0), photo.pixels)


def test_an_artist_that_does_nothing_leaves_photos_of_any_size_as_they_are() -> None:
    """Its autoencoder loses most of the picture; what is lost is no edit."""
    made, step = _artist(SIDE), StepSettings(timestep=1.0, keep=1.0, move=0.0)
    settings = made.settings.model_copy(update={"start_noise": 0.0, "start_picture": 1.0, "steps": (step,)})
    artist = dataclasses.replace(made, settings=settings)
    for size in ((SIDE, SIDE), (90, 130)):
        photo = _photo(*size)
        small = artists_picture(photo, SIDE)
        change = artist.change(small)
        assert psnr_db(small, change.after, 1.0) < 30
        assert np.abs(carry(photo, change, 1.0, 1).pixels.astype(int) - photo.pixels).max() <= 1
    np.testing.assert_array_equal(edited_in_tiles(photo, artist, change, None, 1.0), photo.pixels)


def test_a_photo_no_larger_than_the_artists_picture_has_no_tiles() -> None:
    assert tiles_of(_photo(20, 32), _artist(SIDE)) == 0


def test_srgb_goes_to_a_profile_and_back() -> None:
    pixels = _photo(64, 64).pixels
    wide = srgb_to_profile(pixels.astype(np.float32) / 255, DISPLAY_P3_ICC)
    back = pixels_to_srgb(np.rint(wide * 65535).astype(np.uint16), DISPLAY_P3_ICC)
    assert np.abs(back.astype(np.float32) / 257 - pixels).max() < 0.6


def test_an_edit_of_a_wide_photo_is_the_same_edit() -> None:
    """A grid fitted in sRGB and applied to Display P3's numbers would turn colors."""
    photo = _photo(200, 300)
    wide = srgb_to_profile(photo.pixels.astype(np.float32) / 255, DISPLAY_P3_ICC)
    tagged = Photo(np.rint(wide * 65535).astype(np.uint16), icc=DISPLAY_P3_ICC)
    before = artists_picture(photo, 64)
    after = np.clip(before @ np.array([[0.6, 0.1, 0.2], [0.2, 0.7, 0.0], [0.1, 0.1, 0.7]], np.float32), 0, 1)
    expected = carry(photo, Change(before, after), 1.0, 1)
    made = carry(tagged, Change(artists_picture(tagged, 64), after), 1.0, 1)
    assert expected.error_db > 40
    assert np.abs(pixels_to_srgb(made.pixels, DISPLAY_P3_ICC) / 257.0 - expected.pixels).mean() < 1.0


def test_colors_outside_of_srgb_stay_vivid() -> None:
    pixels = np.tile(np.array([250, 20, 30], np.uint8), (40, 60, 1))
    pixels[:20] = (90, 90, 90)
    photo = Photo(pixels, icc=DISPLAY_P3_ICC)
    before = artists_picture(photo, 32)
    assert np.abs(carry(photo, Change(before, before), 1.0, 1).pixels.astype(int) - pixels).max() <= 1
