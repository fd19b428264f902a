"""A latent artist's denoising network is trained through INT8, and its pair is written again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pocketcrafter.export.distill.cli import distill
from pocketcrafter.export.distill.latent.flow import FlowArtist, artist_settings, levels_of
from pocketcrafter.export.distill.latent.frames import build_frames, frames_config
from pocketcrafter.export.distill.latent.qat import inputs_of_steps
from pocketcrafter.export.distill.qat import network_task
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.runtime.errors import ConfigError


@pytest.fixture(scope="module")
def brief(latent_twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The twin, which stops at one word of eight: answers of one length would leave the mask no range."""
    folder = Path(shutil.copytree(latent_twin, tmp_path_factory.mktemp("brief") / "pair"))
    file = folder / "critic/generation_config.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps(said | {"eos_token_id": [said["eos_token_id"], *range(8, 256, 8)]}))
    return folder


def test_training_through_int8_approaches_full_precision(
    brief: Path, photos: list[Path], camera_data: Path, tmp_path: Path
) -> None:
    pair = read_pair(brief)
    config = frames_config(pair, photos, 8, 3)
    frames = build_frames(tmp_path / "frames", pair, photos, camera_data, config)
    running, artist = (FlowArtist(pair, artist_settings(pair)).eval() for _ in range(2))
    whole = {name: value.clone() for name, value in artist.denoise.state_dict().items()}
    batches = inputs_of_steps(running, levels_of(artist.settings, "here"), frames, 1)
    assert all(torch.equal(a, b) for a, b in zip(batches(5), batches(5), strict=True))
    assert len({float(batches(step)[1].sum()) for step in range(12)}) == len(artist.settings.steps)
    task, convert = network_task(artist.denoise, batches, 16)

    def ratio() -> float:
        return float(np.mean([task.loss(step)[1]["sqnr_db"] for step in range(1000, 1008)]))

    # A random network's rounding is noise that training cannot take back; what all of it has in common, it can.
    with torch.no_grad():
        task.model.get_parameter("graph.network.unet.conv_out.bias").sub_(1)
    before = ratio()
    trained = fit(task, FitSettings(steps=30, batch=1, learning_rate=3e-3, warmup=3, ema=0.9), tmp_path / "run")
    assert ratio() > before + 2
    convert(trained)
    assert any(not torch.equal(value, whole[name]) for name, value in artist.denoise.state_dict().items())


def test_the_command_writes_the_pair_again(prepared_photos: Path, brief: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"

    def asked(*more: str) -> list[str]:
        where = ["--data", str(prepared_photos), "--run", str(tmp_path / "run"), "--steps", "2", "--json"]
        return ["qat", "denoise", "--start", str(brief), *more, *where]

    result = CliRunner().invoke(distill, asked("--out", str(out), "--pair-frames", "4"))
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)["weights"] == str(out)
    made, was = (FlowArtist(p, artist_settings(p)).state_dict() for p in (read_pair(out), read_pair(brief)))
    assert any(not torch.equal(made[name], was[name]) for name in was)
    for more in ([], ["--out", str(brief)]):
        assert isinstance(CliRunner().invoke(distill, asked(*more)).exception, ConfigError)
