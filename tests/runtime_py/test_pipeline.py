"""The flow of a photo through the pipeline, with networks that are plain arithmetic."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import AttributeGate, GateSettings
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.critique import GROUPS, Critique, Item, describe
from pocketcrafter.runtime.errors import BundleError, ConfigError, PhotoError
from pocketcrafter.runtime.families import Pipeline
from pocketcrafter.runtime.grid import IDENTITY, slice_exact
from pocketcrafter.runtime.photo import Photo
from pocketcrafter.runtime.pipeline import PhotoPipeline
from pocketcrafter.runtime.plan import TONAL, Attribute, CropBox, EditPlan
from pocketcrafter.runtime.plan_judge import PROPOSALS, JudgeSettings, Proposal
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.render import render

Run = Callable[[Mapping[str, FloatArray]], dict[str, FloatArray]]


class Arithmetic:
    """A session that checks its inputs against the contract and computes with numpy."""

    def __init__(self, component: str, run: Run) -> None:
        self._spec, self._run = POCKET_SPECS[component], run

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        assert list(inputs) == [spec.name for spec in self._spec.inputs]
        for spec in self._spec.inputs:
            array = inputs[spec.name]
            assert array.shape == spec.shape
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
        return self._run(inputs)


class Networks:
    """A source of networks: a critic with one fixed opinion, a tone grid, a restoration that darkens by its amount."""

    def __init__(self, plan: EditPlan, grid: FloatArray = IDENTITY, confidence: float = 0.9) -> None:
        self._plan, self._grid, self._confidence = plan, grid, confidence
        self.opened: list[str] = []
        self.tone_inputs: list[Mapping[str, FloatArray]] = []
        self.gate = GateSettings.uniform(presence=0.5, confidence=0.5, dead_zone=0.05)

    def judged(self, low: float) -> "Networks":
        """Add a judge that says of its second proposal, one and a half times the exposure, what it gains at least."""
        parts = (Proposal(attributes=TONAL), Proposal(attributes=(Attribute.EXPOSURE,), strength=1.5))
        judge = JudgeSettings(proposals=(*parts, *parts * ((PROPOSALS - 1) // 2))[:PROPOSALS], bar=0, worth=1)
        self.gate = self.gate.model_copy(update={"judge": judge})
        self._gains = np.full((PROPOSALS, 3), -1, np.float32)
        self._gains[1] = (low, low + 1, low + 2)
        return self

    def has(self, component: str) -> bool:
        return component in {Pocket.CRITIC, Pocket.TONE, Pocket.RESTORE}

    def session(self, component: str) -> Session:
        self.opened.append(component)
        runs: dict[str, Run] = {
            Pocket.CRITIC: self._critic,
            Pocket.JUDGE: lambda _: {"gain": self._gains},
            Pocket.TONE: self._tone,
            Pocket.RESTORE: lambda i: {"restored": i["tile"] - i["amounts"].sum() / 10},
        }
        return Arithmetic(component, runs[component])

    def _critic(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        sure = np.full((1, len(Attribute)), self._confidence, np.float32)
        return {
            "plan": self._plan.vector()[None],
            "presence": sure,
            "confidence": sure,
            "score": inputs["view"].mean(keepdims=True).reshape(1, 1),
            "tokens": np.ones((1, 4, 64), np.float32),
            "scene": np.zeros((1, 64), np.float32),
        }

    def _tone(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        self.tone_inputs.append(inputs)
        return {"grid": self._grid[None]}


ASTRONAUT = Photo(pixels=skimage.data.astronaut())
BRIGHTER = EditPlan(exposure_ev=0.8, temperature_mired=25)


def test_the_plan_is_rendered_and_reported() -> None:
    result = PhotoPipeline(Networks(BRIGHTER)).enhance(ASTRONAUT)
    expected = render(result.plan, ASTRONAUT.pixels.astype(np.float32) / 255) * 255
    assert np.abs(result.photo.pixels - expected).max() <= 0.51
    assert result.plan.exposure_ev == pytest.approx(0.8)
    assert list(result.timings) == ["critique", "tone", "develop"]


def test_the_tone_network_sees_the_rendered_view_and_the_plan() -> None:
    networks = Networks(BRIGHTER)
    PhotoPipeline(networks).enhance(ASTRONAUT)
    seen = networks.tone_inputs[0]
    view = seen["view"][0].transpose(1, 2, 0)
    np.testing.assert_allclose(seen["rendered"][0].transpose(1, 2, 0), render(BRIGHTER, view), atol=1e-5)
    np.testing.assert_allclose(seen["plan"][0], BRIGHTER.vector(), atol=1e-6)


def test_the_tone_grid_is_applied_after_the_render() -> None:
    grid = IDENTITY.copy()
    grid[3] += 0.1
    result = PhotoPipeline(Networks(BRIGHTER, grid)).enhance(ASTRONAUT)
    rendered = render(result.plan, ASTRONAUT.pixels.astype(np.float32) / 255)
    expected = np.clip(slice_exact(grid, rendered), 0, 1) * 255
    assert np.abs(result.photo.pixels - expected).max() <= 1.01


@pytest.mark.parametrize("networks", [Networks(EditPlan()), Networks(BRIGHTER, confidence=0.4)])
def test_a_photo_below_the_gate_comes_out_as_it_went_in(networks: Networks) -> None:
    result = PhotoPipeline(networks).enhance(ASTRONAUT)
    assert result.photo is ASTRONAUT
    assert networks.opened == [Pocket.CRITIC]
    assert describe(result.plan) == "left as it is"


def test_a_judge_decides_on_tones_and_the_gate_on_restoration() -> None:
    networks = Networks(BRIGHTER.replace(denoise=0.5)).judged(low=0.5)
    result = PhotoPipeline(networks).enhance(ASTRONAUT)
    assert networks.opened == [Pocket.CRITIC, Pocket.JUDGE, Pocket.RESTORE, Pocket.TONE]
    assert result.plan == EditPlan(exposure_ev=result.plan.exposure_ev, denoise=0.5)
    assert result.plan.exposure_ev == pytest.approx(1.2)
    np.testing.assert_array_equal(networks.tone_inputs[0]["plan"][0], result.plan.vector())
    assert result.critique is not None
    assert result.critique.gain == (0.5, 1.5, 2.5)


def test_a_photo_that_no_proposal_surely_betters_comes_out_as_it_went_in() -> None:
    networks = Networks(BRIGHTER).judged(low=-0.5)
    result = PhotoPipeline(networks).enhance(ASTRONAUT)
    assert result.photo is ASTRONAUT
    assert networks.opened == [Pocket.CRITIC, Pocket.JUDGE]


def test_strength_zero_changes_nothing_and_strength_scales_plan_and_grid() -> None:
    grid = IDENTITY.copy()
    grid[3] += 0.1
    pipeline = PhotoPipeline(Networks(BRIGHTER, grid))
    assert pipeline.enhance(ASTRONAUT, strength=0).photo is ASTRONAUT
    half = pipeline.enhance(ASTRONAUT, strength=0.5)
    assert half.plan.exposure_ev == pytest.approx(0.4)
    rendered = render(half.plan, ASTRONAUT.pixels.astype(np.float32) / 255)
    rendered[..., 0] += 0.05
    assert np.abs(half.photo.pixels - np.clip(rendered, 0, 1) * 255).max() <= 1.01
    with pytest.raises(ConfigError, match="strength"):
        pipeline.enhance(ASTRONAUT, strength=2.5)


def test_restoration_runs_on_tiles_only_where_the_plan_asks() -> None:
    networks = Networks(EditPlan(denoise=0.5, dejpeg=0.2))
    told: list[tuple[int, int]] = []
    result = PhotoPipeline(networks).enhance(ASTRONAUT, progress=lambda *x: told.append(x))
    assert networks.opened == [Pocket.CRITIC, Pocket.RESTORE]
    expected = np.clip(ASTRONAUT.pixels / 255 - 0.07, 0, 1) * 255
    assert np.abs(result.photo.pixels - expected).max() <= 0.51
    assert told == [(1, 1)]


def test_sixteen_bits_stay_sixteen_bits() -> None:
    photo = Photo(pixels=ASTRONAUT.pixels.astype(np.uint16) * 257 + 13)
    out = PhotoPipeline(Networks(BRIGHTER)).enhance(photo).photo.pixels
    assert out.dtype == np.uint16
    assert len(np.unique(out)) > 256


def test_networks_are_opened_once_for_many_photos() -> None:
    networks = Networks(BRIGHTER)
    pipeline = PhotoPipeline(networks)
    for _ in range(3):
        pipeline.enhance(ASTRONAUT)
    assert networks.opened == [Pocket.CRITIC, Pocket.TONE]


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (900, 2), (100, 130)])
def test_tiny_and_thin_photos_pass_through_every_stage(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    out = PhotoPipeline(Networks(EditPlan(exposure_ev=0.5, denoise=0.3))).enhance(Photo(pixels=pixels)).photo
    assert out.pixels.shape == pixels.shape


def test_the_critic_sees_wide_gamut_photos_in_srgb(rgb_profile: Callable[[str], bytes]) -> None:
    """The score is the view's mean, so that it tells in which color space the view was."""
    green = np.full((300, 300, 3), (60, 180, 60), np.uint8)
    pipeline = PhotoPipeline(Networks(EditPlan()))
    as_srgb = pipeline.critique(Photo(pixels=green)).score
    assert pipeline.critique(Photo(pixels=green, icc=rgb_profile("srgb"))).score == as_srgb
    assert pipeline.critique(Photo(pixels=green, icc=rgb_profile("display-p3"))).score < as_srgb - 1


