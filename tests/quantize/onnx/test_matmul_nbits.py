"""Blocks: what ONNX Runtime computes from them, in integers, is near what they decode to, and that near the weights."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from pocketcrafter.quantize.config import Nearest, WeightOnly
from pocketcrafter.quantize.onnx.matmul_nbits import decoded, matrices_of, quantize_matmul_nbits
from pocketcrafter.runtime.backends.onnxruntime import open_session
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.fidelity import sqnr_db

ROWS, COLUMNS = 48, 96


@pytest.fixture
def weight() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def linear(weight: np.ndarray, bias: bool = False) -> onnx.ModelProto:
    """A linear layer as torch's exporter writes it."""
    initializers = [numpy_helper.from_array(weight, "w")]
    names = ["x", "w"]
    if bias:
        initializers.append(numpy_helper.from_array(np.zeros(len(weight), np.float32), "b"))
        names.append("b")
    node = helper.make_node("Gemm", names, ["y"], name="node_linear", transB=1)
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'head', 'linear']")
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s])
        for n, s in zip("xy", weight.shape[::-1], strict=True)
    ]
    graph = helper.make_graph([node], "linear", ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = open_session(model.SerializeToString())
    result: np.ndarray = session.run(None, {"x": x})[0]
    return result


@pytest.mark.parametrize(("bits", "least_db", "size"), [(8, 40, 0.27), (4, 18, 0.145), (2, 6, 0.08)])
def test_blocks_compute_what_they_decode_to(weight: np.ndarray, bits: int, least_db: float, size: float) -> None:
    model, x = linear(weight), np.random.default_rng(1).normal(size=(1, COLUMNS)).astype(np.float32)
    quantized = quantize_matmul_nbits(model, WeightOnly(bits=bits))
    assert [n.op_type for n in quantized.graph.node] == ["Cast", "MatMulNBits"]
    assert [n.op_type for n in decoded(quantized).graph.node if "MatMul" in n.op_type] == ["MatMul"]
    # The decoded model rounds activations as the kernels do.
    assert sqnr_db(run(decoded(quantized), x), run(quantized, x)) > 100
    assert sqnr_db(run(model, x), run(quantized, x)) > least_db
    stored = sum(len(t.raw_data) for t in quantized.graph.initializer)
    assert stored < size * weight.nbytes


def test_weights_of_four_bits_with_offsets_keep_them() -> None:
    """As a GGUF file in Q4_1 stores them: rounded to symmetric levels, they would be rounded a second time."""
    rng = np.random.default_rng(2)
    levels = rng.integers(0, 16, (ROWS, COLUMNS // 32, 32))
    levels[..., 0], levels[..., 1] = 0, 15
    steps, least = (rng.normal(size=(ROWS, COLUMNS // 32, 1)).astype(np.float16).astype(np.float32) for _ in range(2))
    weight = (levels * np.abs(steps) + least).reshape(ROWS, COLUMNS).astype(np.float32)
    x = rng.normal(size=(1, COLUMNS)).astype(np.float32)
    model = linear(weight)
    quantized = quantize_matmul_nbits(model, WeightOnly(bits=4))
    assert sqnr_db(run(decoded(quantized), x), run(quantized, x)) > 100
    # What is left are the activations' 8 bits; the other rounding has 18 dB.
    assert sqnr_db(run(model, x), run(quantized, x)) > 40
    assert [n.op_type for n in quantized.graph.node if n.op_type == "ReduceSum"] == ["ReduceSum"]
    between = linear(weight + np.float32(0.3) * rng.normal(size=weight.shape).astype(np.float32))
    assert not [n for n in quantize_matmul_nbits(between, WeightOnly(bits=4)).graph.node if n.op_type == "ReduceSum"]


def test_weights_of_eight_bits_on_a_grid_of_their_own_keep_it() -> None:
    """As a GGUF file in Q8_0 stores them: with other scales, they would be rounded a second time."""
    rng = np.random.default_rng(2)
    levels = rng.integers(-127, 128, (ROWS, COLUMNS // 32, 32))
    levels[..., 0] = 127
    steps = np.abs(rng.normal(size=(ROWS, COLUMNS // 32, 1))).astype(np.float16).astype(np.float32)
    weight = (levels * steps).reshape(ROWS, COLUMNS).astype(np.float32)
    (found,) = matrices_of(quantize_matmul_nbits(linear(weight), WeightOnly(bits=8))).values()
    np.testing.assert_array_equal(found, weight)


@pytest.mark.parametrize("bits", [8, 4])
def test_activations_of_sixteen_bits_are_multiplied_in_two_parts(weight: np.ndarray, bits: int) -> None:
    x = np.random.default_rng(1).normal(size=(1, COLUMNS)).astype(np.float32)
    x[0, 32:64] = 0
    for given in (weight, np.round(weight * 2) / 2):
        quantized = quantize_matmul_nbits(linear(given), WeightOnly(bits=bits, activation_bits=16))
        exact = x @ next(iter(matrices_of(quantized).values())).T
        assert [n.op_type for n in quantized.graph.node].count("MatMulNBits") == 1
        assert sqnr_db(exact, run(quantized, x)) > 80
        assert sqnr_db(run(decoded(quantized), x), run(quantized, x)) > 80
        coarse = quantize_matmul_nbits(linear(given), WeightOnly(bits=bits))
        assert sqnr_db(exact, run(coarse, x)) < 50


def test_a_product_of_activations_stays_in_floating_point(weight: np.ndarray) -> None:
    """Behind a gate few values are large: one INT8 step for a whole block would lose the others."""
    gated = linear(weight)
    product = [helper.make_node("Sigmoid", ["x"], ["open"]), helper.make_node("Mul", ["x", "open"], ["product"])]
    rest = [*product, *gated.graph.node]
    rest[-1].input[0] = "product"
    del gated.graph.node[:]
    gated.graph.node.extend(rest)
    x = np.random.default_rng(1).normal(size=(1, COLUMNS)).astype(np.float32) ** 9
    quantized = quantize_matmul_nbits(gated, WeightOnly(bits=8))
    assert sqnr_db(run(decoded(quantized), x), run(quantized, x)) > 100


def test_layers_that_read_one_vector_are_one_product(weight: np.ndarray) -> None:
    model = linear(weight)
    other = linear(weight[:16] * 2).graph
    node, constant = other.node[0], other.initializer[0]
    node.name, node.input[1], node.output[0], constant.name = "node_linear_1", "w_1", "y_1", "w_1"
    node.metadata_props[0].value = "['', 'tail', 'linear']"
    model.graph.node.append(node)
    model.graph.initializer.append(constant)
    model.graph.output.append(helper.make_tensor_value_info("y_1", TensorProto.FLOAT, [1, 16]))
    x = {"x": np.random.default_rng(1).normal(size=(1, COLUMNS)).astype(np.float32)}
    joined = quantize_matmul_nbits(model, WeightOnly(bits=4))
    products = [n.name for n in joined.graph.node if n.op_type == "MatMulNBits"]
    assert products == ["node_linear+node_linear_1"]
    for made in (joined, decoded(joined)):
        both = open_session(made.SerializeToString()).run(None, x)
        alone = [quantize_matmul_nbits(linear(w), WeightOnly(bits=4)) for w in (weight, weight[:16] * 2)]
        apart = [run(decoded(model), x["x"]) for model in alone]
        assert [sqnr_db(wanted, found) > 40 for wanted, found in zip(apart, both, strict=True)] == [True, True]
    kept = quantize_matmul_nbits(model, WeightOnly(bits=4, keep_fp32=("tail",)))
    assert [n.name for n in kept.graph.node if n.op_type == "Gemm"] == ["node_linear_1"]


@pytest.mark.parametrize("bits", [8, 4])
def test_activations_become_integers_block_by_block(weight: np.ndarray, bits: int) -> None:
    """Decoding every weight to float32 for every word takes three times as long, and nothing else would tell."""
    quantized = quantize_matmul_nbits(linear(weight), WeightOnly(bits=bits))
    levels = [a.i for node in quantized.graph.node for a in node.attribute if a.name == "accuracy_level"]
    assert levels == [4]
    # One scale for all would leave nothing of the small block beside the large one.
    x = np.random.default_rng(1).normal(size=(1, COLUMNS)).astype(np.float32)
    x[0, :32] *= 1000
    weight[:, :32] = 0
    quantized = quantize_matmul_nbits(linear(weight), WeightOnly(bits=bits))
    # Kernels subtract the zero point's share of a sum in the end: of large products few digits are left.
    assert sqnr_db(run(decoded(quantized), x), run(quantized, x)) > 40


def test_scales_that_16_bits_cannot_hold_stay_float32(weight: np.ndarray) -> None:
    weight[:, :32] *= 1e-12
    quantized = quantize_matmul_nbits(linear(weight), WeightOnly(bits=4))
    assert [n.op_type for n in quantized.graph.node] == ["MatMulNBits"]
    x = np.zeros((1, COLUMNS), np.float32)
    x[0, 0] = 1e12
    assert np.abs(run(quantized, x)).max() > 0.1


def test_a_block_of_zeros_stays_zero(weight: np.ndarray) -> None:
    weight[:, :32] = 0
    x = np.zeros((1, COLUMNS), np.float32)
    x[0, :32] = 1000
    assert not run(quantize_matmul_nbits(linear(weight), WeightOnly(bits=4)), x).any()


def test_outliers_keep_their_size(weight: np.ndarray) -> None:
    """Clipping may cost an outlier a fifth of its size, never more."""
    weight[3, 5] = 100
    x = np.zeros((1, COLUMNS), np.float32)
    x[0, 5] = 1
    assert 80 <= run(quantize_matmul_nbits(linear(weight), WeightOnly(bits=4)), x)[0, 3] <= 105


def test_the_model_itself_is_left_alone(weight: np.ndarray) -> None:
    model = linear(weight)
    before = model.SerializeToString()
    quantize_matmul_nbits(model, WeightOnly(bits=4))
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    "model_of", [lambda w: linear(w, bias=True), lambda w: linear(w[:, :50])], ids=["with bias", "no whole blocks"]
)
def test_nothing_to_quantize_is_an_error(weight: np.ndarray, model_of: object) -> None:
    assert callable(model_of)
    with pytest.raises(ConfigError, match="No linear layer"):
        quantize_matmul_nbits(model_of(weight), WeightOnly(bits=4))


def test_kept_modules_stay_float(weight: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="No linear layer"):
        quantize_matmul_nbits(linear(weight), WeightOnly(bits=8, keep_fp32=("head",)))


@pytest.mark.parametrize(("bits", "group_size"), [(4, 16), (4, 64), (4, 128), (8, 64), (2, 128)])
def test_groups_of_any_size_compute_what_they_decode_to(bits: int, group_size: int) -> None:
    rng = np.random.default_rng(0)
    model = linear(rng.normal(size=(ROWS, 256)).astype(np.float32))
    x = rng.normal(size=(1, 256)).astype(np.float32)
    quantized = quantize_matmul_nbits(model, WeightOnly(bits=bits, group_size=group_size))
    scales = next(t for t in quantized.graph.initializer if "scales" in t.name)
    assert scales.dims[0] == ROWS * 256 // group_size
    assert sqnr_db(run(decoded(quantized), x), run(quantized, x)) > 100


def test_layers_that_groups_do_not_divide_stay_float(weight: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="No linear layer"):
        quantize_matmul_nbits(linear(weight), WeightOnly(bits=4, group_size=64))


def test_gptq_follows_the_inputs_of_the_layer(weight: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(512, COLUMNS)) @ (rng.normal(size=(COLUMNS, COLUMNS)) * np.logspace(0, -2, COLUMNS)[:, None])
    hessians = {"head": torch.from_numpy(x.T @ x / len(x))}

    def error(scheme: WeightOnly) -> float:
        (rounded,) = matrices_of(quantize_matmul_nbits(linear(weight), scheme, hessians)).values()
        return float(np.square(x @ (rounded - weight).T).mean())

    assert error(WeightOnly(bits=4)) < 0.5 * error(WeightOnly(bits=4, rounding=Nearest()))


def test_bits_of_a_module_without_layers_are_refused(weight: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="weight_bits names no module"):
        quantize_matmul_nbits(linear(weight), WeightOnly(bits=4, module_bits={"tail": 8}))
