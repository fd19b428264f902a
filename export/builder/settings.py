"""Settings of the build's stages: everything they read beside their input files.

And the names of the files that the steps leave for each other and in the bundle.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field, JsonValue

from pocketcrafter.export.ladder import ArtifactGates
from pocketcrafter.export.lower.precisions import runs_as
from pocketcrafter.quantize.config import DEFAULTS, BitWidth, QuantizationOptions
from pocketcrafter.runtime.bundle.gates import Gate
from pocketcrafter.runtime.bundle.manifest import ArtifactFunction, TrainingData
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Precision, RungNumber
from pocketcrafter.runtime.components import ComponentName, ComponentSpec, FamilyName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.targets import TARGETS, TargetKind

CALIBRATION: Final = "calibration.npz"
HESSIANS: Final = "hessians.npz"
CALIBRATED_WITH: Final = "calibration.json"
COMPILED: Final = "compiled"
"""Input of a lowering whose compiler starts from another target's artifact."""
RECORD: Final = "lowering.json"
FILES: Final = "files"
"""Folder, beside a component's examples, of further files of the bundle at their paths there."""
SPEC: Final = "spec.json"
"""A component's contract, beside its examples."""
PROOF: Final = "proof.json"
BUNDLE: Final = "bundle"
MADE: Final = "made"
"""Input of the bundle: what the family's own stage made beside the networks."""
EXAMPLES: Final = "pocketcrafter.export.builder.steps.examples:run"
"""The step that draws a component's samples: the first that loads its network."""
AUDIT: Final = "pocketcrafter.export.builder.steps.examples:audit"
"""What loads the network as that step does, and writes nothing."""


class ExamplesSettings(Config):
    """How a component's calibration samples and goldens are drawn."""

    component: ComponentName
    networks: str = Field(description="The family's `NetworkSource`, as ``module:object``.")
    samples: int
    seed: int
    goldens: int
    options: Mapping[str, JsonValue] = Field({}, description="What loading is told; see `ComponentPlan`.")


class CalibrationRecord(Config):
    """What a component was calibrated with."""

    photos: Mapping[str, str] = Field(description="SHA-256 of each photo, by its file name; none for random inputs.")
    seed: int = Field(description="What the samples were drawn from.")
    samples: int
    strata: Mapping[str, int] = Field(description="How many samples are of each kind that the family tells apart.")
    sha256: str = Field(description="Of the samples themselves, as they were fed to the network.")


class LowerSettings(Config):
    """What one component is lowered to."""

    component: ComponentName
    networks: str = Field(description="The family's `NetworkSource`, as ``module:object``.")
    decompose: bool = Field(False, description="Whether the network is written in plain operators first.")
    plain_norms: bool = Field(
        False, description="Whether its layer normalizations alone are, because linear layers are quantized one by one."
    )
    targets: tuple[TargetKind, ...] = Field(min_length=1, description="More than one where most of the work is shared.")
    precision: Precision
    keep_fp32: tuple[str, ...]
    weight_bits: Mapping[str, BitWidth] = {}
    quantization: QuantizationOptions = DEFAULTS
    shared_binary: bool = Field(True, description="Whether QNN stores the weights of several functions once.")
    to_compile: bool = Field(
        False, description="Whether another target's compiler reads the result, and nothing runs it."
    )


class MadeSettings(Config):
    """Nothing: a family's own stage is told by its inputs alone."""


class ProveSettings(Config):
    """What one lowered component must reach."""

    component: ComponentName
    target: TargetKind
    precision: Precision
    gates: ArtifactGates
    ladder: Mapping[RungNumber, tuple[Gate, ...]] = Field({}, description="Of the rungs that are not run here.")
    not_run: Mapping[RungNumber, str] = Field(description="Why the rungs 0 and 3 are not run here.")
    pictures: tuple[str, ...]
    goldens: int


class ComponentFacts(Config):
    """What the manifest says of a component beside its artifacts."""

    weights: str = Field(description="Name of the file or folder.")
    sha256: str
    license: str


class LicenseFacts(Config):
    """What the manifest says of a licence text; ``input`` names the stage's input."""

    input: str
    spdx: str
    covers: str


class BundleSettings(Config):
    """What the manifest says beside what the other steps found."""

    name: str
    family: FamilyName
    settings: tuple[str, ...] = Field((), description="Settings of the family; each is an input, a file of JSON.")
    files: tuple[str, ...] = Field((), description="Further files, by their path in the bundle; each is an input.")
    made_settings: tuple[str, ...] = Field((), description="Settings of the family that the input `made` has.")
    targets: tuple[TargetKind, ...]
    components: Mapping[str, ComponentFacts]
    goldens: int
    licenses: tuple[LicenseFacts, ...]
    training_data: TrainingData
    tools: tuple[str, ...]


class LoweringRecord(Config):
    """What the lowering of one component measured."""

    artifact: str
    functions: tuple[ArtifactFunction, ...] = ()
    coverage: Coverage
    rung1: tuple[Fidelity, ...]
    rung1_how: str
    rung2: tuple[Fidelity, ...]
    rung2_how: str


def lowered_to(result: Path, target: TargetKind, precision: Precision) -> Path:
    """Return the directory, in a lowering's result, of what a target has in a precision.

    Parameters
    ----------
    result
        Result directory of the lowering stage.
    target
        The target.
    precision
        The precision that it was asked in.
    """
    return result / _named(runs_as(target, precision))


def artifact_path(component: str, target: TargetKind) -> str:
    """Return where an artifact lies in a bundle."""
    return f"targets/{_named(target)}/{component}{TARGETS[target].suffix}"


def _named(target: TargetKind) -> str:
    # Windows has no `:` in names, nor has a bundle.
    return target.replace(":", "-")


def read_spec(examples: Path) -> ComponentSpec:
    """Return the contract of the component that a directory has the examples of."""
    return ComponentSpec.model_validate_json((examples / SPEC).read_bytes())


def golden_files(index: int, function: str | None) -> tuple[str, str]:
    """Return the names of a golden's inputs and outputs: of the default function, or of a further one."""
    of = "" if function is None else f"{function}."
    return f"{of}inputs_{index}.npz", f"{of}outputs_{index}.npz"