def test_a_critique_names_what_it_measures_and_admits_what_it_does_not() -> None:
    networks = Networks(EditPlan(exposure_ev=0.8, dehaze=0.4))
    gates = dict(networks.gate.attributes)
    gates[Attribute.SHADOWS] = AttributeGate(presence=0, confidence=0, dead_zone=0, shrink=0)
    networks.gate = GateSettings(attributes=gates)
    critique = PhotoPipeline(networks).critique(ASTRONAUT)
    assert critique.findings[Item.EXPOSURE] == pytest.approx(0.4)
    assert critique.findings[Item.CONTRAST] == pytest.approx(0.4)
    assert critique.findings[Item.NOISE] == "fine"
    assert critique.findings[Item.SHADOW_QUALITY] == "not_assessed"
    assert critique.findings[Item.EMOTION] == "not_assessed"
    assert Critique.model_validate_json(critique.model_dump_json()) == critique


def test_the_four_groups_hold_the_21_items_once_each() -> None:
    assert [len(items) for items in GROUPS.values()] == [4, 6, 5, 6]
    assert [i for items in GROUPS.values() for i in items] == list(Item)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (EditPlan(exposure_ev=0.8, temperature_mired=25, denoise=0.4), "+0.8 EV, 25 mired warmer, denoise 0.4"),
        (
            EditPlan(exposure_ev=-1.25, temperature_mired=-40, tint_mired=-8),
            "-1.2 EV, 40 mired cooler, 8 mired greener",
        ),
        (
            EditPlan(saturation=-0.25, contrast=0.1, tint_mired=5),
            "5 mired more magenta, contrast +0.10, saturation -0.25",
        ),
        (EditPlan(), "left as it is"),
    ],
)
def test_plans_in_words(plan: EditPlan, words: str) -> None:
    assert describe(plan) == words


