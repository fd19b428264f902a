"""Language models as one component of two functions: a whole sequence is what transformers itself makes of it."""

import copy
import importlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from pocketcrafter.benchmarks.bisect.qnn import CompiledGraph
from pocketcrafter.benchmarks.bisect.reference import Reference
from pocketcrafter.benchmarks.bisect.results import ranked
from pocketcrafter.export.calibration.language import TorchFunction, language_samples, rotary_of
from pocketcrafter.export.coreml_backend import MilBackend
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.measure import as_tensors
from pocketcrafter.export.lower.onnx.functions import for_grouped_integers, for_integer_activations
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest
from pocketcrafter.export.models.language import Language, language_spec
from pocketcrafter.export.names import HEAD
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.quantize.config import QuantizationOptions, WeightOnly
from pocketcrafter.runtime.backends.base import FunctionBackend, Session
from pocketcrafter.runtime.backends.coreai import PROGRAM, CoreAiBackend, why_no_coreai
from pocketcrafter.runtime.backends.executorch import ExecutorchBackend
from pocketcrafter.runtime.backends.onnxruntime import OnnxRuntimeBackend
from pocketcrafter.runtime.backends.qnn import QnnEmulatorBackend
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.errors import BackendError, ConfigError, NotRunHereError, ShapeMismatchError
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.language import PREFILL, Rotary, Text
from pocketcrafter.runtime.targets import ONNX, TARGETS, XNNPACK, TargetKind

COREAI = TargetKind("coreai:ios27")
needs_coreai = pytest.mark.skipif(why_no_coreai() is not None, reason=f"no extra `coreai`: {why_no_coreai()}")
CHUNK, LENGTH, PROMPT, WRITTEN = 8, 40, 19, 5
_SIZES = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "pad_token_id": 0,
}
_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def _smolvlm() -> Any:
    transformers = importlib.import_module("transformers")
    config = transformers.SmolVLMConfig(
        vision_config={**_VISION, "image_size": 32, "patch_size": 8},
        text_config={"model_type": "llama", **_SIZES},
        scale_factor=2,
        image_token_id=511,
        pad_token_id=0,
    )
    return transformers.SmolVLMForConditionalGeneration(config)


def _qwen() -> Any:
    transformers = importlib.import_module("transformers")
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "out_hidden_size": 128}
    rope = {"type": "mrope", "mrope_section": [4, 6, 6]}
    text = {**_SIZES, "model_type": "qwen2_5_vl_text", "rope_scaling": rope}
    config = transformers.Qwen2_5_VLConfig(vision_config=vision, text_config=text)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


class Subject:
    """A tiny model of transformers, the component that it becomes, and what it says of a sequence."""

    def __init__(self, network: Any, text: str) -> None:
        self.network = network.eval()
        # Biases of zeros and norms of ones, as models start, would hide that they are left out.
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                if "norm" in name or name.endswith("bias"):
                    parameter.add_(torch.rand_like(parameter) * 0.5)
        inner = self.network.model.get_submodule(text)
        self.table = inner.embed_tokens.weight
        self.model = Language(inner, self.network.lm_head)
        self.spec = language_spec(self.model, LENGTH, CHUNK)
        self.rotary = rotary_of(self.model)

    def request(self, target: TargetKind, out: Path, precision: Precision, **more: Any) -> LoweringRequest:
        samples = language_samples(self.model, self.table, self.spec, 4, seed=0)
        given = {"functions": {PREFILL: samples[PREFILL][-1:]}, **more}
        return LoweringRequest(self.model, self.spec, samples[None], precision, {target: out}, **given)

    def text(self, step: Session, prefill: Session) -> Text:
        return Text(step, prefill, self.spec, self.rotary)

    def opened(self, backend: FunctionBackend, path: Path) -> Text:
        prefill = backend.open_function(path, self.spec.of(PREFILL), 1, PREFILL)
        return self.text(backend.open(path, self.spec.of(None), 1), prefill)

    def compared(self, text: Text, least_db: float, *, same_words: bool = True) -> None:
        """Hold a prompt and what is written after it against transformers, which reads all of it at once.

        Of random weights the likeliest words are so near each other that float16 may choose another one.
        """
        words = torch.randint(0, len(self.table), (PROMPT,), generator=torch.Generator().manual_seed(1)).tolist()
        read = text.read(self.table[words].detach().numpy())
        hidden = [read.hidden]
        for _ in range(WRITTEN):
            words.append(int(read.logits.argmax()))
            read = text.read(self.table[words[-1:]].detach().numpy())
            hidden.append(read.hidden)
        with torch.no_grad():
            said = self.network(input_ids=torch.tensor([words]), output_hidden_states=True)
        greedy = said.logits[0].argmax(1).tolist()
        assert words[PROMPT:] == greedy[PROMPT - 1 : -1] or not same_words
        assert sqnr_db(said.hidden_states[-1][0].numpy(), np.concatenate(hidden)) > least_db
        assert sqnr_db(said.logits[0, -1].numpy(), read.logits) > least_db


