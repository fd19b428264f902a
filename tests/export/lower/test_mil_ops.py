"""The operators' meaning, from the definitions in MIL, against torch where torch has the same."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.export.lower.mil_interpreter import MilError, UnknownOpError, known_ops
from pocketcrafter.export.lower.mil_interpreter.ops import values as _registers  # noqa: F401
from pocketcrafter.export.lower.mil_interpreter.package import decode
from pocketcrafter.export.lower.mil_interpreter.program import named_dtype
from pocketcrafter.export.lower.mil_interpreter.registry import call

_X = torch.randn(2, 6, 9, 10, generator=torch.Generator().manual_seed(0))


def _run(kind: str, /, **arguments: object) -> Tensor:
    given = {
        name: torch.tensor(value) if isinstance(value, int | float | list) else value
        for name, value in arguments.items()
    }
    result = call(kind, "layer", given)
    assert isinstance(result, Tensor)
    return result


@given(
    height=st.integers(3, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    spread=st.integers(1, 2),
    lower=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_same_padding_gives_a_place_for_each_stride(
    height: int, kernel: int, stride: int, spread: int, *, lower: bool
) -> None:
    x, weight = torch.randn(1, 2, height, height), torch.randn(3, 2, kernel, kernel)
    kind = "same_lower" if lower else "same"
    y = _run("conv", x=x, weight=weight, pad_type=kind, strides=[stride] * 2, dilations=[spread] * 2)
    assert y.shape[-1] == math.ceil(height / stride)
    reach = (kernel - 1) * spread
    if stride == 1:
        before = math.ceil(reach / 2) if lower else reach // 2
        padded = F.pad(x, [before, reach - before] * 2)
        torch.testing.assert_close(y, F.conv2d(padded, weight, dilation=spread))


@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    extra=st.integers(0, 1),
    groups=st.sampled_from([1, 2]),
)
@settings(deadline=None, max_examples=40)
def test_transposed_convolution_is_torchs(kernel: int, stride: int, padding: int, extra: int, groups: int) -> None:
    if extra >= stride or 2 * padding >= kernel + 1:
        return
    weight, bias = torch.randn(6, 4, kernel, kernel), torch.randn(4 * groups)
    wanted = F.conv_transpose2d(_X, weight, bias, stride, padding, extra, groups)
    y = _run(
        "conv_transpose",
        x=_X,
        weight=weight,
        bias=bias,
        pad_type="custom",
        pad=[padding] * 4,
        strides=[stride] * 2,
        groups=groups,
        output_shape=list(wanted.shape),
    )
    torch.testing.assert_close(y, wanted, atol=1e-5, rtol=1e-5)


@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    ceil=st.booleans(),
    counted=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_pools_are_torchs(kernel: int, stride: int, padding: int, *, ceil: bool, counted: bool) -> None:
    if 2 * padding > kernel:
        return
    same = {"x": _X, "kernel_sizes": [kernel] * 2, "strides": [stride] * 2, "pad_type": "custom", "pad": [padding] * 4}
    highest = _run("max_pool", **same, ceil_mode=ceil)
    torch.testing.assert_close(highest, F.max_pool2d(_X, kernel, stride, padding, ceil_mode=ceil))
    if not ceil:  # torch leaves what ceil adds out of the average, MIL has no such rule
        mean = _run("avg_pool", **same, exclude_padding_from_average=not counted)
        wanted = F.avg_pool2d(_X, kernel, stride, padding, count_include_pad=counted)
        torch.testing.assert_close(mean, wanted)


@pytest.mark.parametrize("size", [(18, 20), (5, 7), (9, 10), (1, 1)])
def test_resizing_is_torchs(size: tuple[int, int]) -> None:
    target = {"target_size_height": size[0], "target_size_width": size[1]}
    torch.testing.assert_close(_run("resize_nearest_neighbor", x=_X, **target), F.interpolate(_X, size))
    for mode, corners in (("STRICT_ALIGN_CORNERS", True), ("UNALIGN_CORNERS", False)):
        wanted = F.interpolate(_X, size, mode="bilinear", align_corners=corners)
        actual = _run("resize_bilinear", x=_X, sampling_mode=mode, **target)
        torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=1e-5)


def test_upsampling_by_an_inexact_factor_keeps_its_size() -> None:
    y = _run(
        "upsample_bilinear", x=_X[..., :3, :3], scale_factor_height=4 / 3, scale_factor_width=2, align_corners=False
    )
    assert y.shape[-2:] == (4, 6)


@given(
    data=st.data(),
    steps=st.lists(st.sampled_from([1, 2, -1]), min_size=4, max_size=4),
    squeezed=st.lists(st.booleans(), min_size=4, max_size=4),
)
@settings(deadline=None, max_examples=60)
def test_slices_follow_python(data: st.DataObject, steps: list[int], squeezed: list[bool]) -> None:
    def place(n: int) -> int:
        return data.draw(st.integers(0, n - 1))

    begin = [place(n) for n in _X.shape]
    end = [place(n) for n in _X.shape]
    masks = [data.draw(st.lists(st.booleans(), min_size=4, max_size=4)) for _ in range(2)]
    rows = zip(begin, end, steps, *masks, squeezed, strict=True)
    index = tuple(
        b if drop else slice(None if from_start else b, None if to_end else e, s)
        for b, e, s, from_start, to_end, drop in rows
    )
    named = {"begin_mask": masks[0], "end_mask": masks[1], "squeeze_mask": squeezed}
    where = {"begin": begin, "end": end, "stride": steps, **named}
    wanted = torch.from_numpy(_X.numpy()[index].copy()) if not all(squeezed) else _X[index]
    torch.testing.assert_close(_run("slice_by_index", x=_X, **where), wanted)
    changed = _X.numpy().copy()
    changed[index] = 7
    full = torch.full(wanted.shape, 7.0)
    torch.testing.assert_close(_run("slice_update", x=_X, update=full, **where), torch.from_numpy(changed))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
def test_padding_is_torchs(mode: str) -> None:
    wanted = F.pad(_X, (3, 1, 0, 2), mode)
    torch.testing.assert_close(_run("pad", x=_X, pad=[0, 2, 3, 1], mode=mode), wanted)


def test_indexing_reads_and_writes_where_it_says() -> None:
    rows = torch.tensor([[5, 0], [-1, 2]])
    torch.testing.assert_close(_run("gather", x=_X, indices=rows, axis=1), _X[:, rows])
    batch = torch.tensor([[1, 3], [0, 5]])
    wanted = torch.stack([x[i] for x, i in zip(_X, batch, strict=True)])
    torch.testing.assert_close(_run("gather", x=_X, indices=batch, axis=1, batch_dims=1), wanted)
    torch.testing.assert_close(_run("gather_nd", x=_X, indices=torch.tensor([[1, 2], [0, 5]])), _X[[1, 0], [2, 5]])
    new = torch.ones(2, 2, 9, 10)
    changed = _X.clone()
    changed[:, [4, 1]] = 1
    written = _run("scatter", data=_X, indices=torch.tensor([4, 1]), updates=new, axis=1, mode="update")
    torch.testing.assert_close(written, changed)
    twice = _run("scatter_nd", data=torch.zeros(3), indices=torch.tensor([[1], [1]]), updates=torch.ones(2))
    assert twice.tolist() == [0, 2, 0]


def test_shuffles_undo_each_other_and_differ_in_order() -> None:
    x = torch.arange(2 * 8 * 4 * 6.0).reshape(2, 8, 4, 6)
    for down, up, name in (
        ("space_to_depth", "depth_to_space", "block_size"),
        ("pixel_unshuffle", "pixel_shuffle", ""),
    ):
        folded = _run(down, x=x, **{name or "downscale_factor": 2})
        torch.testing.assert_close(_run(up, x=folded, **{name or "upscale_factor": 2}), x)
    assert not torch.equal(_run("space_to_depth", x=x, block_size=2), F.pixel_unshuffle(x, 2))


def test_normalizations_are_torchs() -> None:
    gamma, beta = torch.randn(10), torch.randn(10)
    wanted = F.layer_norm(_X, (10,), gamma, beta)
    torch.testing.assert_close(_run("layer_norm", x=_X, axes=[-1], gamma=gamma, beta=beta), wanted)
    mean, variance = torch.randn(6), torch.rand(6)
    wanted = F.batch_norm(_X, mean, variance, gamma[:6], beta[:6])
    actual = _run("batch_norm", x=_X, mean=mean, variance=variance, gamma=gamma[:6], beta=beta[:6])
    torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=1e-5)
    wanted = F.instance_norm(_X, weight=gamma[:6], bias=beta[:6])
    torch.testing.assert_close(
        _run("instance_norm", x=_X, gamma=gamma[:6], beta=beta[:6]), wanted, atol=1e-5, rtol=1e-5
    )


def test_attention_masks_and_bands() -> None:
    q, k, v = torch.randn(3, 1, 2, 5, 8)
    causal = _run("band_part", x=torch.ones(5, 5), lower=-1, upper=0).bool()
    actual = _run("scaled_dot_product_attention", query=q, key=k, value=v, attn_mask=causal)
    torch.testing.assert_close(actual, F.scaled_dot_product_attention(q, k, v, is_causal=True))
    summed = _run("cumsum", x=torch.tensor([1.0, 2, 3]), axis=0, exclusive=True, reverse=True)
    assert summed.tolist() == [5, 3, 0]


@given(bits=st.sampled_from([1, 2, 3, 4, 6]), signed=st.booleans(), data=st.data())
@settings(deadline=None, max_examples=60)
def test_elements_below_a_byte_lie_in_one_stream_of_bits(*, bits: int, signed: bool, data: st.DataObject) -> None:
    import numpy as np  # noqa: PLC0415

    dtype = named_dtype("int4" if signed else f"uint{bits}")
    low, high = dtype.limits
    values = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=40))
    stream = sum((v % (1 << dtype.bits)) << (i * dtype.bits) for i, v in enumerate(values))
    raw = np.frombuffer(stream.to_bytes((len(values) * dtype.bits + 7) // 8, "little"), np.uint8)
    assert decode(raw, dtype, len(values)).tolist() == values


def test_an_unknown_operator_is_told_with_its_layer() -> None:
    with pytest.raises(UnknownOpError, match=r"`head_out`.*`lstm`"):
        call("lstm", "head_out", {})
    with pytest.raises(UnknownOpError, match=r"`head_out`: `relu`.*'slope'"):
        call("relu", "head_out", {"x": _X, "slope": _X})
    with pytest.raises(MilError, match=r"`head_out` .*matmul"):
        call("matmul", "head_out", {"x": _X, "y": _X})
    assert {"conv", "linear", "write_state"} <= known_ops()
