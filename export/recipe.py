"""The recipe of a bundle: which weights become which artifacts at which precision, and what they must reach."""

import difflib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, model_validator

from pocketcrafter.export.families.family import referenced
from pocketcrafter.export.families.registry import family_of
from pocketcrafter.export.ladder import ArtifactGates
from pocketcrafter.export.licenses import forbids_commerce
from pocketcrafter.export.lower.precisions import refusal, scheme_of
from pocketcrafter.export.shipped import DEFAULT_RECIPE, not_installed
from pocketcrafter.quantize.config import DEFAULTS, BitWidth, QuantizationOptions
from pocketcrafter.runtime.bundle.gates import Gate, Metric
from pocketcrafter.runtime.bundle.manifest import TrainingData
from pocketcrafter.runtime.bundle.results import Precision, RungNumber, sqnr_gate
from pocketcrafter.runtime.components import ComponentName, FamilyName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import POCKET
from pocketcrafter.runtime.targets import TARGETS, TargetKind
from pocketcrafter.runtime.validation import check

_PACKAGE: Final = Path(__file__).parent
_EXTENDS: Final = "extends"
_MOST_EXTENDED: Final = 4
_FAMILY_KEY: Final = "family"
_BY_TARGET: Final = ("precision", "quantization")
"""Keys of a component whose own keys are targets or families of them."""
_FAMILY: Final = ":*"
"""What keys end in that name all targets of a family."""
WEIGHT_ONLY: Final = frozenset({Precision.W8, Precision.W4, Precision.A8W4_DYNAMIC})
"""Precisions whose weights have bits of their own; single modules may have others."""


class ComponentRecipe(Config):
    """How one component is made."""

    weights: str = Field(description="Full-precision weights (safetensors), or the folder of a checkpoint.")
    card: str | None = Field(None, description="Model card, copied into the bundle's reports.")
    license: str = Field("Apache-2.0", description="SPDX expression of the weights.")
    precision: Mapping[TargetKind, Precision] = Field(
        description="Precision on each target, or as `<family>:*` on all of a family that have no key of their own; "
        "targets beside the recipe's are built when they are asked for."
    )
    quantization: Mapping[TargetKind, QuantizationOptions] = Field(
        {}, description="Ranges, group sizes and rounding in place of a precision's own; keys as those of `precision`."
    )
    keep_fp32: tuple[str, ...] = Field((), description="Modules that stay float32, with all below them.")
    weight_bits: Mapping[str, BitWidth] = Field(
        {}, description="Bits of single modules' weights, with all below them, where the precision is of weights alone."
    )
    shared_binary: bool = Field(
        True,
        description="Whether QNN stores the weights of several functions once, in one binary. Its emulator opens no "
        "such binary: without, each function has a context of its own, and the whole pair runs on a developer's "
        "machine.",
    )
    samples: int = Field(32, ge=2, le=4096, description="Calibration samples.")
    rung1_sqnr_db: float | None = Field(None, description="Overrides the gate of all components.")
    rung2_sqnr_db: float | None = Field(None, description="Overrides the gate of all components.")
    golden_sqnr_db: float | None = Field(
        None,
        description="Gate of the goldens, where that is not rung 1's (rung 2's of what is not quantized): goldens of a "
        "network that mends pictures are those that it changes most.",
    )
    pictures: tuple[str, ...] = Field((), description="Outputs that are pictures in [0, 1] and gated by PSNR too.")

    def bits(self, precision: Precision) -> Mapping[str, BitWidth]:
        """Return the bits of single modules' weights in a precision: none where not weights alone are quantized."""
        return self.weight_bits if precision in WEIGHT_ONLY else {}

    def options(self, target: TargetKind) -> QuantizationOptions:
        """Return what the recipe changes of a target's quantization."""
        return self.quantization.get(target, DEFAULTS)


class Calibration(Config):
    """What activations are calibrated with, and what the goldens are made from."""

    photos: str = Field("calibration/photos", description="Folder of photos of at least 512 px.")
    seed: int = Field(0, ge=0, description="What the faults of calibration frames are drawn from.")
    goldens: int = Field(1, ge=1, le=16, description="Goldens per component, from another seed.")