@pytest.fixture(scope="module", params=["smolvlm", "qwen"])
def subject(request: pytest.FixtureRequest) -> Subject:
    torch.manual_seed(0)
    return Subject(_smolvlm(), "text_model") if request.param == "smolvlm" else Subject(_qwen(), "language_model")


@pytest.fixture(scope="module")
def smolvlm() -> Subject:
    torch.manual_seed(0)
    return Subject(_smolvlm(), "text_model")


def test_chunks_and_steps_are_what_transformers_computes_at_once(subject: Subject) -> None:
    functions = (TorchFunction(subject.model, subject.spec.of(name)) for name in (None, PREFILL))
    subject.compared(subject.text(*functions), 100)


def test_samples_are_of_texts_that_the_model_writes_itself(subject: Subject) -> None:
    sure = copy.deepcopy(subject.model)
    with torch.no_grad():
        # Chances of all words but one are 0, so that what is drawn is known.
        sure.head.weight *= 1e4
    collector = HessianCollector()
    samples = language_samples(sure, subject.table, subject.spec, 4, seed=0, collector=collector)
    read = TorchFunction(sure, subject.spec.of(PREFILL))
    for chunk, step in zip(samples[PREFILL], samples[None], strict=True):
        word = int(read.run(chunk)["logits"].argmax())
        np.testing.assert_array_equal(step["embeddings"][0], subject.table[word].detach().numpy())
    linear = {name for name, layer in sure.named_modules() if isinstance(layer, torch.nn.Linear)}
    assert collector.hessians().keys() == linear
    again = language_samples(sure, subject.table, subject.spec, 4, seed=0)
    assert all((a["keys"] == b["keys"]).all() for a, b in zip(samples[None], again[None], strict=True))


def test_positions_of_three_axes_turn_as_in_transformers() -> None:
    torch.manual_seed(0)
    qwen = Subject(_qwen(), "language_model")
    positions = torch.tensor([[0, 1, 1, 1, 1, 3], [0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3]])
    vectors = torch.randn(6, qwen.model.width)
    text = qwen.text(*(TorchFunction(qwen.model, qwen.spec.of(name)) for name in (None, PREFILL)))
    read = text.read(vectors.numpy(), positions.numpy())
    with torch.no_grad():
        said = qwen.network(
            inputs_embeds=vectors[None], position_ids=positions[:, None], attention_mask=torch.ones(1, 6).long()
        )
    assert sqnr_db(said.logits[0, -1].numpy(), read.logits) > 100
    with pytest.raises(ShapeMismatchError, match="3 axes"):
        qwen.rotary.at(positions[:2].numpy())


def _weights(subject: Subject) -> int:
    return sum(p.numel() * 4 for p in subject.model.parameters())


