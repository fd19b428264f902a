"""An adapter is merged on the disk as in memory, with little memory, and an interrupted merge goes on where it was."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import diffusers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from pocketcrafter.export.families.networks.checkpoint import CheckpointError, read_header  # noqa: E402
from pocketcrafter.export.teachers import merging  # noqa: E402
from pocketcrafter.export.teachers.layout import read_layout  # noqa: E402
from pocketcrafter.export.teachers.loading import load_network  # noqa: E402
from pocketcrafter.export.teachers.merging import merge_to  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.errors import ConfigError  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
twins = importlib.import_module("twins")

MOST_RSS_MIB = 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(twins.smart_photo_crafter(tmp_path_factory.mktemp("teacher") / "crafter"))


@pytest.mark.parametrize("name", ["dit", "vlm"])
def test_what_is_merged_on_the_disk_is_what_is_merged_in_memory(name: str, folder: Path, tmp_path: Path) -> None:
    found = read_layout(folder).network(name)
    expected = load_network(found, torch.float32, "cpu").state_dict()
    merge_to(found, tmp_path / "out")
    kind = getattr(importlib.import_module("diffusers" if name == "dit" else "transformers"), found.kind)
    made = kind.from_pretrained(tmp_path / "out").state_dict()
    assert made.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(made[key], value, rtol=0, atol=1e-6)


def test_an_interrupted_merge_keeps_what_is_finished(folder: Path, tmp_path: Path) -> None:
    found, out = read_layout(folder).network("dit"), tmp_path / "out"
    stopped = 3_000_000

    class StopError(Exception): ...

    def stop(done: int, _total: int) -> None:
        if done > stopped:
            raise StopError

    with pytest.raises(StopError):
        merge_to(found, out, stop, shard_bytes=1 << 20)
    left = sorted(path.name for path in out.glob("*.safetensors"))
    assert 0 < len(left) < 5
    stamps = {name: (out / name).stat().st_mtime_ns for name in left}
    made = merge_to(found, out, shard_bytes=1 << 20)
    assert made.kept == len(left)
    assert {name: (out / name).stat().st_mtime_ns for name in left} == stamps
    merge_to(found, tmp_path / "whole")
    parts = {key: value for file in made.files for key, value in load_file(file).items()}
    whole = load_file(tmp_path / "whole/diffusion_pytorch_model.safetensors")
    assert parts.keys() == whole.keys()
    assert all(torch.equal(parts[key], whole[key]) for key in whole)
    assert diffusers.QwenImageTransformer2DModel.from_pretrained(out).config.num_layers == 2


def test_a_row_that_was_written_wrong_is_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = merging._added
    monkeypatch.setattr(merging, "_added", lambda *given: own(*given)[::-1])
    with pytest.raises(CheckpointError, match=r"attn\.\w+(\.0)?\.weight` is not what was written"):
        merge_to(read_layout(folder).network("dit"), tmp_path / "out")
    assert list((tmp_path / "out").glob("*.safetensors")) == []


def test_a_finished_shard_that_was_damaged_since_is_found(folder: Path, tmp_path: Path) -> None:
    found, out = read_layout(folder).network("dit"), tmp_path / "out"
    (file,) = merge_to(found, out).files
    content = file.read_bytes()
    first = 8 + int.from_bytes(content[:8], "little")
    file.write_bytes(content[:first] + bytes(byte ^ 0x55 for byte in content[first:]))
    with pytest.raises(CheckpointError, match="is not what was written"):
        merge_to(found, out)


def test_a_folder_of_anything_else_is_not_written_into(folder: Path, tmp_path: Path) -> None:
    found = read_layout(folder).network("dit")
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="holds other files"):
        merge_to(found, tmp_path)
    merge_to(found, tmp_path / "out")
    other = read_layout(folder).network("vlm")
    with pytest.raises(ConfigError, match="holds another merge"):
        merge_to(other, tmp_path / "out")


def test_the_command_says_what_a_merged_checkpoint_cannot(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["teacher", "merge", str(folder), "dit", "--out", str(tmp_path / "out")]) == 0
    assert "GELU" in capsys.readouterr().out
    assert cli.run(["teacher", "merge", str(folder), "vae", "--out", str(tmp_path / "vae")]) == 2
    assert "has no adapter to merge" in capsys.readouterr().err


def test_a_checkpoint_larger_than_the_memory_that_is_used(tmp_path: Path) -> None:
    """Two layers of Qwen-Image's size, 1.4 GB of bfloat16 without a block on the disk."""
    with torch.device("meta"):
        model = diffusers.QwenImageTransformer2DModel(num_layers=2)
    shapes: dict[str, Any] = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    folder = tmp_path / "crafter"
    folder.mkdir()
    file = twins.sparse(folder / "dit.safetensors", shapes)
    torch.manual_seed(0)
    layer = "transformer_blocks.1.attn.to_q"
    twins.save_lora(folder / "dit_lora", {layer: (3072, 3072)}, lora_alpha=16.0)
    script = (
        "import sys; from pathlib import Path\n"
        "from pocketcrafter.export.teachers.layout import read_layout\n"
        "from pocketcrafter.export.teachers.merging import merge_to\n"
        "merge_to(read_layout(Path(sys.argv[1])).network('dit'), Path(sys.argv[2]), shard_bytes=1 << 30)\n"
        "from pocketcrafter.runtime.memory import resident_mib\n"
        "print(int(resident_mib()[1]))\n"
    )
    out = tmp_path / "out"
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", script, str(folder), str(out)], capture_output=True, text=True, check=True
    )
    assert file.stat().st_size > 1.3e9
    assert int(done.stdout.split()[-1]) < MOST_RSS_MIB
    places = json.loads((out / "diffusion_pytorch_model.safetensors.index.json").read_text())["weight_map"]
    assert places.keys() == shapes.keys()
    stored = read_header(out / places[f"{layer}.weight"])[f"{layer}.weight"]
    with stored.file.open("rb") as opened:
        opened.seek(stored.start)
        found = torch.frombuffer(bytearray(opened.read(stored.size)), dtype=torch.bfloat16).view(3072, 3072)
    lora = load_file(folder / "dit_lora/adapter_model.safetensors")
    down, up = (lora[f"base_model.model.{layer}.lora_{x}.weight"] for x in "AB")
    torch.testing.assert_close(found, (2 * up @ down).bfloat16(), rtol=1e-2, atol=1e-5)
    assert sum(path.stat().st_blocks for path in out.rglob("*")) * 512 < 64 << 20
