"""Adapters of each dialect: merged weights do what the unmerged network with its adapter does."""

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from pocketcrafter.export.families.networks.checkpoint import CheckpointError  # noqa: E402
from pocketcrafter.export.families.networks.lora import merge, read_adapters  # noqa: E402

RANK, ALPHA = 2, 5.0


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.ModuleDict({"to_q": nn.Linear(6, 8), "conv": nn.Conv2d(3, 4, 3, padding=1)})

    def forward(self, x: Any, picture: Any) -> tuple[Any, Any]:
        return self.block["to_q"](x), self.block["conv"](picture)


def _parts() -> dict[str, Any]:
    torch.manual_seed(1)
    return {
        "to_q": (torch.randn(RANK, 6), torch.randn(8, RANK)),
        "conv": (torch.randn(RANK, 3, 3, 3), torch.randn(4, RANK, 1, 1)),
    }


def _peft(folder: Path, **config: Any) -> float:
    tensors = {}
    for name, (down, up) in _parts().items():
        tensors[f"base_model.model.block.{name}.lora_A.weight"] = down
        tensors[f"base_model.model.block.{name}.lora_B.weight"] = up
    save_file(tensors, folder / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": ["to_q"], **config}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return ALPHA / (RANK**0.5 if config.get("use_rslora") else RANK)


def _rank_stabilized(folder: Path) -> float:
    return _peft(folder, use_rslora=True)


def _kohya(folder: Path) -> float:
    tensors = {}
    for name, (down, up) in _parts().items():
        key = f"lora_unet_block_{name}"
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(ALPHA)}
    save_file(tensors, folder / "look.safetensors")
    return ALPHA / RANK


def _diffusers(folder: Path) -> float:
    tensors = {}
    for name, (down, up) in _parts().items():
        tensors |= {f"unet.block.{name}.lora_A.weight": down, f"unet.block.{name}.lora_B.weight": up}
    said = json.dumps({"unet.r": RANK, "unet.lora_alpha": ALPHA})
    save_file(tensors, folder / "pytorch_lora_weights.safetensors", metadata={"lora_adapter_metadata": said})
    return ALPHA / RANK


@pytest.mark.parametrize("write", [_peft, _rank_stabilized, _kohya, _diffusers])
def test_merged_is_unmerged(write: Any, tmp_path: Path) -> None:
    (tmp_path / "lora").mkdir()
    scale = write(tmp_path / "lora")
    torch.manual_seed(0)
    network = _Network().requires_grad_(requires_grad=False)
    x, picture = torch.randn(2, 6), torch.randn(1, 3, 5, 5)
    plain = network(x, picture)
    (down, up), (first, second) = _parts().values()
    expected = (
        plain[0] + scale * (x @ down.T @ up.T),
        plain[1] + scale * torch.conv2d(torch.conv2d(picture, first, padding=1), second),
    )
    merge(network, read_adapters(tmp_path))
    for made, wanted in zip(network(x, picture), expected, strict=True):
        torch.testing.assert_close(made, wanted, rtol=1e-4, atol=1e-4)


def _broken(tmp_path: Path, change: Any) -> None:
    folder = tmp_path / "lora"
    folder.mkdir()
    tensors: dict[str, Any] = {}
    for name, (down, up) in _parts().items():
        tensors |= {f"unet.block.{name}.lora_A.weight": down, f"unet.block.{name}.lora_B.weight": up}
    change(tensors)
    save_file(tensors, folder / "look.safetensors")
    merge(_Network().requires_grad_(requires_grad=False), read_adapters(tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.update({"unet.block.to_q.dora_scale": torch.ones(8)}), "dora_scale` is no tensor of a LoRA"),
        (lambda t: t.pop("unet.block.to_q.lora_B.weight"), "`unet.block.to_q` there is down alone"),
        (lambda t: t.update({"unet.block.to_q.lora_A.weight": torch.ones(RANK, 7)}), "to_q .* for \\[8, 6\\]"),
        (lambda t: t["unet.block.to_q.lora_A.weight"].fill_(float("nan")), "lora_A.weight` has values that are not"),
        (
            lambda t: t.update({f"unet.mid.to_k.lora_{x}.weight": torch.ones(RANK, RANK) for x in "AB"}),
            "unet.mid.to_k: the network has no such layer",
        ),
    ],
)
def test_what_is_no_adapter_of_the_network_is_refused_by_name(change: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=told):
        _broken(tmp_path, change)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, "no adapter_config.json beside it tells lora_alpha"),
        ({"lora_alpha": None}, "no adapter_config.json beside it tells lora_alpha"),
        ({"peft_type": "IA3"}, "is of type IA3"),
    ],
)
def test_an_adapter_of_peft_whose_scale_is_not_known_is_refused(
    config: dict[str, Any] | None, told: str, tmp_path: Path
) -> None:
    (tmp_path / "lora").mkdir()
    _peft(tmp_path / "lora", **(config or {}))
    if config is None:
        (tmp_path / "lora/adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match=told):
        read_adapters(tmp_path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora/adapter_model.bin").write_bytes(b"\x80")
    with pytest.raises(CheckpointError, match=r"adapter_model\.bin can run code"):
        read_adapters(tmp_path)


def test_a_rank_that_contradicts_the_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lora").mkdir()
    _peft(tmp_path / "lora", r=RANK + 1)
    with pytest.raises(CheckpointError, match="has rank 2, and its configuration says 3"):
        read_adapters(tmp_path)
    _peft(tmp_path / "lora", r=RANK + 1, rank_pattern={"to_q": RANK, "block.conv": RANK})
    read_adapters(tmp_path)


@pytest.mark.parametrize("alpha", [0.0, float("nan")])
def test_an_alpha_with_which_nothing_is_merged_is_refused(tmp_path: Path, alpha: float) -> None:
    (tmp_path / "lora").mkdir()
    tensors = {}
    for name, (down, up) in _parts().items():
        key = f"lora_unet_block_{name}"
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(alpha)}
    save_file(tensors, tmp_path / "lora/look.safetensors")
    with pytest.raises(CheckpointError, match="with which nothing can be merged"):
        merge(_Network().requires_grad_(requires_grad=False), read_adapters(tmp_path))
