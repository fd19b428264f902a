"""Recipes of networks alone: inferred from a checkpoint folder, and the files that their stages read."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import Field

from pocketcrafter.export.families.family import WEIGHTS, ComponentPlan, Plan
from pocketcrafter.export.families.networks.architecture import read_folder
from pocketcrafter.export.families.networks.checkpoint import CheckpointError, adapter_beside
from pocketcrafter.export.families.networks.language import LanguageSizes, Positions
from pocketcrafter.export.families.networks.lora import FOLDER as ADAPTERS
from pocketcrafter.export.licenses import stated_license
from pocketcrafter.export.lower.precisions import refusal, with_equal_bits
from pocketcrafter.export.lower.profiles import no_functions, profile_of
from pocketcrafter.export.names import HEAD
from pocketcrafter.export.recipe import ComponentRecipe, Gates, Recipe, resolve
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentName, Role
from pocketcrafter.runtime.embedding import GROUP
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import NETWORKS
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind
from pocketcrafter.runtime.validation import check, nearest

_FLOAT_BYTES: Final = 4
_MIB: Final = 1 << 20
_EXAMPLES_SECONDS: Final = 15.0
"""What importing diffusers or transformers takes."""
_SECONDS_A_MIB: Final = 0.03
"""Loading, comparing and running a network once for each sample, on a core with AVX512."""
_SAMPLES: Final = 4
_CALIBRATED_SAMPLES: Final = 8
"""Samples where activations have ranges."""
_OBSERVED_SAMPLES: Final = 32
"""Samples where channels are smoothed, each of which gives one row of every activation, or weights rounded by GPTQ."""
_WORDS: Final = "embed_tokens.weight"
"""What transformers calls tables of word vectors."""
_RANGED: Final = frozenset({Precision.INT8, Precision.A16W8, Precision.A16W4})
INT4: Final = frozenset({Precision.W4, Precision.A8W4_DYNAMIC})
"""Precisions of a language model whose weights have 4 bits."""
_OBSERVED: Final = INT4 | {Precision.W8, Precision.W8A8_DYNAMIC}
_INT4_GATES: Final = {"rung1_sqnr_db": 10.0, "rung2_sqnr_db": 26.0}
"""Gates of a language model in INT4. Its weights alone leave random ones of SmolVLM-256M's size 16 dB; and 30 layers
that round their activations to INT8 are 39 dB from themselves when inputs move by a ten-millionth of their spread
(`bench real-size stability`), SmolLM2-135M's trained ones 29.5, with 29.3 dB between simulation and kernels."""
_W8_GATES: Final = {"rung2_sqnr_db": 30.0}
"""Gate of a language model in INT8 weights where activations are rounded too, in groups, as ONNX Runtime does: the same
holds for it. SmolLM2-135M is 33.7 dB from its simulation, a model of SmolVLM-500M's size 34.0."""
_DYNAMIC_LANGUAGE_GATES: Final = {"rung1_sqnr_db": 20.0, "rung2_sqnr_db": 20.0}
"""Gates of a language model with dynamic INT8 activations, by the worst output of any function: SmolLM2-135M, whose
perplexity is 0.8 % up, is 24 dB from full precision and 26 dB from its simulation."""
_DYNAMIC_GATES: Final = {"rung1_sqnr_db": 28.0, "rung2_sqnr_db": 28.0}
"""Gates of a vision encoder with dynamic INT8 activations. Each layer rounds what the one before it rounded, and a
value that falls on the other side of one step moves thousands behind it: the simulation of 12 layers of SmolVLM-256M's
size, itself 30 dB from full precision, is 31 dB from *itself* when its input moves by a ten-millionth of its spread,
and as far from any kernel (`bench real-size stability`)."""


R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class FolderComponents:
    """What a folder is taken apart into.

    Attributes
    ----------
    family
        The family's name.
    roles
        Role of each component, by name.
    functions
        Further functions of components that have some.
    grouped_words
        Whether word vectors can have 4 bits: groups of values that share a scale divide them.
    """

    family: str
    roles: Mapping[str, Role]
    functions: Mapping[str, tuple[str, ...]]
    grouped_words: bool = False


