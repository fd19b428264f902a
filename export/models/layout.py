"""How a network's weights lie in memory."""

from typing import TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


def channels_last(network: _Network, device: torch.device | None = None) -> _Network:
    """Move a network to a device with its convolutions' weights channels last, the faster order everywhere.

    Parameters
    ----------
    network
        Changed in place, as `torch.nn.Module.to` does.
    device
        Where to; it stays where it is when not given.
    """
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return] # torch's stubs lack the keyword
