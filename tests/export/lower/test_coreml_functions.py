"""The decoder for Core ML: prefill and decode in one package that stores weights once and remembers what it read."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.coreml.functions import convert_functions, stateful_functions
from pocketcrafter.export.lower.coreml.session import open_package
from pocketcrafter.export.lower.mil_interpreter import Interpreter, MilError, Mode, first_divergence, read_package
from pocketcrafter.export.lower.stateful import PREFILL_STEPS, StatefulDecoder, rehearse, stateful_form
from pocketcrafter.export.models import load_component
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.names import Mode as Length
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import (
    POCKET_SPECS,
    PROSE_CACHE,
    PROSE_KEYS,
    PROSE_LENGTH,
    PROSE_VALUES,
    PROSE_WORDS,
    TOKEN_DIM,
    TOKENS,
    Pocket,
)
from pocketcrafter.runtime.prose.prompt import LADDERS, prompt_words
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Steps
from pocketcrafter.runtime.targets import TARGETS

pytest.importorskip("coremltools")

SPEC = POCKET_SPECS[Pocket.DECODER]
GREEDY = 32
CACHES = (*PROSE_KEYS, *PROSE_VALUES)


@pytest.fixture(scope="module")
def decoder() -> nn.Module:
    return load_component(Pocket.DECODER, WEIGHTS / "decoder.safetensors").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def package(decoder: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "decoder.mlpackage"
    form = stateful_form(decoder)
    assert form is not None
    convert_functions(stateful_functions(form), 18, path, half=True)
    return path


@pytest.fixture(scope="module")
def prompt() -> tuple[Tensor, list[int]]:
    """Plan tokens, and the words of a plan that asks for three things."""
    plan = dict.fromkeys(Attribute) | {a: LADDERS[a][-1] for a in list(Attribute)[:3]}
    words = Words.read(WEIGHTS / "decoder.tokenizer.json").numbers(prompt_words(plan, 61.0, Length.FULL))
    return torch.randn(TOKENS, TOKEN_DIM, generator=torch.Generator().manual_seed(0)), words


class _Torch:
    """The decoder as it was trained, one position a call."""

    def __init__(self, decoder: nn.Module) -> None:
        self.decoder = decoder

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        said = self.decoder(*(torch.from_numpy(inputs[t.name]) for t in SPEC.inputs))
        return {t.name: value.numpy() for t, value in zip(SPEC.outputs, said, strict=True)}


def _row(word: int | None, position: int, soft: Tensor | None = None) -> dict[str, Tensor]:
    words = torch.zeros(1, PROSE_WORDS)
    if word is not None:
        words[0, word] = 1
    places = torch.zeros(1, PROSE_LENGTH)
    places[0, position] = 1
    return {"word": words, "soft": torch.zeros(1, TOKEN_DIM) if soft is None else soft[None], "position": places}


def test_prefill_then_decode_choose_the_words_that_torch_chooses(
    decoder: nn.Module, package: Path, prompt: tuple[Tensor, list[int]]
) -> None:
    tokens, words = prompt
    steps = Steps(_Torch(decoder))
    logits, wanted = steps.prompt(tokens.numpy()[None], words), []
    for _ in range(GREEDY):
        wanted.append(int(logits.argmax()))
        logits = steps.take(wanted[-1])
    rows = [_row(None, i, soft) for i, soft in enumerate(tokens)]
    rows += [_row(word, TOKENS + i) for i, word in enumerate(words)]
    taken = len(rows)
    given = {
        name: torch.cat([*(row[name] for row in rows), torch.zeros(PREFILL_STEPS - taken, rows[0][name].shape[1])])
        for name in rows[0]
    }
    program = read_package(package)
    prefill, decode = (Interpreter(program, name) for name in ("prefill", "decode"))
    state = prefill.new_state()
    said = prefill.run(given, state).outputs["logits"][taken - 1]
    chosen: list[int] = []
    for place in range(taken, taken + GREEDY):
        chosen.append(int(said.argmax()))
        said = decode.run(_row(chosen[-1], place), state).outputs["logits"][0]
    assert chosen == wanted
    assert len(set(chosen)) > 3


def test_the_weights_of_both_functions_are_stored_once(decoder: nn.Module, package: Path) -> None:
    size = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    once = 2 * sum(p.numel() for p in (*decoder.parameters(), *decoder.buffers()))
    assert once < size < 1.1 * once


def test_decode_alone_keeps_the_components_contract(decoder: nn.Module, package: Path) -> None:
    generator = np.random.default_rng(0)
    inputs = {k: v.numpy() for k, v in _row(300, 40).items()}
    for name in CACHES:
        inputs[name] = np.zeros(PROSE_CACHE, np.float32)
        inputs[name][:, :40] = generator.normal(size=(PROSE_CACHE[0], 40, PROSE_CACHE[2]))
    wanted = _Torch(decoder).run(inputs)
    session = open_package(package, SPEC, Mode.FP32)
    for _ in range(2):  # nothing is left over from one call to the next
        found = session.run(inputs)
        assert list(found) == list(wanted)
        # float16 constants, float32 arithmetic
        assert min(sqnr_db(wanted[name], found[name]) for name in wanted) > 55
    program, states = read_package(package), {n: torch.from_numpy(inputs.pop(n)) for n in CACHES}
    feeds = {name: torch.from_numpy(value) for name, value in inputs.items()}
    assert first_divergence(program, feeds, states=states, floor_db=30) is None
    with pytest.raises(MilError, match=f"keeps the states {', '.join(sorted(CACHES))}; it was given keys_0"):
        Interpreter(program).new_state({"keys_0": states["keys_0"]})


@pytest.mark.parametrize("rows", [1, 8, PREFILL_STEPS])
def test_many_positions_at_once_are_the_same_as_one_after_the_other(rows: int) -> None:
    torch.manual_seed(1)
    decoder = Decoder().eval().requires_grad_(False)
    samples = [{k: v.numpy() for k, v in _row(17 * i, 0, torch.randn(TOKEN_DIM)).items()} for i in range(5)]
    given, steps, expected = rehearse(decoder, samples, rows)
    stateful = StatefulDecoder(decoder)
    logits, keys, values = stateful(*given.values())
    assert steps == rows - rows // 8
    assert sqnr_db(expected["logits"].numpy(), logits[:steps].numpy()) > 100
    for name in CACHES:
        kept = stateful.get_buffer(name)
        assert sqnr_db(expected[name].numpy(), kept.numpy()) > 100
        assert not kept[:, steps:].any(), "rows of zeros are kept nowhere"
    for name, of_all in (("keys_1", keys), ("values_1", values)):
        assert of_all.shape[2] == rows
        torch.testing.assert_close(of_all[1, :, :steps], expected[name][:, :steps])


def test_systems_that_keep_nothing_and_networks_that_need_not_have_one_function(decoder: nn.Module) -> None:
    assert [kind for kind, row in TARGETS.items() if kind.family == "coreml" and not row.state] == ["coreml:ios17"]
    assert stateful_form(nn.Linear(2, 2)) is None
    form = stateful_form(decoder)
    assert form is not None
    decode, prefill = (function.about for function in form.functions)
    assert (decode.inputs, decode.outputs, decode.states) == (SPEC.inputs[:3], SPEC.outputs, SPEC.inputs[3:])
    assert [t.shape[0] for t in prefill.inputs] == [PREFILL_STEPS] * 3
    assert [t.shape for t in prefill.outputs] == [(32, PROSE_WORDS), (4, 4, 32, 48), (4, 4, 32, 48)]
