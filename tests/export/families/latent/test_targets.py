"""Twins of every class from folder to bundle to photo on targets whose processors something stands in for here."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

torch = pytest.importorskip("torch")

from pocketcrafter.benchmarks.common.reference_record import Record  # noqa: E402
from pocketcrafter.benchmarks.reference.cli import reference  # noqa: E402
from pocketcrafter.export.families.inference import recipe_text  # noqa: E402
from pocketcrafter.export.families.latent.plan import infer_recipe  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.backends.names import BackendName  # noqa: E402
from pocketcrafter.runtime.backends.registry import why_unusable  # noqa: E402
from pocketcrafter.runtime.fidelity import sqnr_db  # noqa: E402
from pocketcrafter.runtime.latent.settings import Latent  # noqa: E402
from pocketcrafter.runtime.photo import Photo, decode, encode  # noqa: E402
from pocketcrafter.runtime.targets import TargetKind  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")
classes = importlib.import_module("test_artist_classes")

TARGETS = {
    "executorch-xnnpack": (BackendName.EXECUTORCH, 25),
    "coreml:ios18": (BackendName.MIL_INTERPRETER, 20),
    "qnn-context:sm8750": (BackendName.QNN_EMULATOR, 20),
}
"""What runs a target's artifacts here, and how near an edit comes in dB: written in 8 bits, two made in float16."""
ALWAYS = {("sd3 with the photo", "coreml:ios18"), ("qwen-image-edit", "qnn-context:sm8750")}
"""Each could not be lowered once. The others of the matrix take twenty minutes: ``pytest -m every_target``."""
CLEAR = 0.05
"""How far a chosen word's logit stands above the next, in deviations of all of them: at 40 dB, the gate of an artifact,
the difference of two is off by 0.014 of these."""
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
    if "vae" not in case and "pooled" not in case:  # with the smallest one, the edits of those with sums are too faint
        case = {**case, "vae": _autoencoder}
    made = classes.save_case(tmp_path / "pair", case)
    bundle = _built(tmp_path / "pair", target)
    pixels = np.random.default_rng(2).integers(0, 256, (classes.SIDE, classes.SIDE, 3), np.uint8)
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    encode(Photo(pixels), photo)
    asked = ["enhance", str(photo), "--bundle", str(bundle), "--backend", backend.value, "-o", str(out)]
    assert cli.run(asked) == 0
    picture = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255 * 2 - 1)
    changed = classes.expected_picture(case, made, picture) - classes.unedited_picture(made, picture)
    source = (pixels / 255).astype(np.float32)
    expected = np.clip(source + changed, 0, 1).astype(np.float32) - source
    assert np.abs(expected).mean() > 0.01
    assert sqnr_db(expected, decode(out).pixels.astype(np.float32) / 255 - source) > least_db


@pytest.fixture(scope="module")
def clear(photo: Photo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pair none of whose words is all but a tie, and its record: of random weights, most have one among twelve."""
    folder = tmp_path_factory.mktemp("clear")
    made, record = twin.save_pair(folder / "pair", weights_seed=10), folder / "pair.pcref"
    encode(photo, folder / "photo.png")
    asked = ["record", str(made), "--photos", str(folder / "photo.png"), "--out", str(record)]
    reference.main(asked, standalone_mode=False)
    ((_, recorded),) = Record(record).photos()
    critic, head = recorded.critic, load_file(made / "critic/model.safetensors")["lm_head.weight"]
    logits = critic.hidden[len(critic.prompt) - 1 :] @ head.T
    assert logits.argmax(1).tolist() == critic.ids.tolist()
    second, first = np.sort(logits, 1)[:, -2:].T
    assert ((first - second) / logits.std(1)).min() > CLEAR
    return made, record


@pytest.mark.every_target
@pytest.mark.parametrize(("target", "noisy"), [("coreml:ios18", set()), ("qnn-context:sm8750", {Latent.LANGUAGE})])
def test_a_pair_with_a_critic_goes_from_folder_to_photo(
    target: str,
    noisy: set[str],
    clear: tuple[Path, Path],
    photo: Photo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In float16; held against the pair's own libraries: whole photos, and every call but steps of ``noisy`` ones.

    A step writes one vector, behind what earlier steps left in the caches: all vectors together keep the gate.
    """
    pair, record = clear
    backend, _ = TARGETS[target]
    if reason := why_unusable(backend):
        pytest.skip(reason)
    recipe = infer_recipe(pair, [TargetKind(target)], {})
    language = recipe.components["language"].model_copy(update={"shared_binary": False})
    recipe = recipe.model_copy(update={"components": {**recipe.components, "language": language}})
    (tmp_path / "pair.recipe.yaml").write_text(recipe_text(recipe))
    out, source, made = tmp_path / "pair.pcbundle", tmp_path / "photo.png", tmp_path / "made.png"
    asked = ["build", "--recipe", str(tmp_path / "pair.recipe.yaml"), "--out", str(out)]
    assert cli.run([*asked, "--stages", str(tmp_path / "stages")]) == 0
    encode(photo, source)
    assert cli.run(["enhance", str(source), "--bundle", str(out), "--backend", backend.value, "-o", str(made)]) == 0
    assert decode(made).pixels.shape == photo.pixels.shape
    capsys.readouterr()
    assert cli.run(["bench", "parity", str(out), "--reference", str(record), "--no-store", "--json"]) == 0
    (held,) = json.loads(capsys.readouterr().out)["targets"]
    assert held["rung"]["passed"] is True
    (one,) = held["reference"]
    assert one["hidden_sqnr_db"] > 40
    missed = [call for call in one["calls"] if not call["passed"]]
    assert {call["component"] for call in missed} <= noisy
    assert all(call["step"] for call in missed)
