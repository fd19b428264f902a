"""What a lowering is: a component in, an artifact of one target out, with how faithful and how covered it is."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node

from pocketcrafter.export.precisions import ON_THE_CPU, refusal
from pocketcrafter.quantize.algorithms.rounding import Guidance
from pocketcrafter.quantize.calibration import held_back
from pocketcrafter.quantize.modules import check_modules, outputs_of
from pocketcrafter.quantize.torch.folding import fold_batchnorm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Backend
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.bundle.manifest import ArtifactFunction
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.targets import TargetKind

Sample = Mapping[str, FloatArray]
Progress = Callable[[int, int], None]
"""Called with steps done and steps in all."""

_THREADS: Final = 1


@dataclass(frozen=True)
class LoweredArtifact:
    """One component on one target, and what was measured of it on samples that calibration did not see."""

    path: Path
    coverage: Coverage
    rung1: tuple[Fidelity, ...]
    """Fake-quantized against full precision, one entry an output; empty where nothing is quantized."""
    rung1_how: str
    rung2: tuple[Fidelity, ...]
    """The artifact on this machine against the fake-quantized model, or full precision where nothing is quantized."""
    rung2_how: str
    functions: tuple[ArtifactFunction, ...] = ()
    """Where the artifact keeps what the contract hands in and out."""
    whole: tuple[Fidelity, ...] = ()
    """The artifact against full precision, both rungs at once; empty where nothing is quantized."""


@dataclass(frozen=True)
class Simulation:
    """What a fake-quantized model said of the samples held back, and what it is, in words."""

    outputs: Sequence[Mapping[str, FloatArray]]
    how: str


EAGER: Final = "eager torch in full precision"


def measured(
    path: Path,
    coverage: Coverage,
    spec: ComponentSpec,
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
    reference, actual
        What the full-precision model and the artifact said of the samples held back.
    simulation
        The fake-quantized model between them; none where nothing is quantized.
    how, full
        What the artifact ran on, and what computed in full precision, in words.
    """
    between = simulation or Simulation(reference, full)
    return LoweredArtifact(
        path=path,
        coverage=coverage,
        rung1=compare(reference, simulation.outputs, spec) if simulation else (),
        rung1_how=f"{simulation.how[0].upper()}{simulation.how[1:]} against {full}" if simulation else "",
        rung2=compare(between.outputs, actual, spec),
        rung2_how=f"{how} against {between.how}",
        whole=compare(reference, actual, spec) if simulation else (),
    )


def on_the_cpu(made: LoweredArtifact) -> LoweredArtifact:
    """Say of an artifact that it was left to the CPU on purpose, beside an accelerator that has no such arithmetic."""
    return replace(made, rung2_how=f"{ON_THE_CPU}{made.rung2_how}")


