"""Twins of every class from folder to bundle to photo on targets whose processors something stands in for here."""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.backends.names import BackendName  # noqa: E402
from pocketcrafter.runtime.backends.registry import why_unusable  # noqa: E402
from pocketcrafter.runtime.fidelity import psnr_db  # noqa: E402
from pocketcrafter.runtime.photo import Photo, decode, encode  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")
classes = importlib.import_module("test_artist_classes")

TARGETS = {
    "executorch-xnnpack": (BackendName.EXECUTORCH, 60),
    "coreml:ios18": (BackendName.MIL_INTERPRETER, 30),
    "qnn-context:sm8750": (BackendName.QNN_EMULATOR, 30),
}
"""What runs a target's artifacts here, and how near full precision pictures come, in dB: two are in float16."""
ALWAYS = {
    ("dreamlite", "executorch-xnnpack"),
    ("sd3 with the photo", "coreml:ios18"),
    ("qwen-image-edit", "qnn-context:sm8750"),
}
"""Each could not be lowered once. The others of the matrix take twenty minutes: ``pytest -m every_target``."""
ARTISTS = [
    pytest.param(name, target, marks=() if (name, target) in ALWAYS else pytest.mark.every_target)
    for target in TARGETS
    for name in ("unet", *classes.BUILT)
]


def _autoencoder() -> Any:
    """The smallest that makes latents of the artists' size."""
    blocks = {"encoder_block_out_channels": (4,) * 4, "decoder_block_out_channels": (4,) * 4}
    return twin.tiny_autoencoder(num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4, **blocks)


def _built(folder: Path, target: str) -> Path:
    out = folder.parent / "made.pcbundle"
    asked = ["build", str(folder), "--target", target, "--out", str(out), "--stages", str(folder.parent / "stages")]
    assert cli.run(asked) == 0
    return out


@pytest.mark.parametrize(("name", "target"), ARTISTS)
def test_an_artist_goes_from_folder_to_photo(name: str, target: str, tmp_path: Path) -> None:
    """Held against diffusers' own networks and loop."""
    backend, least_db = TARGETS[target]
    if reason := why_unusable(backend):
        pytest.skip(reason)
    case = classes.CASES[name]
    # Qwen-Image's networks expect the statistics of its own autoencoder.
    case = case if "vae" in case else {**case, "vae": _autoencoder}
    made = classes.save_case(tmp_path / "pair", case)
    bundle = _built(tmp_path / "pair", target)
    pixels = np.random.default_rng(2).integers(0, 256, (classes.SIDE, classes.SIDE, 3), np.uint8)
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    encode(Photo(pixels), photo)
    asked = ["enhance", str(photo), "--bundle", str(bundle), "--backend", backend.value, "-o", str(out)]
    assert cli.run(asked) == 0
    picture = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255 * 2 - 1)
    changed = classes.expected_picture(case, made, picture) - classes.unedited_picture(made, picture)
    assert np.abs(changed).mean() > 0.02
    expected = np.clip(pixels / 255 + changed, 0, 1).astype(np.float32)
    assert psnr_db(expected, decode(out).pixels.astype(np.float32) / 255, 1.0) > least_db
