"""Recipes of latent pairs: inferred from a pair's folder, and the files that their stages read."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from pocketcrafter.export.families.family import WEIGHTS, ComponentPlan, Made, Plan
from pocketcrafter.export.families.latent.config import PairConfig
from pocketcrafter.export.families.latent.critic_folder import CONFIG_FILE, TOKENIZER_FILE
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.families.networks.checkpoint import check_finite
from pocketcrafter.export.families.networks.plan import INT4, FolderComponents, recipe_of
from pocketcrafter.export.names import HEAD
from pocketcrafter.export.recipe import Gates, Recipe, resolve
from pocketcrafter.runtime.bundle.gates import Gate, Metric
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import LATENT
from pocketcrafter.runtime.latent.settings import LADDER, TOKENIZER, Latent
from pocketcrafter.runtime.targets import TargetKind
from pocketcrafter.runtime.validation import check

_HERE: Final = "pocketcrafter.export.families.latent"
_PHOTOS: Final = "photos"
_PAIR: Final = "pair"
_PHOTOS_RUNG: Final = 3
_WORDS_OF_INT4: Final = Gate(metric=Metric.TOKEN_AGREEMENT, minimum=0.97)
_EXAMPLES_SECONDS: Final = 25.0
"""What importing diffusers and transformers takes."""
_SECONDS_A_MIB: Final = 0.1
"""Loading, comparing and running the whole pair for each sample, on a core with AVX512."""


class LatentRecipe(Recipe):
    """A bundle of a latent pair; the weights of every component are the pair's folder."""


def plan(recipe: LatentRecipe, path: Path) -> Plan:
    """Return what a recipe's stages read.

    Parameters
    ----------
    recipe, path
        The recipe and its file.

    Raises
    ------
    CheckpointError
        If the pair's folder is not whole, its parts do not fit each other, or weights are not finite.
    ConfigError
        If components are of several folders, or are not the pair's.
    """
    named = {made.weights for made in recipe.components.values()}
    if len(named) != 1:
        raise ConfigError(f"{path}: components are of several folders ({', '.join(sorted(named))}); a pair is one.")
    folder = resolve(path, named.pop())
    pair = read_pair(folder)
    if pair.roles.keys() != recipe.components.keys():
        has, wants = ", ".join(recipe.components), ", ".join(pair.roles)
        raise ConfigError(f"{path}: has the components {has}; those of the pair {folder} are {wants}.")
    check_finite(pair.weights)
    photos = resolve(path, recipe.calibration.photos)
    components = {
        name: ComponentPlan(
            network={WEIGHTS: pair.files},
            examples={_PHOTOS: photos},
            functions=pair.functions.get(name, ()),
            modules=partial(frozenset, {HEAD} if name in pair.functions else ()),
            weights_mib=pair.weights_mib,
            examples_seconds=_EXAMPLES_SECONDS + _SECONDS_A_MIB * pair.weights_mib,
        )
        for name in pair.roles
    }
    made = Made(
        run=f"{_HERE}.networks:run",
        inputs={_PAIR: pair.files},
        settings=("critic", "artist"),
    )
    files = {} if pair.critic is None else {TOKENIZER: pair.critic.folder / TOKENIZER_FILE}
    # Every component's samples are drawn by a run of the whole pair, so that the artist's code counts for each.
    sources = () if pair.artist is None else (pair.artist.kind.network,)
    return Plan(components, files, made, sources)


def infer_recipe(
    folder: Path,
    targets: Sequence[TargetKind],
    precisions: Mapping[str, Precision] | Precision | None = None,
    gates: Gates | None = None,
    tell: Callable[[str], object] = lambda _sentence: None,
) -> Recipe:
    """Return the recipe of a pair's folder, with the licences of its teachers.

    Of a language model in INT4 fewer of the greedy words have to agree, where the gates say nothing of it themselves.

    Parameters
    ----------
    folder
        A pair's, as `pocketcrafter.export.families.latent.pair.read_pair` reads it.
    targets, precisions, gates, tell
        As for :func:`pocketcrafter.export.families.networks.plan.infer_recipe`.

    Raises
    ------
    CheckpointError
        If the folder is not whole, or its parts do not fit each other.
    ConfigError
        As there, or if a teacher's licence is not in the folder or forbids the use that ``pair.yaml`` names.
    """
    pair = read_pair(folder)
    what = FolderComponents(LATENT, pair.roles, pair.functions)
    made = _licensed(recipe_of(folder, LatentRecipe, what, targets, precisions, gates, tell), folder, pair.config)
    language = made.components.get(Latent.LANGUAGE)
    if language is None or _PHOTOS_RUNG in made.gates.ladder or not INT4 & set(language.precision.values()):
        return made
    ladder = {
        _PHOTOS_RUNG: tuple(_WORDS_OF_INT4 if g.metric is _WORDS_OF_INT4.metric else g for g in LADDER[_PHOTOS_RUNG])
    }
    return made.model_copy(update={"gates": made.gates.model_copy(update={"ladder": ladder})})


def _licensed(made: LatentRecipe, folder: Path, config: PairConfig) -> LatentRecipe:
    """Return a recipe with the licences of the pair's teachers; raises `ConfigError` where they forbid its use."""
    if absent := [teacher.text for teacher in config.teachers if not (folder / teacher.text).is_file()]:
        raise ConfigError(
            f"{folder / CONFIG_FILE}: teachers: no file {absent[0]} with the text of a licence in {folder}."
        )
    taught = [
        {"spdx": t.license, "path": str((folder / t.text).resolve()), "covers": f"the teacher {t.name}"}
        for t in config.teachers
    ]
    sources = [{"name": t.name, "license": t.license, "url": t.url} for t in config.teachers]
    raw = made.model_dump() | {"commercial": config.commercial}
    raw["licenses"] = [*raw["licenses"], *taught]
    raw["training_data"] |= {"sources": [*raw["training_data"]["sources"], *sources]}
    return check(LatentRecipe, raw, f"{folder / CONFIG_FILE}: no bundle may be made of this pair")
