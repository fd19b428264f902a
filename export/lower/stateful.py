"""Networks that keep tensors from call to call, for runtimes whose artifacts have states.

The decoder that keeps its caches inside takes one position a call, or several in order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.lower.request import Sample
from pocketcrafter.export.models.decoder import HEAD_DIM, HEADS, WIDTH, Block, Decoder, rotated
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.manifest import ArtifactFunction
from pocketcrafter.runtime.bundle.results import Fidelity
from pocketcrafter.runtime.components import ComponentSpec, TensorSpec
from pocketcrafter.runtime.pocket import POCKET_SPECS, PROSE_CACHE, PROSE_KEYS, PROSE_LENGTH, PROSE_VALUES, Pocket

PREFILL_STEPS: Final = 32
"""Positions that one call of `prefill` takes: a whole prompt of 18, and room for a longer one."""

_POSITIONS: Final = 2
"""The axis of positions in what the decoder adds to its caches."""
_MASKED: Final = -64.0
"""As in the decoder: far below any score."""


class StatefulRunner(Protocol):
    """Runs functions of one artifact on states that they share, from zeros on."""

    def run(self, function: str, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Run a function once, and keep what it writes into the states; return its outputs by name."""

    def states(self) -> Mapping[str, Tensor]:
        """Return what the states hold now."""


@dataclass(frozen=True)
class StatefulFunction:
    """One function of an artifact: a network with its memory inside, and what still goes in and out."""

    about: ArtifactFunction
    module: nn.Module

    @property
    def spec(self) -> ComponentSpec:
        """Inputs and outputs, without the state."""
        return POCKET_SPECS[Pocket.DECODER].model_copy(
            update={"inputs": self.about.inputs, "outputs": self.about.outputs}
        )

    @property
    def zeros(self) -> tuple[Tensor, ...]:
        """Inputs to export it with."""
        return tuple(torch.zeros(tensor.shape) for tensor in self.about.inputs)


@dataclass(frozen=True)
class StatefulForm:
    """The functions of a network; the first one, called with one position, is the component's own contract."""

    functions: tuple[StatefulFunction, ...]
    prove: Callable[[StatefulRunner, nn.Module, Sequence[Sample]], tuple[Fidelity, ...]]
    """Compares what the contract does not reach with the network in torch, on samples."""


def stateful_form(model: nn.Module) -> StatefulForm | None:
    """Return how a network is written with its state inside, or `None` where it has none."""
    make = _FORMS.get(type(model))
    return None if make is None else make(model)


def _decoder_form(model: nn.Module) -> StatefulForm:
    if not isinstance(model, Decoder):
        raise TypeError(f"{type(model).__name__} is no decoder")
    functions = (_decoder_function("decode", 1, model), _decoder_function("prefill", PREFILL_STEPS, model))
    return StatefulForm(functions, _prove)


def _decoder_function(name: str, steps: int, model: Decoder) -> StatefulFunction:
    spec = POCKET_SPECS[Pocket.DECODER]

    def wide(tensor: TensorSpec, axis: int = 0) -> TensorSpec:
        shape = (*tensor.shape[:axis], steps, *tensor.shape[axis + 1 :])
        return tensor.model_copy(update={"shape": shape})

    logits, *rows = spec.outputs
    about = ArtifactFunction(
        name=name,
        inputs=tuple(wide(tensor) for tensor in spec.inputs[:3]),
        outputs=(wide(logits), *(wide(tensor, _POSITIONS) for tensor in rows)),
        states=spec.inputs[3:],
    )
    return StatefulFunction(about, StatefulDecoder(model))


def _prove(runner: StatefulRunner, model: nn.Module, samples: Sequence[Sample]) -> tuple[Fidelity, ...]:
    """Take all of a prompt but its last position by `prefill`, and that one by `decode`, on the same states."""
    given, steps, expected = rehearse(model, samples, PREFILL_STEPS)
    last = slice(steps - 1, steps)
    one = {name: tensor[last] for name, tensor in given.items()}
    many = {**given, "position": given["position"].clone()}
    many["position"][last] = 0
    logits = runner.run("prefill", many)["logits"][: steps - 1]
    found = {"logits": torch.cat([logits, runner.run("decode", one)["logits"]]), **runner.states()}
    return tuple(
        Fidelity.between(f"prefill and decode: {name}", expected[name].numpy(), found[name].numpy())
        for name in sorted(expected)
    )


_FORMS: Final[Mapping[type[nn.Module], Callable[[nn.Module], StatefulForm]]] = {Decoder: _decoder_form}
"""Networks that keep something from call to call."""


