"""The shipped decoder in INT4 weights and 16-bit activations on the HTP emulator: it says what its QDQ graph says."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from pocketcrafter.export.backend import WEIGHTS
from pocketcrafter.export.calibration import PHOTOS, samples
from pocketcrafter.export.lower.base import as_tensors, frozen
from pocketcrafter.export.lower.onnx import export_onnx, quantize_static
from pocketcrafter.export.lower.qnn_context import compile_context
from pocketcrafter.export.models import load_component
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.backends.qnn import run_qnn, why_no_qnn
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import POCKET_SPECS, TOKEN_DIM, TOKENS, Component
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.prose.prompt import LADDERS, Mode, prompt_words
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Steps
from pocketcrafter.runtime.targets import Soc

needs_qnn = pytest.mark.skipif(why_no_qnn() is not None, reason=f"the extra `qnn` is not here: {why_no_qnn()}")

_SPEC = POCKET_SPECS[Component.DECODER]
_WORDS = 12


class _Recorder:
    """A session that keeps what it was asked and what it answered."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.asked: list[Mapping[str, FloatArray]] = []
        self.said: list[Mapping[str, FloatArray]] = []

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        self.asked.append({name: array.copy() for name, array in inputs.items()})
        said = self._session.run(inputs)
        self.said.append(said)
        return said


@needs_qnn
def test_int4_weights_choose_the_words_of_the_qdq_graph(tmp_path: Path) -> None:
    photos = sorted(PHOTOS.glob("*.jpg"))
    drawn = samples(Component.DECODER, photos, WEIGHTS, 8, 3)
    exported, quantized, context = (tmp_path / f"{name}.onnx" for name in ("fp32", "qdq", "context"))
    decoder = frozen(load_component(Component.DECODER, WEIGHTS / "decoder.safetensors"), ())
    export_onnx(decoder, as_tensors(drawn[0], _SPEC), _SPEC, exported)
    quantize_static(Precision.A16W4, exported, drawn, quantized)
    assert onnx.TensorProto.INT4 in {weight.data_type for weight in onnx.load(quantized).graph.initializer}
    compile_context(quantized, Soc.SM8750, context)

    reference = _Recorder(OnnxRuntimeBackend().open(quantized, _SPEC, 1))
    plan = dict.fromkeys(Attribute) | {a: LADDERS[a][-1] for a in list(Attribute)[:3]}
    words = Words.read(WEIGHTS / "decoder.tokenizer.json").numbers(prompt_words(plan, 61.0, Mode.FULL))
    tokens = np.random.default_rng(0).normal(size=(1, TOKENS, TOKEN_DIM)).astype(np.float32)
    steps = Steps(reference)
    logits = steps.prompt(tokens, words)
    for _ in range(_WORDS - 1):
        logits = steps.take(int(logits.argmax()))

    _, emulated = run_qnn(context, reference.asked[-_WORDS:])
    chosen = [int(said["logits"].argmax()) for said in emulated]
    assert chosen == [int(said["logits"].argmax()) for said in reference.said[-_WORDS:]]
    assert len(set(chosen)) > _WORDS // 2, "the words say nothing"