class NetworkRecipe(ComponentRecipe):
    """How one network of a checkpoint is made."""

    positions: Positions = Field(Positions(), description="Sizes of a language model's functions.")
    embedding_bits: Literal[4, 8] = Field(8, description="Bits of a value in a language model's table of word vectors.")


class NetworksRecipe(Recipe):
    """A bundle of networks alone; each component's weights are a checkpoint folder, which has a network of its name."""

    components: Mapping[ComponentName, NetworkRecipe] = Field(min_length=1)


def plan(recipe: NetworksRecipe, path: Path) -> Plan:
    """Return what a recipe's stages read.

    Raises
    ------
    CheckpointError
        If a folder is no checkpoint that is known, its files are not whole, or it has no network of a component's name.
    """
    components = {}
    for component, made in recipe.components.items():
        folder = resolve(path, made.weights)
        architecture, files, stored = read_folder(folder)
        if component not in architecture.components:
            hint = nearest(component, architecture.components, "networks")
            raise CheckpointError(f"{path}: components.{component}: {folder} has no such network; {hint}")
        functions = architecture.functions.get(component, ())
        own = LanguageSizes(positions=made.positions, embedding_bits=made.embedding_bits)
        if not functions and own != LanguageSizes():
            raise ConfigError(
                f"{path}: components.{component}: only a language model in one part has `positions` and "
                "`embedding_bits`."
            )
        mib = _FLOAT_BYTES * sum(math.prod(t.shape) for t in stored.tensors.values()) / _MIB
        components[component] = ComponentPlan(
            network={WEIGHTS: files},
            options=own.model_dump(exclude_none=True, exclude_defaults=True) if functions else {},
            functions=functions,
            modules=partial(frozenset, {HEAD} if functions else ()),
            weights_mib=mib,
            examples_seconds=_EXAMPLES_SECONDS + _SECONDS_A_MIB * mib,
        )
    return Plan(components)


def infer_recipe(
    folder: Path,
    targets: Sequence[TargetKind],
    precisions: Mapping[str, Precision] | Precision | None = None,
    gates: Gates | None = None,
    tell: Callable[[str], object] = lambda _sentence: None,
) -> NetworksRecipe:
    """Return the recipe of a checkpoint folder; nothing of its weights but their headers is read.

    Parameters
    ----------
    folder
        In Hugging Face's layout.
    targets
        What to build for.
    precisions
        Of all components, or by component or role; floating point, as each target computes in, where none is given. A
        target that lacks one gets the nearest whose weights have as many bits.
    gates
        What artifacts must reach; the usual where none are given.
    tell
        Called with a sentence for each precision that a target has in place of what was asked.

    Raises
    ------
    CheckpointError
        If the folder is no checkpoint that is known, or its files are not whole.
    ConfigError
        If a precision is for no component, or a target lacks one, with the nearest that it has.
    """
    found, _, stored = read_folder(folder)
    if (folder / ADAPTERS).is_dir():
        raise CheckpointError(adapter_beside(folder / ADAPTERS, "what is in it"))
    words = [t.shape[-1] for name, t in stored.tensors.items() if name.endswith(_WORDS)]
    grouped = bool(words) and all(width % GROUP == 0 for width in words)
    what = FolderComponents(NETWORKS, found.components, found.functions, grouped)
    return recipe_of(folder, NetworksRecipe, what, targets, precisions, gates, tell)


