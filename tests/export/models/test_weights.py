"""Weights files: what is written is what is read, and nothing else is accepted."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pocketcrafter.export.models import MODELS, load_component, restore_network, save_component
from pocketcrafter.export.models.restore import Restore, RestoreConfig
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import Pocket


@pytest.mark.parametrize("component", Pocket)
def test_weights_survive_to_half_precision(component: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = MODELS[component]()
    path = tmp_path / "new folder" / f"{component}.safetensors"
    save_component(model, path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert {t.dtype for t in load_file(path).values()} == {torch.float16}
    loaded = load_component(component, path)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor.half().float(), atol=0, rtol=0)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.fixture
def restore_weights(tmp_path: Path) -> Path:
    path = tmp_path / "restore.safetensors"
    save_component(MODELS[Pocket.RESTORE](), path)
    return path


def test_another_components_weights_are_refused(restore_weights: Path) -> None:
    with pytest.raises(ConfigError, match=r"restore\.safetensors does not hold weights of the tone"):
        load_component(Pocket.TONE, restore_weights)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(restore_weights: Path, kept: float) -> None:
    data = restore_weights.read_bytes()
    restore_weights.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ConfigError, match=r"(?i)train it again"):
        load_component(Pocket.RESTORE, restore_weights)


def test_a_missing_file_a_folder_and_a_missing_tensor_are_refused(restore_weights: Path, tmp_path: Path) -> None:
    tensors = load_file(restore_weights)
    tensors.pop("head.bias")
    save_file(tensors, tmp_path / "less.safetensors")
    for path in (tmp_path / "none.safetensors", tmp_path, tmp_path / "less.safetensors"):
        with pytest.raises(ConfigError):
            load_component(Pocket.RESTORE, path)


def test_a_restoration_network_of_another_size_says_so_in_its_file(tmp_path: Path) -> None:
    config = RestoreConfig(steps=4, widths=(8, 16), blocks=(1, 2))
    save_component(Restore(config), tmp_path / "small.safetensors")
    assert restore_network(tmp_path / "small.safetensors").config == config


@pytest.mark.parametrize(
    "config", ["{", '{"steps": 0}', '{"widths": [8]}', '{"widths": [8, 9, 9, 1000000]}', '{"x": 1}']
)
def test_a_hostile_size_is_refused(tmp_path: Path, config: str) -> None:
    save_file({"head.bias": torch.zeros(1)}, tmp_path / "odd.safetensors", {"config": config})
    with pytest.raises(ConfigError, match=r"(?i)train it again"):
        load_component(Pocket.RESTORE, tmp_path / "odd.safetensors")
