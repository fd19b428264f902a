"""``enhance --plan``, ``--set`` and ``--only``: what is done is told, and what is no plan is refused at once."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from pocketcrafter.runtime import cli
from pocketcrafter.runtime.plan import EditPlan

DARK = (skimage.data.astronaut()[:200, :300] * 0.4).astype(np.uint8)


@pytest.fixture
def dark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Image.fromarray(DARK).save(tmp_path / "dark.png")
    monkeypatch.chdir(tmp_path)
    return Path("dark.png")


def planned(capsys: pytest.CaptureFixture[str], bundle: Path, *arguments: object) -> list[EditPlan]:
    """The plans that were carried out, with float32's rounding taken off."""
    assert cli.run(["enhance", "--bundle", str(bundle), *map(str, arguments), "--json"]) == 0
    photos = json.loads(capsys.readouterr().out)["photos"]
    return [EditPlan(**{k: round(v, 6) if v else v for k, v in photo["plan"].items()}) for photo in photos]


def test_single_values_are_set_in_the_critics_plan(
    dark: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (critics,) = planned(capsys, bundle, dark)
    assert critics.exposure_ev > 0.3
    (plan,) = planned(capsys, bundle, dark, "--set", "contrast=+0.25", "--set", "tilt_degrees=-2")
    assert plan == critics.replace(contrast=0.25, tilt_degrees=-2)
    (plan,) = planned(capsys, bundle, dark, "--set", "exposure_ev=-0.5", "--strength", "0.5")
    assert plan == EditPlan(exposure_ev=-0.25)


def test_what_is_kept_is_kept_before_others_are_set(
    dark: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (critics,) = planned(capsys, bundle, dark)
    assert planned(capsys, bundle, dark, "--only", "denoise") == [EditPlan()]
    (plan,) = planned(capsys, bundle, dark, "--only", "denoise", "--only", "exposure_ev", "--set", "dehaze=0.5")
    assert plan == EditPlan(exposure_ev=critics.exposure_ev, dehaze=0.5)


def test_a_plan_of_a_file_takes_the_place_of_the_critics(
    dark: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("plan.json").write_text('{"saturation": 0.5, "denoise": 0.25}')
    assert planned(capsys, bundle, dark, "--plan", "plan.json") == [EditPlan(saturation=0.5, denoise=0.25)]
    (plan,) = planned(capsys, bundle, dark, "--plan", "plan.json", "--only", "denoise", "--set", "denoise=0.75")
    assert plan == EditPlan(denoise=0.75)


def test_each_photo_finds_its_own_plan_in_what_critique_printed(
    dark: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(DARK // 2).save("darker.png")
    assert cli.run(["critique", "--bundle", str(bundle), "dark.png", "darker.png", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for photo, saturation in zip(told["photos"], (0.25, 0.75), strict=True):
        photo["critique"]["plan"]["saturation"] = saturation
    Path("plans.json").write_text(json.dumps(told))
    plans = planned(capsys, bundle, Path("darker.png").resolve(), dark, "--plan", "plans.json")
    assert [plan.saturation for plan in plans] == [0.75, 0.25]
    assert plans[0].exposure_ev > plans[1].exposure_ev
    Image.fromarray(DARK).save("other.png")
    assert cli.run(["enhance", "--bundle", str(bundle), "other.png", "dark.png", "--plan", "plans.json"]) == 2
    assert "other.png: the --plan file has plans for 2 photos, and none for this one" in capsys.readouterr().err
    assert Path("dark.enhanced.png").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "exposure=1"], "exposure: unknown key; did you mean `exposure_ev`?"),
        (["--set", "exposure_ev=9"], "exposure_ev: `9` is out of range; it must be from -4 to 4"),
        (["--set", "exposure_ev=bright"], "exposure_ev: `bright` is not a number"),
        (["--set", "exposure_ev=nan"], "exposure_ev: `nan` is not a finite number"),
        (["--set", "exposure_ev"], "give NAME=VALUE"),
        (["--set", "contrast=1", "--set", "contrast=0"], "contrast is set twice"),
        (["--only", "denoising"], "denoising: unknown key; did you mean `denoise`?"),
        (["--plan", "none.json"], "none.json: cannot be read: No such file"),
        (["--plan", "text.json"], "text.json: not JSON"),
        (["--plan", "list.json"], "list.json: not a plan"),
        (["--plan", "wrong.json"], "wrong.json: not a plan: exposure: unknown key; did you mean `exposure_ev`?"),
        (["--plan", "yes.json"], "yes.json: not a plan: exposure_ev"),
        (["--plan", "turn.json", "--geometry"], "leave --geometry out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_no_plan_is_refused_before_anything_is_written(
    words: list[str], told: str, dark: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in {
        "text": "bright",
        "yes": '{"exposure_ev": true}',
        "list": "[1]",
        "wrong": '{"photos": [{"photo": "dark.png", "plan": {"exposure": 1}}]}',
        "turn": '{"tilt_degrees": 3}',
    }.items():
        Path(f"{name}.json").write_text(content)
    if "wrong.json" in words:
        told = told.replace("wrong.json:", "wrong.json: photos.0:")
    assert cli.run(["enhance", "--bundle", str(bundle), str(dark), *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not Path("dark.enhanced.png").exists()


def test_a_crop_that_does_not_fit_costs_its_photo_alone(
    dark: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(DARK[:90, :90]).save("small.png")
    Path("plan.json").write_text('{"crop": {"left": 100, "top": 0, "right": 200, "bottom": 80}}')
    assert cli.run(["enhance", "--bundle", str(bundle), "small.png", str(dark), "--plan", "plan.json"]) == 2
    assert "small.png: the plan's crop (100, 0)-(200, 80) is empty or does not lie in" in capsys.readouterr().err
    assert np.array_equal(np.asarray(Image.open("dark.enhanced.png")), DARK[:80, 100:200])
