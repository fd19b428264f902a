"""Families: which pairs of critic and artist there are, and what drives the networks of each.

A bundle names its family. Building, checking, splitting, measuring and reporting a bundle takes nothing but its
manifest; only critiquing and enhancing photos takes the family's pipeline. To add a family, add a :class:`Family` here,
and how it is built in `pocketcrafter.export.families`.
"""

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.gates import Gate
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BundleError, ConfigError, NoPipelineError
from pocketcrafter.runtime.latent import settings as latent
from pocketcrafter.runtime.latent.settings import LatentSettings
from pocketcrafter.runtime.pocket import LADDER, TOKENIZER, Pocket, PocketSettings
from pocketcrafter.runtime.validation import check_json, number_in

if TYPE_CHECKING:
    from pocketcrafter.runtime.names import Mode
    from pocketcrafter.runtime.photo.load import PhotoLike
    from pocketcrafter.runtime.pipeline import Enhanced, Told
    from pocketcrafter.runtime.plan import PlanLike
    from pocketcrafter.runtime.progress import Progress

_MOST_THREADS: Final = 1024


class Diagnosis(Protocol):
    """What a critic says of a photo; each family has its own kind, a `Config`."""

    @property
    def words(self) -> str:
        """The gist, in one line."""

    def lines(self) -> list[str]:
        """Return what people read, the gist first."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Return it as plain data, as pydantic does."""


class Pipeline(ABC):
    """Critiques and enhances photos with the networks of one bundle; a photo is whatever `load` takes."""

    @staticmethod
    def open(bundle: Path | str, backend: BackendName | str = "auto", threads: int = 2) -> "Pipeline":
        """Open a bundle of any family.

        Parameters
        ----------
        bundle
            A ``.pcbundle`` directory or a zip of it.
        backend
            A backend's name, or ``"auto"`` for the bundle's first target that has one.
        threads
            Threads for the networks and for the arithmetic around them, ≥ 1.

        Raises
        ------
        BundleError
            If the bundle is missing or damaged.
        ConfigError
            If there is no backend of that name, or an argument is of another kind.
        NoPipelineError
            If the bundle holds networks alone.
        """
        threads = int(number_in(threads, 1, _MOST_THREADS, "The number of threads"))
        if backend != "auto" and backend not in set(BackendName):
            raise ConfigError(f"No backend is called '{backend}'; use auto, {', '.join(BackendName)}.")
        name = None if backend == "auto" else BackendName(backend)
        return pipeline_of(BundleSource(Bundle.open(bundle), name, threads), threads)

    @abstractmethod
    def critique(self, photo: "PhotoLike") -> Diagnosis:
        """Diagnose a photo."""

    @abstractmethod
    def prose(self, photo: "PhotoLike", mode: "Mode" = ...) -> "Told":
        """Diagnose a photo and put it into words."""

    @abstractmethod
    def enhance(
        self,
        photo: "PhotoLike",
        strength: float = 1.0,
        progress: "Progress | None" = None,
        *,
        plan: "PlanLike | None" = None,
        geometry: bool = False,
        crop: bool = False,
    ) -> "Enhanced":
        """Enhance a photo at its own resolution, by the critic's plan or a given one.

        Parameters
        ----------
        photo
            The photo, at any size.
        strength
            Factor on the plan, in [0, 2]; 0 changes nothing.
        progress
            Called with tiles done and tiles in all.
        plan
            What to do, in place of the critic's plan, or a function from the critic's gated plan to another one.
        geometry
            Also level the photo.
        crop
            With ``geometry``, also crop.
        """


class PairSource(Protocol):
    """Where a pipeline gets the networks and the files of one bundle."""

    @property
    def bundle(self) -> Bundle:
        """The bundle; its manifest holds the family's settings."""

    def has(self, component: str) -> bool:
        """Whether the component is there."""

    def session(self, component: str, function: str | None = None) -> Session:
        """Open a component, or one of its further functions; called once for each that is needed."""


@dataclass(frozen=True)
class Family:
    """A kind of pair.

    Attributes
    ----------
    settings
        What the manifest holds for it beside the components; closed.
    ladder
        Gates of the rungs that look at the whole pair, by rung; a recipe may have others.
    faults
        Yields what a manifest lacks to be of this family, in words.
    describe
        Yields lines on the settings, for people.
    pipeline
        ``module:function`` that makes a :class:`Pipeline` of a :class:`PairSource` and a number of threads; imported
        when it is first needed. None where the family has no pipeline.
    stepwise
        Whether its pairs are other people's and edit in steps: whole photos are timed by phase, shown step by step, and
        held against a record of what the pair's own libraries made. Those of other families go through the networks
        in torch beside a target's.
    """

    settings: type[Config]
    ladder: Mapping[int, tuple[Gate, ...]]
    faults: Callable[[Manifest], Iterator[str]]
    describe: Callable[[Any], Iterator[str]]
    pipeline: str | None
    stepwise: bool = False


class NoSettings(Config):
    """A family that keeps nothing beside its components."""


