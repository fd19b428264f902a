"""Recipes of the pocket family, the files that its stages read, and which weights were trained with which."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, model_validator

from pocketcrafter.export.families.family import WEIGHTS, ComponentPlan, Plan
from pocketcrafter.export.names import CRITIC_SHA256, TOKENIZER_SHA256
from pocketcrafter.export.recipe import ComponentRecipe, Recipe, resolve
from pocketcrafter.runtime.attribute_gate import read_gate
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import POCKET_SPECS, TOKENIZER, Pocket
from pocketcrafter.runtime.validation import nearest

PHOTOS: Final = "photos"
"""Input of a component's examples: the folder of calibration photos."""
VOCABULARY: Final = "tokenizer"
"""Input of the decoder's examples."""
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    Pocket.JUDGE: (Pocket.CRITIC,),
    Pocket.TONE: (Pocket.CRITIC,),
    Pocket.DECODER: (Pocket.CRITIC,),
}
"""Components whose outputs are another one's inputs."""
_DECODER_SECONDS: Final = 20.0
"""The decoder's calibration samples are texts that it generates, which takes this long."""
_MAX_HEADER_BYTES: Final = 1 << 22
_LENGTH_BYTES: Final = 8
_FACTS: Final = "__metadata__"


class PocketComponent(ComponentRecipe):
    """How one component of the pair is made."""

    tokenizer: str | None = Field(None, description="The decoder's vocabulary, in the `tokenizers` format.")


class PocketRecipe(Recipe):
    """A bundle of the pocket pair."""

    components: Mapping[str, PocketComponent] = Field(min_length=1)

    @model_validator(mode="after")
    def _of_the_pair(self) -> Self:
        for component, made in self.components.items():
            if component not in POCKET_SPECS:
                hint = nearest(component, list(POCKET_SPECS), "components")
                raise ValueError(f"components: unknown component `{component}`; {hint}")
            if (made.tokenizer is not None) != (component == Pocket.DECODER):
                raise ValueError(f"components.{component}.tokenizer: the decoder needs one, nothing else has one")
            outputs = {t.name for t in POCKET_SPECS[component].outputs}
            if unknown := set(made.pictures) - outputs:
                raise ValueError(f"components.{component}.pictures names no output: {', '.join(sorted(unknown))}")
        return self


def plan(recipe: PocketRecipe, path: Path) -> Plan:
    """Return what a recipe's stages read.

    Raises
    ------
    ConfigError
        If a file is missing, a component lacks another that it needs, or a judge or decoder was trained with another
        critic or tokenizer.
    """
    weights = {c: resolve(path, made.weights) for c, made in recipe.components.items()}
    files: dict[str, Path] = {}
    components = {}
    for component, made in recipe.components.items():
        needed = _NEEDS.get(component, ())
        if lacking := [n for n in needed if n not in weights]:
            raise ConfigError(f"{path}: `{component}` needs {', '.join(lacking)}, which is not in the recipe.")
        examples = {PHOTOS: resolve(path, recipe.calibration.photos), **{n: weights[n] for n in needed}}
        if component == Pocket.JUDGE:
            gate = resolve(path, recipe.setting_files["gate"])
            if read_gate(gate).judge is None:
                raise ConfigError(f"{gate}: says nothing of what the judge chooses from: pocketcrafter train judge")
            # It would judge another critic's proposals, by tokens that mean something else.
            check_trained_with(weights[component], {CRITIC_SHA256: weights[Pocket.CRITIC]}, "pocketcrafter train judge")
        if made.tokenizer is not None:
            files[TOKENIZER] = examples[VOCABULARY] = tokenizer = resolve(path, made.tokenizer)
            # Its prose would describe what another critic's tokens mean, in words that are not these.
            trained_with = {CRITIC_SHA256: weights[Pocket.CRITIC], TOKENIZER_SHA256: tokenizer}
            check_trained_with(weights[component], trained_with, "pocketcrafter train decoder")
        components[component] = ComponentPlan(
            network={WEIGHTS: weights[component]},
            examples=examples,
            plain_operators=True,
            modules=partial(modules_in, weights[component]),
            examples_seconds=_DECODER_SECONDS if component == Pocket.DECODER else ComponentPlan.examples_seconds,
        )
    return Plan(components, files)


def recorded_facts(weights: Path) -> dict[str, str]:
    """Return what a safetensors file records beside its tensors, without reading those.

    Raises
    ------
    ConfigError
        If it is no safetensors file.
    """
    try:
        return {str(name): str(value) for name, value in _header(weights).get(_FACTS, {}).items()}
    except AttributeError as error:
        raise ConfigError(f"{weights}: not a safetensors file ({error}); train it again.") from error


def modules_in(weights: Path) -> set[str]:
    """Return the modules that a safetensors file has tensors of, and those that they lie in; reads its header alone.

    Raises
    ------
    ConfigError
        If it is no safetensors file.
    """
    parts = [name.split(".")[:-1] for name in _header(weights) if name != _FACTS]
    return {".".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1)}


def _header(weights: Path) -> dict[str, Any]:
    try:
        with weights.open("rb") as file:
            length = min(int.from_bytes(file.read(_LENGTH_BYTES), "little"), _MAX_HEADER_BYTES)
            header = json.loads(file.read(length))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{weights}: not a safetensors file ({error}); train it again.") from error
    if not isinstance(header, dict):
        raise ConfigError(f"{weights}: not a safetensors file (its header is no mapping); train it again.")
    return header


def check_trained_with(weights: Path, needed: Mapping[str, Path], mend: str) -> None:
    """Refuse weights that were trained with other files than those beside them.

    Parameters
    ----------
    weights
        A safetensors file whose header records SHA-256 hashes.
    needed
        The file that each hash must be of.
    mend
        The command that makes it right.

    Raises
    ------
    ConfigError
        If a hash is another one, or not recorded.
    """
    facts = recorded_facts(weights)
    changed = [path.name for name, path in needed.items() if facts.get(name) != sha256_of(path)]
    if changed:
        raise ConfigError(f"{weights} was trained with another {' and another '.join(changed)}. Train it again: {mend}")
