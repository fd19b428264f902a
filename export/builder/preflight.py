"""Checks before any work is done: missing packages, and too little memory or disk space."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.export.builder.child import Child
from pocketcrafter.export.builder.settings import AUDIT, EXAMPLES
from pocketcrafter.export.builder.stage import Estimate, Stage
from pocketcrafter.export.content import FolderFiles
from pocketcrafter.export.families.family import Family, Plan, modules_of, network_source
from pocketcrafter.export.lower.profiles import no_functions
from pocketcrafter.export.recipe import Recipe
from pocketcrafter.runtime.capabilities import extra_state, free_disk_mib, why_not_buildable
from pocketcrafter.runtime.config import parse_json
from pocketcrafter.runtime.errors import BackendError, ConfigError, PocketCrafterError
from pocketcrafter.runtime.families import FAMILIES
from pocketcrafter.runtime.memory import memory_mib
from pocketcrafter.runtime.targets import TargetKind
from pocketcrafter.runtime.validation import check, nearest

_SPARE_DISK_MIB: Final = 200


class PreflightError(PocketCrafterError):
    """Neither machine nor installation may fall short of what a build takes; nothing was started."""


def check_packages() -> None:
    """Look for the packages of the extra `build`, without importing any.

    Raises
    ------
    PreflightError
        If one is missing, with the command that installs it.
    """
    state = extra_state("build")
    if state.missing:
        raise PreflightError(f"Building needs {', '.join(state.missing)}: {state.mend}")


def check_targets(targets: Sequence[TargetKind]) -> None:
    """Look for what builds the targets' artifacts, and for what runs them here where anything but a device does.

    Raises
    ------
    PreflightError
        If something is missing or of a wrong version, with the command that mends it.
    """
    reasons = {target: why_not_buildable(target) for target in targets}
    if short := [f"  {target}: {reason}" for target, reason in reasons.items() if reason]:
        raise PreflightError("\n".join(["These targets cannot be built here:", *short]))


def check_functions(recipe: Recipe, recipe_path: Path, plan: Plan, targets: Sequence[TargetKind]) -> None:
    """Look for targets whose artifacts cannot have the further functions of a component in its precision.

    Parameters
    ----------
    recipe, recipe_path
        The recipe and where it lies.
    plan
        The components of the build.
    targets
        The targets of the build.

    Raises
    ------
    BackendError
        If there is one, with those that can.
    """
    asked = (
        (target, name, made.functions, recipe.components[name].precision[target])
        for target in targets
        for name, made in plan.components.items()
    )
    if reasons := [reason for given in asked if (reason := no_functions(*given))]:
        raise BackendError("\n  ".join([f"{recipe_path}: not every target can have this:", *reasons]))


def check_named_modules(recipe: Recipe, recipe_path: Path, plan: Plan, family: Family) -> None:
    """Look for the modules that a recipe names, before hours are spent on what it says of the others.

    Parameters
    ----------
    recipe, recipe_path
        The recipe and where it lies.
    plan, family
        What it comes to, and how its family's networks are loaded.

    Raises
    ------
    ConfigError
        If a component has no module of a name; the nearest one is told.
    """
    for component, made in recipe.components.items():
        named = {"keep_fp32": made.keep_fp32, "weight_bits": tuple(made.weight_bits)}
        wanted = {name for names in named.values() for name in names}
        planned = plan.components[component]
        if not wanted or wanted <= planned.modules():
            continue
        # Modules without parameters are in no file of weights; loading them takes seconds.
        files = {name: found if isinstance(found, Path) else found.folder for name, found in planned.network.items()}
        known = modules_of(network_source(family.networks).load(component, files).network)
        for key, names in named.items():
            for name in names:
                if name not in known:
                    hint = nearest(name, sorted(known), "modules")
                    raise ConfigError(f"{recipe_path}: components.{component}.{key}: no module `{name}`; {hint}")


def check_settings(family: str, files: Mapping[str, Path]) -> None:
    """Look into the files of a family's settings, which a bundle's manifest takes over when everything is built.

    Raises
    ------
    ConfigError
        If a file cannot be read, or the settings are not the family's.
    """
    raw = {}
    for name, path in files.items():
        try:
            raw[name] = parse_json(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: not JSON, as a setting of the family {family} is: {error}") from error
    named = ", ".join(f"{name}: {path}" for name, path in files.items()) or "none"
    check(FAMILIES[family].settings, raw, f"Settings of the family {family} ({named}) are not valid")


def check_weights(stages: Sequence[Stage]) -> None:
    """Load the networks of the stages that draw samples, each in a process of its own, and write nothing.

    Loading holds every weight against its file: missing layers, other shapes and values that are not finite are told.

    Parameters
    ----------
    stages
        Those that a build would run.

    Raises
    ------
    PocketCrafterError
        As the stage would raise it.
    """
    for stage in stages:
        if stage.run != EXAMPLES:
            continue
        files = {name: _place(source) for name, source in stage.inputs.items() if not isinstance(source, Stage)}
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-audit-") as name:
            child = Child(AUDIT, files, stage.settings, Path(name), Path(name) / "log.txt")
            try:
                child.receive()
            finally:
                child.stop()


def _place(source: Path | FolderFiles) -> Path:
    return source if isinstance(source, Path) else source.folder


def check_room(estimates: Sequence[Estimate], folder: Path) -> None:
    """Compare what the stages will take with what this machine has free.

    Raises
    ------
    PreflightError
        If memory for the largest or disk for all of them is short, with what there is.
    """
    if not estimates:
        return
    ram, disk = max(e.ram_mib for e in estimates), sum(e.disk_mib for e in estimates) + _SPARE_DISK_MIB
    total_ram, free_ram = memory_mib()
    if total_ram and free_ram < ram:
        raise PreflightError(
            f"The largest stage needs about {ram} MiB of memory; {free_ram} of {total_ram} MiB are free. "
            "Close other programs, or build one `--target` at a time on a larger machine."
        )
    if (free_disk := free_disk_mib(folder)) < disk:
        raise PreflightError(
            f"The build needs about {disk} MiB of disk in {folder}; {free_disk} MiB are free. "
            "Free some, or name another place with `--stages` and `--out`."
        )
