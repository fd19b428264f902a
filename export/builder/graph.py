"""The stages of a recipe: examples → lower → prove for each component and target, and one bundle of all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from pocketcrafter.export.builder.preflight import check_named_modules, check_settings
from pocketcrafter.export.builder.provenance import check_trained_with
from pocketcrafter.export.builder.settings import (
    BundleSettings,
    ComponentFacts,
    ExamplesSettings,
    LicenseFacts,
    LowerSettings,
    ProveSettings,
)
from pocketcrafter.export.builder.stage import Estimate, Stage
from pocketcrafter.export.builder.steps.names import COMPILED, TOKENIZER_INPUT
from pocketcrafter.export.families import build_of
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.precisions import compiled_precision, runs_as
from pocketcrafter.export.recipe import WEIGHT_ONLY, Recipe, resolve
from pocketcrafter.quantize.config import QuantizationOptions
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import FAMILIES
from pocketcrafter.runtime.targets import TargetKind

_STEPS: Final = "pocketcrafter.export.builder.steps"
_TORCH: Final = ("torch", "safetensors", "numpy")
_PHOTOS: Final = ("pillow", "opencv-python-headless")
# On a core with AVX512, for networks of about three million parameters.
_SHARE_OF_COMPILER: Final = 0.3
"""What each further target costs of those that are lowered together."""
_EXAMPLES_COST: Final = Estimate(seconds=8, ram_mib=1000, disk_mib=150)
_LOWER_COST: Final = Estimate(seconds=20, ram_mib=1700, disk_mib=15)
_PROVE_COST: Final = Estimate(seconds=3, ram_mib=800, disk_mib=1)
_BUNDLE_COST: Final = Estimate(seconds=2, ram_mib=100, disk_mib=60)


def bundle_stage(recipe: Recipe, recipe_path: Path, targets: tuple[TargetKind, ...] = ()) -> Stage:
    """Return the stage whose result is the bundle.

    Parameters
    ----------
    recipe, recipe_path
        The recipe and where it lies.
    targets
        Targets to build; those of the recipe, when none is named.

    Raises
    ------
    ConfigError
        If the recipe says nothing of a target, lacks a component that another one needs, or names a file or a module
        that is not there.
    """
    chosen = targets or recipe.targets
    if absent := [t for t in chosen if t not in recipe.buildable]:
        has = ", ".join(recipe.buildable)
        raise ConfigError(f"{recipe_path}: the recipe has no target {', '.join(absent)}; it has {has}.")
    weights = {c: resolve(recipe_path, made.weights) for c, made in recipe.components.items()}
    check_named_modules(recipe, recipe_path, weights)
    build = build_of(recipe.family)
    settings_files = {name: resolve(recipe_path, file) for name, file in recipe.setting_files.items()}
    check_settings(recipe.family, settings_files)
    inputs: dict[str, Path | Stage] = {f"settings.{name}": file for name, file in settings_files.items()}
    further = {path: resolve(recipe_path, file) for path, file in build.files(recipe).items()}
    inputs |= further
    for component, made in recipe.components.items():
        if lacking := [n for n in build.needs.get(component, ()) if n not in weights]:
            raise ConfigError(f"{recipe_path}: `{component}` needs {', '.join(lacking)}, which is not in the recipe.")
        inputs[f"{component}.weights"] = weights[component]
        if made.card is not None:
            inputs[f"{component}.card"] = resolve(recipe_path, made.card)
        examples = _examples(recipe, recipe_path, component, weights)
        inputs[f"{component}.examples"] = examples
        for target in chosen:
            lowered = _lowered(recipe, component, target, chosen, {"weights": weights[component], "examples": examples})
            inputs[f"{component}.{target}.lowered"] = lowered
            inputs[f"{component}.{target}.proof"] = _proved(recipe, component, target, lowered, examples)
    _check_training(recipe, recipe_path, weights)
    for index, text in enumerate(recipe.licenses):
        inputs[f"license.{index}"] = resolve(recipe_path, text.path)
    tools = {tool for target in chosen for tool in profile_of(target).tools} | set(_TORCH) | {"pocketcrafter"}
    settings = BundleSettings(
        name=recipe.name,
        family=recipe.family,
        settings=tuple(settings_files),
        files=tuple(further),
        targets=chosen,
        components={
            c: ComponentFacts(weights=weights[c].name, license=m.license) for c, m in recipe.components.items()
        },
        goldens=recipe.calibration.goldens,
        licenses=tuple(
            LicenseFacts(input=f"license.{index}", spdx=text.spdx, covers=text.covers)
            for index, text in enumerate(recipe.licenses)
        ),
        training_data=recipe.training_data,
        tools=tuple(sorted(tools)),
    )
    return Stage("bundle", f"{_STEPS}.assemble:run", inputs, settings, settings.tools, _BUNDLE_COST)


def _check_training(recipe: Recipe, recipe_path: Path, weights: Mapping[str, Path]) -> None:
    for component, (hashes, mend) in build_of(recipe.family).trained_with.items():
        if (made := recipe.components.get(component)) is not None:
            known = {f"{name}.weights": file for name, file in weights.items()}
            if made.tokenizer is not None:
                known[f"{component}.tokenizer"] = resolve(recipe_path, made.tokenizer)
            check_trained_with(weights[component], {name: known[file] for name, file in hashes.items()}, mend)


def _examples(recipe: Recipe, recipe_path: Path, component: str, weights: Mapping[str, Path]) -> Stage:
    tokenizer, build = recipe.components[component].tokenizer, build_of(recipe.family)
    return Stage(
        name=f"examples of {component}",
        run=build.examples,
        inputs={
            "photos": resolve(recipe_path, recipe.calibration.photos),
            "weights": weights[component],
            **{needed: weights[needed] for needed in build.needs.get(component, ())},
            **({} if tokenizer is None else {TOKENIZER_INPUT: resolve(recipe_path, tokenizer)}),
        },
        settings=ExamplesSettings(
            component=component,
            samples=recipe.components[component].samples,
            seed=recipe.calibration.seed,
            goldens=recipe.calibration.goldens,
        ),
        tools=(*_TORCH, *_PHOTOS),
        estimate=replace(_EXAMPLES_COST, seconds=build.examples_seconds.get(component, _EXAMPLES_COST.seconds)),
    )


def _lowered(
    recipe: Recipe,
    component: str,
    asked: TargetKind,
    chosen: tuple[TargetKind, ...],
    inputs: Mapping[str, Path | Stage],
) -> Stage:
    made = recipe.components[component]
    precisions = made.precision
    precision = precisions[asked]
    # What an accelerator leaves to the CPU is the same for each of them: it is lowered once.
    target = runs_as(asked, precision)
    targets: tuple[TargetKind, ...] = (target,)
    if profile_of(target).together:
        alike = (t for t in chosen if t.family == target.family and precisions[t] is precision)
        targets = tuple(sorted(t for t in alike if made.options(t) == made.options(target)))
    return _lowering(recipe, component, targets, precision, made.options(asked), inputs)


def _lowering(
    recipe: Recipe,
    component: str,
    targets: tuple[TargetKind, ...],
    precision: Precision,
    options: QuantizationOptions,
    inputs: Mapping[str, Path | Stage],
    *,
    to_compile: bool = False,
) -> Stage:
    made, load = recipe.components[component], build_of(recipe.family).load
    target = targets[0]
    profile = profile_of(target)
    same = not to_compile and made.precision.get(target) is precision
    compiled = {}
    if profile.compiled_from:
        wanted = compiled_precision(precision)
        compiled[COMPILED] = _lowering(
            recipe, component, (profile.compiled_from,), wanted, options, inputs, to_compile=True
        )
    what = f"lower {component} for {', '.join(targets)}"
    if not same:
        # Names tell stages apart: targets may be compiled from sources of one precision that differ in their options.
        changed = f" with {options}" if options.given else ""
        what = f"{what} in {precision}{changed}{', to be compiled' if to_compile else ''}"
    seconds = profile.lower_seconds * (1 + _SHARE_OF_COMPILER * (len(targets) - 1))
    return Stage(
        name=what,
        run=f"{_STEPS}.lower:run",
        inputs={**inputs, **compiled},
        settings=LowerSettings(
            component=component,
            load=load,
            targets=targets,
            precision=precision,
            keep_fp32=made.keep_fp32,
            weight_bits=made.weight_bits if precision in WEIGHT_ONLY else {},
            quantization=options,
            to_compile=to_compile,
        ),
        tools=(*_TORCH, *profile.tools),
        estimate=replace(_LOWER_COST, seconds=seconds),
        modules=(load.partition(":")[0],),
    )


def _proved(recipe: Recipe, component: str, target: TargetKind, lowered: Stage, examples: Stage) -> Stage:
    made, gates, profile = recipe.components[component], recipe.gates, profile_of(target)
    return Stage(
        name=f"verify {component} for {target}",
        run=f"{_STEPS}.prove:run",
        inputs={"lowered": lowered, "examples": examples},
        settings=ProveSettings(
            component=component,
            target=target,
            precision=made.precision[target],
            gates=gates.of(made),
            ladder={**FAMILIES[recipe.family].ladder, **gates.ladder},
            pictures=made.pictures,
            goldens=recipe.calibration.goldens,
        ),
        tools=profile.tools,
        estimate=replace(_PROVE_COST, seconds=profile.prove_seconds),
    )
