from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.lower.decompositions import decomposed, with_plain_norms


class _Of(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("kept", torch.linspace(-1, 1, 8))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self.get_buffer("kept"), *inputs)


def _written(model: nn.Module, *inputs: Tensor) -> set[str]:
    """Check that the program computes what it did, and return its operators."""
    torch.manual_seed(0)
    plain = decomposed(model, inputs)
    torch.testing.assert_close(plain(*inputs), model(*inputs), rtol=1e-4, atol=1e-5)
    graph = torch.export.export(plain, inputs).graph
    return {node.target.__name__.split(".")[0] for node in graph.nodes if node.op == "call_function"}


@pytest.mark.parametrize(
    ("function", "shapes", "left"),
    [
        (lambda _, x: x.unsqueeze(1).expand(2, 3, 8), [(2, 8)], {"reshape", "mul"}),
        (lambda _, x: x.squeeze(1), [(2, 1, 8)], {"reshape"}),
        (lambda _, x: x[:, -1], [(2, 3, 8)], {"slice", "reshape"}),
        (lambda _, x: torch.cat([x]) + 1, [(2, 8)], {"add"}),
        (lambda _, x: x.mean(-1, keepdim=True), [(2, 3, 8)], {"reshape", "bmm"}),
        (lambda _, x: x.mean(2), [(2, 3, 8)], {"reshape", "bmm"}),
        (lambda _, x: x.mean((2, 3), keepdim=True), [(1, 3, 8, 8)], {"mean"}),
        (lambda _, x, y: x @ y, [(1, 2, 3, 8), (1, 2, 8, 5)], {"reshape", "bmm"}),
        (lambda _, x, y: x @ y, [(3, 8), (8, 5)], {"matmul"}),
        (lambda _, x: x.chunk(3, 1)[1] + x.chunk(3, 1)[2], [(2, 7, 8)], None),
        (lambda _, x: x.split([1, 7], -1)[1], [(2, 8)], {"slice", "reshape"}),
        (lambda _, x: x.unbind(1)[2], [(2, 3, 8)], {"slice", "reshape"}),
        (lambda _, x: F.interpolate(x, scale_factor=2, mode="nearest"), [(1, 3, 4, 5)], {"reshape", "mul"}),
        (lambda _, x: x.index_select(0, torch.tensor([2, 0, 1, 0])), [(3, 2, 4)], None),
        (lambda _, x: F.gelu(x, approximate="tanh"), [(2, 8)], {"mul", "add", "tanh"}),
        (lambda _, x: F.gelu(x), [(2, 8)], {"gelu"}),
        (lambda kept, x, y: torch.where(kept > 0, x, y), [(2, 8), (2, 1)], {"mul", "add"}),
        (lambda _, x: torch.einsum("nhwc->nchw", x) + 1, [(1, 2, 3, 4)], {"permute", "add"}),
        (lambda _, x: torch.einsum("nhwpqc->nchpwq", x) + 1, [(1, 2, 3, 2, 2, 4)], {"reshape", "permute", "add"}),
        (lambda _, x: torch.ops.aten.alias(x) * 2, [(2, 8)], {"mul"}),
        (lambda kept, x: x * torch.cos(kept * 2).unsqueeze(0)[:, :8], [(2, 8)], {"mul"}),
    ],
)
def test_forms(function: Callable[..., Tensor], shapes: list[tuple[int, ...]], left: set[str] | None) -> None:
    torch.manual_seed(1)
    found = _written(_Of(function), *(torch.randn(shape) for shape in shapes))
    assert not found & {"getitem", "chunk", "unbind", "index_select"}
    assert left is None or found == left


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 2), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.floats(1e-6, 1e-2))
def test_normalizations(batch: int, groups: int, wide: int, affine: bool, epsilon: float) -> None:
    norm = nn.GroupNorm(groups, groups * wide, epsilon, affine=affine)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    allowed = {"reshape", "bmm", "sub", "mul", "add", "rsqrt"}
    assert _written(norm, torch.randn(batch, groups * wide, 4, 4)) <= allowed
    assert _written(nn.LayerNorm([wide, 8], epsilon, elementwise_affine=affine), torch.randn(batch, wide, 8)) <= allowed


def _attends(mask: Tensor | None, *, causal: bool = False) -> nn.Module:
    return _Of(lambda _, q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal))


def test_attention_is_two_products() -> None:
    query, key, value = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 7, 8), torch.randn(1, 2, 7, 3)
    products = {"bmm", "reshape", "transpose", "softmax", "mul"}
    assert _written(_attends(None), query, key, value) == products
    assert _written(_attends(torch.randn(5, 7)), query, key, value) == products | {"add"}


def test_attention_that_is_more_than_that_stays() -> None:
    square = torch.randn(1, 2, 5, 8)
    stays = {"scaled_dot_product_attention"}
    assert _written(_attends(None, causal=True), square, square, square) == stays
    assert stays <= _written(_attends(torch.ones(5, 5).tril().bool()), square, square, square)


def test_a_network_with_nothing_to_write_is_itself() -> None:
    inputs = (torch.randn(1, 3, 8, 8),)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert decomposed(network, inputs) is network


class _Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.get_buffer("seen").add_(1)
        return x + self.get_buffer("seen").unsqueeze(0)


def test_a_buffer_that_changes_is_no_constant() -> None:
    inputs = (torch.randn(2, 1),)
    network = _Counts()
    assert decomposed(network, inputs) is network


def test_normalizations_alone_are_written_in_plain_operators_under_their_names() -> None:
    """Linear layers that are quantized one by one stay modules; nothing of the given network changes."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(12, 8), nn.LayerNorm(8), nn.Linear(8, 4), nn.LayerNorm(4, elementwise_affine=False)
    )
    network.eval()
    x = torch.randn(2, 5, 12)
    plain = with_plain_norms(network)
    torch.testing.assert_close(plain(x), network(x))
    assert [type(module).__name__ for module in plain][::2] == ["Linear", "Linear"]
    assert plain[0].weight is network[0].weight, "no second set of weights"
    assert isinstance(network[1], nn.LayerNorm)
    targets = {str(node.target) for node in torch.export.export(plain, (x,)).graph.nodes}
    assert not any("layer_norm" in target for target in targets)
    assert with_plain_norms(network[0]) is network[0]
