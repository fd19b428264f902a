"""The walk-through of docs/camera-team.md holds from a released folder to a bundle that is proved."""

import importlib
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from pocketcrafter.runtime.bundle.reader import Bundle

sys.path.insert(0, str(Path(__file__).parent))


def test_a_released_folder_becomes_a_proved_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = importlib.import_module("demo")
    teacher = demo.tiny_teacher(tmp_path / "crafter")
    photo = Path(__file__).parents[2] / "photos/bee_hazy.jpg"
    bundle = demo.released_to_bundle(teacher, tmp_path, [photo])
    told = capsys.readouterr().out
    assert "its transformer was trained with the GELU" in told
    manifest = Bundle.open(bundle).manifest
    # What the teacher's licence says goes with it.
    assert "CC-BY-NC-SA-4.0" in json.dumps(manifest.model_dump(mode="json"))
