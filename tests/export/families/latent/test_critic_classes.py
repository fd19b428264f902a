"""Critics of further classes, in full precision against transformers' own generation."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402
from transformers import AutoModelForImageTextToText, Qwen2VLImageProcessor  # noqa: E402

from pocketcrafter.benchmarks.reference.libraries import Libraries  # noqa: E402
from pocketcrafter.export.families.latent.networks import TorchPair  # noqa: E402
from pocketcrafter.export.families.latent.pair import read_pair  # noqa: E402
from pocketcrafter.export.families.latent.parts import load_part  # noqa: E402
from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.runtime.fidelity import sqnr_db  # noqa: E402
from pocketcrafter.runtime.latent.critic import prompt_positions  # noqa: E402
from pocketcrafter.runtime.latent.picture import critics_picture  # noqa: E402
from pocketcrafter.runtime.photo import Photo  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twin = importlib.import_module("twin")
qwen = importlib.import_module("qwen_twin")

ANSWER, KINDS = qwen.ANSWER, qwen.KINDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen.save_pair(tmp_path_factory.mktemp("qwen") / "pair", "qwen2.5-vl")


@pytest.mark.parametrize("name", KINDS)
def test_qwens_answer_and_hidden_states_are_transformers(name: str, tmp_path: Path) -> None:
    folder, side = qwen.save_pair(tmp_path / "pair", name), KINDS[name][1]
    pair = TorchPair(read_pair(folder))
    assert pair.critic is not None
    assert pair.settings.critic is not None
    pixels = np.random.default_rng(1).integers(0, 256, (90, 140, 3), np.uint8)
    seen = critics_picture(Photo(pixels), pair.settings.critic.picture)
    answer = pair.critic.answer(seen)

    square = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    processed = Qwen2VLImageProcessor.from_pretrained(folder / "critic")(images=[square], return_tensors="pt")
    model = AutoModelForImageTextToText.from_pretrained(folder / "critic", dtype=torch.float32).eval()
    prompt = torch.tensor([pair.settings.critic.prompt])
    made = model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), **processed, max_new_tokens=ANSWER,
        do_sample=False, output_hidden_states=True, return_dict_in_generate=True,
    )  # fmt: skip
    assert answer.ids == tuple(made.sequences[0, prompt.shape[1] :].tolist())
    states = torch.cat([states[-1][0] for states in made.hidden_states])
    if name == "qwen3-vl":  # transformers tells of these before the last normalization, of the others behind it
        states = model.model.language_model.norm(states)
    hidden = states.detach().numpy()
    assert sqnr_db(hidden, answer.hidden) > 80
    positions, _ = model.model.get_rope_index(prompt, processed["image_grid_thw"])
    np.testing.assert_array_equal(prompt_positions(pair.settings.critic), positions[:, 0].numpy())
    followed = pair.critic.follow(seen, answer.ids)
    assert followed.ids == answer.ids
    np.testing.assert_allclose(followed.hidden, answer.hidden, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_a_record_of_qwen_is_what_a_bundle_does(name: str, tmp_path: Path) -> None:
    folder = qwen.save_pair(tmp_path / "pair", name)
    pixels = np.random.default_rng(1).integers(0, 256, (90, 140, 3), np.uint8)
    recorded = Libraries(read_pair(folder), "cpu").record(Image.fromarray(pixels)).critic
    pair = TorchPair(read_pair(folder))
    assert pair.critic is not None
    assert pair.settings.critic is not None
    assert tuple(recorded.prompt.tolist()) == pair.settings.critic.prompt
    seen = critics_picture(Photo(pixels), pair.settings.critic.picture)
    answer = pair.critic.answer(seen)
    assert answer.ids == tuple(recorded.ids.tolist())
    assert sqnr_db(recorded.hidden, answer.hidden) > 80
    vision = load_part(read_pair(folder), "vision")
    with torch.no_grad():
        tokens = vision.network(torch.from_numpy(seen))
    tokens = tokens[0] if isinstance(tokens, tuple) else tokens
    assert sqnr_db(recorded.tokens.reshape(tokens.shape), tokens.numpy()) > 80


def test_a_picture_that_does_not_come_out_in_windows_is_refused(folder: Path, tmp_path: Path) -> None:
    pair = twin.copied(folder, tmp_path / "pair")
    (pair / "pair.yaml").write_text("critic_side: 100\n")
    with pytest.raises(CheckpointError, match=r"critic_side is 100; it must be a multiple .* 56 px"):
        TorchPair(read_pair(pair))


def test_a_processor_that_would_scale_otherwise_is_refused(folder: Path, tmp_path: Path) -> None:
    pair = twin.copied(folder, tmp_path / "pair")
    path = pair / "critic/preprocessor_config.json"
    said = {k: v for k, v in json.loads(path.read_text()).items() if k not in {"size", "max_pixels", "min_pixels"}}
    path.write_text(json.dumps({**said, "max_pixels": 50 * 50}))
    with pytest.raises(CheckpointError, match=r"max_pixels: 2500; the vision encoder reads squares of 112 px"):
        TorchPair(read_pair(pair))