def _reach(fidelity: tuple[Fidelity, ...], least_db: float) -> None:
    assert [f.output for f in fidelity if not f.reaches(least_db)] == []
    assert [f.output for f in fidelity if f.output.startswith("prefill.")] == [
        f"prefill.{name}" for name in ("logits", "hidden", "new_keys", "new_values")
    ]


def _lowered(request: LoweringRequest) -> LoweredArtifact:
    (made,) = lower(request).values()
    assert [f.name for f in made.functions] == [PREFILL]
    assert made.coverage.share == 1
    return made


def test_onnx_serves_both_functions_with_one_graph(subject: Subject, tmp_path: Path) -> None:
    made = _lowered(subject.request(ONNX, tmp_path / "language.onnx", Precision.FP32))
    _reach(made.rung2, 100)
    assert made.path.stat().st_size < 1.3 * _weights(subject)
    assert [path.name for path in tmp_path.iterdir()] == ["language.onnx"]
    subject.compared(subject.opened(OnnxRuntimeBackend(), made.path), 100)


def test_onnx_attends_to_what_was_read_alone(smolvlm: Subject, tmp_path: Path) -> None:
    made = _lowered(smolvlm.request(ONNX, tmp_path / "language.onnx", Precision.FP32))
    kinds = Counter(node.op_type for node in onnx.load(made.path).graph.node)
    assert kinds["GroupQueryAttention"] == 2
    assert kinds["Softmax"] == 0
    rng = np.random.default_rng(0)
    caches = {name: rng.standard_normal((2, 2, LENGTH, 32), np.float32) for name in ("keys", "values")}
    session = OnnxRuntimeBackend().open_function(made.path, smolvlm.spec.of(PREFILL), 1, PREFILL)
    text = smolvlm.text(session, session)
    text.count = 5
    shown = text.inputs(*(rng.standard_normal((CHUNK, width), np.float32) for width in (128, 32, 32)), CHUNK)
    said = session.run({**shown, **caches})
    rest = {
        name: np.where(np.arange(LENGTH)[:, None] < 5, cache, 1e3).astype(np.float32) for name, cache in caches.items()
    }
    again = session.run({**shown, **rest})
    for name, values in said.items():
        np.testing.assert_array_equal(values, again[name])
    moved = session.run({**shown, **caches, "values": caches["values"] + 1})
    assert sqnr_db(said["hidden"], moved["hidden"]) < 40


def test_onnx_writes_caches_in_place(smolvlm: Subject, tmp_path: Path) -> None:
    made = _lowered(smolvlm.request(ONNX, tmp_path / "language.onnx", Precision.FP32))
    session = OnnxRuntimeBackend().open_function(made.path, smolvlm.spec.of(PREFILL), 1, PREFILL)
    rng, text = np.random.default_rng(0), smolvlm.text(session, session)
    rows = [rng.standard_normal((CHUNK, width), np.float32) for width in (128, 32, 32)]
    text.count = LENGTH - CHUNK
    given = text.inputs(*rows, CHUNK)
    said = session.run(given)
    for name in ("keys", "values"):
        np.testing.assert_array_equal(given[name][:, :, text.count :], said[f"new_{name}"])
    # Where a chunk's padding has no room, or a cache may not be written, nothing is.
    kept = {name: given[name].copy() for name in ("keys", "values")}
    given["keys"].flags.writeable = False
    for name, values in session.run(given).items():
        np.testing.assert_array_equal(values, said[name])
    text.count += 1
    behind = session.run(text.inputs(*rows, CHUNK))
    for name, cache in kept.items():
        np.testing.assert_array_equal(given[name], cache)
        assert behind[f"new_{name}"].shape == said[f"new_{name}"].shape


