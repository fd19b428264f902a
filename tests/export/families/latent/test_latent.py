"""A tiny random pair of the real classes: from folder to bundle to photo, held against its own libraries."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffusers import AutoencoderTiny, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel  # noqa: E402
from diffusers.image_processor import VaeImageProcessor  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForImageTextToText,
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)

from pocketcrafter.export.builder.graph import bundle_stage  # noqa: E402
from pocketcrafter.export.families.latent.pair import read_pair  # noqa: E402
from pocketcrafter.export.families.latent.plan import infer_recipe  # noqa: E402
from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.backends.names import BackendName  # noqa: E402
from pocketcrafter.runtime.bundle.reader import Bundle  # noqa: E402
from pocketcrafter.runtime.families import BundleSource, family_settings  # noqa: E402
from pocketcrafter.runtime.fidelity import psnr_db, sqnr_db  # noqa: E402
from pocketcrafter.runtime.latent.picture import artists_picture, critics_picture  # noqa: E402
from pocketcrafter.runtime.latent.pipeline import LatentPipeline  # noqa: E402
from pocketcrafter.runtime.latent.sampler import Noise  # noqa: E402
from pocketcrafter.runtime.latent.settings import LatentSettings  # noqa: E402
from pocketcrafter.runtime.photo import Photo, decode, encode  # noqa: E402
from pocketcrafter.runtime.targets import TargetKind  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")


@dataclass(frozen=True)
class Libraries:
    """What transformers and diffusers themselves make of a photo."""

    prompt: tuple[int, ...]
    pixels: np.ndarray[Any, Any]
    ids: tuple[int, ...]
    hidden: np.ndarray[Any, Any]
    picture: np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def libraries(pair: Path, photo: Photo) -> Libraries:
    """Run the pair by its libraries alone, on the noise that the bundle draws."""
    critic, artist, image = pair / "critic", pair / "artist", Image.fromarray(photo.pixels)
    words = PreTrainedTokenizerFast.from_pretrained(critic)
    processor = Idefics3Processor(
        Idefics3ImageProcessor.from_pretrained(critic), words, image_seq_len=4, chat_template=words.chat_template
    )
    said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Judge it."}]}]
    text = processor.apply_chat_template(said, add_generation_prompt=True)
    inputs = processor(text=text, images=[image], return_tensors="pt", add_special_tokens=False)
    model = AutoModelForImageTextToText.from_pretrained(critic, dtype=torch.float32).eval()
    made = model.generate(
        **inputs, max_new_tokens=12, do_sample=False, output_hidden_states=True, return_dict_in_generate=True
    )
    hidden = torch.cat([states[-1][0] for states in made.hidden_states])
    bridge = load_file(pair / "bridge.safetensors")
    conditions = F.linear(hidden, bridge["projection.weight"], bridge["projection.bias"])[None]

    unet = UNet2DConditionModel.from_pretrained(artist / "unet").eval()
    vae = AutoencoderTiny.from_pretrained(artist / "vae").eval()
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(artist / "scheduler")
    scheduler.set_timesteps(4)
    pictures = VaeImageProcessor(vae_scale_factor=8)
    with torch.no_grad():
        shown = vae.encode(pictures.preprocess(image, twin.SIDE, twin.SIDE)).latents
        latents = torch.from_numpy(Noise(0).draw(shown.shape))
        for time in scheduler.timesteps:
            prediction = unet(torch.cat([latents, shown], 1), time, encoder_hidden_states=conditions).sample
            latents = scheduler.step(prediction, time, latents).prev_sample
        picture = pictures.postprocess(vae.decode(latents).sample, output_type="np")[0]
    prompt = inputs["input_ids"][0]
    ids = tuple(made.sequences[0, len(prompt) :].tolist())
    return Libraries(tuple(prompt.tolist()), inputs["pixel_values"][0, 0].numpy(), ids, hidden.numpy(), picture)


def _settings(bundle: Path) -> LatentSettings:
    settings = family_settings(Bundle.open(bundle).manifest)
    assert isinstance(settings, LatentSettings)
    return settings


def _pipeline(bundle: Path, backend: BackendName) -> LatentPipeline:
    return LatentPipeline(BundleSource(Bundle.open(bundle), backend, 1), 1)


def test_prompt_and_picture_are_those_of_the_critics_processor(
    bundle: Path, libraries: Libraries, photo: Photo
) -> None:
    settings = _settings(bundle)
    assert settings.critic.prompt == libraries.prompt
    seen = critics_picture(photo, settings.critic.picture)[0]
    assert np.abs(seen - libraries.pixels).max() <= 1 / 255


@pytest.mark.parametrize("backend", [BackendName.ONNXRUNTIME, BackendName.EXECUTORCH])
def test_answer_hidden_states_and_picture_are_the_libraries(
    bundle: Path, libraries: Libraries, photo: Photo, backend: BackendName
) -> None:
    pipeline = _pipeline(bundle, backend)
    answer = pipeline.answer(photo)
    assert answer.ids == libraries.ids
    assert answer.hidden.shape == libraries.hidden.shape == (len(libraries.prompt) + len(libraries.ids) - 1, 32)
    assert sqnr_db(libraries.hidden, answer.hidden) > 80
    picture = pipeline.artist.edit(artists_picture(photo, twin.SIDE), answer.hidden)
    assert psnr_db(libraries.picture, picture, 1.0) > 80


def test_the_artist_can_read_the_answers_first_words_alone(bundle: Path, libraries: Libraries, photo: Photo) -> None:
    """The picture then comes before the end of the answer, which goes on where it was left."""
    pipeline = _pipeline(bundle, BackendName.ONNXRUNTIME)
    said = pipeline.critic.begin(critics_picture(photo, _settings(bundle).critic.picture))
    told: list[int] = []
    states = said.states(3, lambda done, _of: told.append(done))
    assert told == [1, 2, 3]
    assert len(states) == len(libraries.prompt) + 3
    assert sqnr_db(libraries.hidden[: len(states)], states) > 80
    assert said.finish(lambda done, _of: told.append(done)).ids == libraries.ids
    assert told == list(range(1, len(libraries.ids) + 1)), "no word is written twice"


def test_enhance_writes_the_same_picture_each_time(bundle: Path, photo: Photo, tmp_path: Path) -> None:
    encode(photo, tmp_path / "photo.png")
    for name in ("a.png", "b.png"):
        asked = ["enhance", str(tmp_path / "photo.png"), "--bundle", str(bundle), "-o", str(tmp_path / name)]
        assert cli.run(asked) == 0
    first, second = (decode(tmp_path / name).pixels for name in ("a.png", "b.png"))
    np.testing.assert_array_equal(first, second)
    assert first.shape == photo.pixels.shape
    assert np.abs(first.astype(int) - photo.pixels).mean() > 5, "a random artist changes every photo"


def test_a_photo_of_the_artists_size_gets_what_changed_of_the_decoded_one(bundle: Path, photo: Photo) -> None:
    small = photo.with_pixels(photo.pixels[: twin.SIDE, : twin.SIDE])
    pipeline = _pipeline(bundle, BackendName.ONNXRUNTIME)
    answer = pipeline.answer(small)
    picture = artists_picture(small, twin.SIDE)
    change = pipeline.artist.change(picture, answer.hidden)
    np.testing.assert_array_equal(change.after, pipeline.artist.edit(picture, answer.hidden))
    made = np.clip(picture + change.after - change.before, 0, 1)
    assert np.abs(pipeline.enhance(small).photo.pixels - made * 255).max() <= 0.51
    np.testing.assert_array_equal(pipeline.enhance(small, strength=0).photo.pixels, small.pixels)


def test_critique_tells_the_answer(
    bundle: Path, libraries: Libraries, photo: Photo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode(photo, tmp_path / "photo.png")
    assert cli.run(["critique", str(tmp_path / "photo.png"), "--bundle", str(bundle), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["photos"]
    assert tuple(told["critique"]["ids"]) == libraries.ids
    assert told["critique"]["prose"] is None
    assert "<think> is missing" in told["critique"]["unread"]


def test_what_the_artist_cannot_do_is_refused(
    bundle: Path, photo: Photo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode(photo, tmp_path / "photo.png")
    assert cli.run(["enhance", str(tmp_path / "photo.png"), "--bundle", str(bundle), "--set", "exposure_ev=1"]) == 2
    assert "takes no plan" in capsys.readouterr().err


def test_a_critic_alone_critiques_and_has_no_artist(
    pair: Path, photo: Photo, libraries: Libraries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, out, source = tmp_path / "alone", tmp_path / "alone.pcbundle", tmp_path / "photo.png"
    shutil.copytree(pair / "critic", alone / "critic")
    shutil.copy(pair / "pair.yaml", alone)
    asked = ["build", str(alone), "--target", "onnx", "--out", str(out), "--stages", str(tmp_path / "stages")]
    assert cli.run(asked) == 0
    encode(photo, source)
    capsys.readouterr()
    assert cli.run(["critique", str(source), "--bundle", str(out), "--json"]) == 0
    assert tuple(json.loads(capsys.readouterr().out)["photos"][0]["critique"]["ids"]) == libraries.ids
    assert cli.run(["enhance", str(source), "--bundle", str(out)]) == 2
    assert "has a critic alone" in capsys.readouterr().err


def _rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("critic/model.safetensors", lambda t: t.pop("model.text_model.norm.weight"), "norm.weight: missing"),
        (
            "artist/unet/diffusion_pytorch_model.safetensors",
            lambda t: t["conv_out.weight"].fill_(float("nan")),
            "conv_out",
        ),
        ("bridge.safetensors", lambda t: t["projection.bias"].fill_(float("inf")), "projection.bias"),
    ],
)
def test_weights_that_are_missing_or_not_finite_end_the_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    made = twin.save_pair(tmp_path / "pair")
    _rewrite(made / file, change)
    out = tmp_path / "pair.pcbundle"
    asked = ["build", str(made), "--target", "onnx", "--out", str(out), "--stages", str(tmp_path / "stages")]
    assert cli.run(asked) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_pickles_alone_are_told_from_the_folder(tmp_path: Path) -> None:
    made = twin.save_pair(tmp_path / "pair")
    (made / "critic/model.safetensors").rename(made / "critic/pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"there is only pytorch_model\.bin, which can run code"):
        read_pair(made)


def test_more_words_than_vectors_are_told_from_the_folder(tmp_path: Path) -> None:
    made = twin.save_pair(tmp_path / "pair")
    path = made / "critic/tokenizer.json"
    said = json.loads(path.read_text())
    said["added_tokens"].append({**said["added_tokens"][0], "id": 400, "content": "<Crop>"})
    path.write_text(json.dumps(said))
    with pytest.raises(
        CheckpointError, match=r"words up to 400 \('<Crop>'\), and .*embed_tokens.weight .* has 262 rows"
    ):
        read_pair(made)


def test_widths_that_do_not_meet_need_a_bridge(tmp_path: Path) -> None:
    made = twin.save_pair(tmp_path / "pair")
    (made / "bridge.safetensors").unlink()
    with pytest.raises(CheckpointError, match="hidden states have 32 channels, the artist's conditions 16"):
        read_pair(made)


def test_the_code_of_the_artists_class_counts_in_the_keys_of_all_that_run_it(pair: Path, tmp_path: Path) -> None:
    last = bundle_stage(infer_recipe(pair, [TargetKind("onnx")]), tmp_path / "pair.yaml")
    ran = [stage for stage in last.ancestors() if stage.name.startswith(("examples of", "lower "))]
    assert len(ran) > 8
    for stage in ran:
        counted = {name.partition(":")[0] for name in (stage.run, *stage.modules)}
        assert "pocketcrafter.export.families.latent.artists.unet" in counted, stage.name