def recipe_of(
    folder: Path,
    kind: type[R],
    what: FolderComponents,
    targets: Sequence[TargetKind],
    precisions: Mapping[str, Precision] | Precision | None,
    gates: Gates | None,
    tell: Callable[[str], object],
) -> R:
    """Return the recipe of a folder whose components are known; raises as :func:`infer_recipe`.

    Parameters
    ----------
    folder
        Of all components' weights.
    kind
        The class of the family's recipes.
    what
        What the folder holds.
    targets, precisions, gates, tell
        As for :func:`infer_recipe`.
    """
    family, roles = what.family, what.roles
    asked = _by_component(folder, roles, precisions)
    folder = folder.resolve()
    spdx, text = stated_license(folder)
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower()).strip("._-")[:64]
    components: dict[str, dict[str, Any]] = {}
    for component in roles:
        chosen = {
            target: _precision(component, target, asked.get(component), what.functions.get(component, ()), tell)
            for target in targets
        }
        components[component] = {
            "weights": str(folder),
            "license": spdx,
            "precision": chosen,
            "samples": _CALIBRATED_SAMPLES if _RANGED & set(chosen.values()) else _SAMPLES,
        }
        if component in what.functions and _OBSERVED & set(chosen.values()):
            components[component] |= {"samples": _OBSERVED_SAMPLES}
        if component in what.functions and Precision.W8A8_DYNAMIC in chosen.values():
            components[component] |= _DYNAMIC_LANGUAGE_GATES
        if component in what.functions and chosen.get(ONNX) is Precision.W8:
            components[component] |= _W8_GATES
        if component in what.functions and (narrow := {t for t, p in chosen.items() if p in INT4}):
            components[component] |= _INT4_GATES
            # ExecuTorch for Core ML compresses all of a network alike.
            if all(profile_of(target).schemes[chosen[target]].mixed for target in narrow):
                components[component] |= {"weight_bits": {HEAD: 8}}
            if narrow == set(targets) and what.grouped_words:
                components[component] |= {"embedding_bits": 4}
        if roles[component] is Role.VISION and Precision.W8A8_DYNAMIC in chosen.values():
            components[component] |= _DYNAMIC_GATES
    raw = {
        "name": name or family,
        "family": family,
        "targets": list(targets),
        "components": components,
        "gates": (gates or Gates()).model_dump(),
        "licenses": [{"spdx": spdx, "path": text, "covers": f"the weights of {folder.name}"}],
        "training_data": {"summary": f"The checkpoint {folder.name}; see where it comes from."},
    }
    return check(kind, raw, f"{folder}: no recipe can be made of this folder")


def able_targets(functions: Mapping[str, tuple[str, ...]], tell: Callable[[str], object]) -> tuple[TargetKind, ...]:
    """Return the targets whose artifacts can have all functions of some networks, and tell of the others."""
    unable = [t for t in TARGETS if any(no_functions(t, name, more) for name, more in functions.items())]
    if unable:
        tell(f"not built: {', '.join(unable)}, which would keep the weights of {', '.join(functions)} twice.")
    return tuple(target for target in TARGETS if target not in unable)


def _precision(
    component: str,
    target: TargetKind,
    asked: Precision | None,
    functions: Sequence[str],
    tell: Callable[[str], object],
) -> Precision:
    """Return what a target has of a precision: itself, or the nearest whose weights have as many bits, and tell of it.

    Raises
    ------
    ConfigError
        If the target has none whose weights have as many bits.
    """
    if asked is None:
        return profile_of(target).native_float
    taken = with_equal_bits(target, asked, functions)
    if taken is None:
        raise ConfigError(f"{component}: {refusal(target, asked, functions)} Ask for it by --precision {component}=…")
    if taken is not asked:
        tell(f"{component} for {target}: {taken}, whose weights have as many bits. {refusal(target, asked, functions)}")
    return taken


def _by_component(
    folder: Path, roles: Mapping[str, Role], precisions: Mapping[str, Precision] | Precision | None
) -> dict[str, Precision]:
    if precisions is None:
        return {}
    if isinstance(precisions, Precision):
        return dict.fromkeys(roles, precisions)
    known = dict.fromkeys([*roles, *roles.values()])
    if unknown := [name for name in precisions if name not in known]:
        raise ConfigError(f"{folder}: no component `{unknown[0]}`; {nearest(unknown[0], known, 'names and roles')}")
    by_role = {name: precisions[role] for name, role in roles.items() if role in precisions}
    return by_role | {name: precision for name, precision in precisions.items() if name in roles}
