"""Pixel shuffles written out move every value where the operator moves it."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pocketcrafter.quantize.shuffles import write_out_shuffles

_sizes = st.integers(1, 4)


class Shuffles(nn.Module):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.fold, self.unfold = nn.PixelUnshuffle(factor), nn.PixelShuffle(factor)

    def forward(self, picture: Tensor, channels: Tensor) -> tuple[Tensor, Tensor]:
        return self.fold(picture), self.unfold(channels)


@given(batch=_sizes, channels=_sizes, height=_sizes, width=_sizes, factor=st.integers(2, 3))
@settings(max_examples=12, deadline=None)
def test_every_value_goes_where_the_operator_moves_it(
    batch: int, channels: int, height: int, width: int, factor: int
) -> None:
    inputs = (
        torch.rand(batch, channels, height * factor, width * factor),
        torch.rand(batch, channels * factor**2, height, width),
    )
    module = Shuffles(factor).eval()
    graph = torch.export.export(module, inputs).module()
    assert isinstance(graph, torch.fx.GraphModule)
    written = write_out_shuffles(graph)
    assert not [node for node in written.graph.nodes if "shuffle" in str(node.target)]
    assert all(torch.equal(a, b) for a, b in zip(module(*inputs), written(*inputs), strict=True))