def test_xnnpack_serves_both_functions_with_one_program(subject: Subject, tmp_path: Path) -> None:
    made = _lowered(subject.request(XNNPACK, tmp_path / "language.pte", Precision.FP32))
    _reach(made.rung2, 100)
    assert made.path.stat().st_size < 1.3 * _weights(subject)
    assert made.coverage.fallbacks == ()
    subject.compared(subject.opened(ExecutorchBackend(), made.path), 100)


@pytest.mark.parametrize("target", ["coreml:ios18", "coreml:ios26"])
def test_core_ml_serves_both_functions_with_one_package(subject: Subject, tmp_path: Path, target: str) -> None:
    pytest.importorskip("coremltools")
    made = _lowered(subject.request(TargetKind(target), tmp_path / "language.mlpackage", Precision.FP16))
    _reach(made.rung2, 45)
    (weights,) = made.path.rglob("weight.bin")
    assert weights.stat().st_size < 1.1 * _weights(subject) / 2
    subject.compared(subject.opened(MilBackend(), made.path), 40, same_words=False)


@needs_coreai
def test_core_ai_serves_both_functions_with_one_asset(subject: Subject, tmp_path: Path) -> None:
    """The last chunk's padding is rows of zeros: what the runtime makes of them must be finite in float16."""
    made = _lowered(subject.request(COREAI, tmp_path / "language.aimodel", Precision.FP16))
    _reach(made.rung2, 45)
    assert "Apple's own" in made.rung2_how
    assert (made.path / PROGRAM).stat().st_size < 1.1 * _weights(subject) / 2
    backend = CoreAiBackend()
    step: Any = backend.open(made.path, subject.spec.of(None), 1)
    prefill: Any = backend.open_function(made.path, subject.spec.of(PREFILL), 1, PREFILL)
    assert step._asset is prefill._asset, "two would hold the weights twice"
    subject.compared(subject.text(step, prefill), 40, same_words=False)
    with pytest.raises(BackendError, match="has no function `nope`; it has main, prefill"):
        backend.open_function(made.path, subject.spec.of(PREFILL), 1, "nope")


@needs_coreai
def test_core_ai_stores_weights_of_four_bits_once(smolvlm: Subject, tmp_path: Path) -> None:
    made = _lowered(smolvlm.request(COREAI, tmp_path / "language.aimodel", Precision.W4))
    _reach(made.rung2, 40)
    assert not next(f for f in made.rung1 if f.output == "prefill.hidden").reaches(30), "nothing was rounded"
    assert (made.path / PROGRAM).stat().st_size < _weights(smolvlm) * 5.5 / 32


