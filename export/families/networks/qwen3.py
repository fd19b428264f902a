"""Parts of transformers' Qwen3-VL: the vision encoder over one square picture's pixels, and the language model."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.language import language_part
from pocketcrafter.export.families.networks.parts import make_part, tensor
from pocketcrafter.runtime.components import Role


class _PictureEncoder(nn.Module):
    """The vision model with everything worked out that depends on the picture's size alone.

    Beside the tokens it gives what some of its layers add to the first layers of the language model (DeepStack): they
    stand behind the tokens, one width after the other.
    """

    def __init__(self, visual: Any, config: Any, side: int) -> None:  # noqa: ANN401 - transformers is untyped
        super().__init__()
        count, merge, source = side // config.patch_size, config.spatial_merge_size, visual.patch_embed.proj
        self.patches = nn.Conv2d(source.in_channels, source.out_channels, config.patch_size, config.patch_size)
        # A picture is a film of equal frames: the weights of all of them add up.
        self.patches.weight = nn.Parameter(source.weight.sum(2), requires_grad=False)
        self.patches.bias = source.bias
        self.blocks, self.merger = visual.blocks, visual.merger
        self.tapped = {int(layer): n for n, layer in enumerate(visual.deepstack_visual_indexes)}
        self.deep = visual.deepstack_merger_list
        self.heads = config.num_heads
        grid = torch.tensor([[1, count, count]])
        with torch.no_grad():
            angles = visual.rot_pos_emb(grid).reshape(count**2, 1, -1)
            positions = visual.fast_pos_embed_interpolate(grid)
        places = torch.arange(count**2).reshape(count // merge, merge, count // merge, merge)
        for name, value in (
            ("places", places.transpose(1, 2).reshape(-1)),
            ("positions", positions.contiguous()),
            ("cosines", torch.cat([angles, angles], 2).cos()),
            ("sines", torch.cat([angles, angles], 2).sin()),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2)[0].transpose(0, 1)
        x = x.index_select(0, self.get_buffer("places")) + self.get_buffer("positions")
        deep = []
        for index, block in enumerate(self.blocks):
            x = x + self._attended(block.get_submodule("attn"), block.get_submodule("norm1")(x))
            x = x + block.get_submodule("mlp")(block.get_submodule("norm2")(x))
            if index in self.tapped:
                deep.append(self.deep[self.tapped[index]](x))
        return torch.cat([self.merger(x), *deep], 1)

    def _attended(self, attention: nn.Module, x: Tensor) -> Tensor:
        count, width = x.shape
        each = attention.get_submodule("qkv")(x).reshape(count, 3, self.heads, width // self.heads).unbind(1)
        turned = (self._rotated(each[0]), self._rotated(each[1]), each[2])
        query, key, value = (tensor.transpose(0, 1) for tensor in turned)
        shares = F.softmax(torch.bmm(query, key.transpose(1, 2)) * query.shape[2] ** -0.5, -1)
        out: Tensor = attention.get_submodule("proj")(torch.bmm(shares, value).transpose(0, 1).reshape(count, width))
        return out

    def _rotated(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 2)
        return x * self.get_buffer("cosines") + torch.cat([-second, first], 2) * self.get_buffer("sines")


def picture_parts(model: nn.Module, side: int) -> list[Part]:
    """Return the vision encoder of one square picture, from its pixels, and the language model.

    Parameters
    ----------
    model
        As transformers loads it.
    side
        Of the picture in pixels, a multiple of what the patches of one token cover.
    """
    known: Any = model.config
    vision, inner = known.vision_config, model.get_submodule("model")
    tower = _PictureEncoder(inner.get_submodule("visual"), vision, side)
    pixels = tensor("pixels", (1, vision.in_channels, side, side))
    encoder = make_part("vision", tower, Role.VISION, [pixels], "tokens")
    head = cast("nn.Linear", model.get_submodule("lm_head"))
    return [encoder, language_part(inner.get_submodule("language_model"), head, len(tower.tapped))]
