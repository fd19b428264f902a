"""Infers the recipe of a folder, of a pair or else of a single checkpoint's networks, and writes it."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from pocketcrafter.export.families.latent import plan as latent
from pocketcrafter.export.families.latent.pair import ARTIST_FOLDER, CRITIC_FOLDER, is_pair, read_pair
from pocketcrafter.export.families.networks import plan as networks
from pocketcrafter.export.families.networks.architecture import read_folder
from pocketcrafter.export.recipe import Gates, Recipe
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.targets import TargetKind


def able_targets(folder: Path, tell: Callable[[str], object]) -> tuple[TargetKind, ...]:
    """Return the targets that a folder can be built for, and tell of the others; raises as :func:`infer_recipe`."""
    functions = read_pair(folder).functions if is_pair(folder) else read_folder(folder)[0].functions
    return networks.able_targets(functions, tell)


def tell_of_pair(folder: Path, tell: Callable[[str], object]) -> None:
    """Tell of the pair whose critic or artist a folder lies in, where there is one."""
    resolved = folder.resolve()
    for above in resolved.parents:
        if resolved.relative_to(above).parts[0] in {CRITIC_FOLDER, ARTIST_FOLDER} and is_pair(above):
            tell(f"{above} is a pair: `pocketcrafter build {above}` builds critic and artist into one bundle.")
            return


def infer_recipe(
    folder: Path,
    targets: Sequence[TargetKind],
    precisions: Mapping[str, Precision] | Precision | None = None,
    gates: Gates | None = None,
    tell: Callable[[str], object] = lambda _sentence: None,
) -> Recipe:
    """Return a folder's recipe.

    Parameters
    ----------
    folder
        Of a pair, or of one checkpoint in Hugging Face's layout.
    targets, precisions, gates, tell
        As `pocketcrafter.export.families.networks.plan.infer_recipe` takes them, and so the errors.
    """
    inferred = latent.infer_recipe if is_pair(folder) else networks.infer_recipe
    return inferred(folder, targets, precisions, gates, tell)


def write_recipe(recipe: Recipe, file: Path) -> None:
    """Write an inferred recipe as YAML, its folders relative to the file.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    write_text(file, recipe_text(recipe, file.resolve().parent))


def recipe_text(recipe: Recipe, beside: Path | None = None) -> str:
    """Return a recipe as YAML, with paths relative to a folder where one is given."""
    raw = recipe.model_dump(mode="json", exclude_defaults=True)
    for entry, key in [(c, "weights") for c in raw["components"].values()] + [(e, "path") for e in raw["licenses"]]:
        if beside is not None and Path(entry[key]).is_absolute():
            entry[key] = Path(os.path.relpath(entry[key], beside)).as_posix()
    text: str = yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=120)
    return text
