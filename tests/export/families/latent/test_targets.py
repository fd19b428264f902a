"""Twins of every class from folder to bundle to photo on targets whose processors something stands in for here."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

torch = pytest.importorskip("torch")

from pocketcrafter.benchmarks.common.reference_record import Record  # noqa: E402
from pocketcrafter.benchmarks.reference.cli import reference  # noqa: E402
from pocketcrafter.export.families.inference import recipe_text  # noqa: E402
from pocketcrafter.export.families.latent.pair import read_pair  # noqa: E402
from pocketcrafter.export.families.latent.parts import load_part  # noqa: E402
from pocketcrafter.export.families.latent.plan import infer_recipe  # noqa: E402
from pocketcrafter.export.lower.lowerings import lower  # noqa: E402
from pocketcrafter.export.lower.request import LoweringRequest  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.backends.names import BackendName  # noqa: E402
from pocketcrafter.runtime.backends.registry import why_unusable  # noqa: E402
from pocketcrafter.runtime.bundle.results import Precision  # noqa: E402
from pocketcrafter.runtime.fidelity import sqnr_db  # noqa: E402
from pocketcrafter.runtime.latent.settings import Latent  # noqa: E402
from pocketcrafter.runtime.photo import Photo, decode, encode  # noqa: E402
from pocketcrafter.runtime.targets import TargetKind  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")
qwen = importlib.import_module("qwen_twin")
classes = importlib.import_module("test_artist_classes")

TARGETS = {
    "executorch-xnnpack": (BackendName.EXECUTORCH, 25),
    "coreml:ios18": (BackendName.MIL_INTERPRETER, 20),
    "qnn-context:sm8750": (BackendName.QNN_EMULATOR, 20),
    "coreai:ios27": (BackendName.COREAI, 20),
}
"""What runs a target's artifacts here, and how near an edit comes in dB: written in 8 bits, three made in float16. On
``onnx``, `test_artist_classes` builds every class."""
ALWAYS = {
    ("controlnet", "executorch-xnnpack"),
    ("sd3 with the photo", "coreml:ios18"),
    ("qwen-image-edit", "qnn-context:sm8750"),
    ("unet", "coreai:ios27"),
}
"""Each of these targets by a class that it could not take once, or that is in none of `PAIRS`. All of the matrix:
``make every-target``."""
CLEAR = 0.05
"""How far a chosen word's logit stands above the next, in deviations of all of them: at 40 dB, the gate of an artifact,
the difference of two is off by 0.014 of these."""
ARTISTS = [
    pytest.param(name, target, marks=() if (name, target) in ALWAYS else pytest.mark.every_target)
    for target in TARGETS
    for name in classes.BUILT
]


def _idefics3(folder: Path, seed: int) -> None:
    """Write SmolVLM's network under the name of the class that it comes from."""
    path = twin.save_pair(folder, weights_seed=seed) / "critic/config.json"
    said = json.loads(path.read_text())
    said |= {"architectures": ["Idefics3ForConditionalGeneration"], "model_type": "idefics3"}
    said["vision_config"]["model_type"] = "idefics3_vision"
    path.write_text(json.dumps(said))
    shutil.rmtree(folder / "artist")


PAIRS: dict[str, tuple[Callable[[Path, int], object], int, str]] = {
    "idefics3": (_idefics3, 10, "dreamlite"),
    "qwen2.5-vl": (lambda folder, seed: qwen.save_pair(folder, "qwen2.5-vl", seed), 2, "qwen-image-edit"),
    "qwen3-vl": (lambda folder, seed: qwen.save_pair(folder, "qwen3-vl", seed), 27, "sd3 with the photo"),
}
"""What writes a critic, a seed of weights of which none of its words is all but a tie, and the artist beside it."""


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


def test_the_lint_reads_a_core_ai_asset_of_a_pair(latent_twin: Path, tmp_path: Path) -> None:
    """A tower of patches is what the Neural Engine likes least: a wide stride, and axes moved back and forth."""
    target = TargetKind("coreai:ios27")
    if reason := why_unusable(TARGETS[target][0]):
        pytest.skip(reason)
    part, rng = load_part(read_pair(latent_twin), Latent.VISION), np.random.default_rng(0)
    samples = [{t.name: rng.random(t.shape, np.float32) for t in part.spec.inputs} for _ in range(2)]
    out = tmp_path / "vision.aimodel"
    found = lower(LoweringRequest(part.network, part.spec, samples, Precision.FP16, {target: out}))[target].coverage
    assert {(warning.op, warning.allowed) for warning in found.fallbacks} == {
        ("lint: stride", True),
        ("lint: layout", True),
    }
    assert found.share == 1


