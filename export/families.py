"""How the components of each family are made: what the build asks of a family beside its recipe.

The runtime's side of a family, its pipeline and its settings, is in `pocketcrafter.runtime.families`. Functions are
named, not imported: a stage imports them in a process of its own, and what counts for its key is their source alone.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pocketcrafter.export.names import CRITIC_SHA256, TOKENIZER_SHA256
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.families import POCKET
from pocketcrafter.runtime.pocket import POCKET_SPECS, TOKENIZER, Pocket
from pocketcrafter.runtime.validation import nearest

if TYPE_CHECKING:
    from torch import nn

    from pocketcrafter.export.recipe import Recipe


@dataclass(frozen=True)
class FamilyBuild:
    """How a family is built.

    Attributes
    ----------
    load
        ``module:function`` that makes a network of a component's name and its weights file, in evaluation mode.
    examples
        ``module:function`` of the stage that writes a component's contract, its calibration samples, their Hessians
        (none, where nothing collects them) and its goldens; the files are those that
        `pocketcrafter.export.builder.steps.examples` writes.
    needs
        Components whose weights a component's examples take beside its own.
    settings
        JSON files of the family's settings in the manifest, by the setting's name, where a recipe names no others.
    faults
        Yields what a recipe says that the family cannot do, in words, with its place.
    files
        Files of the pair that are no networks: their place in the bundle, and the file that the recipe names.
    trained_with
        Hashes that a component's weights record of the files they were trained with, those files, and the command that
        trains them again.
    examples_seconds
        What drawing a component's examples takes, where it is not the usual.
    """

    load: str
    examples: str
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    faults: "Callable[[Recipe], Iterator[str]]" = lambda _recipe: iter(())
    files: "Callable[[Recipe], Mapping[str, str]]" = lambda _recipe: {}
    trained_with: Mapping[str, tuple[Mapping[str, str], str]] = field(default_factory=dict)
    examples_seconds: Mapping[str, float] = field(default_factory=dict)


def _pocket_faults(recipe: "Recipe") -> Iterator[str]:
    for component, made in recipe.components.items():
        if component not in POCKET_SPECS:
            hint = nearest(component, list(POCKET_SPECS), "components")
            yield f"components: unknown component `{component}`; {hint}"
            continue
        if (made.tokenizer is not None) != (component == Pocket.DECODER):
            yield f"components.{component}.tokenizer: the decoder needs one, nothing else has one"
        outputs = {t.name for t in POCKET_SPECS[component].outputs}
        if unknown := set(made.pictures) - outputs:
            yield f"components.{component}.pictures names no output: {', '.join(sorted(unknown))}"


def _pocket_files(recipe: "Recipe") -> dict[str, str]:
    decoder = recipe.components.get(Pocket.DECODER)
    return {TOKENIZER: decoder.tokenizer} if decoder is not None and decoder.tokenizer is not None else {}


BUILDS: Final[dict[str, FamilyBuild]] = {
    POCKET: FamilyBuild(
        load="pocketcrafter.export.models:load_component",
        examples="pocketcrafter.export.builder.steps.examples:run",
        needs={Pocket.TONE: (Pocket.CRITIC,), Pocket.DECODER: (Pocket.CRITIC,)},
        settings={"gate": "weights/gate.json"},
        faults=_pocket_faults,
        files=_pocket_files,
        # Its prose would describe what another critic's tokens mean, in words that are not these.
        trained_with={
            Pocket.DECODER: (
                {CRITIC_SHA256: f"{Pocket.CRITIC}.weights", TOKENIZER_SHA256: f"{Pocket.DECODER}.tokenizer"},
                "pocketcrafter train decoder",
            )
        },
        # The decoder writes its samples itself.
        examples_seconds={Pocket.DECODER: 20},
    ),
}
"""Families that a recipe can have."""


def build_of(family: str) -> FamilyBuild:
    """Return how a family is built.

    Raises
    ------
    ConfigError
        If no recipe can have the family.
    """
    if family not in BUILDS:
        raise ConfigError(
            f"Recipes of the family `{family}` are not known; families with recipes: {', '.join(BUILDS)}."
        )
    return BUILDS[family]


def load_network(load: str, component: str, weights: Path) -> "nn.Module":
    """Call a family's ``load``; see :class:`FamilyBuild`."""
    module, _, function = load.partition(":")
    network: nn.Module = getattr(importlib.import_module(module), function)(component, weights)
    return network


def student_network(family: str, component: str, weights: Path) -> "nn.Module":
    """Return a component's full-precision network, whose weights lie in a file.

    Raises
    ------
    BackendError
        If this installation does not know how the family's networks are made.
    ConfigError
        If the file does not hold weights of the component.
    """
    if family not in BUILDS:
        raise BackendError(f"Networks of the family `{family}` cannot be made from weights alone.")
    return load_network(BUILDS[family].load, component, weights)
