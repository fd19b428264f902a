"""What coremltools 9.0 gets wrong without a word: each error, and that the interpreter sees it.

When one of these fails because the converter was mended, the entry in the interpreter's README goes too.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.lower.coreml.convert import exported
from pocketcrafter.export.lower.coreml.lowering import CONVERSION_GATE_DB
from pocketcrafter.export.lower.mil_interpreter import Interpreter, Mode
from pocketcrafter.runtime.fidelity import sqnr_db

ct = pytest.importorskip("coremltools")
cto = importlib.import_module("coremltools.optimize.coreml")


def _convert(program: Any, **how: Any) -> Any:
    return ct.convert(
        program,
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
        **how,
    )


def _exported(model: nn.Module, *inputs: Tensor) -> Any:
    return torch.export.export(model.eval(), inputs, strict=False).run_decompositions({})


def _open(model: Any, path: Path) -> Interpreter:
    model.save(str(path))
    return Interpreter(path, mode=Mode.FP32)


def _ratio(wanted: Tensor, read: Interpreter, *inputs: Tensor, state: Any = None) -> float:
    names = [port.name for port in read.function.inputs]
    outputs = read.run(dict(zip(names, inputs, strict=True)), state).outputs
    return sqnr_db(wanted.detach().numpy(), next(iter(outputs.values())).numpy())


def test_gelus_approximation_is_dropped(tmp_path: Path) -> None:
    class Gelu(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.gelu(x, approximate="tanh")

    x = torch.linspace(-4, 4, 64)[None]
    read = _open(_convert(_exported(Gelu(), x)), tmp_path / "gelu.mlpackage")
    assert _ratio(F.gelu(x, approximate="tanh"), read, x) < CONVERSION_GATE_DB
    assert _ratio(F.gelu(x), read, x) >= CONVERSION_GATE_DB, "it is the exact one"


def test_gelus_approximation_is_kept_where_it_is_spelt_out(tmp_path: Path) -> None:
    class Gelu(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.gelu(x, approximate="tanh")

    x = torch.linspace(-4, 4, 64)[None]
    read = _open(_convert(exported(Gelu().eval(), (x,))), tmp_path / "gelu.mlpackage")
    assert _ratio(F.gelu(x, approximate="tanh"), read, x) >= CONVERSION_GATE_DB


class _Cache(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cache", torch.zeros(2, 4, 3))

    def forward(self, new: Tensor, place: Tensor) -> Tensor:
        self.cache[1, place, :] = new
        return self.cache * 1.0


@pytest.mark.parametrize("traced", [True, False])
def test_a_write_by_index_is_lost_when_traced_and_kept_when_exported(traced: bool, tmp_path: Path) -> None:
    new, place = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2])
    if traced:
        program = torch.jit.trace(_Cache().eval(), (new, place), check_trace=False)
        inputs = [ct.TensorType("new", new.shape), ct.TensorType("place", place.shape, dtype=np.int32)]
        states = [ct.StateType(ct.TensorType(shape=(2, 4, 3), dtype=np.float16), "cache")]
        model = _convert(program, inputs=inputs, states=states)
    else:
        model = _convert(_exported(_Cache(), new, place))
    read, cache = _open(model, tmp_path / "cache.mlpackage"), _Cache()
    state = read.new_state()
    for step in range(2):
        wanted = cache(new + step, place + step)
        ratio = _ratio(wanted, read, new + step, place + step, state=state)
        assert ratio < 10 if traced else ratio >= CONVERSION_GATE_DB


@pytest.mark.parametrize(("channels", "sound"), [(32, True), (20, False)])
def test_scales_with_palettes_ruin_layers_that_groups_do_not_divide(channels: int, sound: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, channels, 1, bias=False)
    layer.weight.data *= torch.logspace(-1, 1, channels).reshape(-1, 1, 1, 1)
    x = torch.randn(1, 8, 8, 8)
    scheme = cto.OpPalettizerConfig(
        mode="uniform",
        nbits=6,
        granularity="per_grouped_channel",
        group_size=16,
        enable_per_channel_scale=True,
        weight_threshold=0,
    )
    compressed = cto.palettize_weights(_convert(_exported(layer, x)), cto.OptimizationConfig(scheme))
    ratio = _ratio(layer(x), _open(compressed, tmp_path / "conv.mlpackage"), x)
    assert ratio > 25 if sound else ratio < 5


@pytest.mark.parametrize(("shape", "sound"), [((), False), ((1,), True)])
def test_integer_scalars_overflow_where_vectors_do_not(shape: tuple[int, ...], sound: bool, tmp_path: Path) -> None:
    """127 − (−128) is 255, and −1 in INT8: how PT2E writes the constant 3."""
    importlib.import_module("torch.ao.quantization.fx._decomposed")

    class Tripled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("three", torch.full(shape, 127, dtype=torch.int8))

        def forward(self, x: Tensor) -> Tensor:
            dequantize = torch.ops.quantized_decomposed.dequantize_per_tensor
            return x * dequantize(self.three, 3 / 255, -128, -128, 127, torch.int8)

    x = torch.randn(1, 8)
    ratio = _ratio(3 * x, _open(_convert(_exported(Tripled(), x)), tmp_path / "m.mlpackage"), x)
    assert ratio >= CONVERSION_GATE_DB if sound else ratio < 10


def test_torchaos_int8_weights_become_float16_and_its_intx_weights_stay(tmp_path: Path) -> None:
    """The weights come out as whole floats, and nobody is told; the size on disk tells."""
    quantization = importlib.import_module("torchao.quantization")
    sizes = {}
    for name, scheme in (
        ("int8", quantization.Int8WeightOnlyConfig()),
        ("intx", quantization.IntxWeightOnlyConfig(torch.int8)),
    ):
        torch.manual_seed(0)
        layer = nn.Sequential(nn.Linear(256, 256, bias=False)).eval()
        quantization.quantize_(layer, scheme)
        package = tmp_path / f"{name}.mlpackage"
        _convert(_exported(layer, torch.randn(1, 256))).save(str(package))
        sizes[name] = sum(file.stat().st_size for file in package.rglob("weight.bin"))
    assert sizes["intx"] < 1.2 * 256 * 256
    assert sizes["int8"] > 1.9 * 256 * 256
