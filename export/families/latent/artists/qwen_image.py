"""Qwen-Image's transformer as an artist, for making pictures or, with the photo's tokens, for editing them."""

from typing import Any

import torch
from torch import Tensor, nn

from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.latent.artists.attention import attended, normed

_Turn = tuple[Tensor, Tensor]


class _JointAttention:
    """Attention of states and picture to both of them, both rotated."""

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers is untyped
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[_Turn, _Turn] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Map the tokens of picture and states, ``(1, N, width)``, to themselves."""
        del attention_mask
        if image_rotary_emb is None:
            raise ValueError("Qwen-Image's attention always has rotations")
        width = attn.to_q.out_features // attn.heads
        picture = (attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k), (attn.to_v, None)
        states = (attn.add_q_proj, attn.norm_added_q), (attn.add_k_proj, attn.norm_added_k), (attn.add_v_proj, None)
        both = []
        for x, layers, turn in (
            (encoder_hidden_states, states, image_rotary_emb[1]),
            (hidden_states, picture, image_rotary_emb[0]),
        ):
            query, key, value = (normed(norm, layer(x).reshape(x.shape[1], -1, width)) for layer, norm in layers)
            both.append((_rotated(query, turn), _rotated(key, turn), value))
        query, key, value = (torch.cat(each) for each in zip(*both, strict=True))
        mask = encoder_hidden_states_mask
        seen = (
            None
            if mask is None
            else torch.cat([mask.reshape(-1), torch.ones(hidden_states.shape[1], device=mask.device)])
        )
        mixed = attended(query * width**-0.5, key, value, seen).reshape(1, key.shape[0], -1)
        length = encoder_hidden_states.shape[1]
        return attn.to_out[0](mixed[:, length:]), attn.to_add_out(mixed[:, :length])


def _rotated(x: Tensor, turn: _Turn) -> Tensor:
    """Turn pairs of channels of ``(N, heads, width)``.

    First and second channels of all pairs come out apart: scores are sums over channels, whose order means nothing.
    """
    pairs = x.reshape(x.shape[0], x.shape[1], -1, 2)
    first, second = pairs[..., 0], pairs[..., 1]
    return torch.cat([first * turn[0] - second * turn[1], second * turn[0] + first * turn[1]], 2)


class _QwenImage(nn.Module):
    index: Tensor | None
    still: Tensor | None
    """What the network is told of timestep 0, which holds for the photo's tokens."""

    def __init__(self, transformer: Any, artist: Artist, length: int) -> None:  # noqa: ANN401 - diffusers is untyped
        super().__init__()
        self.transformer, self.patch, self.channels = transformer, int(artist.network.multiple), artist.channels
        for block in transformer.transformer_blocks:
            block.attn.set_processor(_JointAttention())
        tokens = artist.latent_side // self.patch
        shapes = [(1, tokens, tokens)] * (2 if artist.shows_photo else 1)
        index = None
        if transformer.zero_cond_t:
            index = torch.cat([torch.full((1, tokens**2), float(number)) for number in range(len(shapes))], 1)
        self.register_buffer("index", index, persistent=False)
        still = None if index is None else transformer.time_text_embed(torch.zeros(1), index)
        self.register_buffer("still", still, persistent=False)
        # The table is made of complex numbers, which no exporter takes.
        turns = transformer.pos_embed([shapes], max_txt_seq_len=length, device=torch.device("cpu"))
        for name, turned in zip(("picture", "states"), turns, strict=True):
            self.register_buffer(f"{name}_cosines", turned.real[:, None].contiguous(), persistent=False)
            self.register_buffer(f"{name}_sines", turned.imag[:, None].contiguous(), persistent=False)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        text: Tensor,
        mask: Tensor | None = None,
        picture: Tensor | None = None,
    ) -> Tensor:
        """Predict a step; the tensors are told in `pocketcrafter.export.families.latent.artists.denoise`."""
        net = self.transformer
        tokens = torch.cat([self._packed(x) for x in (latents, *(() if picture is None else (picture,)))], 1)
        count, side = latents.shape[2] // self.patch, latents.shape[3]
        x, states = net.img_in(tokens), net.txt_in(net.txt_norm(text))
        told = net.time_text_embed(timestep, x)
        if self.still is not None:
            told = torch.cat([told, self.still])
        turns = self._turns("picture"), self._turns("states")
        for block in net.transformer_blocks:
            states, x = block(x, states, mask, told, turns, modulate_index=self.index)
        x = net.proj_out(net.norm_out(x, told[:1]))[:, : count**2]
        x = x.reshape(count, count, self.channels, self.patch, self.patch).permute(2, 0, 3, 1, 4)
        out: Tensor = x.reshape(1, self.channels, side, side)
        return out

    def _packed(self, latents: Tensor) -> Tensor:
        count = latents.shape[2] // self.patch
        x = latents.reshape(self.channels, count, self.patch, count, self.patch).permute(1, 3, 0, 2, 4)
        return x.reshape(1, count**2, -1)

    def _turns(self, name: str) -> _Turn:
        return self.get_buffer(f"{name}_cosines"), self.get_buffer(f"{name}_sines")


def qwen_image(network: nn.Module, artist: Artist, length: int) -> nn.Module:
    """Return the module that a bundle's `denoise` is, of a loaded transformer.

    Parameters
    ----------
    network
        As diffusers loads it.
    artist, length
        The artist, and how many positions its conditions have.
    """
    return _QwenImage(network, artist, length)
