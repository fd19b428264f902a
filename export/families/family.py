"""What the builder asks of a family, and what it is answered.

A family has two halves. :class:`Family` is read where a build is planned and imports no toolchain, so that a build that
is up to date says so at once. :class:`NetworkSource` runs in the stages' processes and loads networks.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from pydantic import JsonValue

from pocketcrafter.export.content import FolderFiles
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from pocketcrafter.quantize.algorithms.hessians import HessianCollector

Sample = Mapping[str, FloatArray]
"""A component's inputs by name, float32, of the spec's shapes."""

NO_OPTIONS: Final[Mapping[str, JsonValue]] = {}
WEIGHTS: Final = "weights"
"""The input of a component's stages that every family has: the file or the folder that the recipe names."""


@dataclass(frozen=True)
class Part:
    """A component's network in full precision, and its contract.

    Attributes
    ----------
    network
        A torch module on the CPU in evaluation mode, whose further functions are methods of their names; or a float32
        ONNX graph with static shapes and the spec's names, which the target `onnx` alone reads.
    spec
        The component's name, role, inputs and outputs; the network takes and returns them in this order.
    files
        What the runtime reads beside the artifacts and is made of the weights, as a language model's table of word
        vectors: by the path in the bundle, what writes the file.
    """

    network: "nn.Module | ModelProto"
    spec: ComponentSpec
    files: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """Samples of a component, and where they come from."""

    samples: Sequence[Sample]
    photos: tuple[Path, ...] = ()
    """Those that they were made of."""
    strata: Mapping[str, int] = field(default_factory=dict)
    """How many of them are of which kind, where the family tells kinds apart."""


class NetworkSource(Protocol):
    """Loads the networks of a family and draws their samples; ``inputs`` holds the files of the component's plan."""

    def content(self, weights: Path) -> Path | FolderFiles:
        """Return what loading reads of a weights file or folder."""

    def load(self, component: str, inputs: Mapping[str, Path], options: Mapping[str, JsonValue] = NO_OPTIONS) -> Part:
        """Load a component in full precision.

        Parameters
        ----------
        component
            Its name.
        inputs
            Files of the component's plan.
        options
            Of the component's plan; they decide on its contract, never on its weights.
        """

    def draw(
        self,
        part: Part,
        inputs: Mapping[str, Path],
        count: int,
        seed: int,
        collector: "HessianCollector | None" = None,
        function: str | None = None,
    ) -> Drawn:
        """Draw inputs of a component's default function or of a further one, the same for the same seed.

        Parameters
        ----------
        part
            The loaded component.
        inputs
            Files of the component's plan.
        count
            How many samples.
        seed
            What they are drawn from.
        collector
            May watch the network while it runs, for the Hessians of its layers.
        function
            Which function; the default one when `None`.
        """


@dataclass(frozen=True)
class ComponentPlan:
    """What the stages of one component read and take.

    Attributes
    ----------
    network
        What loading reads, by input name; `WEIGHTS` is among it.
    examples
        What drawing samples reads beside that.
    options
        What loading is told beside that, as how many positions a language model's caches hold.
    functions
        Its further functions, which not every target can have on one set of weights.
    modules
        Returns names of modules that are known without loading the network; there may be more.
    weights_mib
        Float32 weights that a process holds when it has loaded the component; estimates follow from it.
    plain_operators
        Whether the network is written in operators that every toolchain takes. Others are rewritten for the targets
        that want it (`Profile.rewrites`).
    examples_seconds
        What drawing samples and goldens takes on a core with AVX512.
    """

    network: Mapping[str, Path | FolderFiles]
    examples: Mapping[str, Path | FolderFiles] = field(default_factory=dict)
    options: Mapping[str, JsonValue] = field(default_factory=lambda: NO_OPTIONS)
    functions: tuple[str, ...] = ()
    modules: Callable[[], AbstractSet[str]] = frozenset
    weights_mib: float = 12.0
    plain_operators: bool = False
    examples_seconds: float = 8.0


@dataclass(frozen=True)
class Made:
    """Settings that a stage of the family's own makes of its networks.

    Attributes
    ----------
    run
        ``module:function``, as that of a :class:`~pocketcrafter.export.builder.stage.Stage`. It writes ``<name>.json``
        for each setting.
    inputs
        What it reads.
    settings
        Their names in the manifest.
    """

    run: str
    inputs: Mapping[str, Path | FolderFiles]
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a recipe comes to: what its components' stages read, and files that go into the bundle as they are."""

    components: Mapping[str, ComponentPlan]
    files: Mapping[str, Path] = field(default_factory=dict)
    """By the path that they have in the bundle; those that are made of weights are :attr:`Part.files`."""
    made: Made | None = None
    """Settings that come of the networks; `None` where none do."""
    sources: tuple[str, ...] = ()
    """``module:name`` of what loading the networks imports by such names: its source counts in the stages' keys."""


@dataclass(frozen=True)
class Family:
    """A kind of pair, or of networks that are no pair, as the builder knows it.

    Attributes
    ----------
    recipe
        ``module:class`` of its recipes: a :class:`~pocketcrafter.export.recipe.Recipe`, which may have further keys.
    plan
        ``module:function`` that takes such a recipe and its path, checks the files that it names, and returns the
        :class:`Plan`. It raises `ConfigError` where something is missing or does not fit.
    networks
        ``module:object``, a :class:`NetworkSource`.
    tools
        Distributions whose versions its networks and samples depend on.
    not_run
        Why the rungs 0 and 3 of the parity ladder are not run by a build, by rung.
    settings
        JSON files of its settings in the manifest, by the setting's name, where a recipe names no others.
    """

    recipe: str
    plan: str
    networks: str
    tools: tuple[str, ...]
    not_run: Mapping[int, str]
    settings: Mapping[str, str] = field(default_factory=dict)


def referenced(reference: str) -> Any:  # noqa: ANN401 - whatever it names
    """Return what a ``module:name`` refers to, importing the module."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def network_source(reference: str) -> NetworkSource:
    """Return the half of a family that loads networks."""
    return cast("NetworkSource", referenced(reference))


def modules_of(network: "nn.Module | ModelProto") -> set[str]:
    """Return the names of a network's modules; an ONNX graph has none."""
    named = getattr(network, "named_modules", None)
    return {name for name, _ in named()} - {""} if named else set()