class Gates(Config):
    """What every artifact must reach, or the build fails."""

    rung1_sqnr_db: float = Field(30.0, description="Fake-quantized against full precision, every output.")
    rung1_psnr_db: float = Field(40.0, description="Artifact against full precision, outputs that are pictures.")
    rung2_sqnr_db: float = Field(40.0, description="Artifact against fake-quantized, every output.")
    coverage: float = Field(0.95, ge=0, le=1, description="Lowest share of multiply-accumulates delegated.")
    fallbacks: tuple[str, ...] = Field((), description="Operators that may run outside the accelerated backend.")
    ladder: Mapping[RungNumber, tuple[Gate, ...]] = Field(
        {}, description="Gates of the rungs that look at the whole pair, in place of the family's: 0 and 3."
    )

    def of(self, made: ComponentRecipe | None = None) -> ArtifactGates:
        """Return the gates of an artifact, with what its component's recipe has in their place."""
        rung1, rung2, goldens = (made.rung1_sqnr_db, made.rung2_sqnr_db, made.golden_sqnr_db) if made else 3 * (None,)
        return ArtifactGates(
            rung1=sqnr_gate(self.rung1_sqnr_db if rung1 is None else rung1),
            rung2=sqnr_gate(self.rung2_sqnr_db if rung2 is None else rung2),
            goldens=None if goldens is None else sqnr_gate(goldens),
            picture=Gate(metric=Metric.PSNR_DB, minimum=self.rung1_psnr_db),
            coverage=Gate(metric=Metric.MAC_COVERAGE, minimum=self.coverage),
            fallbacks=self.fallbacks,
        )


class LicenseText(Config):
    """A licence text that goes into the bundle."""

    spdx: str
    path: str = Field(description="The text; `LICENSE` is this project's own.")
    covers: str


class Recipe(Config):
    """A whole bundle; paths are relative to the recipe's folder, or else to what the package ships.

    What every family's recipes have; a family may add keys of its own.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    family: FamilyName = Field(POCKET, description="What kind of pair it is, and so what its components are.")
    targets: tuple[TargetKind, ...] = Field(min_length=1)
    components: Mapping[ComponentName, ComponentRecipe] = Field(min_length=1)
    calibration: Calibration = Calibration()
    gates: Gates = Gates()
    settings: Mapping[str, str] = Field(
        {}, description="JSON files of the family's settings by name, in place of the family's own."
    )
    licenses: tuple[LicenseText, ...] = Field(min_length=1)
    training_data: TrainingData = TrainingData()
    commercial: bool = Field(
        False,
        description="The bundle is for commercial use: a recipe with weights, texts or training data (a teacher's "
        "pictures and words are that, too) under a licence that forbids it is refused.",
    )

    @property
    def buildable(self) -> tuple[TargetKind, ...]:
        """Its targets, and those beside them that every component has a precision for."""
        return tuple(t for t in TARGETS if all(t in made.precision for made in self.components.values()))

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for component, made in self.components.items():
            if absent := [t for t in self.targets if t not in made.precision]:
                raise ValueError(f"components.{component}.precision says nothing about {', '.join(absent)}")
            for target, precision in made.precision.items():
                if reason := refusal(target, precision):
                    raise ValueError(f"components.{component}.precision: {reason}")
                try:
                    scheme_of(target, precision, made.options(target), made.bits(precision))
                except ConfigError as error:
                    raise ValueError(f"components.{component}.quantization: {error}") from error
            if unused := sorted(made.quantization.keys() - made.precision.keys()):
                raise ValueError(f"components.{component}.quantization: {', '.join(unused)} has no precision")
            if made.weight_bits and not WEIGHT_ONLY & set(made.precision.values()):
                only = ", ".join(sorted(WEIGHT_ONLY))
                raise ValueError(f"components.{component}.weight_bits: only {only} have weights of other bits")
        return self

    @model_validator(mode="after")
    def _may_be_sold(self) -> Self:
        used = [(f"components.{name}", made.license) for name, made in self.components.items()]
        used += [(text.covers, text.spdx) for text in self.licenses]
        used += [(source.name, source.license) for source in self.training_data.sources]
        if self.commercial and (forbidden := [f"{name} ({spdx})" for name, spdx in used if forbids_commerce(spdx)]):
            raise ValueError(
                f"commercial is true, and these are licensed for non-commercial use alone: {', '.join(forbidden)}; "
                "train with others, get another licence for them, or build without `commercial`"
            )
        return self

    @property
    def setting_files(self) -> dict[str, str]:
        """The JSON files of its settings in the manifest, by name: the family's own, or those named here."""
        return {**family_of(self.family).settings, **self.settings}