def test_opening_what_is_not_there_is_a_typed_error(tmp_path: object) -> None:
    with pytest.raises(BundleError):
        Pipeline.open(f"{tmp_path}/none.pcbundle")
    with pytest.raises(ConfigError, match="tensorflow"):
        Pipeline.open(f"{tmp_path}/none.pcbundle", backend="tensorflow")


@pytest.mark.parametrize("asked", [{"crop": True}, {"geometry": "no"}, {"geometry": True, "crop": 1}])
def test_geometry_that_makes_no_sense_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="geometry"):
        PhotoPipeline(Networks(EditPlan())).enhance(ASTRONAUT, **asked)


def test_geometry_without_its_network_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="component `composition`"):
        PhotoPipeline(Networks(EditPlan())).enhance(ASTRONAUT, geometry=True)


def test_a_given_plan_takes_the_place_of_the_critics() -> None:
    networks = Networks(BRIGHTER)
    plan = EditPlan(exposure_ev=-0.5, denoise=0.2)
    result = PhotoPipeline(networks).enhance(ASTRONAUT, plan=plan)
    np.testing.assert_allclose(result.plan.vector(), plan.vector())
    assert result.critique is not None
    assert result.critique.plan.exposure_ev == pytest.approx(0.8), "the diagnosis is the critic's all the same"
    darkened = np.clip(ASTRONAUT.pixels / 255 - 0.02, 0, 1).astype(np.float32)
    assert np.abs(result.photo.pixels - render(plan, np.rint(darkened * 255) / 255) * 255).max() <= 1.01


@pytest.mark.parametrize(
    ("plan", "opened"),
    [
        (EditPlan(denoise=0.5), [Pocket.RESTORE]),
        (EditPlan(tilt_degrees=2), []),
        (EditPlan(), []),
        (EditPlan(contrast=0.1), [Pocket.CRITIC]),
        (BRIGHTER, [Pocket.CRITIC, Pocket.TONE]),
        (BRIGHTER.replace(exposure_ev=0.7), [Pocket.CRITIC]),
    ],
    ids=["restoration", "geometry", "nothing", "other-tones", "the-critics", "less"],
)
def test_with_a_plan_networks_run_only_where_it_needs_them(plan: EditPlan, opened: list[str]) -> None:
    networks = Networks(BRIGHTER)
    result = PhotoPipeline(networks).enhance(ASTRONAUT, plan=plan)
    assert networks.opened == opened
    assert (result.critique is None) == (Pocket.CRITIC not in opened)