def test_core_mls_weights_of_four_bits_have_an_output_layer_of_eight(smolvlm: Subject, tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    target, sizes = TargetKind("coreml:ios18"), []
    for bits in ({}, {HEAD: 8}):
        made = _lowered(smolvlm.request(target, tmp_path / f"{len(sizes)}", Precision.W4, weight_bits=bits))
        _reach(made.rung2, 45)
        sizes.append(next(made.path.rglob("weight.bin")).stat().st_size)
    half = smolvlm.model.head.weight.numel() // 2
    # A scale for each group of 32 becomes one for each word.
    assert half * 0.75 < sizes[1] - sizes[0] < half
    with pytest.raises(ConfigError, match="weight_bits names no module of Language: nope"):
        lower(smolvlm.request(target, tmp_path / "nope", Precision.W4, weight_bits={"nope": 8}))


def test_the_htp_serves_both_functions_with_one_binary(subject: Subject, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    made = _lowered(subject.request(TargetKind("qnn-context:sm8750"), tmp_path / "language.onnx", Precision.FP16))
    _reach(made.rung2, 45)
    assert [f.file for f in made.functions] == ["language.prefill.onnx"]
    files = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert files.keys() == {"language.onnx", "language.prefill.onnx", "language_qnn.bin"}
    assert files["language_qnn.bin"] < 1.6 * _weights(subject) / 2
    assert "one binary, which the emulator does not open" in made.rung2_how
    with pytest.raises(NotRunHereError, match="on a phone"):
        QnnEmulatorBackend().open(made.path, subject.spec.of(None), 1)


def test_functions_with_binaries_of_their_own_run_on_the_emulator(smolvlm: Subject, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    asked = smolvlm.request(
        TargetKind("qnn-context:sm8750"), tmp_path / "language.onnx", Precision.FP16, shared_binary=False
    )
    made = _lowered(asked)
    _reach(made.rung2, 45)
    assert {path.name for path in tmp_path.iterdir()} == {"language.onnx", "language.prefill.onnx"}
    backend = QnnEmulatorBackend()
    prefill = backend.open(tmp_path / "language.prefill.onnx", smolvlm.spec.of(PREFILL), 1)
    smolvlm.compared(smolvlm.text(backend.open(made.path, smolvlm.spec.of(None), 1), prefill), 40, same_words=False)


def test_bisect_looks_into_functions_that_share_their_weights_on_the_htp(smolvlm: Subject, tmp_path: Path) -> None:
    """The emulator does not open their binary: the graph of free axes is compiled for the default function."""
    pytest.importorskip("onnxruntime_qnn")
    target, graph, out = TargetKind("qnn-context:sm8750"), tmp_path / "graph.onnx", tmp_path / "language.onnx"
    asked = smolvlm.request(ONNX, graph, Precision.FP32, to_compile=True)
    lower(smolvlm.request(target, out, Precision.FP16, source=lower(asked)[ONNX]))
    reference, sample = Reference(frozen(smolvlm.model, ()), smolvlm.spec), asked.calibration[-1]
    seen = CompiledGraph(graph, TARGETS[target].socs).observe(out, smolvlm.spec, sample, reference)
    errors = ranked(reference.errors(sample, seen))
    assert {"linear", "softmax", "silu"} <= {error.op for error in errors}
    assert errors[0].local_db > 45


@pytest.mark.parametrize(
    ("target", "precision", "least"), [(ONNX, Precision.W4, 60), (XNNPACK, Precision.A8W4_DYNAMIC, 100)]
)
def test_weights_of_four_bits_have_an_output_layer_of_eight(
    smolvlm: Subject, tmp_path: Path, target: TargetKind, precision: Precision, least: float
) -> None:
    sizes, logits = [], []
    for bits in ({}, {HEAD: 8}):
        out = tmp_path / f"{len(sizes)}"
        made = _lowered(smolvlm.request(target, out, precision, weight_bits=bits))
        _reach(made.rung2, least)
        sizes.append(out.stat().st_size)
        logits.append(next(f.sqnr_db or 0 for f in made.rung1 if f.output == "logits"))
    half = smolvlm.model.head.weight.numel() // 2
    assert half * 0.8 < sizes[1] - sizes[0] < half * 1.2
    # Of the errors that remain, half come from the layers before: without those of the output layer 3 dB less is left.
    assert logits[1] > logits[0] + 2
    assert sizes[1] < _weights(smolvlm) / 3


def test_onnx_multiplies_integers_in_dynamic_int8(smolvlm: Subject, tmp_path: Path) -> None:
    made = _lowered(smolvlm.request(ONNX, tmp_path / "language.onnx", Precision.W8A8_DYNAMIC))
    _reach(made.rung1, 28)
    _reach(made.rung2, 60)
    kinds = Counter(node.op_type for node in onnx.load(made.path).graph.node)
    # Queries, keys and values are one product.
    assert kinds["DynamicQuantizeMatMul"] == 2 * 5 + 1
    # Means of squares are no products to quantize: all normalizations but the first are one operator each.
    assert kinds["SkipSimplifiedLayerNormalization"] == 4
    assert kinds["MatMulInteger"] == kinds["DynamicQuantizeLinear"] == 0
    assert made.path.stat().st_size < _weights(smolvlm) / 3
    smolvlm.compared(smolvlm.opened(OnnxRuntimeBackend(), made.path), 25, same_words=False)


def test_activations_of_sixteen_bits_leave_the_weights_error_alone(smolvlm: Subject, tmp_path: Path) -> None:
    found = []
    for bits in (8, 16):
        chosen = QuantizationOptions(activation_bits=bits)
        asked = smolvlm.request(ONNX, tmp_path / f"{bits}.onnx", Precision.W8, quantization=chosen)
        made = _lowered(asked)
        # An input of 8 bits that lies between two levels falls to either by the processor's rounding before it: 53 dB.
        _reach(made.rung2, 40 if bits == 8 else 60)
        smolvlm.compared(smolvlm.opened(OnnxRuntimeBackend(), made.path), 30, same_words=False)
        found.append(next(f.sqnr_db or 0 for f in made.rung1 if f.output == "hidden"))
    assert found[1] > found[0] + 1


def test_channels_beyond_the_rest_of_their_group_take_no_levels_from_them(smolvlm: Subject) -> None:
    model = copy.deepcopy(smolvlm.model)
    with torch.no_grad():
        for name in model.normalized():
            model.get_submodule(name).get_parameter("weight")[::16] *= 30
    samples = language_samples(model, smolvlm.table, smolvlm.spec, 32, seed=0)
    steps = [as_tensors(sample, smolvlm.spec.of(None)) for sample in samples[None]]
    names = [name for readers in model.normalized().values() for name in readers]
    hessians = {name: torch.eye(model.get_submodule(name).in_features).double() for name in names}
    made, own = for_grouped_integers(model, WeightOnly(bits=8), hessians, steps)
    for expected, actual in zip(model(*steps[0]), made(*steps[0]), strict=True):
        assert sqnr_db(expected.numpy(), actual.numpy()) > 100
    for name in names:
        before, after = (of.get_submodule(name).get_parameter("weight") for of in (model, made))
        factor = (after / before).mean(0).double()
        assert factor.max() > 2 * factor.median()
        torch.testing.assert_close(own[name].diagonal(), factor**-2, rtol=1e-3, atol=1e-6)
    mixed = WeightOnly(bits=4, module_bits={"layers.0": 8})
    some, _ = for_grouped_integers(model, mixed, {}, steps)
    changed = {name for name in names if some.get_submodule(name).weight is not model.get_submodule(name).weight}
    assert changed == {name for name in names if name.startswith("layers.0.")}
    assert for_grouped_integers(model, WeightOnly(bits=4), hessians, steps) == (model, hessians)


def test_positions_of_a_chunk_share_no_range_where_nothing_is_normalized(smolvlm: Subject) -> None:
    model = smolvlm.model
    samples = language_samples(model, smolvlm.table, smolvlm.spec, 32, seed=0)
    spec = smolvlm.spec.of(None)
    steps = [as_tensors(sample, spec) for sample in samples[None]]
    made = for_integer_activations(model, steps)
    chunks = [as_tensors(sample, smolvlm.spec.of(PREFILL)) for sample in samples[PREFILL]]
    seen: dict[str, list[Tensor]] = {"before": [], "after": [], "rows": []}
    places = {
        "before": (model, "query.product"),
        "after": (made, "query.product"),
        "rows": (made, "down.product.layer"),
    }
    handles = []
    for key, (network, name) in places.items():
        layer: Any = network.get_submodule("layers.0").get_submodule(name)
        handles.append(layer.register_forward_pre_hook(lambda _m, inputs, key=key: seen[key].append(inputs[0])))
    with torch.no_grad():
        for chunk in chunks:
            for expected, actual in zip(model(*chunk), made(*chunk), strict=True):
                assert sqnr_db(expected.numpy(), actual.numpy()) > 100
    for handle in handles:
        handle.remove()
    before, after = (torch.cat(seen[key]).square().mean(0).log().std() for key in ("before", "after"))
    assert after < 0.75 * before
    rows = torch.cat(seen["rows"]).abs().amax(1)
    torch.testing.assert_close(rows, torch.ones_like(rows))


def test_functions_of_one_onnx_artifact_share_its_session(smolvlm: Subject, tmp_path: Path) -> None:
    made = _lowered(smolvlm.request(ONNX, tmp_path / "language.onnx", Precision.W4))
    backend = OnnxRuntimeBackend()
    step: Any = backend.open(made.path, smolvlm.spec.of(None), 1)
    prefill: Any = backend.open_function(made.path, smolvlm.spec.of(PREFILL), 1, PREFILL)
    assert step._session is prefill._session
    with pytest.raises(BackendError, match="contract"):
        backend.open(made.path, language_spec(smolvlm.model, LENGTH + 1, CHUNK).of(None), 1)


@pytest.mark.parametrize(
    ("target", "change", "error", "message"),
    [
        ("coreml:ios17", {"precision": Precision.FP16}, BackendError, "targets that keep them once are .*, onnx"),
        ("onnx", {"functions": {}}, ConfigError, "no samples of its function prefill"),
        ("onnx", {"precision": Precision.INT8}, BackendError, "in int8: only fp32, w8, w4, w8a8-dynamic can have its"),
    ],
)
def test_what_cannot_be_lowered_is_refused(
    smolvlm: Subject, tmp_path: Path, target: str, change: Mapping[str, Any], error: type[Exception], message: str
) -> None:
    given = {"precision": Precision.FP32, **change}
    with pytest.raises(error, match=message):
        lower(smolvlm.request(TargetKind(target), tmp_path / "language", **given))
    assert list(tmp_path.iterdir()) == []


def test_a_text_longer_than_the_caches_is_refused(smolvlm: Subject) -> None:
    functions = (TorchFunction(smolvlm.model, smolvlm.spec.of(name)) for name in (None, PREFILL))
    text = smolvlm.text(*functions)
    text.read(np.zeros((LENGTH - 1, 128), np.float32))
    text.read(np.zeros((1, 128), np.float32))
    with pytest.raises(ConfigError, match=f"has read {LENGTH} and holds {LENGTH}"):
        text.read(np.zeros((1, 128), np.float32))


def test_models_of_other_kinds_are_refused() -> None:
    transformers = importlib.import_module("transformers")
    mistral = transformers.MistralForCausalLM(transformers.MistralConfig(**_SIZES))
    with pytest.raises(ConfigError, match="of type mistral"):
        Language(mistral.model, mistral.lm_head)
    scaled = transformers.LlamaConfig(**_SIZES, rope_scaling={"rope_type": "dynamic", "factor": 2.0})
    llama = transformers.LlamaForCausalLM(scaled)
    with pytest.raises(ConfigError, match="of type dynamic"):
        Language(llama.model, llama.lm_head)


def test_rotations_of_one_axis_follow_their_frequencies() -> None:
    cosines, sines = Rotary(np.array([1.0, 0.5], np.float32), scale=2.0).at(np.array([0, 3]))
    np.testing.assert_allclose(cosines, 2 * np.cos([[0, 0, 0, 0], [3, 1.5, 3, 1.5]]), rtol=1e-6)
    np.testing.assert_allclose(sines, 2 * np.sin([[0, 0, 0, 0], [3, 1.5, 3, 1.5]]), rtol=1e-6)


def test_the_contract_names_both_functions(smolvlm: Subject) -> None:
    spec = smolvlm.spec
    shapes = {t.name: t.shape for t in spec.of(PREFILL).inputs}
    assert shapes["mask"] == (CHUNK, LENGTH + CHUNK)
    assert shapes["keys"] == (2, 2, LENGTH, 32)
    assert {t.name: t.shape for t in spec.outputs}["new_keys"] == (2, 2, 1, 32)