def load_recipe(path: Path) -> Recipe:
    """Read a recipe, and what it extends.

    A recipe with ``extends: other.yaml`` is that other one, a shipped recipe or one in the same folder, with its own
    keys in place of the other's: mappings are merged key by key, anything else is replaced.

    Returns
    -------
    Recipe
        Of the class that its family has for recipes.

    Raises
    ------
    ConfigError
        If it cannot be read or is not valid; an unknown key is told with the nearest valid one.
    """
    raw = _read(path)
    named = raw.get(_FAMILY_KEY, POCKET) if isinstance(raw, dict) else POCKET
    try:
        family = family_of(str(named))
    except ConfigError as error:
        raise ConfigError(f"{path}: not a valid recipe: {_FAMILY_KEY}: {error}") from error
    kind: type[Recipe] = referenced(family.recipe)
    return check(kind, raw, f"{path}: not a valid recipe")


def _read(path: Path, extended: int = 0) -> Any:  # noqa: ANN401 - whatever the file holds
    # PyYAML is part of the extra `build`; preflight has told who lacks it.
    from pocketcrafter.export.yaml_file import read_yaml  # noqa: PLC0415

    raw = read_yaml(path)
    if not isinstance(raw, dict):
        return raw
    _spell_out_families(raw.get("components"), path)
    if _EXTENDS not in raw:
        return raw
    named = raw.pop(_EXTENDS)
    # A name alone: what the other recipe names lies beside it, and so beside this one.
    if not isinstance(named, str) or Path(named).name != named:
        raise ConfigError(f"{path}: {_EXTENDS}: name a recipe in the same folder, or a shipped one: {_shipped()}.")
    if extended == _MOST_EXTENDED:
        raise ConfigError(f"{path}: {_EXTENDS}: recipes extend each other more than {_MOST_EXTENDED} times over.")
    other = next((p for p in (path.parent / named, DEFAULT_RECIPE.parent / named) if p.is_file()), None)
    if other is None:
        raise ConfigError(f"{path}: {_EXTENDS}: there is no {path.parent / named}; shipped recipes are {_shipped()}.")
    return _merged(_read(other, extended + 1), raw)


def _spell_out_families(components: Any, path: Path) -> None:  # noqa: ANN401 - likewise
    """Put the targets of a family in place of keys such as ``coreml:*``; a target's own key has precedence.

    In each recipe before it is laid over another one: there, a family says of its targets what the other recipe's keys
    no longer do.
    """
    parts = components.items() if isinstance(components, dict) else ()
    tables = ((c, field, made) for c, made in parts if isinstance(made, dict) for field in _BY_TARGET)
    for component, field, made in tables:
        by_target = made.get(field)
        if not isinstance(by_target, dict):
            continue
        for key in [key for key in by_target if isinstance(key, str) and key.endswith(_FAMILY)]:
            value, family = by_target.pop(key), key.removesuffix(_FAMILY)
            targets = [target for target in TARGETS if target.partition(":")[:2] == (family, ":")]
            if not targets:
                families = sorted({f"{target.family}{_FAMILY}" for target in TARGETS if ":" in target})
                near = difflib.get_close_matches(key, families, n=1, cutoff=0.7)
                hint = f"did you mean `{near[0]}`?" if near else f"families of targets are {', '.join(families)}"
                where = f"components.{component}.{field}"
                raise ConfigError(f"{path}: not a valid recipe:\n  {where}: `{key}` matches no target; {hint}")
            made[field] = by_target = dict.fromkeys(map(str, targets), value) | by_target


def _shipped() -> str:
    return ", ".join(sorted(p.name for p in DEFAULT_RECIPE.parent.glob("*.yaml")))


def _merged(under: Any, over: Any) -> Any:  # noqa: ANN401 - likewise
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return under | {key: _merged(under.get(key), value) for key, value in over.items()}


def resolve(recipe_path: Path, named: str) -> Path:
    """Return the file or folder that a recipe names.

    Raises
    ------
    ConfigError
        If it lies neither beside the recipe nor in the package.
    """
    candidates = [recipe_path.parent / named, _PACKAGE / named]
    if named == "LICENSE":
        candidates.append(_project_license())
    for candidate in candidates:
        if candidate.exists():
            return candidate.resolve()
    advice = not_installed(candidates[1]) or "Weights and their gate come from `pocketcrafter train`."
    places = " nor at ".join(dict.fromkeys(map(str, candidates[:2])))
    raise ConfigError(f"{recipe_path}: `{named}` is not at {places}. {advice}")


def _project_license() -> Path:
    try:
        found = [Path(str(f.locate())) for f in files("pocketcrafter") or [] if f.name == "LICENSE"]
    except PackageNotFoundError:
        found = []
    # An `egg-info` beside the sources names one that is not there.
    return next((f for f in found if f.is_file()), _PACKAGE.resolve().parent / "LICENSE")
