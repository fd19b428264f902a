"""Adapters beside a library's network, as they were trained: added to what layers give, not merged into weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.families.networks.checkpoint import StoredTensor
from pocketcrafter.export.families.networks.lora import Adapter, placed


def add_adapters(network: nn.Module, adapters: Sequence[Adapter]) -> None:
    """Let layers of a network add what adapters make of their inputs.

    Parameters
    ----------
    network
        Changed in place.
    adapters
        Of its weights.

    Raises
    ------
    CheckpointError
        If an adapter is of another network.
    """
    parameters = dict(network.named_parameters())
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    for adapter in adapters:
        for name, change in placed(adapter, shapes).items():
            down, up = (_read(tensor).to(parameters[name]) for tensor in (change.down, change.up))
            layer = network.get_submodule(name.removesuffix(".weight"))
            layer.register_forward_hook(_adding(down, up * change.stored_scale()))


def _adding(down: Tensor, up: Tensor) -> Callable[..., Tensor]:
    def hook(layer: Any, given: tuple[Tensor, ...], made: Tensor) -> Tensor:  # noqa: ANN401 - a layer with weights
        if down.ndim == 2:
            return made + F.linear(F.linear(given[0], down), up)
        narrow = F.conv2d(given[0], down, None, layer.stride, layer.padding, layer.dilation)
        return made + F.conv2d(narrow, up)

    return hook


def _read(stored: StoredTensor) -> Tensor:
    with safe_open(stored.file, "pt") as opened:
        tensor: Tensor = opened.get_tensor(stored.name)
    return tensor.to(torch.float32)
