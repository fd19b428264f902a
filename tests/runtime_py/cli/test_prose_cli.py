"""``critique --prose`` as a person and as a script meet it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from pocketcrafter.runtime import cli
from pocketcrafter.runtime.bundle.integrity import digest_text
from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.writer import reseal
from pocketcrafter.runtime.critique import describe
from pocketcrafter.runtime.plan import EditPlan
from pocketcrafter.runtime.pocket import TOKENIZER
from pocketcrafter.runtime.prose.parse import parse_prose
from pocketcrafter.runtime.prose.prompt import as_stated


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    path = tmp_path / "dark.png"
    Image.fromarray((skimage.data.astronaut()[:256, :384] // 3).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("mode", ["full", "short"])
def test_json_has_the_text_and_what_it_means(
    dark: Path, talking_bundle: Path, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["critique", str(dark), "--bundle", str(talking_bundle), "--prose", mode, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["photos"]
    prose = told["prose"]
    assert parse_prose(prose["text"]).score == prose["score"] == round(told["critique"]["score"])
    assert len(prose["thoughts"]) == 5
    assert prose["text"].count("\n- ") == 1, "one fault, one instruction"
    assert prose["steps"] <= 384
    assert prose["ms_per_token"] > 0


def test_people_read_the_text_below_the_numbers(
    dark: Path, talking_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["critique", str(dark), "--bundle", str(talking_bundle), "--prose", "short"]) == 0
    told = capsys.readouterr().out
    assert told.index("score") < told.index("<think>") < told.index("</edit_end>") < told.index("</answer>")
    assert "<exposure_ev" not in told
    (amount,) = re.findall(r"by ([\d.]+) EV", told)
    assert f"+{float(amount):.1f} EV" in told.splitlines()[0], "the plan is rounded as the words state it"


def test_a_plan_is_stated_on_the_ladders_of_the_prose() -> None:
    exact = EditPlan(exposure_ev=2.2, temperature_mired=-23, contrast=0.12, denoise=0.02, tilt_degrees=2.34)
    stated = as_stated(exact)
    assert describe(stated) == "+2.0 EV, 25 mired cooler, contrast +0.10, turned +2.3°"
    assert as_stated(stated) == stated


def test_without_the_option_there_is_no_prose(
    dark: Path, talking_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["critique", str(dark), "--bundle", str(talking_bundle)]) == 0
    assert "<think>" not in capsys.readouterr().out


def test_a_bundle_without_a_decoder_says_what_to_do(
    dark: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["critique", str(dark), "--bundle", str(bundle), "--prose", "full"]) == 2
    assert "has no decoder" in capsys.readouterr().err


def test_a_broken_vocabulary_is_told_without_a_traceback(
    dark: Path, talking_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "broken.pcbundle"
    shutil.copytree(talking_bundle, copy)
    path = copy / TOKENIZER
    path.write_bytes(b"{" + b" " * (path.stat().st_size - 1))
    reseal(copy, Bundle.open(talking_bundle).manifest)
    assert cli.run(["critique", str(dark), "--bundle", str(copy), "--prose", "full"]) == 2
    assert "not a tokenizer" in capsys.readouterr().err


def test_a_decoder_without_its_vocabulary_is_no_bundle(
    dark: Path, talking_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "mute.pcbundle"
    shutil.copytree(talking_bundle, copy)
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"] = [f for f in manifest["files"] if f["path"] != TOKENIZER]
    data = json.dumps(manifest).encode()
    (copy / MANIFEST).write_bytes(data)
    (copy / DIGEST).write_bytes(digest_text(data))
    assert cli.run(["critique", str(dark), "--bundle", str(copy)]) == 2
    assert TOKENIZER in capsys.readouterr().err
