"""Packages of several functions that store equal weights once, and share their states where they have any."""

import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.export import ExportedProgram

from pocketcrafter.export.lower.coreml.convert import (
    Compression,
    convert,
    coremltools,
    exported,
    quiet,
    rarely_validated,
    settle,
)
from pocketcrafter.export.lower.coreml.stateful_decoder import StatefulDecoder, rehearse
from pocketcrafter.export.lower.mil_interpreter import Interpreter, Mode, Program
from pocketcrafter.export.lower.request import Sample
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.runtime.bundle.manifest import ArtifactFunction
from pocketcrafter.runtime.bundle.results import Fidelity
from pocketcrafter.runtime.components import ComponentSpec, TensorSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket

PREFILL_STEPS: Final = 32
"""Positions that one call of `prefill` takes: a whole prompt of 18, and room for a longer one."""

_POSITIONS: Final = 2
"""The axis of positions in what the decoder adds to its caches."""

MAIN: Final = "main"
"""The default function's name in a package, unless the package says otherwise."""
_WEIGHTS_IN: Final = "decoder."
"""Where the modules of stateful functions hold the network, and so the weights that they share."""


@dataclass(frozen=True)
class PackageFunction:
    """One function of a package.

    Attributes
    ----------
    name
        As the package calls it.
    spec
        Its inputs and outputs, without states.
    program
        What is converted.
    """

    name: str
    spec: ComponentSpec
    program: ExportedProgram


@dataclass(frozen=True)
class StatefulFunction:
    """One function of a package: a network with its memory inside, and what still goes in and out."""

    about: ArtifactFunction
    module: nn.Module

    @property
    def spec(self) -> ComponentSpec:
        """Inputs and outputs, without the state."""
        return POCKET_SPECS[Pocket.DECODER].model_copy(
            update={"inputs": self.about.inputs, "outputs": self.about.outputs}
        )


@dataclass(frozen=True)
class StatefulForm:
    """The functions of a network; the first one, called with one position, is the component's own contract."""

    functions: tuple[StatefulFunction, ...]
    prove: Callable[[Program, nn.Module, Sequence[Sample], Mode], tuple[Fidelity, ...]]
    """Compares what the contract does not reach with the network in torch, on samples."""

    def exported(self) -> list[PackageFunction]:
        """Return the functions as programs."""
        made = []
        for function in self.functions:
            inputs = tuple(torch.zeros(t.shape) for t in function.about.inputs)
            made.append(PackageFunction(function.about.name, function.spec, exported(function.module, inputs)))
        return made

    @staticmethod
    def placed(compressed: Compression | None) -> Compression | None:
        """Return the compression of a network's own weights by the names that they have in the functions' modules."""
        return compressed and compressed.within(_WEIGHTS_IN)


def stateful_form(model: nn.Module) -> StatefulForm | None:
    """Return how a network is written with its state inside, or `None` where it has none."""
    make = _FORMS.get(type(model))
    return None if make is None else make(model)


def convert_functions(
    functions: Sequence[PackageFunction],
    ios: int,
    path: Path,
    *,
    half: bool,
    compressed: Compression | None = None,
) -> None:
    """Convert each function, compress it, and merge all of them: equal weights are stored once.

    Parameters
    ----------
    functions
        The first one is the package's default.
    ios, half, compressed
        As `convert` takes them, for every function.
    path
        The package's folder.

    Notes
    -----
    In this order, because coremltools cannot compress a package of several functions.

    Raises
    ------
    BackendError
        If coremltools is missing, or cannot convert or merge.
    """
    ct = coremltools()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        merged = ct.utils.MultiFunctionDescriptor()
        merged.default_function_name = functions[0].name
        for function in functions:
            part = Path(folder) / f"{function.name}.mlpackage"
            convert(function.program, function.spec, ios, part, half=half, compressed=compressed)
            merged.add_function(str(part), src_function_name=MAIN, target_function_name=function.name)
        try:
            with quiet(), rarely_validated():
                importlib.import_module("coremltools.models.utils").save_multifunction(merged, str(path))
        except Exception as error:  # coremltools raises whatever its passes raise
            raise BackendError(f"coremltools cannot merge functions: {type(error).__name__}: {error}") from error
    settle(path)


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


def _prove(program: Program, model: nn.Module, samples: Sequence[Sample], mode: Mode) -> tuple[Fidelity, ...]:
    """Take all of a prompt but its last position by `prefill`, and that one by `decode`, on the same states."""
    given, steps, expected = rehearse(model, samples, PREFILL_STEPS)
    last = slice(steps - 1, steps)
    one = {name: tensor[last] for name, tensor in given.items()}
    many = {**given, "position": given["position"].clone()}
    many["position"][last] = 0
    prefill, decode = (Interpreter(program, name, mode) for name in ("prefill", "decode"))
    state = prefill.new_state()
    logits = prefill.run(many, state).outputs["logits"][: steps - 1]
    found = {"logits": torch.cat([logits, decode.run(one, state).outputs["logits"]])}
    found |= {name: kept.value for name, kept in state.items()}
    return tuple(
        Fidelity.between(f"prefill and decode: {name}", expected[name].numpy(), found[name].numpy())
        for name in sorted(expected)
    )


_FORMS: Final[Mapping[type[nn.Module], Callable[[nn.Module], StatefulForm]]] = {Decoder: _decoder_form}
"""Networks that keep something from call to call."""