class Lowering(Protocol):
    """A way to one target."""

    def lower(
        self,
        model: nn.Module,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        out: Path,
        *,
        keep_fp32: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> LoweredArtifact:
        """Quantize where asked, lower, and compare.

        Parameters
        ----------
        model
            Full precision, on the CPU; left as it is.
        spec
            The component's inputs and outputs, in calling order.
        calibration
            At least two samples; the last quarter (one to eight) is held back from calibration, and measured with.
        precision
            What weights and activations become.
        out
            The artifact; nothing is left there when this raises. Goes through a temporary name.
        keep_fp32
            Qualified names of modules that stay float32 with everything below them.
        progress
            Told of calibration samples done.

        Raises
        ------
        ConfigError
            If the target has no such precision, there are too few samples, or ``keep_fp32`` names no module.
        ShapeMismatchError
            If a sample or an output does not keep the spec.
        GateError
            If preparing for quantization already changed the model, or an output is not finite.
        """


@runtime_checkable
class Compiling(Protocol):
    """A lowering whose compiler starts from another target's artifact; see `Profile.compiled_from`."""

    def compile(
        self,
        source: LoweredArtifact,
        model: nn.Module,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        out: Path,
    ) -> LoweredArtifact:
        """Compile what the other target runs; the rest as in :meth:`Lowering.lower`."""


@runtime_checkable
class Together(Protocol):
    """A lowering that does most of its work once for several targets; see `Profile.together`."""

    def lower_together(
        self,
        model: nn.Module,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        outs: Mapping[TargetKind, Path],
        *,
        keep_fp32: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> dict[TargetKind, LoweredArtifact]:
        """Lower to each target of ``outs``, this lowering's own among them; the rest as in :meth:`Lowering.lower`."""


@runtime_checkable
class Guided(Protocol):
    """A lowering that rounds weights better when it knows of their inputs, or may give single modules other bits."""

    def guided(self, guidance: Guidance) -> Lowering:
        """Return the lowering that follows a guidance."""


def check_precision(target: TargetKind, precision: Precision) -> None:
    """Refuse a precision that a target does not have.

    Raises
    ------
    ConfigError
        With the reason, the nearest precision and all that it has.
    """
    if reason := refusal(target, precision):
        raise ConfigError(reason)


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
    """Split samples into those to calibrate with and those to measure with; a few may be neither."""
    if len(calibration) < 2:
        raise ConfigError(f"Lowering needs at least two samples, one of them to measure with; got {len(calibration)}.")
    held = held_back(len(calibration))
    values = min(math.prod(output.shape) for output in spec.outputs)
    measured_with = min(held, enough.samples, math.ceil(enough.values / values))
    return calibration[:-held], calibration[-held:][:measured_with]


def frozen(model: nn.Module, keep_fp32: tuple[str, ...]) -> nn.Module:
    """Return a copy for inference: BatchNorm folded, in evaluation mode, nothing trainable."""
    check_modules(model, keep_fp32)
    return fold_batchnorm(model).requires_grad_(False)


def export_stateless(model: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """Export a network for ExecuTorch.

    Parameters
    ----------
    model
        In evaluation mode, nothing trainable.
    inputs
        In calling order.

    Raises
    ------
    ConfigError
        If it keeps something from run to run: a program forgets what such a buffer starts with, and another method of
        the same program writes over it, without a word.
    """
    with torch.no_grad():
        program = torch.export.export(model, inputs)
    if changed := sorted(written_buffers(program)):
        raise ConfigError(
            f"{type(model).__name__} writes into {', '.join(f'`{name}`' for name in changed)} while it runs, and a "
            "program would start with zeros there: hand it in and out instead, as the decoder's caches are."
        )
    return program


def written_buffers(program: ExportedProgram) -> set[str]:
    """Return the buffers that operators write into; a program's signature tells only once it is functionalized."""
    buffers = program.graph_signature.inputs_to_buffers
    found = set()
    for node in program.graph.nodes:
        arguments = getattr(getattr(node.target, "_schema", None), "arguments", ())
        for argument, value in zip(arguments, node.args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                while isinstance(value, Node) and value.op == "call_function":
                    value = value.args[0]  # noqa: PLW2901 - up to what the view is of
                if isinstance(value, Node) and value.name in buffers:
                    found.add(buffers[value.name])
    return found


def as_tensors(sample: Sample, spec: ComponentSpec) -> tuple[Tensor, ...]:
    """Return a sample in calling order, in memory of its own.

    An axis that numpy added (``array[None]``) has stride 0; torch keeps that, and ExecuTorch refuses it.
    """
    return tuple(torch.tensor(array.ravel()).reshape(array.shape) for array in checked_inputs(sample, spec).values())


def run_torch(model: nn.Module, samples: Sequence[Sample], spec: ComponentSpec) -> list[dict[str, FloatArray]]:
    """Run a torch model on every sample."""
    with torch.no_grad():
        said = [outputs_of(model(*as_tensors(sample, spec))) for sample in samples]
    return [named_outputs([output.numpy() for output in outputs], spec) for outputs in said]


def run_artifact(
    backend: Backend, artifact: Path, samples: Sequence[Sample], spec: ComponentSpec
) -> list[dict[str, FloatArray]]:
    """Run an artifact on every sample, through the backend that users run it with."""
    session = backend.open(artifact, spec, _THREADS)
    return [session.run(sample) for sample in samples]


def compare(
    reference: Sequence[Mapping[str, FloatArray]], actual: Sequence[Mapping[str, FloatArray]], spec: ComponentSpec
) -> tuple[Fidelity, ...]:
    """Compare each output over all samples together."""
    names = [output.name for output in spec.outputs]
    return tuple(
        Fidelity.between(name, np.stack([r[name] for r in reference]), np.stack([a[name] for a in actual]))
        for name in names
    )
