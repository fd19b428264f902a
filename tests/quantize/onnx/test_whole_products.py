"""Products of float activations with INT8 weights as one operator."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pocketcrafter.quantize.config import DynamicInt8
from pocketcrafter.quantize.onnx.dynamic import WHOLE_PRODUCT, quantize_dynamic_int8, with_whole_products
from pocketcrafter.runtime.backends.onnxruntime import open_session

WIDTH, WORDS = 64, 140_000


def test_a_large_product_becomes_several_that_compute_the_same() -> None:
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((WIDTH, WORDS), np.float32), "weight")
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", WIDTH), ("y", WORDS))
    ]
    product = helper.make_node("MatMul", ["x", "weight"], ["y"], name="head")
    graph = helper.make_graph([product], "head", ports[:1], ports[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    quantized = quantize_dynamic_int8(model, DynamicInt8())
    whole = with_whole_products(quantized)
    assert [node.op_type for node in whole.graph.node] == [WHOLE_PRODUCT] * 2 + ["Concat"]
    x = {"x": rng.standard_normal((1, WIDTH), np.float32)}
    (expected,), (actual,) = (open_session(m.SerializeToString()).run(None, x) for m in (quantized, whole))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * float(np.abs(expected).max()))
    assert sum(onnx.numpy_helper.to_array(t).size for t in whole.graph.initializer) == WIDTH * WORDS + WORDS