class StatefulDecoder(nn.Module):
    """Computes what the decoder does for one or more positions in order, on caches that it keeps as buffers.

    It holds the decoder's own layers, so that programs of it with different numbers of positions have the same weights.

    Parameters
    ----------
    decoder
        Whose layers are used.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        for name in (*PROSE_KEYS, *PROSE_VALUES):
            self.register_buffer(name, torch.zeros(PROSE_CACHE))

    def forward(self, word: Tensor, soft: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take N words or plan tokens and keep their positions; return what the decoder does, for each of them.

        Parameters
        ----------
        word, soft
            One-hot ``(N, PROSE_WORDS)`` and ``(N, TOKEN_DIM)``, as the decoder takes them.
        position
            One-hot ``(N, PROSE_LENGTH)``, ascending. A row of zeros is left out: nothing is kept of it, and what is
            returned for it means nothing.

        Returns
        -------
        tuple
            Logits ``(N, PROSE_WORDS)``; keys and values, ``(PROSE_LAYERS, HEADS, N, HEAD_DIM)``.
        """
        decoder = self.decoder
        rows = word.shape[0]
        x = decoder.word(word) + decoder.soft(soft)
        cosine, sine = (
            torch.mm(position, table).reshape(1, rows, HEAD_DIM // 2) for table in (decoder.cosines, decoder.sines)
        )
        place = torch.mm(position * decoder.index, decoder.twice).reshape(1, rows, 1)
        # One place further than the decoder hides: here a position finds itself in the cache.
        ahead = (decoder.indices - 2.0 - place).clamp(0, 1)
        mask = 1.0 - ahead, ahead * _MASKED
        here = position.transpose(0, 1).reshape(1, PROSE_LENGTH, rows)
        places = here, 1.0 - here.sum(2, keepdim=True)
        kept: dict[str, Tensor] = {}
        made: list[Tensor] = []
        for block, *names in zip(decoder.blocks, PROSE_KEYS, PROSE_VALUES, strict=True):
            assert isinstance(block, Block)  # noqa: S101 - a module list forgets what it holds
            x, new, caches = _through(block, x, [self.get_buffer(name) for name in names], (cosine, sine), mask, places)
            made += new
            kept |= zip(names, caches, strict=True)
        # Last but for the copies: coremltools 9.0 breaks (KeyError) where what states become is computed last of all.
        logits: Tensor = decoder.logits(decoder.norm(x))
        keys, values = (
            torch.cat(of_layers).reshape(-1, HEADS, rows, HEAD_DIM) for of_layers in (made[::2], made[1::2])
        )
        for name, cache in kept.items():
            self.get_buffer(name).copy_(cache)
        return logits, keys, values


def _through(
    block: Block,
    x: Tensor,
    caches: Sequence[Tensor],
    rotation: tuple[Tensor, Tensor],
    mask: tuple[Tensor, Tensor],
    places: tuple[Tensor, Tensor],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return what a layer makes of x, of each position's key and value, and of its caches."""
    rows = x.shape[0]
    here, elsewhere = places
    y = block.norm_attention(x)
    query, key, value = (
        layer(y).reshape(rows, HEADS, HEAD_DIM).transpose(0, 1) for layer in (block.query, block.key, block.value)
    )
    new = [rotated(key, *rotation), value]
    # A product with the one-hot positions puts each row in its place; a write by index would be a scatter. Of one
    # position it is elementwise: coreai-core 1.0.0b3 moves the reshape of such a row behind a matrix product, wrongly.
    place = torch.mul if rows == 1 else torch.matmul
    kept = [cache * elsewhere + place(here, row) for cache, row in zip(caches, new, strict=True)]
    scores = torch.matmul(rotated(query, *rotation), kept[0].transpose(1, 2)) * HEAD_DIM**-0.5
    seen = torch.matmul(F.softmax(scores * mask[0] + mask[1], -1), kept[1])
    x = x + block.output(seen.transpose(0, 1).reshape(rows, WIDTH))
    y = block.norm_hidden(x)
    return x + block.down(F.silu(block.gate(y)) * block.up(y)), new, kept


def rehearse(
    decoder: nn.Module, samples: Sequence[Mapping[str, FloatArray]], rows: int
) -> tuple[dict[str, Tensor], int, dict[str, Tensor]]:
    """Make up a prompt and let the decoder take it step by step, from empty caches.

    Parameters
    ----------
    decoder
        One position a call, caches in and their rows out.
    samples
        Where words and plan tokens come from, in order and again from the start.
    rows
        Length of the prompt; the last eighth of it is left out, so that rows of zeros are tried too.

    Returns
    -------
    tuple
        Inputs of all rows together; how many of them are taken; ``logits`` after each of these, and every cache at the
        end.
    """
    steps = rows - rows // 8
    word, soft = (torch.zeros(rows, torch.tensor(samples[0][name]).shape[1]) for name in ("word", "soft"))
    position = torch.eye(rows, PROSE_LENGTH)
    position[steps:] = 0
    caches = {name: torch.zeros(PROSE_CACHE) for name in (*PROSE_KEYS, *PROSE_VALUES)}
    logits = []
    with torch.no_grad():
        for row in range(steps):
            sample = samples[row % len(samples)]
            word[row], soft[row] = (torch.tensor(sample[name][0]) for name in ("word", "soft"))
            here = slice(row, row + 1)
            said, keys, values = decoder(word[here], soft[here], position[here], *caches.values())
            for cache, new in zip(caches.values(), (*keys, *values), strict=True):
                cache[:, here] = new
            logits.append(said)
    return {"word": word, "soft": soft, "position": position}, steps, {"logits": torch.cat(logits), **caches}
