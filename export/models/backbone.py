"""MobileNetV2 (Sandler et al., CVPR 2018) with BatchNorm folded into its convolutions, tapped at several depths.

Folding comes before training: quantisation then has no BatchNorm to fold, and nothing to fold wrongly.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn

STAGES: Final = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and first stride of each stage, as published."""

TAP_CHANNELS: Final = tuple(channels for _, channels, _, _ in STAGES[1:])


class InvertedResidual(nn.Module):
    """1×1 expand, depthwise 3×3, 1×1 project, with ReLU6 and a residual where shapes allow.

    Parameters
    ----------
    inputs, outputs
        Channels in and out.
    stride
        Of the depthwise convolution.
    expansion
        Hidden channels for each channel in; with 1 there is no expanding convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [nn.Conv2d(inputs, hidden, 1), nn.ReLU6()] if expansion != 1 else []
        depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden)
        self.body = nn.Sequential(*expand, depthwise, nn.ReLU6(), nn.Conv2d(hidden, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H / stride, W / stride)``."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """The feature extractor without its last 1280-channel layer; a tap after each stage from the second.

    Parameters
    ----------
    taps
        How many feature maps it gives; what comes behind the last one is not built.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, taps: int = len(TAP_CHANNELS)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6())
        self.stages = nn.ModuleList()
        inputs = 32
        for expansion, channels, blocks, stride in STAGES[: taps + 1]:
            stage = [
                InvertedResidual(inputs if i == 0 else channels, channels, stride if i == 0 else 1, expansion)
                for i in range(blocks)
            ]
            self.stages.append(nn.Sequential(*stage))
            inputs = channels
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Take what this network has out of the weights of one with all taps."""
        self.load_state_dict({name: weights[name] for name in self.state_dict()})

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Return the feature maps of pictures ``(B, 3, H, W)`` in [0, 1]."""
        x = self.stages[0](self.stem((picture - self.mean) / self.std))
        features = []
        for stage in list(self.stages)[1:]:
            x = stage(x)
            features.append(x)
        return features


def moments(features: Tensor) -> Tensor:
    """Return mean and standard deviation over space: ``(B, C, H, W)`` to ``(B, 2C)``."""
    mean = features.mean((2, 3), keepdim=True)
    # Not the mean square less the squared mean: in float16 their difference is mostly rounding.
    apart = features - mean
    # A product, not a power, which a Hexagon processor computes by exponential and logarithm.
    variance = (apart * apart).mean((2, 3), keepdim=True)
    return torch.cat([mean, (variance + 1e-5).sqrt()], 1).reshape(-1, 2 * features.shape[1])


def fold_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn torchvision's MobileNetV2 weights into those of `MobileNetV2`, each BatchNorm folded into its convolution.

    Parameters
    ----------
    state
        ``state_dict`` of the published network, in its own order: keys ``features.<n>…``, and a classifier, left out.
    """
    features = {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    convolutions = [name.removesuffix(".weight") for name, tensor in features.items() if tensor.ndim == 4]
    norms = [name.removesuffix(".running_mean") for name in features if name.endswith(".running_mean")]
    ours = [name.removesuffix(".weight") for name in MobileNetV2().state_dict() if name.endswith(".weight")]
    folded = {}
    for name, conv, norm in zip(ours, convolutions, norms, strict=False):  # the last, 1280-channel layer is left out
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-5)
        folded[f"{name}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        folded[f"{name}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return folded
