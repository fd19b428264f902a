"""The decoder's calibration samples: single steps out of critiques that it writes itself."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.data.degrade import Frame
from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import GateSettings, apply_gate
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.pocket import POCKET_SPECS, TOKENS, Pocket
from pocketcrafter.runtime.prose.prompt import stated_plan
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer

_GATE: Final = GateSettings.uniform(presence=0.5, confidence=0.0, dead_zone=0.0)
_FIRST_STEP: Final = 24
_STRIDE: Final = 13
_STEPS: Final = 48
"""Steps 24 to 71 are taken in turn: within the text of every critique, and long before the end of most."""
_EVERY: Final = 8
"""Every eighth sample is a plan token instead: with words alone, the input that tokens come in by would be all 0."""


def decoder_samples(
    weights: Path, judge: Callable[[Frame], Judgement], collector: HessianCollector
) -> Callable[[Frame], Mapping[str, FloatArray]]:
    """Return what makes a sample of a frame.

    Parameters
    ----------
    weights
        Folder with the decoder's weights and tokenizer.
    judge
        The critic.
    collector
        Sees every step that the decoder takes until a sample is there.
    """
    network = TorchBackend().open(weights / "decoder.safetensors", POCKET_SPECS[Pocket.DECODER], threads=1)
    session = _Recorder(network)
    writer, turns = Writer(session, Words.read(weights / TOKENIZER)), count()

    def make(frame: Frame) -> Mapping[str, FloatArray]:
        turn = next(turns)
        said = judge(frame)
        plan = apply_gate(said.plan[0].numpy(), said.presence[0].numpy(), said.confidence[0].numpy(), _GATE)
        session.wait_for(_step_of(turn))
        mode = Mode.SHORT if turn % 2 else Mode.FULL
        with suppress(_EnoughError), collector.attached(network.model):
            writer.write(said.tokens.numpy(), stated_plan(plan, _GATE), 100 * float(said.score[0, 0]), mode)
        return session.kept

    return make


def _step_of(turn: int) -> int:
    # Of the tokens the last: it comes with the caches that the others filled.
    return _FIRST_STEP + turn * _STRIDE % _STEPS if turn % _EVERY != _EVERY - 1 else TOKENS - 1


class _EnoughError(Exception):
    """The step that was waited for is here: the rest of the critique is not needed."""


class _Recorder:
    """A session that keeps the inputs of one of its runs, and ends there."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._left = 0
        self.kept: Mapping[str, FloatArray] = {}

    def wait_for(self, step: int) -> None:
        self._left = step

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        if self._left == 0:
            self.kept = {name: np.array(array) for name, array in inputs.items()}
            raise _EnoughError
        self._left -= 1
        return self._session.run(inputs)
