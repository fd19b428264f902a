"""Attention."""

from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter.registry import op


@op("scaled_dot_product_attention")
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    """``softmax(QKᵀ / √E + mask) V``; a mask of truth values says who may look."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask)
