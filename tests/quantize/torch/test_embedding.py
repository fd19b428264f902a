"""Tables of word vectors in 8 and 4 bits, written by quantization and gathered from by the runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pocketcrafter.quantize.torch.embedding import quantize_embedding
from pocketcrafter.runtime.embedding import EmbeddingTable
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db


@pytest.fixture
def table() -> torch.Tensor:
    table = torch.randn(50, 24, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 2, 50)[:, None]
    table[7] = 0
    return table


def test_every_word_is_within_half_a_step_of_its_own(table: torch.Tensor, tmp_path: Path) -> None:
    quantize_embedding(table.bfloat16(), tmp_path / "table.safetensors")
    opened = EmbeddingTable.open(tmp_path / "table.safetensors")
    assert opened.shape == (50, 24)
    words = [3, 49, 7, 3]
    wanted = table.bfloat16().float()[words].numpy()
    error = np.abs(opened.rows(words) - wanted)
    assert (error <= np.abs(wanted).max(1, keepdims=True) / 127 * 0.501).all()
    assert not opened.rows([7]).any()


def test_four_bits_have_a_scale_for_each_group_and_half_the_bytes(tmp_path: Path) -> None:
    table = torch.randn(5000, 64, generator=torch.Generator().manual_seed(0))
    table[:, 32:] *= 100
    table[7] = 0
    path = tmp_path / "table.safetensors"
    quantize_embedding(table, path, bits=4)
    opened = EmbeddingTable.open(path)
    assert opened.shape == (5000, 64)
    rows, wanted = opened.rows(range(5000)), table.numpy()
    for group in (slice(0, 32), slice(32, 64)):
        assert sqnr_db(wanted[:, group], rows[:, group]) > 19
    np.testing.assert_array_equal(opened.rows([4999, 7]), rows[[4999, 7]])
    assert not opened.rows([7]).any()
    assert path.stat().st_size < 5000 * (64 / 2 + 2 * 2) + 500
    with pytest.raises(ConfigError, match="groups of 32"):
        quantize_embedding(table[:, :40], path, bits=4)


def test_words_that_there_are_not_are_refused(table: torch.Tensor, tmp_path: Path) -> None:
    quantize_embedding(table, tmp_path / "table.safetensors")
    opened = EmbeddingTable.open(tmp_path / "table.safetensors")
    for word in (-1, 50):
        with pytest.raises(ConfigError, match="from 0 to 49"):
            opened.rows([word])


def test_a_table_that_is_not_finite_is_refused(table: torch.Tensor, tmp_path: Path) -> None:
    table[3, 3] = torch.nan
    with pytest.raises(ConfigError, match="not finite"):
        quantize_embedding(table, tmp_path / "table.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 4, 60, -1])
def test_a_damaged_table_is_refused(table: torch.Tensor, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "table.safetensors"
    quantize_embedding(table, path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BundleError, match="not a table of word vectors"):
        EmbeddingTable.open(path)
