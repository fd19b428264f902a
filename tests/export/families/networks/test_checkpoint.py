"""Headers of safetensors, whole, damaged and hostile: files of a few bytes that the tests write themselves."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pocketcrafter.export.families.networks.architecture import architecture_of
from pocketcrafter.export.families.networks.checkpoint import CheckpointError, read_checkpoint, read_header


def write(file: Path, header: Mapping[str, Any] | bytes, data: bytes = b"") -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return file


def entry(dtype: str = "F32", shape: tuple[int, ...] = (2,), start: int = 0, end: int = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    values = {
        "a.weight": torch.arange(6.0).reshape(2, 3),
        "b": torch.arange(4, dtype=torch.int64),
        "c": torch.ones(5, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(1.5),
    }
    save_file(values, tmp_path / "model.safetensors", {"format": "pt"})
    found = read_checkpoint(tmp_path, "model")
    content = (tmp_path / "model.safetensors").read_bytes()
    assert found.tensors.keys() == values.keys()
    assert (found.variant, found.files) == (None, (tmp_path / "model.safetensors",))
    for name, tensor in found.tensors.items():
        assert tensor.shape == tuple(values[name].shape)
        raw = content[tensor.start : tensor.start + tensor.size]
        assert raw == values[name].reshape(-1).view(torch.uint8).numpy().tobytes()


_WHOLE = {"a": entry(), "b": entry(start=8, end=16)}


@pytest.mark.parametrize(
    ("header", "data", "told"),
    [
        (_WHOLE, bytes(15), r"is truncated \(\d+ bytes, and its header tells of \d+\)\. Download it again"),
        (_WHOLE, bytes(17), "has more behind its last tensor"),
        ({"a": entry(), "b": entry(start=4, end=12)}, bytes(12), "`b` begins at byte .*, and the one before it ends"),
        ({"a": entry(), "b": entry(start=12, end=20)}, bytes(20), "`b` begins at byte"),
        ({"a": entry(start=-8, end=0)}, b"", "has the shape"),
        ({"a": entry(shape=(-1, -2))}, bytes(8), "has the shape"),
        ({"a": entry(shape=(True, 2))}, bytes(8), "has the shape"),
        ({"a": entry(shape=(2**40, 2**40), end=2**48)}, bytes(8), "is F32 .* and has"),
        ({"a": entry(shape=(3,))}, bytes(8), r"`a` is F32 \[3\], and has 8 bytes"),
        ({"a": entry(dtype="F1")}, bytes(8), "unknown type 'F1'"),
        ({"a": {"dtype": "F32"}}, bytes(8), "header is not that of safetensors"),
        ({"a": [1]}, bytes(8), "header is not that of safetensors"),
        (b"[1]", b"", "header is not that of safetensors"),
        (b"{", b"", "header is not that of safetensors"),
        (b"[" * 100_000, b"", "header is not that of safetensors"),
        (b'{"a": 1, "a": 2}', b"", "the key 'a' is there twice"),
        (b"\xff\xfe", b"", "header is not that of safetensors"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, header: Any, data: bytes, told: str) -> None:
    file = write(tmp_path / "model.safetensors", header, data)
    with pytest.raises(CheckpointError, match=told) as caught:
        read_header(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 8 + b"{}", (100).to_bytes(8, "little") + b"{}"])
def test_a_file_without_a_whole_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated or no safetensors"):
        read_header(tmp_path / "model.safetensors")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_header_says_no_tensor_lies_outside_its_file(tmp_path: Path, data: st.DataObject) -> None:
    file = write(tmp_path / "model.safetensors", _WHOLE, bytes(16))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    try:
        found = read_header(file)
    except CheckpointError:
        return
    assert sum(t.size for t in found.values()) <= len(content)
    assert all(8 < t.start <= t.start + t.size <= len(content) for t in found.values())


def test_a_pointer_of_git_lfs_is_named_with_the_command_that_fetches(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(CheckpointError, match=r"a pointer of Git LFS, not the weights: run `git lfs pull`"):
        read_checkpoint(tmp_path, "model")


def _shards(folder: Path, **changes: str) -> None:
    write(folder / "model-1.safetensors", {"a": entry()}, bytes(8))
    write(folder / "model-2.safetensors", {"b": entry()}, bytes(8))
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors"} | changes
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    _shards(tmp_path)
    found = read_checkpoint(tmp_path, "model")
    assert {name: t.file.name for name, t in found.tensors.items()} == {
        "a": "model-1.safetensors",
        "b": "model-2.safetensors",
    }


def test_shards_that_an_index_names_and_nobody_downloaded_are_named(tmp_path: Path) -> None:
    _shards(tmp_path, c="model-3.safetensors", d="model-4.safetensors")
    (tmp_path / "model-2.safetensors").unlink()
    told = r"names 4 files, of which model-2\.safetensors, model-3\.safetensors, model-4\.safetensors are not there"
    with pytest.raises(CheckpointError, match=told):
        read_checkpoint(tmp_path, "model")


def test_an_index_of_another_download_is_refused(tmp_path: Path) -> None:
    _shards(tmp_path, c="model-1.safetensors")
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors: holds other tensors than .* says \(c\)"):
        read_checkpoint(tmp_path, "model")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": {"a": 1}}',
        '{"weight_map": {"a": "../secret.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": "model-1.bin"}}',
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json: "):
        read_checkpoint(tmp_path, "model")


def test_a_variant_is_taken_where_there_is_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "model.fp16.safetensors", {"a": entry()}, bytes(8))
    assert read_checkpoint(tmp_path, "model").variant == "fp16"
    write(tmp_path / "model.ema.safetensors", {"a": entry()}, bytes(8))
    with pytest.raises(CheckpointError, match=r"variants alone \(model\.ema\.safetensors, model\.fp16\.safetensors\)"):
        read_checkpoint(tmp_path, "model")
    write(tmp_path / "model.safetensors", {"a": entry()}, bytes(8))
    assert read_checkpoint(tmp_path, "model").variant is None
    _shards(tmp_path)
    with pytest.raises(CheckpointError, match="both say what the weights are"):
        read_checkpoint(tmp_path, "model")


def test_weights_of_another_name_are_named_with_the_one_that_is_looked_for(tmp_path: Path) -> None:
    write(tmp_path / "pytorch_weights.safetensors", {"a": entry()}, bytes(8))
    with pytest.raises(CheckpointError, match=r"called model\.safetensors.*there is pytorch_weights\.safetensors"):
        read_checkpoint(tmp_path, "model")


@pytest.mark.parametrize(
    ("file", "tensor"),
    [
        ("adapter_model.safetensors", "base_model.model.conv_in.lora_A.weight"),
        ("pytorch_lora_weights.safetensors", "unet.mid_block.attentions.0.to_q.lora.down.weight"),
        ("watercolor.safetensors", "lora_unet_mid_block_attentions_0_to_q.lora_down.weight"),
        ("model.safetensors", "conv_in.lora_B.default.weight"),
        ("style.safetensors", "lycoris.hada_w1_a"),
    ],
)
def test_an_adapter_is_never_left_out_without_a_word(tmp_path: Path, file: str, tensor: str) -> None:
    write(tmp_path / "model.safetensors", {"a": entry()}, bytes(8))
    write(tmp_path / file, {tensor: entry()}, bytes(8))
    with pytest.raises(CheckpointError, match=re.escape(f"{file}: `{tensor}` belongs to an adapter (LoRA)")) as caught:
        read_checkpoint(tmp_path, "model")
    assert "merge_and_unload" in str(caught.value)
    assert "fuse_lora" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"hidden_size": 65, "num_attention_heads": 4}, "text_config.hidden_size is 65, which text_config.num_attent"),
        ({"num_attention_heads": 9, "num_key_value_heads": 2}, "num_key_value_heads, 2, does not divide"),
        ({"hidden_size": 0}, "text_config.hidden_size is 0; it is a whole number from 1 on"),
        ({"vocab_size": "many"}, "text_config.vocab_size is 'many'"),
        ({"intermediate_size": 1.5}, "text_config.intermediate_size is 1.5"),
    ],
)
def test_widths_that_no_network_has_are_named_before_anything_is_loaded(
    tmp_path: Path, section: dict[str, Any], told: str
) -> None:
    config = {"architectures": ["SmolVLMForConditionalGeneration"], "text_config": section}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=re.escape(told)):
        architecture_of(tmp_path)


@pytest.mark.parametrize(
    "section",
    [
        {"hidden_size": 65, "num_attention_heads": 4, "head_dim": 64},
        {"num_attention_heads": [5, 10], "image_size": None},
    ],
)
def test_widths_that_networks_have_are_taken(tmp_path: Path, section: dict[str, Any]) -> None:
    config = {"architectures": ["SmolVLMForConditionalGeneration"], "text_config": section}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert architecture_of(tmp_path).name == "SmolVLMForConditionalGeneration"
