"""A tiny language model's bundle on the fixed text, beside its checkpoint; peers that answer and peers that fail."""

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tokenizers import Tokenizer, models, pre_tokenizers

from pocketcrafter.benchmarks.language.answers import compare_answers
from pocketcrafter.benchmarks.language.command import language
from pocketcrafter.benchmarks.language.measure import TEXT, LanguageFigures, language_text, time_peer
from pocketcrafter.runtime import cli
from pocketcrafter.runtime.errors import BackendError, ConfigError

_WORDS = 4096
"""Prompts that are timed hold words up to 3889."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder, transformers = tmp_path_factory.mktemp("language") / "tiny", importlib.import_module("transformers")
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=_WORDS, max_position_embeddings=256, pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Path:
    out = checkpoint.parent / "tiny.pcbundle"
    stages = str(checkpoint.parent / "stages")
    assert cli.run(["build", str(checkpoint), "--target", "onnx", "--out", str(out), "--stages", stages]) == 0
    return out


@pytest.fixture
def peer(tmp_path: Path) -> str:
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys\n"
        "prompt, answer, threads = map(int, sys.argv[1:])\n"
        "print('a library says something')\n"
        "print(json.dumps({'prefill': prompt * 10, 'decode': answer * 2, 'peak_mib': threads}))\n"
    )
    return f"{sys.executable} {script}"


def test_a_bundle_reads_the_text_as_its_checkpoint_does(bundle: Path, checkpoint: Path, peer: str) -> None:
    given = [
        str(bundle),
        "--checkpoint",
        str(checkpoint),
        "--tokens",
        "24",
        "--longest",
        "6",
        "--peer",
        f"other={peer}",
        "--json",
    ]
    result = CliRunner().invoke(language, given)
    assert result.exit_code == 0, result.exception
    figures = LanguageFigures.model_validate(json.loads(result.stdout))
    ours = figures.bundles["tiny"]
    # Float32 but for the table of words, which has 8 bits.
    assert ours.perplexity == pytest.approx(figures.checkpoint.perplexity, rel=0.01)
    assert ours.perplexity == pytest.approx(_WORDS, rel=0.3), "an untrained model expects every word alike"
    assert ours.agreement > 0.8
    assert figures.checkpoint.agreement == 1
    assert figures.speeds["other"].model_dump() == {"prefill": 1280, "decode": 64, "peak_mib": 1}
    assert figures.speeds["tiny"].decode > 0
    assert figures.tokens == 24
    told = language_text(figures)
    assert "| checkpoint, float32 |" in told
    assert "| other | 1280.0 | 64.0 | 1 |" in told
    agreed = figures.answers["tiny"]
    assert (agreed.words, agreed.answers) == (48, 8)
    assert agreed.followed > 0.8
    assert f"| tiny | 48 | {agreed.followed:.1%} |" in told


def test_words_after_the_first_other_one_count_where_they_were_given() -> None:
    def begin() -> Callable[[Sequence[int]], np.ndarray[Any, Any]]:
        """Say the word after the last one, but 9 after 4."""
        return lambda ids: np.eye(16)[9 if ids[-1] == 4 else ids[-1] + 1]

    agreed = compare_answers([([1, 2], [3, 4, 5, 6]), ([6], [7, 8])], begin)
    assert agreed.model_dump() == {"words": 6, "followed": 5 / 6, "written": 4 / 6, "equal": 1, "answers": 2}


def test_the_text_is_long_enough_to_measure_on() -> None:
    assert 400 < len(TEXT.read_text(encoding="utf-8").split()) < 600


def test_a_peer_that_fails_or_talks_is_named(tmp_path: Path, checkpoint: Path, bundle: Path) -> None:
    for command, reason in (
        (f"{sys.executable} -c 'raise SystemExit(\"no model\")'", "failed .no model."),
        (f"{sys.executable} -c 'print(1)'", "printed no speed"),
        (str(tmp_path / "nothing"), "did not run"),
    ):
        with pytest.raises((BackendError, ConfigError), match=f"other: .*{reason}"):
            time_peer("other", command)
    result = CliRunner().invoke(language, [str(bundle), "--checkpoint", str(checkpoint), "--peer", "other"])
    assert isinstance(result.exception, ConfigError)
    assert "--peer other: say a name and a command" in str(result.exception)
