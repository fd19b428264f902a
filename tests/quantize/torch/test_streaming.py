"""A file quantized slice by slice holds what its matrices become at once, and everything else as it was."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pocketcrafter.quantize.algorithms.blocks import IntegerFormat, round_to_nearest, unpacked
from pocketcrafter.quantize.torch.streaming import quantize_file
from pocketcrafter.runtime.errors import ConfigError


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_streaming_is_rounding(tmp_path: Path, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Slices of 4,096 weights: the matrix below takes several, and the last is smaller.
    monkeypatch.setattr("pocketcrafter.quantize.torch.streaming._SLICE", 4096)
    torch.manual_seed(0)
    tensors = {
        "a.weight": torch.randn(90, 128),
        "a.bias": torch.randn(90),
        "b.weight": torch.randn(64, 96).half(),
        "c.weight": torch.randn(70, 65),
        "ids": torch.arange(5),
    }
    save_file(tensors, tmp_path / "in.safetensors")
    told: list[int] = []
    chosen = quantize_file(tmp_path / "in.safetensors", tmp_path / "out.safetensors", bits, lambda d, _: told.append(d))
    assert chosen == ("a.weight", "b.weight")
    assert told[-1] == len(tensors)
    made = load_file(tmp_path / "out.safetensors")
    for name in chosen:
        blocks = round_to_nearest(tensors[name].float(), IntegerFormat(bits))
        assert torch.equal(torch.from_numpy(unpacked(made[f"{name}.levels"].numpy(), bits)), blocks.levels)
        assert torch.equal(made[f"{name}.scales"], blocks.scales)
    for name in ("a.bias", "c.weight", "ids"):
        assert torch.equal(made[name], tensors[name])


def test_nothing_is_left_of_what_cannot_be_quantized(tmp_path: Path) -> None:
    source, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file({"small": torch.ones(3, 32)}, source)
    with pytest.raises(ConfigError, match="no matrix"):
        quantize_file(source, out, 4)
    save_file({"big": torch.full((64, 64), torch.inf)}, source)
    with pytest.raises(ConfigError, match="not finite"):
        quantize_file(source, out, 4)
    source.write_bytes(b"\xff" * 100)
    with pytest.raises(ConfigError, match="cannot be quantized"):
        quantize_file(source, out, 4)
    assert [p.name for p in tmp_path.iterdir()] == ["in.safetensors"]
