"""The shipped decoder in INT4 weights and 16-bit activations on the HTP emulator: it says what its QDQ graph says."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from pocketcrafter.benchmarks.common.prose import Asked, agreeing_choices
from pocketcrafter.export.calibration import samples
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.lower.onnx.lowering import export_onnx
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.qnn.context import compile_context
from pocketcrafter.export.models import load_component
from pocketcrafter.export.shipped import CALIBRATION_PHOTOS, WEIGHTS
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import StaticInt16
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.backends.qnn import QnnEmulatorBackend, why_no_qnn
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import POCKET_SPECS, TOKENS, Pocket
from pocketcrafter.runtime.prose.prompt import LADDERS
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer
from pocketcrafter.runtime.targets import Soc

needs_qnn = pytest.mark.skipif(why_no_qnn() is not None, reason=f"the extra `qnn` is not here: {why_no_qnn()}")

_SPEC = POCKET_SPECS[Pocket.DECODER]
_CHOICES = 16


@needs_qnn
def test_int4_weights_choose_the_words_of_the_qdq_graph(tmp_path: Path) -> None:
    photos = sorted(CALIBRATION_PHOTOS.glob("*.jpg"))
    drawn = samples(Pocket.DECODER, photos, WEIGHTS, 8, 3)
    exported, quantized, context = (tmp_path / f"{name}.onnx" for name in ("fp32", "qdq", "context"))
    decoder = frozen(load_component(Pocket.DECODER, WEIGHTS / "decoder.safetensors"), ())
    export_onnx(decoder, as_tensors(drawn[0], _SPEC), _SPEC, exported)
    onnx.save(quantize(onnx.load(exported), StaticInt16(weight_bits=4), Calibration(drawn)), quantized)
    assert onnx.TensorProto.INT4 in {weight.data_type for weight in onnx.load(quantized).graph.initializer}
    compile_context(quantized, (Soc.SM8750,), context)

    words = Words.read(WEIGHTS / "decoder.tokenizer.json")
    tokens = np.concatenate([sample["soft"] for sample in drawn if sample["soft"].any()] * TOKENS)[None, :TOKENS]
    plan = dict.fromkeys(Attribute) | {a: LADDERS[a][-1] for a in list(Attribute)[:3]}
    asked = Asked(tokens, plan, 61.0, Mode.SHORT)
    reference = Writer(OnnxRuntimeBackend().open(quantized, _SPEC, 1), words)
    written = reference.write(asked.tokens, asked.plan, asked.score, asked.mode)
    emulator = QnnEmulatorBackend().open(context, _SPEC, 1)
    assert agreeing_choices(asked, written.ids, emulator, words, _CHOICES) == (_CHOICES, _CHOICES)
