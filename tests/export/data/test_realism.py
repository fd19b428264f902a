"""Measured lenses and cameras: read from what is published, and applied as their formulas say."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut

from pocketcrafter.export.data.degrade import Faults, degrade
from pocketcrafter.export.data.errors import FetchError
from pocketcrafter.export.data.lens import Lens, load_lenses, read_lensfun
from pocketcrafter.export.data.noise import NoiseModel
from pocketcrafter.export.data.realism import Realism, Scene, load_realism, mired_of
from pocketcrafter.export.data.sampling import draw_faults, draw_frame
from pocketcrafter.export.data.sources import LENSES_FILE, PRESETS_FILE
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.render import channel_gains

SENSOR = NoiseModel((4.5e-3, 2.2e-3, 3.2e-3), (2.6e-5, 2.1e-5, 2.7e-5))
STRAIGHT = (0.0, 0.0, 0.0)
SAME = (0.0, 0.0, 1.0)
CLEAR = Lens(distortion=STRAIGHT, red=SAME, blue=SAME, vignetting=STRAIGHT)
LENSFUN = """<lensdatabase><lens><maker>A</maker><calibration>
<distortion model="ptlens" focal="18" a="0.02" b="-0.06" c="0.03"/>
<distortion model="ptlens" focal="50" a="0.5" b="0" c="0"/>
<tca model="poly3" focal="18" br="-0.0001" vr="1.0005" vb="0.9997"/>
<tca model="poly3" focal="50" vr="1.0" vb="1.0"/>
<vignetting model="pa" focal="18" aperture="3.5" distance="10" k1="-1.3" k2="1.1" k3="-0.4"/>
<vignetting model="pa" focal="18" aperture="8" distance="10" k1="-0.3" k2="0" k3="0"/>
<vignetting model="pa" focal="50" aperture="8" distance="10" k1="-0.3" k2="0" k3="0"/>
<vignetting model="pa" focal="85" aperture="8" distance="10" k1="-0.3" k2="0" k3="0"/>
</calibration></lens></lensdatabase>"""


@pytest.fixture
def measured(tmp_path: Path) -> Realism:
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "a.xml").write_text(LENSFUN)
    (tmp_path / LENSES_FILE).write_bytes(read_lensfun(tmp_path / "xml"))
    presets = [{"name": n, "channels": c} for n, c in (("Day", [2.0, 1, 1.5, 0]), ("Bulb", [1.2, 1, 2.6, 0]))]
    models = [{"model": "one", "presets": presets}, {"model": "too few", "presets": presets[:1]}]
    (tmp_path / PRESETS_FILE).write_text(json.dumps({"wb_presets": [{"maker": "M", "models": models}]}))
    return load_realism(tmp_path)


def test_lensfun_gives_one_lens_for_each_whole_measurement_of_a_rectilinear_lens(measured: Realism) -> None:
    assert measured.lenses == (
        Lens((0.02, -0.06, 0.03), red=(-0.0001, 0.0, 1.0005), blue=(0.0, 0.0, 0.9997), vignetting=(-0.3, 0.0, 0.0)),
    )


def test_a_folder_without_lenses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="no lens"):
        read_lensfun(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "[1]", '[{"distortion": [0, 0], "red": 1}]', "{}"])
def test_damaged_lenses_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lenses.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="data prepare"):
        load_lenses(path)


@pytest.mark.parametrize("text", ["", "[]", '{"wb_presets": [1]}', '{"wb_presets": []}'])
def test_damaged_presets_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / LENSES_FILE).write_text('[{"distortion":[0,0,0],"red":[0,0,1],"blue":[0,0,1],"vignetting":[0,0,0]}]')
    (tmp_path / PRESETS_FILE).write_text(text)
    with pytest.raises(ConfigError, match="data prepare"):
        load_realism(tmp_path)


def test_a_perfect_lens_changes_nothing() -> None:
    photo = np.ascontiguousarray(astronaut())
    np.testing.assert_array_equal(CLEAR.distorted(photo), photo)
    linear = (photo / 255).astype(np.float32)
    np.testing.assert_allclose(CLEAR.through(linear), linear, atol=1e-6)


def test_vignetting_follows_its_polynomial() -> None:
    lens = Lens(STRAIGHT, SAME, SAME, vignetting=(-0.8, 0.3, -0.1))
    shaded = lens.through(np.ones((101, 101, 3), dtype=np.float32))
    np.testing.assert_allclose(shaded[50, 50], 1, atol=1e-6)
    np.testing.assert_allclose(shaded[0, 0], 1 - 0.8 + 0.3 - 0.1, atol=0.02)
    assert (np.diff(shaded[50, 50:, 0]) < 0).all()


def test_aberration_moves_red_and_blue_apart_and_leaves_green() -> None:
    lens = Lens(STRAIGHT, red=(0.0, 0.0, 0.98), blue=(0.0, 0.0, 1.02), vignetting=STRAIGHT)
    edge = np.zeros((64, 64, 3), dtype=np.float32)
    edge[:, 52:] = 1
    drawn = lens.through(edge)
    np.testing.assert_array_equal(drawn[..., 1], edge[..., 1])
    assert drawn[32, :, 0].sum() < edge[32, :, 0].sum() < drawn[32, :, 2].sum()


@given(st.floats(-90, 90), st.floats(-45, 45))
def test_gains_are_read_as_the_plan_that_has_them(temperature: float, tint: float) -> None:
    red, green, blue = channel_gains(EditPlan(temperature_mired=temperature, tint_mired=tint)).astype(float)
    np.testing.assert_allclose(mired_of((red / green, blue / green)), (temperature, tint), atol=0.01)


def test_a_wrong_preset_is_mended_by_the_ratio_of_the_right_one(measured: Realism) -> None:
    drawn = {measured.wrong_white_balance(np.random.default_rng(seed)) for seed in range(20)}
    warmer = mired_of((2.0 / 1.2, 1.5 / 2.6))
    assert len(drawn) == 2
    assert any(np.allclose(one, warmer) for one in drawn)
    assert any(np.allclose(one, -np.array(warmer)) for one in drawn)


def test_uneven_light_changes_the_picture_and_leaves_the_truth_alone() -> None:
    photo = np.ascontiguousarray(astronaut())
    light = np.array([[0.5, 0, -0.5]] * 3, dtype=np.float32)
    frame = degrade(photo, Faults(EditPlan(), scene=Scene(light_ev=light)), np.random.default_rng(0))
    np.testing.assert_array_equal(frame.clean, photo)
    left, right = frame.tonal[:, :100].astype(float), frame.tonal[:, -100:].astype(float)
    assert left.mean() > photo[:, :100].mean()
    assert right.mean() < photo[:, -100:].mean()


def test_distortion_bends_the_clean_frame_too() -> None:
    photo = np.ascontiguousarray(astronaut())
    lens = Lens((0.0, -0.05, 0.0), SAME, SAME, STRAIGHT)
    frame = degrade(photo, Faults(EditPlan(), scene=Scene(lens=lens)), np.random.default_rng(0))
    assert np.abs(frame.clean.astype(int) - photo).mean() > 5
    assert np.abs(frame.clean.astype(int) - frame.degraded).mean() < 1


def test_frames_with_realism_are_reproducible_and_clean_ones_stay_clean(measured: Realism) -> None:
    photo = np.ascontiguousarray(astronaut())
    for seed in range(12):
        one, two = (draw_frame(photo, 128, np.random.default_rng(seed), [SENSOR], realism=measured) for _ in range(2))
        np.testing.assert_array_equal(one.degraded, two.degraded)
        if not one.plan.is_active():
            np.testing.assert_array_equal(one.degraded, one.clean)


def test_white_balance_of_a_preset_stays_within_the_faults_that_are_drawn(measured: Realism) -> None:
    faults = [draw_faults(np.random.default_rng(seed), [SENSOR], realism=measured) for seed in range(300)]
    assert max(abs(f.plan.temperature_mired) for f in faults) <= 90
    assert max(abs(f.plan.tint_mired) for f in faults) <= 45
    both = [f for f in faults if f.plan.is_active(Attribute.TEMPERATURE) and f.plan.is_active(Attribute.TINT)]
    assert len(both) > 20
