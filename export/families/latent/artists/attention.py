"""Attention of diffusers' networks in operators that every toolchain takes, over some of the critic's states.

Shares of states that are none are taken out after the softmax, and the others divided by what is left: diffusers adds
-10000 to their scores, beside which 8-bit integers have no steps for the others.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BLOCKS = ("attn1", "attn2")
"""Modules of a U-Net's transformer blocks that attend to the picture itself, and to the critic's states."""


class MaskedAttention:
    """Attention of a U-Net's blocks: to the picture itself, or to the states."""

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers is untyped
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Map ``(1, N, width)`` to itself; ``mask`` is ``(1, states)``, and means nothing for attention to itself."""
        del attention_mask, temb
        states = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        width = attn.to_q.out_features // attn.heads
        query, key, value = (
            layer(x).reshape(x.shape[1], -1, width)
            for layer, x in ((attn.to_q, hidden_states), (attn.to_k, states), (attn.to_v, states))
        )
        query, key = normed(attn.norm_q, query), normed(attn.norm_k, key)
        repeats = attn.heads // key.shape[1]
        key, value = (repeated(x, repeats) for x in (key, value))
        mixed = attended(query * attn.scale, key, value, None if encoder_hidden_states is None else mask)
        out: Tensor = attn.to_out[0](mixed.reshape(1, hidden_states.shape[1], -1))
        return out


def set_unet_attention(unet: nn.Module) -> None:
    """Give all transformer blocks of a U-Net, or of a ControlNet, this attention.

    Parameters
    ----------
    unet
        Changed in place.
    """
    for name, module in unet.named_modules():
        if name.endswith(_BLOCKS):
            module.set_processor(MaskedAttention())


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return what queries ``(N, heads, width)`` see of keys and values ``(M, heads, width)``, ``(N, heads, width)``.

    Parameters
    ----------
    query
        Scaled.
    key, value
        What is attended to.
    mask
        ``M`` shares in any shape, 0 for keys that are none; `None` where all are seen.
    """
    query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    shares = F.softmax(torch.bmm(query, key.transpose(1, 2)), 2)
    if mask is None:
        return torch.bmm(shares, value).transpose(0, 1)
    column = mask.reshape(1, -1, 1)
    left = torch.bmm(shares.reshape(1, -1, shares.shape[2]), column)
    return (torch.bmm(shares, value * column) / left.reshape(shares.shape[0], -1, 1)).transpose(0, 1)


def normed(norm: nn.Module | None, x: Tensor) -> Tensor:
    """Apply the normalization of queries or keys, where there is one.

    Parameters
    ----------
    norm
        Over the last axis; `None` where the layer has none.
    x
        ``(N, heads, width)``.
    """
    if norm is None:
        return x
    out: Tensor = norm(x)
    return out


def repeated(x: Tensor, times: int) -> Tensor:
    """Repeat each of the heads of keys or values for the query heads that share it.

    Parameters
    ----------
    x
        ``(M, heads, width)``.
    times
        Query heads for each.
    """
    return x if times == 1 else x[:, :, None].expand(-1, -1, times, -1).reshape(x.shape[0], -1, x.shape[2])
