"""Packages read back from disk: their weights, states and functions, and what is refused."""

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.mil_interpreter import (
    DeclaredTypeError,
    Interpreter,
    MilError,
    Mode,
    Program,
    UnknownOpError,
    first_divergence,
    read_package,
)
from pocketcrafter.export.lower.mil_interpreter.program import Function, Name, Op, Port, TensorType, named_dtype

ct = pytest.importorskip("coremltools")
cto = importlib.import_module("coremltools.optimize.coreml")


def _convert(model: nn.Module, *inputs: Tensor, target: str = "iOS18") -> Any:
    program = torch.export.export(model.eval(), inputs, strict=False).run_decompositions({})
    return ct.convert(
        program,
        minimum_deployment_target=getattr(ct.target, target),
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )


def _saved(model: Any, path: Path) -> Path:
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(16, 32, 3)


@pytest.fixture(scope="module")
def picture() -> Tensor:
    return torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def plain(layer: nn.Module, picture: Tensor) -> dict[str, Any]:
    return {target: _convert(layer, picture, target=target) for target in ("iOS17", "iOS18")}


@pytest.fixture(scope="module")
def package(plain: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _saved(plain["iOS18"], tmp_path_factory.mktemp("package") / "conv.mlpackage")


def _program(*ops: Op, declared: TensorType | None = None) -> Program:
    x = declared or TensorType(named_dtype("fp16"), (2,))
    function = Function("main", (Port("x", x),), (), ops, (ops[-1].layer,))
    return Program({"main": function}, "main")


def _half(name: str, kind: str, **inputs: Name | Tensor) -> Op:
    return Op(kind, {k: (v,) for k, v in inputs.items()}, (Port(name, TensorType(named_dtype("fp16"), (2,))),))


_UINT8 = cto.OpLinearQuantizerConfig(mode="linear", dtype="uint8", weight_threshold=0)
_BLOCKS = cto.OpLinearQuantizerConfig(
    mode="linear", dtype="int4", granularity="per_block", block_size=8, weight_threshold=0
)
_SIX_BITS = cto.OpPalettizerConfig(mode="uniform", nbits=6, weight_threshold=0)
_THREE_BITS = cto.OpPalettizerConfig(mode="uniform", nbits=3, weight_threshold=0)
_VECTORS = cto.OpPalettizerConfig(mode="kmeans", nbits=4, cluster_dim=4, weight_threshold=0)
_SPARSE = cto.OpMagnitudePrunerConfig(target_sparsity=0.75, weight_threshold=0)


@pytest.mark.parametrize(
    ("target", "scheme", "kind"),
    [
        ("iOS17", _UINT8, "constexpr_affine_dequantize"),
        ("iOS17", _SIX_BITS, "constexpr_lut_to_dense"),
        ("iOS17", _SPARSE, "constexpr_sparse_to_dense"),
        ("iOS18", _BLOCKS, "constexpr_blockwise_shift_scale"),
        ("iOS18", _THREE_BITS, "constexpr_lut_to_dense"),
        ("iOS18", _VECTORS, "constexpr_lut_to_dense"),
        ("iOS18", _SPARSE, "constexpr_sparse_to_dense"),
    ],
)
def test_compressed_weights_decode_to_what_coremltools_says(
    target: str, scheme: Any, kind: str, layer: nn.Module, picture: Tensor, plain: dict[str, Any], tmp_path: Path
) -> None:
    """Two decoders that share no code."""
    how = {cto.OpLinearQuantizerConfig: cto.linear_quantize_weights, cto.OpPalettizerConfig: cto.palettize_weights}
    compress = how.get(type(scheme), cto.prune_weights)
    compressed = compress(plain[target], cto.OptimizationConfig(scheme))
    weights = [op.weight for op in compressed._mil_program.functions["main"].operations if op.op_type == "conv"]
    wanted = torch.from_numpy(np.array(weights[0].op.materialized_val_inference()))
    read = Interpreter(_saved(compressed, tmp_path / "conv.mlpackage"), mode=Mode.FP32)
    decoded = [op.layer for op in read.function.ops if op.kind == kind]
    assert decoded == [weights[0].name]
    (port,) = read.function.inputs
    (y,) = read.run({port.name: picture}).outputs.values()
    torch.testing.assert_close(y, nn.functional.conv2d(picture, wanted, layer.get_parameter("bias")))


def test_functions_of_one_package_are_told_apart(
    layer: nn.Module, picture: Tensor, package: Path, tmp_path: Path
) -> None:
    other = _saved(_convert(nn.Sequential(layer, nn.ReLU()), picture), tmp_path / "relu.mlpackage")
    both = ct.utils.MultiFunctionDescriptor()
    both.add_function(str(package), "main", "plain")
    both.add_function(str(other), "main", "relu")
    both.default_function_name = "plain"
    ct.utils.save_multifunction(both, str(tmp_path / "both.mlpackage"))
    plain = layer(picture)
    for name, wanted in ((None, plain), ("relu", plain.relu())):
        function = Interpreter(tmp_path / "both.mlpackage", name, Mode.FP32)
        (y,) = function.run({function.function.inputs[0].name: picture}).outputs.values()
        torch.testing.assert_close(y, wanted)
    with pytest.raises(MilError, match="no function `decode`; it has plain, relu"):
        Interpreter(tmp_path / "both.mlpackage", "decode")


def test_states_live_from_run_to_run(tmp_path: Path) -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            self.seen.add_(x)
            return self.seen * 1.0

    counter = Interpreter(_saved(_convert(Counter(), torch.zeros(3)), tmp_path / "c.mlpackage"))
    (port,), state = counter.function.inputs, counter.new_state()
    for wanted in (1.0, 2.0, 3.0):
        (y,) = counter.run({port.name: torch.ones(3)}, state).outputs.values()
        assert y.tolist() == [wanted] * 3
    (y,) = counter.run({port.name: torch.ones(3)}).outputs.values()
    assert y.tolist() == [1.0] * 3, "a run without a state begins anew"
    with pytest.raises(MilError, match="keeps the states"):
        counter.run({port.name: torch.ones(3)}, {})


def test_declared_mode_rounds_each_layer_and_tells_what_overflows() -> None:
    program = _program(
        _half("tiny", "mul", x=Name("x"), y=torch.tensor(1e-4)),
        _half("back", "real_div", x=Name("tiny"), y=torch.tensor(1e-4)),
        _half("huge", "mul", x=Name("back"), y=torch.tensor(7e4)),
    )
    x = {"x": torch.tensor([1.0, 0.1])}
    exact = Interpreter(program, mode=Mode.FP32).run(x)
    torch.testing.assert_close(exact.outputs["huge"], torch.tensor([7e4, 7e3]))
    assert exact.overflowed == ()
    declared = Interpreter(program).run(x)
    assert declared.overflowed == ("huge",)
    assert declared.outputs["huge"][0] == torch.inf


def test_the_layer_that_float16_cannot_hold_is_named() -> None:
    program = _program(
        _half("scaled", "mul", x=Name("x"), y=torch.tensor(0.5)),
        _half("fourth_power", "pow", x=Name("scaled"), y=torch.tensor(4.0)),
        _half("root", "pow", x=Name("fourth_power"), y=torch.tensor(0.25)),
    )
    found = first_divergence(program, {"x": torch.tensor([0.01, 0.02])})
    assert found is not None
    assert (found.layer, found.kind) == ("fourth_power", "pow")
    assert found.sqnr_db < 40 < found.inputs_db
    assert first_divergence(program, {"x": torch.tensor([0.7, 0.9])}) is None


def test_the_layer_that_differs_from_a_reference_package_is_named() -> None:
    def network(factor: float) -> Program:
        return _program(
            _half("first", "mul", x=Name("x"), y=torch.tensor(0.5)),
            _half("second", "mul", x=Name("first"), y=torch.tensor(factor)),
            _half("third", "relu", x=Name("second")),
        )

    found = first_divergence(network(3.5), {"x": torch.ones(2)}, reference=network(3.0))
    assert found is not None
    assert found.layer == "second"


def test_wrong_declarations_are_refused_with_their_layer() -> None:
    wrong_shape = Op("relu", {"x": (Name("x"),)}, (Port("y", TensorType(named_dtype("fp16"), (3,))),))
    with pytest.raises(DeclaredTypeError, match=r"`y` \(relu\) is declared as fp16\[3\].*\[2\]"):
        Interpreter(_program(wrong_shape)).run({"x": torch.ones(2)})
    wrong_kind = _half("y", "greater", x=Name("x"), y=torch.tensor(0.5))
    with pytest.raises(DeclaredTypeError, match="bool"):
        Interpreter(_program(wrong_kind)).run({"x": torch.ones(2)})
    small = TensorType(named_dtype("int8"), (2,))
    overflow = Op("add", {"x": (Name("x"),), "y": (torch.tensor(100),)}, (Port("y", small),))
    with pytest.raises(DeclaredTypeError, match="reaches from 200 to 200 and overflows"):
        Interpreter(_program(overflow, declared=small)).run({"x": torch.tensor([100, 100])})


def test_unknown_operators_and_missing_values_are_told() -> None:
    x = {"x": torch.ones(2)}
    with pytest.raises(UnknownOpError, match=r"`y`.*`lstm`"):
        Interpreter(_program(_half("y", "lstm", x=Name("x")))).run(x)
    with pytest.raises(MilError, match="reads `w`, which nothing before it gives"):
        Interpreter(_program(_half("y", "relu", x=Name("w")))).run(x)
    with pytest.raises(MilError, match="takes the inputs x; it was given z"):
        Interpreter(_program(_half("y", "relu", x=Name("x")))).run({"z": torch.ones(2)})


def _weight_file(package: Path) -> Path:
    (file,) = package.rglob("weight.bin")
    return file


def test_damaged_and_hostile_packages_are_refused(package: Path, tmp_path: Path) -> None:
    copy = tmp_path / "conv.mlpackage"

    def fresh() -> Path:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(package, copy)
        return copy

    whole = _weight_file(fresh()).read_bytes()
    _weight_file(copy).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MilError, match=r"need more|no tensor begins"):
        read_package(copy)
    _weight_file(fresh()).write_bytes(bytes(len(whole)))
    with pytest.raises(MilError, match="no tensor begins"):
        read_package(copy)
    _weight_file(fresh()).unlink()
    with pytest.raises(MilError, match="no file inside it"):
        read_package(copy)
    manifest = json.loads((fresh() / "Manifest.json").read_text())
    root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
    root["path"] = "../../outside.mlmodel"
    (tmp_path / "outside.mlmodel").write_bytes(b"")
    (copy / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MilError, match="no file inside it"):
        read_package(copy)
    (fresh() / "Manifest.json").write_text("{}")
    with pytest.raises(MilError, match="names no model"):
        read_package(copy)
    next(fresh().rglob("*.mlmodel")).write_bytes(b"\xff" * 100)
    with pytest.raises(MilError, match="not a Core ML model"):
        read_package(copy)
