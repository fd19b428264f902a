"""``enhance --geometry`` as a person and as a script meet it; the bundle's network finds every photo tilted by 4°."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from pocketcrafter.runtime import cli
from pocketcrafter.runtime.geometry.turn import inscribed_box

PICTURE = np.ascontiguousarray(skimage.data.astronaut()[:300, :450])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003] = 450, 300
    path = tmp_path / "tilted.jpg"
    Image.fromarray(PICTURE).save(path, quality=95, exif=exif)
    return path


def test_without_the_option_the_size_stays(photo: Path, bundle: Path) -> None:
    assert cli.run(["enhance", str(photo), "--bundle", str(bundle)]) == 0
    with Image.open(photo.with_stem("tilted.enhanced")) as result:
        assert sorted(result.size) == [300, 450]


def test_a_tilted_photo_is_levelled_and_its_metadata_follow(
    photo: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, seen = photo.with_name("out.jpg"), photo.with_name("seen.png")
    arguments = ["--geometry", "--crop", "--overlay", str(seen), "-o", str(out), "--json", "--bundle", str(bundle)]
    assert cli.run(["enhance", str(photo), *arguments]) == 0
    (told,) = json.loads(capsys.readouterr().out)["photos"]
    geometry, plan = told["geometry"], told["plan"]
    assert geometry["tilt"] == {"degrees": 4.0, "confidence": pytest.approx(0.95)}
    assert geometry["turn_degrees"] == plan["tilt_degrees"] == 4.0
    assert plan["crop"] == geometry["box"]
    assert "turned +4.0°" in told["words"]
    assert told["overlay"] == str(seen)
    assert len(geometry["ranked"]) > 20
    # The orientation in the EXIF block has been applied: the photo stands upright.
    whole = inscribed_box(300, 450, 4.0)
    with Image.open(out) as result:
        assert result.size == (
            plan["crop"]["right"] - plan["crop"]["left"],
            plan["crop"]["bottom"] - plan["crop"]["top"],
        )
        assert result.width <= whole.right - whole.left
        exif = result.getexif()
        assert exif[0x0112] == 1
        inner = exif.get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == result.size
    with Image.open(seen) as drawing:
        assert drawing.width >= 300


@pytest.mark.parametrize("option", [["--overlay", "seen.jpg"], ["--crop"]])
def test_options_of_geometry_without_it_are_usage_errors(option: list[str], photo: Path, bundle: Path) -> None:
    assert cli.run(["enhance", str(photo), "--bundle", str(bundle), *option]) == 2


def test_an_overlay_never_takes_an_inputs_or_a_results_name(photo: Path, bundle: Path) -> None:
    before = photo.read_bytes()
    for taken in (photo, photo.with_name("out.jpg")):
        arguments = [
            "--geometry",
            "--overlay",
            str(taken),
            "-o",
            str(photo.with_name("out.jpg")),
            "--bundle",
            str(bundle),
        ]
        assert cli.run(["enhance", str(photo), *arguments]) == 2
    assert photo.read_bytes() == before


def test_a_critique_assesses_the_horizon(photo: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["critique", str(photo), "--json", "--bundle", str(bundle)]) == 0
    (told,) = json.loads(capsys.readouterr().out)["photos"]
    assert told["critique"]["findings"]["viewpoint/horizon"] == pytest.approx(0.5)
    assert told["critique"]["findings"]["layout"] == "not_assessed"
