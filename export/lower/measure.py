"""Runs networks and artifacts on samples that calibration did not see, and compares what they compute."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.request import LoweredArtifact, Sample
from pocketcrafter.quantize.calibration import held_back
from pocketcrafter.quantize.modules import outputs_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Backend, FunctionBackend, checked_inputs, named_outputs
from pocketcrafter.runtime.bundle.manifest import ArtifactFunction
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import ConfigError

_THREADS: Final = 1
EAGER: Final = "eager torch in full precision"
ROUNDED: Final = "the network with its weights rounded in torch"


@dataclass(frozen=True)
class Enough:
    """How many of the samples held back are measured with: no more than make a figure steady."""

    samples: int
    values: int
    """Elements of the smallest output; a tile of restoration has 786,432."""


ON_CPU: Final = Enough(samples=8, values=3 << 20)
SLOWLY: Final = Enough(samples=2, values=1 << 19)
"""For emulators and interpreters, which take seconds for a sample."""


def hold_back(
    calibration: Sequence[Sample], spec: ComponentSpec, enough: Enough = ON_CPU
) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Split samples into those to calibrate with and those to measure with; a few may be neither.

    Parameters
    ----------
    calibration
        All samples, at least two.
    spec
        The component's contract.
    enough
        How many samples and output values are enough to measure with.

    Raises
    ------
    ConfigError
        If there are fewer than two samples.
    """
    if len(calibration) < 2:
        raise ConfigError(f"Lowering needs at least two samples, one of them to measure with; got {len(calibration)}.")
    held = held_back(len(calibration))
    values = min(math.prod(output.shape) for output in spec.outputs)
    measured_with = min(held, enough.samples, math.ceil(enough.values / values))
    return calibration[:-held], calibration[-held:][:measured_with]


@dataclass(frozen=True)
class Simulation:
    """What a fake-quantized model said of the samples held back, and what it is, in words."""

    outputs: Sequence[Mapping[str, FloatArray]]
    how: str


def measured(
    path: Path,
    coverage: Coverage,
    spec: ComponentSpec,
    samples: Sequence[Sample],
    reference: Sequence[Mapping[str, FloatArray]],
    simulation: Simulation | None,
    actual: Sequence[Mapping[str, FloatArray]],
    how: str,
    full: str = EAGER,
) -> LoweredArtifact:
    """Put the two rungs of an artifact together.

    Parameters
    ----------
    path, coverage, spec
        The artifact, what of it is delegated, and its outputs.
    samples
        Those held back.
    reference, actual
        What the full-precision model and the artifact said of the samples.
    simulation
        The fake-quantized model between them; none where nothing is quantized.
    how, full
        What the artifact ran on, and what computed in full precision, in words.
    """
    between = simulation or Simulation(reference, full)
    return LoweredArtifact(
        path=path,
        coverage=coverage,
        rung1=compare(samples, reference, simulation.outputs, spec) if simulation else (),
        rung1_how=f"{simulation.how[0].upper()}{simulation.how[1:]} against {full}" if simulation else "",
        rung2=compare(samples, between.outputs, actual, spec),
        rung2_how=f"{how} against {between.how}",
        whole=compare(samples, reference, actual, spec) if simulation else (),
    )


def with_functions(
    default: LoweredArtifact, others: Mapping[str, LoweredArtifact], spec: ComponentSpec
) -> LoweredArtifact:
    """Put what was measured of further functions behind the default one's, each output as ``<function>.<output>``.

    Parameters
    ----------
    default
        Measured of the default function.
    others
        Measured of the further functions, by name.
    spec
        The component's contract.
    """

    def named(kind: str) -> tuple[Fidelity, ...]:
        found: list[Fidelity] = list(getattr(default, kind))
        for function, made in others.items():
            found += [f.model_copy(update={"output": f"{function}.{f.output}"}) for f in getattr(made, kind)]
        return tuple(found)

    functions = tuple(ArtifactFunction(name=f.name, inputs=f.inputs, outputs=f.outputs) for f in spec.functions)
    return replace(default, rung1=named("rung1"), rung2=named("rung2"), whole=named("whole"), functions=functions)