def _record(pair: Path, photo: Photo) -> Path:
    """Record a pair none of whose words is all but a tie: of random weights, most have one among twelve."""
    record, shown = pair.parent / "pair.pcref", pair.parent / "photo.png"
    encode(photo, shown)
    asked = ["record", str(pair), "--photos", str(shown), "--out", str(record)]
    reference.main(asked, standalone_mode=False)
    ((_, recorded),) = Record(record).photos()
    assert recorded.critic is not None
    critic, head = recorded.critic, load_file(pair / "critic/model.safetensors")["lm_head.weight"]
    logits = critic.hidden[len(critic.prompt) - 1 :] @ head.T
    assert logits.argmax(1).tolist() == critic.ids.tolist()
    second, first = np.sort(logits, 1)[:, -2:].T
    assert ((first - second) / logits.std(1)).min() > CLEAR
    return record


@pytest.fixture(scope="module")
def recorded(photo: Photo, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Write and record a pair, by its critic's class; each once."""

    @cache
    def made(name: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("recorded") / "pair"
        if name == "smolvlm":
            twin.save_pair(folder, weights_seed=10)
        else:
            write, seed, artist = PAIRS[name]
            write(folder, seed)
            said = yaml.safe_load((folder / "pair.yaml").read_text())
            classes.add_case(folder, classes.CASES[artist], **said)
        return folder, _record(folder, photo)

    return made


INTERPRETED = {
    "coreml:ios18": set[str](),
    "qnn-context:sm8750": {Latent.LANGUAGE},
    "coreai:ios27": {Latent.LANGUAGE},
}
"""Targets in float16, and components single steps of which miss their gate there."""


@pytest.mark.every_target
@pytest.mark.parametrize("target", INTERPRETED)
@pytest.mark.parametrize("name", ["smolvlm", *PAIRS])
def test_a_pair_with_a_critic_goes_from_folder_to_photo(
    name: str,
    target: str,
    recorded: Callable[[str], tuple[Path, Path]],
    photo: Photo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In float16; held against the pair's own libraries: whole photos, and every call but steps of `INTERPRETED`.

    A step writes one vector, behind what earlier steps left in the caches: all vectors together keep the gate.
    """
    pair, record = recorded(name)
    if reason := why_unusable(TARGETS[target][0]):
        pytest.skip(reason)
    recipe = infer_recipe(pair, [TargetKind(target)], {})
    language = recipe.components["language"].model_copy(update={"shared_binary": False})
    recipe = recipe.model_copy(update={"components": {**recipe.components, "language": language}})
    (tmp_path / "pair.recipe.yaml").write_text(recipe_text(recipe))
    out = tmp_path / "pair.pcbundle"
    asked = ["build", "--recipe", str(tmp_path / "pair.recipe.yaml"), "--out", str(out)]
    assert cli.run([*asked, "--stages", str(tmp_path / "stages")]) == 0
    (one,) = _held(out, target, record, photo, capsys)
    assert one["hidden_sqnr_db"] > 40
    missed = [call for call in one["calls"] if not call["passed"]]
    assert {call["component"] for call in missed} <= INTERPRETED[target]
    assert all(call["step"] for call in missed)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "onnx") for name in PAIRS),
        *(pytest.param(name, "executorch-xnnpack", marks=pytest.mark.every_target) for name in PAIRS),
    ],
)
def test_a_pair_is_its_libraries_on_processors_that_are_here(
    name: str,
    target: str,
    recorded: Callable[[str], tuple[Path, Path]],
    photo: Photo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In float32; `test_latent` and `test_reference` do so with SmolVLM."""
    pair, record = recorded(name)
    out = tmp_path / "pair.pcbundle"
    asked = ["build", str(pair), "--target", target, "--out", str(out), "--stages", str(tmp_path / "stages")]
    assert cli.run(asked) == 0
    (one,) = _held(out, target, record, photo, capsys)
    assert one["tokens_same"] == one["tokens_compared"] > 8
    assert one["hidden_sqnr_db"] > 80
    assert one["psnr_db"] > 60
    assert all(call["passed"] for call in one["calls"])


def _held(
    bundle: Path, target: str, record: Path, photo: Photo, capsys: pytest.CaptureFixture[str]
) -> list[dict[str, Any]]:
    """Enhance a photo on a target, hold it against the record, and return what rung 3 found of each photo."""
    backend = TARGETS[target][0].value if target in TARGETS else BackendName.ONNXRUNTIME.value
    source, made = bundle.parent / "photo.png", bundle.parent / "made.png"
    encode(photo, source)
    assert cli.run(["enhance", str(source), "--bundle", str(bundle), "--backend", backend, "-o", str(made)]) == 0
    assert decode(made).pixels.shape == photo.pixels.shape
    capsys.readouterr()
    asked = ["bench", "parity", str(bundle), "--target", target, "--reference", str(record), "--no-store", "--json"]
    assert cli.run(asked) == 0
    (held,) = json.loads(capsys.readouterr().out)["targets"]
    assert held["rung"]["passed"] is True
    found: list[dict[str, Any]] = held["reference"]
    return found
