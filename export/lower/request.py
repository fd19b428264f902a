"""What every lowering is asked and what it answers: one request in, an artifact for each of its targets out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnx import ModelProto
from torch import nn

from pocketcrafter.export.lower.precisions import NO_BITS, scheme_of
from pocketcrafter.quantize.algorithms.hessians import Hessians
from pocketcrafter.quantize.algorithms.rounding import NO_HESSIANS
from pocketcrafter.quantize.config import DEFAULTS, BitWidth, QuantizationConfig, QuantizationOptions
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.manifest import ArtifactFunction
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.progress import Progress
from pocketcrafter.runtime.targets import TargetKind

Sample = Mapping[str, FloatArray]


def _ignore(_done: int, _total: int) -> None:
    """Drop the report: the default where no progress is wanted."""


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
class LoweringRequest:
    """One network that is to be quantized where asked, lowered, and compared with itself.

    Attributes
    ----------
    network
        In full precision: a torch module on the CPU, or a float32 ONNX graph with static shapes and the spec's names,
        which the target `onnx` alone reads. Left as it is.
    spec
        The network's inputs and outputs, in calling order.
    calibration
        At least two samples; the last quarter (one to eight) is held back from calibration, and measured with.
    functions
        Samples of the spec's further functions, by name: at least one each, to measure with.
    precision
        What weights and activations become.
    outs
        Where the artifact of each target goes, through a temporary name: nothing is left there when lowering raises.
        More than one target where `Profile.together` says that most of the work is shared.
    keep_fp32
        Qualified names of modules that stay float32 with everything below them.
    quantization
        What is changed of the scheme that the precision stands for; see `Profile.schemes`.
    weight_bits
        Bits of single modules' weights, with everything below them, where the scheme is of integer weights in groups.
    hessians
        Of linear layers by their qualified names: GPTQ rounds weights by them.
    source
        For targets that are compiled from another one's artifact (`Profile.compiled_from`): that artifact.
    shared_binary
        Whether QNN stores the weights of several functions once, in one binary; its emulator opens no such binary.
    to_compile
        Whether another target's compiler reads the artifact: it stays as quantization wrote it, unchanged for the
        kernels of the target's own runtime.
    progress
        Told of calibration samples done, or of steps.
    """

    network: nn.Module | ModelProto
    spec: ComponentSpec
    calibration: Sequence[Sample]
    precision: Precision
    outs: Mapping[TargetKind, Path]
    keep_fp32: tuple[str, ...] = ()
    quantization: QuantizationOptions = DEFAULTS
    weight_bits: Mapping[str, BitWidth] = field(default_factory=lambda: NO_BITS)
    hessians: Hessians = field(default_factory=lambda: NO_HESSIANS)
    source: LoweredArtifact | None = None
    shared_binary: bool = True
    to_compile: bool = False
    progress: Progress = _ignore
    functions: Mapping[str, Sequence[Sample]] = field(default_factory=dict)

    @property
    def only(self) -> tuple[TargetKind, Path]:
        """The one target and its artifact, where the family is not lowered together."""
        ((target, out),) = self.outs.items()
        return target, out

    def scheme(self, target: TargetKind) -> QuantizationConfig | None:
        """Return how a target quantizes the network; `None` where it does not. Raises as `scheme_of`."""
        return scheme_of(target, self.precision, self.quantization, self.weight_bits, self.keep_fp32)

    def module(self) -> nn.Module:
        """Return the network as a torch module.

        Raises
        ------
        BackendError
            If it comes as an ONNX graph.
        """
        if isinstance(self.network, nn.Module):
            return self.network
        raise BackendError(f"The network comes as ONNX, which {', '.join(self.outs)} does not read; lower it for onnx.")


Lowering = Callable[[LoweringRequest], Mapping[TargetKind, LoweredArtifact]]
"""The way to a family of targets; what it raises is told at `pocketcrafter.export.lower.lowerings.lower`."""
