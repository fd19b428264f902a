"""A vocabulary file is read without trusting it, and says what the `tokenizers` package says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.prose.tokenizer import SPECIAL_WORDS, Words

TEXT = "\n1. The frame is badly underexposed; Exposure: + EV, and so on.\n</think>\n"


def test_text_comes_back_as_the_reference_has_it(words: Words, tokenizer_file: Path) -> None:
    ids = Tokenizer.from_file(str(tokenizer_file)).encode(TEXT).ids
    assert words.text(ids) == TEXT
    assert len(ids) < len(TEXT) / 2


def test_hidden_words_are_not_shown(words: Words) -> None:
    assert words.text(words.numbers(["<exposure_ev:+0.8>", "<score:45>", "<voice:0>"])) == ""


def test_amounts_are_those_of_the_words_before_them(words: Words) -> None:
    said = ["<exposure_ev:+0.7>", "<tint_mired:-25>", "<amount>", ".", "<stops>"]
    assert words.text(words.numbers(said)) == "25.two thirds of a stop"


def test_free_words_are_printable_ascii_without_brackets(words: Words) -> None:
    free = [text for text, plain in zip(words.texts, words.plain, strict=True) if plain]
    assert len(free) > 500
    assert not any(set(text) & set("<>\n0123456789") or not text.isascii() for text in free)
    assert not set(free) & set(SPECIAL_WORDS)


def _drop_a_mark(content: Any) -> None:
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "<think>"]


def _id_out_of_range(content: Any) -> None:
    content["model"]["vocab"]["zzz"] = 10**9


def _id_twice(content: Any) -> None:
    content["model"]["vocab"]["zzz"] = content["model"]["vocab"]["e"]


def _id_of_text(content: Any) -> None:
    content["model"]["vocab"]["zzz"] = "7"


def _unknown_symbol(content: Any) -> None:
    content["model"]["vocab"]["\u4e00"] = 1279


@pytest.mark.parametrize("damage", [_drop_a_mark, _id_out_of_range, _id_twice, _id_of_text, _unknown_symbol])
def test_a_damaged_vocabulary_is_refused(tokenizer_file: Path, tmp_path: Path, damage: Callable[[Any], None]) -> None:
    content = json.loads(tokenizer_file.read_text())
    damage(content)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BundleError, match="not a tokenizer"):
        Words.read(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model": {"vocab": []}}', "[" * 100_000, '{"model": 3}'])
def test_what_is_no_vocabulary_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(BundleError, match="not a tokenizer"):
        Words.read(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(BundleError, match="at most"):
        Words.read(path)
    with pytest.raises(BundleError, match="not a tokenizer"):
        Words.read(tmp_path / "absent.json")
