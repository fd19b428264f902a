"""A network whose modules are tried out: cheap or dear, one at a time or many, always measured end to end."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from pocketcrafter.benchmarks.quantization.damage import Damage
from pocketcrafter.benchmarks.quantization.pictures import PictureSubject
from pocketcrafter.benchmarks.quantization.sessions import TriedSession
from pocketcrafter.benchmarks.quantization.words import WordsSubject
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.quantize.algorithms.blocks import Blocks
from pocketcrafter.quantize.modules import is_within
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches


class Trial(Protocol):
    """A network whose units can be cheap (few bits) or dear."""

    @property
    def units(self) -> tuple[str, ...]:
        """Qualified names of modules that are switched with everything below them."""

    def damage(self, cheap: Collection[str]) -> Damage:
        """Measure the network with these units cheap and the others dear."""

    def size(self, cheap: Collection[str]) -> int:
        """Return the bytes of its weights then."""


class PictureTrial:
    """A network of the pipeline with fake-quantization switches: INT8 is cheap, float32 is dear.

    Parameters
    ----------
    component, model
        The network in full precision, BatchNorm folded.
    board
        Its switches.
    subject
        What it is measured on.

    Attributes
    ----------
    board
        The switches.
    """

    def __init__(self, component: str, model: nn.Module, board: FakeQuantSwitches, subject: PictureSubject) -> None:
        self.board = board
        self._component, self._model, self._subject = component, model, subject
        self.units = blocks_of_modules(board.modules)

    def damage(self, cheap: Collection[str]) -> Damage:
        """Measure; the network's own joints are cheap with all of its units."""
        self.board.only(self.board.modules if set(cheap) >= set(self.units) else cheap)
        return self._subject.damage({self._component: self.session()})

    def session(self) -> TriedSession:
        """Return the network as it is switched."""
        reference = self._subject.networks.session(self._component)
        return TriedSession(self._run, self._component, reference)

    def size(self, cheap: Collection[str]) -> int:
        """Count a byte for each cheap weight, four for any other number."""
        chosen = tuple(cheap)
        return sum(
            tensor.numel() * (1 if name.endswith(".weight") and is_within(name, chosen) else 4)
            for name, tensor in self._model.named_parameters()
        )

    def _run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self.board.run(inputs)


class WordsTrial:
    """The decoder with its weights in blocks of few or of more bits.

    Parameters
    ----------
    decoder
        In full precision.
    cheap, dear
        Levels of each layer in either form; without ``dear`` a dear layer is float32.
    subject
        What it is measured on.
    """

    def __init__(
        self, decoder: Decoder, cheap: Mapping[str, Blocks], dear: Mapping[str, Blocks] | None, subject: WordsSubject
    ) -> None:
        self._decoder, self._cheap, self._dear, self._subject = decoder, cheap, dear, subject
        self.units = tuple(cheap)

    def damage(self, cheap: Collection[str]) -> Damage:
        """Measure."""
        return self._subject.damage(self.decoder(cheap))

    def decoder(self, cheap: Collection[str]) -> Decoder:
        """Return a decoder that has these layers cheap."""
        made = copy.deepcopy(self._decoder)
        for name in self.units:
            source = self._cheap if name in cheap else self._dear
            if source is not None:
                layer = made.get_submodule(name)
                layer.weight = nn.Parameter(source[name].weight(), requires_grad=False)
        return made

    def size(self, cheap: Collection[str]) -> int:
        """Count levels and scales."""
        sizes = {name: 4 * blocks.levels.numel() for name, blocks in self._cheap.items()}
        if self._dear is not None:
            sizes = {name: blocks.size for name, blocks in self._dear.items()}
        sizes |= {name: self._cheap[name].size for name in cheap}
        return sum(sizes.values())


def blocks_of_modules(modules: Sequence[str]) -> tuple[str, ...]:
    """Return the modules that a recipe may name, in order, without those that lie below another one of them."""
    named = [name for name in modules if name]
    return tuple(
        dict.fromkeys(name for name in named if not any(other != name and is_within(name, (other,)) for other in named))
    )
