"""Merges adapters into a loaded network, one weight after the other: there is no second copy of it."""

from collections.abc import Sequence
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from pocketcrafter.export.families.networks.checkpoint import CheckpointError, StoredTensor
from pocketcrafter.export.families.networks.lora import Adapter, Change, placed


def merge(network: nn.Module, adapters: Sequence[Adapter]) -> None:
    """Add to a network's weights what adapters change, in place.

    Parameters
    ----------
    network
        In float32.
    adapters
        In the order in which they are merged.

    Raises
    ------
    CheckpointError
        If an adapter changes layers that the network has not, or has values that are not finite.
    """
    state = network.state_dict()  # the very tensors, not copies
    for adapter in adapters:
        changes = placed(adapter, {name: tensor.shape for name, tensor in state.items()})
        with safe_open(adapter.file, "pt") as opened:
            for name, change in changes.items():
                state[name].add_(_delta(change, opened).reshape(state[name].shape))


def _delta(change: Change, opened: Any) -> Tensor:  # noqa: ANN401 - safetensors is untyped
    down, up = (_finite(opened, tensor) for tensor in (change.down, change.up))
    alpha = change.alpha
    number = float(_finite(opened, alpha)) if isinstance(alpha, StoredTensor) else alpha
    # Of a convolution, the way up is one of single pixels: the product is that of matrices, too.
    product: Tensor = torch.mm(up.flatten(1), down.flatten(1))
    return product * change.scale(number)


def _finite(opened: Any, stored: StoredTensor) -> Tensor:  # noqa: ANN401 - likewise
    value: Tensor = opened.get_tensor(stored.name).float()
    if not torch.isfinite(value).all():
        raise CheckpointError(f"{stored.file}: `{stored.name}` has values that are not finite; download it again.")
    return value
