"""The backbone with folded BatchNorm is the published network."""

import torch
from torch import Tensor, nn

from pocketcrafter.export.models.backbone import STAGES, TAP_CHANNELS, MobileNetV2, fold_torchvision


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class PublishedBlock(nn.Module):
    """Inverted residual with the names that torchvision's weights have."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [conv_norm(inputs, hidden, 1)] if expansion > 1 else []
        project = [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*expand, conv_norm(hidden, hidden, 3, stride, hidden), *project)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class PublishedNetwork(nn.Module):
    """MobileNetV2 as it was published: bias-free convolutions, each followed by a BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, 32, 3, 2)]
        self.taps = []
        inputs = 32
        for expansion, channels, blocks, first_stride in STAGES:
            for block in range(blocks):
                layers.append(PublishedBlock(inputs, channels, first_stride if block == 0 else 1, expansion))
                inputs = channels
            self.taps.append(len(layers))
        self.features = nn.Sequential(*layers, conv_norm(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 10))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for index, layer in enumerate(self.features, 1):
            x = layer(x)
            if index in self.taps[1:]:
                found.append(x)
        return found


def randomized(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator) * 0.3
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.2
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    return network.eval()


def test_folded_weights_give_the_published_networks_features() -> None:
    """In float64: rounding grows to 3e-4 of the range over fifty layers in float32."""
    published = randomized(PublishedNetwork()).double()
    ours = MobileNetV2().double().eval()
    ours.load_state_dict(fold_torchvision(published.state_dict()))
    picture = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.inference_mode():
        expected = published((picture - ours.mean) / ours.std)
        actual = ours(picture)
    assert [a.shape[1] for a in actual] == list(TAP_CHANNELS)
    for e, a in zip(expected, actual, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-9, atol=1e-9 * float(e.abs().max()))


def test_fewer_taps_are_the_first_ones() -> None:
    torch.manual_seed(0)
    network, shorter = MobileNetV2().eval(), MobileNetV2(2).eval()
    shorter.load_state_dict({name: network.state_dict()[name] for name in shorter.state_dict()})
    picture = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        two, all_of_them = shorter(picture), network(picture)
    assert [t.shape[1] for t in all_of_them] == list(TAP_CHANNELS)
    assert len(two) == 2
    for one, other in zip(two, all_of_them, strict=False):
        torch.testing.assert_close(one, other)
