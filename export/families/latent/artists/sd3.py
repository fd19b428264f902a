"""SD3's transformer as an artist."""

from typing import Any

import torch
from torch import Tensor, nn

from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.latent.artists.attention import attended, normed


class _JointAttention:
    """Attention of picture and states to both of them, or of the picture to itself."""

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers is untyped
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Map the picture's tokens, ``(1, N, width)``, and the states', where they come too, to themselves."""
        del attention_mask
        count, width = hidden_states.shape[1], attn.to_q.out_features // attn.heads
        layers = ((attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k), (attn.to_v, None))
        own = [normed(norm, layer(hidden_states).reshape(count, -1, width)) for layer, norm in layers]
        if encoder_hidden_states is None:
            query, key, value = own
            alone: Tensor = attn.to_out[0](attended(query * attn.scale, key, value, None).reshape(1, count, -1))
            return alone
        layers = ((attn.add_q_proj, attn.norm_added_q), (attn.add_k_proj, attn.norm_added_k), (attn.add_v_proj, None))
        length = encoder_hidden_states.shape[1]
        said = [normed(norm, layer(encoder_hidden_states).reshape(length, -1, width)) for layer, norm in layers]
        query, key, value = (torch.cat(both) for both in zip(own, said, strict=True))
        seen = None if mask is None else torch.cat([torch.ones(count, device=mask.device), mask.reshape(-1)])
        mixed = attended(query * attn.scale, key, value, seen).reshape(1, count + length, -1)
        states = mixed[:, count:]
        return attn.to_out[0](mixed[:, :count]), states if attn.context_pre_only else attn.to_add_out(states)


class _Sd3(nn.Module):
    def __init__(self, transformer: Any) -> None:  # noqa: ANN401 - diffusers is untyped
        super().__init__()
        self.transformer = transformer
        for module in transformer.modules():
            if hasattr(module, "set_processor"):
                module.set_processor(_JointAttention())

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        mask: Tensor | None = None,
        pooled: Tensor | None = None,
        picture: Tensor | None = None,
    ) -> Tensor:
        """Predict a step; the tensors are told in `pocketcrafter.export.families.latent.artists.denoise`."""
        sample = latents if picture is None else torch.cat([latents, picture], 1)
        out: Tensor = self.transformer(
            sample, text, pooled, timestep, joint_attention_kwargs={"mask": mask}, return_dict=False
        )[0]
        return out


def sd3(network: nn.Module, _artist: Artist, _length: int) -> nn.Module:
    """Return the module that a bundle's `denoise` is, of a loaded transformer.

    Parameters
    ----------
    network
        As diffusers loads it.
    _artist
        Not read: everything is in the network.
    """
    return _Sd3(network)