def function_samples(
    held: Sequence[Sample],
    spec: ComponentSpec,
    functions: Mapping[str, Sequence[Sample]],
    enough: Enough = ON_CPU,
) -> dict[str | None, tuple[ComponentSpec, Sequence[Sample]]]:
    """Return the contract of each function, the default one first, with the samples that it is measured with.

    Parameters
    ----------
    held
        Held-back samples of the default function.
    spec
        The component's contract.
    functions
        Samples of the further functions, by name.
    enough
        How many of these are enough to measure with.
    """
    made: dict[str | None, tuple[ComponentSpec, Sequence[Sample]]] = {None: (spec.of(None), held)}
    for known in spec.functions:
        made[known.name] = spec.of(known.name), functions[known.name][: enough.samples]
    return made


def run_functions(
    backend: FunctionBackend,
    artifact: Path,
    samples: Mapping[str | None, tuple[ComponentSpec, Sequence[Sample]]],
) -> dict[str | None, list[dict[str, FloatArray]]]:
    """Run each function of an artifact on its samples.

    Parameters
    ----------
    backend
        What opens single functions of an artifact.
    artifact
        The artifact on disk.
    samples
        Contract and samples of each function; `None` is the default one.
    """
    made = {}
    for name, (about, held) in samples.items():
        if name is None:
            session = backend.open(artifact, about, _THREADS)
        else:
            session = backend.open_function(artifact, about, _THREADS, name)
        made[name] = [session.run(sample) for sample in held]
    return made


def as_tensors(sample: Sample, spec: ComponentSpec) -> tuple[Tensor, ...]:
    """Return a sample in calling order, in memory of its own.

    An axis that numpy added (``array[None]``) has stride 0; torch keeps that, and ExecuTorch refuses it.
    """
    return tuple(torch.tensor(array.ravel()).reshape(array.shape) for array in checked_inputs(sample, spec).values())


def run_torch(model: nn.Module, samples: Sequence[Sample], spec: ComponentSpec) -> list[dict[str, FloatArray]]:
    """Run a torch model on every sample.

    Parameters
    ----------
    model
        In evaluation mode.
    samples
        Inputs by name.
    spec
        The component's contract.
    """
    with torch.no_grad():
        said = [outputs_of(model(*as_tensors(sample, spec))) for sample in samples]
    return [named_outputs([output.numpy() for output in outputs], spec) for outputs in said]


def run_artifact(
    backend: Backend, artifact: Path, samples: Sequence[Sample], spec: ComponentSpec
) -> list[dict[str, FloatArray]]:
    """Run an artifact on every sample, through the backend that users run it with.

    Parameters
    ----------
    backend
        What runs the artifact.
    artifact
        The artifact on disk.
    samples
        Inputs by name.
    spec
        The component's contract.
    """
    session = backend.open(artifact, spec, _THREADS)
    return [session.run(sample) for sample in samples]


def compare(
    samples: Sequence[Sample],
    reference: Sequence[Mapping[str, FloatArray]],
    actual: Sequence[Mapping[str, FloatArray]],
    spec: ComponentSpec,
) -> tuple[Fidelity, ...]:
    """Compare each output over all samples together; of one that mends an input, what it changes.

    Parameters
    ----------
    samples
        Inputs by name, one mapping a sample.
    reference, actual
        Outputs by name, in the same order.
    spec
        The component's contract.
    """

    def together(tensors: Sequence[Mapping[str, FloatArray]], names: Iterable[str]) -> dict[str, FloatArray]:
        return {name: np.stack([one[name] for one in tensors]) for name in names}

    inputs = together(samples, {output.mends for output in spec.outputs if output.mends})
    names = [output.name for output in spec.outputs]
    expected, found = together(reference, names), together(actual, names)
    return tuple(Fidelity.of(output, inputs, expected[output.name], found[output.name]) for output in spec.outputs)
