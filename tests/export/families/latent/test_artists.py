"""Artists of other kinds than the twin's own, in full precision against diffusers' own loop."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffusers import AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from pocketcrafter.export.families.latent.networks import TorchPair  # noqa: E402
from pocketcrafter.export.families.latent.pair import read_pair  # noqa: E402
from pocketcrafter.export.families.latent.parts import load_part  # noqa: E402
from pocketcrafter.runtime.fidelity import psnr_db, sqnr_db  # noqa: E402
from pocketcrafter.runtime.latent.artist import time_features  # noqa: E402
from pocketcrafter.runtime.latent.sampler import Noise  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")


def _autoencoder() -> Any:
    torch.manual_seed(1)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        scaling_factor=0.7,
        shift_factor=0.1,
    ).eval()


@pytest.mark.parametrize("instructed", [False, True])
@pytest.mark.parametrize("channels", [4, 8])
def test_picture_is_the_libraries(tmp_path: Path, channels: int, instructed: bool) -> None:
    """With four channels the steps begin at the photo's own latents; InstructPix2Pix shows them unscaled."""
    scheduler = DDIMScheduler(clip_sample=False) if channels == 4 else EulerDiscreteScheduler()
    folder = twin.save_pair(tmp_path / "pair", channels=channels, scheduler=scheduler, vae=_autoencoder(), seed=9)
    if instructed:
        index = (folder / "artist/model_index.json").read_text()
        index = index.replace("DreamPipeline", "StableDiffusionInstructPix2PixPipeline")
        (folder / "artist/model_index.json").write_text(index)
    artist = TorchPair(read_pair(folder)).artist
    assert artist is not None
    generator = np.random.default_rng(2)
    picture = generator.random((twin.SIDE, twin.SIDE, 3), np.float32)
    hidden = generator.standard_normal((40, 32), np.float32)
    made = artist.edit(picture, hidden)

    bridge = load_file(folder / "bridge.safetensors")
    conditions = F.linear(torch.from_numpy(hidden), bridge["projection.weight"], bridge["projection.bias"])[None]
    unet = UNet2DConditionModel.from_pretrained(folder / "artist/unet").eval()
    vae = AutoencoderKL.from_pretrained(folder / "artist/vae").eval()
    scheduler.set_timesteps(4)
    times = scheduler.timesteps[2:] if channels == 4 else scheduler.timesteps
    with torch.no_grad():
        raw = vae.encode(torch.from_numpy(picture.transpose(2, 0, 1)[None] * 2 - 1)).latent_dist.mode()
        scaled = (raw - 0.1) * 0.7
        noise = torch.from_numpy(Noise(9).draw(raw.shape))
        latents = scheduler.add_noise(scaled, noise, times[:1]) if channels == 4 else noise * scheduler.init_noise_sigma
        for time in times:
            given = scheduler.scale_model_input(latents, time)
            given = given if channels == 4 else torch.cat([given, raw if instructed else scaled], 1)
            latents = scheduler.step(unet(given, time, conditions).sample, time, latents).prev_sample
        expected = vae.decode(latents / 0.7 + 0.1).sample[0].permute(1, 2, 0) / 2 + 0.5
    assert psnr_db(expected.clamp(0, 1).numpy(), made, 1.0) > 80


def test_the_timestep_survives_float16(tmp_path: Path) -> None:
    """Its sinusoids come from outside: within float16, those of 999.3 would be those of 999.5."""
    folder = twin.save_pair(tmp_path / "pair")
    artist = TorchPair(read_pair(folder)).artist
    assert artist is not None
    shapes = {tensor.name: tensor.shape for tensor in artist.denoise.spec.inputs}
    generator = np.random.default_rng(3)
    sample = {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    sample |= {"time": time_features(999.3, artist.settings.time), "mask": np.ones(shapes["mask"], np.float32)}
    expected = artist.denoise.run(sample)["prediction"]
    network = load_part(read_pair(folder), "denoise").network.half()
    with torch.no_grad():
        made = network(*(torch.from_numpy(sample[name]).half() for name in shapes))
    assert sqnr_db(expected, made.float().numpy()) > 45
