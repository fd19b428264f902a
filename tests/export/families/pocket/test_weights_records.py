"""Weights know what they were trained with."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pocketcrafter.export.families.pocket.plan import check_trained_with, recorded_facts
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.errors import ConfigError


@pytest.fixture
def critic(tmp_path: Path) -> Path:
    path = tmp_path / "critic.safetensors"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def decoder(tmp_path: Path, critic: Path) -> Path:
    path = tmp_path / "decoder.safetensors"
    save_file({"x": torch.zeros(3)}, path, {"critic_sha256": sha256_of(critic)})
    return path


def test_the_same_critic_passes(decoder: Path, critic: Path) -> None:
    check_trained_with(decoder, {"critic_sha256": critic}, "train it")


def test_another_critic_is_refused_with_what_to_do(decoder: Path, critic: Path) -> None:
    critic.write_bytes(b"trained again")
    with pytest.raises(ConfigError, match=r"another critic\.safetensors.*train it"):
        check_trained_with(decoder, {"critic_sha256": critic}, "train it")


def test_weights_that_record_nothing_are_refused(tmp_path: Path, critic: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "bare.safetensors")
    with pytest.raises(ConfigError, match="another"):
        check_trained_with(tmp_path / "bare.safetensors", {"critic_sha256": critic}, "train it")


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x05\0\0\0\0\0\0\0nulls"])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "decoder.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a safetensors file"):
        recorded_facts(path)
