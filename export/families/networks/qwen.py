"""Parts of transformers' Qwen2.5-VL: the vision encoder over one square picture's patches, and the language model."""

from collections.abc import Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.families.family import Part
from pocketcrafter.export.families.networks.language import language_part
from pocketcrafter.export.families.networks.parts import make_part, tensor
from pocketcrafter.runtime.components import Role

_WINDOWS: Final = 2
"""Windows along each side of the picture: 224 pixels for the published checkpoints."""


class _VisionEncoder(nn.Module):
    """The vision model with everything worked out that depends on the picture's size alone.

    transformers cuts the sequence into windows by lengths that it reads out of a tensor, which no exporter follows;
    here all windows are of one size, and an axis.
    """

    def __init__(self, visual: Any, config: Any, windows: int) -> None:  # noqa: ANN401 - transformers is untyped
        super().__init__()
        side = windows * config.window_size // config.patch_size
        merged = config.spatial_merge_size**2
        grid = torch.tensor([[1, side, side]])
        order, _ = visual.get_window_index(grid)
        angles = visual.rot_pos_emb(grid).reshape(side**2 // merged, merged, -1)[order].reshape(side**2, 1, -1)
        # A convolution of patches that do not overlap is a product, and the patches come apart already.
        convolution = visual.patch_embed.proj
        self.patches = nn.Linear(convolution.weight[0].numel(), convolution.out_channels, bias=False)
        self.patches.weight = nn.Parameter(convolution.weight.flatten(1), requires_grad=False)
        self.blocks, self.merger = visual.blocks, visual.merger
        self.whole = frozenset(visual.fullatt_block_indexes)
        self.merged, self.heads, self.windows = merged, config.num_heads, windows**2
        for name, value in (
            ("order", order),
            ("back", torch.argsort(order)),
            ("cosines", torch.cat([angles, angles], 2).cos()),
            ("sines", torch.cat([angles, angles], 2).sin()),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, patches: Tensor) -> Tensor:
        return self.encoded(self.patches(patches))

    def encoded(self, x: Tensor) -> Tensor:
        """Map embedded patches, those that are merged side by side, ``(patches, width)``, to tokens."""
        count, width = x.shape
        groups = x.reshape(count // self.merged, self.merged, width)
        x = groups.index_select(0, self.get_buffer("order")).reshape(count, width)
        for index, block in enumerate(self.blocks):
            parts = 1 if index in self.whole else self.windows
            x = x + self._attended(block.get_submodule("attn"), block.get_submodule("norm1")(x), parts)
            x = x + block.get_submodule("mlp")(block.get_submodule("norm2")(x))
        out: Tensor = self.merger(x)
        return out.index_select(0, self.get_buffer("back"))

    def _attended(self, attention: nn.Module, x: Tensor, parts: int) -> Tensor:
        count, width = x.shape
        each = attention.get_submodule("qkv")(x).reshape(count, 3, self.heads, width // self.heads).unbind(1)
        shape = (parts, count // parts, self.heads, width // self.heads)
        turned = (self._rotated(each[0]), self._rotated(each[1]), each[2])
        query, key, value = (tensor.reshape(shape).transpose(1, 2) for tensor in turned)
        scores = torch.matmul(query, key.transpose(2, 3)) * shape[-1] ** -0.5
        seen = torch.matmul(F.softmax(scores, -1), value).transpose(1, 2).reshape(count, width)
        out: Tensor = attention.get_submodule("proj")(seen)
        return out

    def _rotated(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 2)
        other = torch.cat([-second, first], 2)
        return x * self.get_buffer("cosines") + other * self.get_buffer("sines")


class _PictureEncoder(nn.Module):
    """The same over a normalized picture ``(1, 3, side, side)``: it is cut into patches by a convolution."""

    def __init__(self, visual: Any, config: Any, windows: int) -> None:  # noqa: ANN401 - transformers is untyped
        super().__init__()
        self.encoder = _VisionEncoder(visual, config, windows)
        source, merge = visual.patch_embed.proj, config.spatial_merge_size
        size, side = config.patch_size, windows * config.window_size // config.patch_size
        self.patches = nn.Conv2d(source.in_channels, source.out_channels, size, size, bias=False)
        # A picture is a film of equal frames: the weights of all of them add up.
        self.patches.weight = nn.Parameter(source.weight.sum(2), requires_grad=False)
        del self.encoder.patches
        places = torch.arange(side**2).reshape(side // merge, merge, side // merge, merge)
        self.register_buffer("places", places.transpose(1, 2).reshape(-1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2)[0].transpose(0, 1)
        out: Tensor = self.encoder.encoded(x.index_select(0, self.get_buffer("places")))
        return out


def picture_parts(model: nn.Module, side: int) -> list[Part]:
    """Return the vision encoder of one square picture, from its pixels, and the language model.

    Parameters
    ----------
    model
        As transformers loads it.
    side
        Of the picture in pixels, a multiple of the windows' side.
    """
    known: Any = model.config
    vision, inner = known.vision_config, model.get_submodule("model")
    tower = _PictureEncoder(inner.get_submodule("visual"), vision, side // vision.window_size)
    pixels = tensor("pixels", (1, vision.in_channels, side, side))
    encoder = make_part("vision", tower, Role.VISION, [pixels], "tokens")
    head = cast("nn.Linear", model.get_submodule("lm_head"))
    return [encoder, language_part(inner.get_submodule("language_model"), head)]


def parts(model: nn.Module, config: Mapping[str, Any]) -> list[Part]:
    """Return the vision encoder and the language model.

    The encoder takes patches as the model's own processor leaves them, of a picture two windows wide and high, and
    gives the picture's tokens; the language model reads embeddings in one row of positions, a prompt and a step after
    it.
    """
    del config  # the loaded one has the defaults too
    known: Any = model.config
    vision, inner = known.vision_config, model.get_submodule("model")
    side = _WINDOWS * vision.window_size // vision.patch_size
    pixels = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    patches = tensor("patches", (side**2, pixels))
    tower = _VisionEncoder(inner.get_submodule("visual"), vision, _WINDOWS)
    encoder = make_part("vision", tower, Role.VISION, [patches], "tokens")
    head = cast("nn.Linear", model.get_submodule("lm_head"))
    return [encoder, language_part(inner.get_submodule("language_model"), head)]