def _pocket_faults(manifest: Manifest) -> Iterator[str]:
    names = [entry.spec.name for entry in manifest.components]
    if strange := [name for name in names if name not in set(Pocket)]:
        yield f"it has no component {', '.join(strange)}; its components are {', '.join(Pocket)}"
    gate = manifest.settings.get("gate")
    if Pocket.JUDGE in names and not (isinstance(gate, Mapping) and gate.get("judge")):
        yield "the judge needs what it chooses from, and its gate says nothing of that (`settings.gate.judge`)"
    if Pocket.DECODER in names and TOKENIZER not in {file.path for file in manifest.files}:
        yield f"the decoder needs {TOKENIZER}, which is not in `files`"


def _gate_table(settings: PocketSettings) -> Iterator[str]:
    yield f"{'gate':<18} {'presence':>9} {'confidence':>11} {'dead zone':>10} {'shrink':>7}"
    for attribute, gate in settings.gate.attributes.items():
        yield (
            f"{attribute:<18} {gate.presence:>9.2f} {gate.confidence:>11.2f} "
            f"{gate.dead_zone:>10.3f} {gate.shrink:>7.2f}"
        )
    if settings.gate.judge is not None:
        judge = settings.gate.judge
        yield f"judge: {len(judge.proposals)} proposals, bar {judge.bar:g}, worth {judge.worth:g}"


POCKET: Final = "pocket"
"""The default pair: a critic in one pass, a restoration network on tiles and a tone grid."""
LATENT: Final = "latent"
"""A vision-language critic and a few-step latent artist that is conditioned on its hidden states."""
NETWORKS: Final = "networks"
"""Networks alone, as they come from checkpoints of other people: built, proved and measured, but no pair."""

FAMILIES: Final[dict[str, Family]] = {
    POCKET: Family(
        settings=PocketSettings,
        ladder=LADDER,
        faults=_pocket_faults,
        describe=_gate_table,
        pipeline="pocketcrafter.runtime.pipeline:pocket_pipeline",
    ),
    NETWORKS: Family(
        settings=NoSettings,
        ladder={},
        faults=lambda _manifest: iter(()),
        describe=lambda _settings: iter(()),
        pipeline=None,
    ),
    LATENT: Family(
        settings=LatentSettings,
        ladder=latent.LADDER,
        faults=latent.faults,
        describe=latent.describe,
        pipeline="pocketcrafter.runtime.latent.pipeline:latent_pipeline",
        stepwise=True,
    ),
}
"""Every family by the name that manifests and recipes have."""


def is_stepwise(family: str) -> bool:
    """Return `Family.stepwise` of a family by its name, `False` of one that this version does not know."""
    return family in FAMILIES and FAMILIES[family].stepwise


def family_settings(manifest: Manifest) -> Config | None:
    """Return what a manifest holds for its family, `None` for a family that this version does not know.

    Raises
    ------
    BundleError
        If the settings are not the family's, or the bundle lacks something that the family needs.
    """
    family = FAMILIES.get(manifest.family)
    if family is None:
        return None
    where = f"The bundle `{manifest.name}` of the family {manifest.family}"
    raw = json.dumps(dict(manifest.settings))
    settings = check_json(family.settings, raw, f"{where}: its settings are not valid", BundleError)
    if faults := list(family.faults(manifest)):
        raise BundleError(f"{where}: {'; '.join(faults)}.")
    return settings


def pipeline_of(source: PairSource, threads: int) -> Pipeline:
    """Return what makes critiques and enhancements of photos with a bundle's networks.

    Raises
    ------
    NoPipelineError
        If the bundle's family has no pipeline, with what the bundle holds; or this version does not know the family.
    BundleError
        As :func:`family_settings`.
    """
    manifest = source.bundle.manifest
    family = FAMILIES.get(manifest.family)
    if family is None:
        raise NoPipelineError(
            f"{source.bundle.path}: a bundle of the family `{manifest.family}`, which this version does not know; it "
            f"knows {', '.join(FAMILIES)}. Upgrade it: pip install -U pocketcrafter"
        )
    if family.pipeline is None:
        has = ", ".join(entry.spec.name for entry in manifest.components)
        raise NoPipelineError(
            f"{source.bundle.path}: holds networks alone ({has}), no critic and artist that could critique or enhance "
            "a photo. `pocketcrafter inspect`, `verify`, `split`, `report` and `bench latency|profile|parity` take it."
        )
    family_settings(manifest)
    module, _, function = family.pipeline.partition(":")
    made: Pipeline = getattr(importlib.import_module(module), function)(source, threads)
    return made


@dataclass(frozen=True)
class BundleSource:
    """The networks of an opened bundle, on one backend; the bundle's first target that has one when it is `None`."""

    bundle: Bundle
    backend: BackendName | None
    threads: int

    def has(self, component: str) -> bool:
        """Whether the bundle has the component."""
        return self.bundle.has(component)

    def session(self, component: str, function: str | None = None) -> Session:
        """Open a component's artifact."""
        return self.bundle.session(component, self.threads, self.backend, function)