def test_the_tone_network_completes_the_critics_tones_whatever_the_plan_does_besides() -> None:
    """It reads the critic's plan: of another one it would take back a part."""
    grid = IDENTITY.copy()
    grid[3] += 0.1
    networks = Networks(BRIGHTER, grid)
    pipeline = PhotoPipeline(networks)
    critics = pipeline.critique(ASTRONAUT).plan
    assert np.array_equal(
        pipeline.enhance(ASTRONAUT, plan=critics).photo.pixels, pipeline.enhance(ASTRONAUT).photo.pixels
    )
    plan = critics.replace(contrast=0.2, denoise=0.1)
    again = pipeline.enhance(ASTRONAUT, plan=pipeline.enhance(ASTRONAUT, plan=plan).plan)
    assert "tone" in again.timings, "what was done is a plan that does the same"
    for seen in networks.tone_inputs:
        np.testing.assert_array_equal(seen["plan"][0], critics.vector())
    exact = PhotoPipeline(Networks(EditPlan(), grid)).enhance(ASTRONAUT, plan=EditPlan(exposure_ev=-1)).photo.pixels
    expected = render(EditPlan(exposure_ev=-1), ASTRONAUT.pixels.astype(np.float32) / 255) * 255
    assert np.abs(exact - expected).max() <= 0.51


def test_a_function_makes_a_plan_of_the_critics() -> None:
    pipeline = PhotoPipeline(Networks(BRIGHTER))
    result = pipeline.enhance(ASTRONAUT, plan=lambda critic: critic.only("exposure_ev").replace(contrast=0.25))
    assert result.plan == EditPlan(exposure_ev=result.plan.exposure_ev, contrast=0.25)
    assert result.plan.exposure_ev == pytest.approx(0.8)


def test_a_plan_is_scaled_by_the_strength_like_the_critics() -> None:
    result = PhotoPipeline(Networks(BRIGHTER)).enhance(ASTRONAUT, 0.5, plan=EditPlan(exposure_ev=1))
    assert result.plan.exposure_ev == 0.5


def test_a_plans_turn_and_crop_are_carried_out() -> None:
    pipeline = PhotoPipeline(Networks(BRIGHTER))
    box = CropBox(left=10, top=20, right=300, bottom=400)
    cropped = pipeline.enhance(ASTRONAUT, plan=EditPlan(crop=box)).photo
    assert np.array_equal(cropped.pixels, ASTRONAUT.pixels[20:400, 10:300])
    white = Photo(pixels=np.full((300, 400, 3), 255, np.uint8))
    turned = pipeline.enhance(white, strength=0, plan=EditPlan(tilt_degrees=5)).photo
    assert turned.width < 400
    assert turned.pixels.min() == 255, "no empty corner"


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (EditPlan(crop=CropBox(left=0, top=0, right=513, bottom=512)), "does not lie in the photo, which has 512×512"),
        (EditPlan(crop=CropBox(left=9, top=0, right=9, bottom=512)), "is empty"),
        (EditPlan(crop=CropBox(left=0, top=0, right=512, bottom=512), tilt_degrees=4), "corners that a turn by 4°"),
    ],
    ids=["outside", "empty", "corners"],
)
def test_a_crop_that_does_not_fit_is_refused_before_anything_runs(plan: EditPlan, told: str) -> None:
    networks = Networks(BRIGHTER)
    with pytest.raises(PhotoError, match=told):
        PhotoPipeline(networks).enhance(ASTRONAUT, plan=plan)
    assert networks.opened == []


@pytest.mark.parametrize("plan", [{"exposure_ev": 1}, lambda _: None], ids=["dict", "function"])
def test_what_is_no_plan_is_a_typed_error(plan: object) -> None:
    with pytest.raises(ConfigError, match="A plan is an EditPlan, or a function"):
        PhotoPipeline(Networks(BRIGHTER)).enhance(ASTRONAUT, plan=plan)


def test_every_function_takes_whatever_holds_a_photo() -> None:
    pipeline = PhotoPipeline(Networks(BRIGHTER))
    expected = pipeline.enhance(ASTRONAUT).photo.pixels
    for source in (ASTRONAUT.pixels, Image.fromarray(ASTRONAUT.pixels)):
        assert np.array_equal(pipeline.enhance(source).photo.pixels, expected)
        assert pipeline.critique(source) == pipeline.critique(ASTRONAUT)
    wide = pipeline.enhance(ASTRONAUT.pixels / 255).photo.pixels
    assert wide.dtype == np.uint16
    assert np.abs(wide / 257 - expected).max() <= 0.51
    with pytest.raises(PhotoError, match="there is no such file"):
        pipeline.critique("none.jpg")
