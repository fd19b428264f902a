"""The stages of a recipe: examples → lower → prove for each component and target, and one bundle of all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.export.builder.preflight import check_functions, check_named_modules, check_settings
from pocketcrafter.export.builder.settings import (
    COMPILED,
    EXAMPLES,
    MADE,
    BundleSettings,
    ComponentFacts,
    ExamplesSettings,
    LicenseFacts,
    LowerSettings,
    MadeSettings,
    ProveSettings,
)
from pocketcrafter.export.builder.stage import Estimate, Input, Stage
from pocketcrafter.export.content import content_hash
from pocketcrafter.export.families.family import WEIGHTS, ComponentPlan, Family, Made, Plan, referenced
from pocketcrafter.export.families.registry import family_of
from pocketcrafter.export.lower.precisions import compiled_precision, runs_as
from pocketcrafter.export.lower.profile import Profile
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.recipe import Recipe, resolve
from pocketcrafter.quantize.config import QuantizationOptions
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.families import FAMILIES
from pocketcrafter.runtime.targets import TargetKind

_STEPS: Final = "pocketcrafter.export.builder.steps"
_SHARE_OF_COMPILER: Final = 0.3
"""What each further target costs of those that are lowered together."""

# On a core with AVX512, for networks of about three million parameters; and what more weights add.
_EXAMPLES_COST: Final = Estimate(seconds=8, ram_mib=1000, disk_mib=150)
_LOWER_COST: Final = Estimate(seconds=20, ram_mib=1700, disk_mib=15)
_PROVE_COST: Final = Estimate(seconds=3, ram_mib=800, disk_mib=1)
_BUNDLE_COST: Final = Estimate(seconds=2, ram_mib=100, disk_mib=60)
_SMALL_MIB: Final = 12.0
"""Weights of such a network in float32."""
_SLOWER: Final = 1 / 100
"""Times that lowering takes longer for each MiB of weights more; proving likewise."""
_COPIES: Final = 4.0
"""Copies of its weights that lowering holds at once: the network, the exported graph, and both again quantized."""


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
    BackendError
        If a target's artifacts cannot have a component's further functions.
    """
    chosen = targets or recipe.targets
    if absent := [t for t in chosen if t not in recipe.buildable]:
        has = ", ".join(recipe.buildable)
        raise ConfigError(f"{recipe_path}: the recipe has no target {', '.join(absent)}; it has {has}.")
    graph = _Graph(recipe, recipe_path, chosen)
    settings_files = {name: resolve(recipe_path, file) for name, file in recipe.setting_files.items()}
    if graph.plan.made is None:
        check_settings(recipe.family, settings_files)
    inputs: dict[str, Input] = {f"settings.{name}": file for name, file in settings_files.items()}
    inputs |= graph.plan.files
    for component, entry in recipe.components.items():
        if entry.card is not None:
            inputs[f"{component}.card"] = resolve(recipe_path, entry.card)
        inputs |= graph.of(component)
    made = graph.plan.made
    if made is not None:
        inputs[MADE] = graph.made(made)
    for index, text in enumerate(recipe.licenses):
        inputs[f"license.{index}"] = resolve(recipe_path, text.path)
    tools = {tool for target in chosen for tool in profile_of(target).tools} | set(graph.family.tools)
    settings = BundleSettings(
        name=recipe.name,
        family=recipe.family,
        settings=tuple(settings_files),
        files=tuple(graph.plan.files),
        made_settings=made.settings if made else (),
        targets=chosen,
        components={c: graph.facts(c) for c in recipe.components},
        goldens=recipe.calibration.goldens,
        licenses=tuple(
            LicenseFacts(input=f"license.{index}", spdx=text.spdx, covers=text.covers)
            for index, text in enumerate(recipe.licenses)
        ),
        training_data=recipe.training_data,
        tools=tuple(sorted(tools | {"pocketcrafter"})),
    )
    return Stage("bundle", f"{_STEPS}.assemble:run", inputs, settings, settings.tools, _BUNDLE_COST)


class _Graph:
    """The stages of a recipe's components."""

    def __init__(self, recipe: Recipe, path: Path, chosen: tuple[TargetKind, ...]) -> None:
        self.family: Family = family_of(recipe.family)
        self.plan: Plan = referenced(self.family.plan)(recipe, path)
        self._recipe, self._chosen = recipe, chosen
        check_functions(recipe, path, self.plan, chosen)
        check_named_modules(recipe, path, self.plan, self.family)

    def made(self, made: Made) -> Stage:
        """Return the stage of what the family makes beside its networks."""
        plan = next(iter(self.plan.components.values()))
        return Stage(
            name="settings of the pair",
            run=made.run,
            inputs=made.inputs,
            settings=MadeSettings(),
            tools=self.family.tools,
            estimate=_for_weights(_EXAMPLES_COST, plan, plan.examples_seconds, copies=1.5),
        )

    def facts(self, component: str) -> ComponentFacts:
        """Return what the manifest says of a component's origin."""
        weights = self._plan_of(component).network[WEIGHTS]
        named = weights if isinstance(weights, Path) else weights.folder
        license_ = self._recipe.components[component].license
        return ComponentFacts(weights=named.name, sha256=content_hash(weights), license=license_)

    def of(self, component: str) -> dict[str, Stage]:
        """Return a component's stages, as inputs of the bundle."""
        examples = self._examples(component)
        stages = {f"{component}.examples": examples}
        for target in self._chosen:
            lowered = self._lowered(component, target, {**self._plan_of(component).network, "examples": examples})
            stages[f"{component}.{target}.lowered"] = lowered
            stages[f"{component}.{target}.proof"] = self._proved(component, target, lowered, examples)
        return stages

    def _plan_of(self, component: str) -> ComponentPlan:
        plan: ComponentPlan = self.plan.components[component]
        return plan

    def _examples(self, component: str) -> Stage:
        plan, drawn = self._plan_of(component), self._recipe.calibration
        return Stage(
            name=f"examples of {component}",
            run=EXAMPLES,
            inputs={**plan.examples, **plan.network},
            settings=ExamplesSettings(
                component=component,
                networks=self.family.networks,
                samples=self._recipe.components[component].samples,
                seed=drawn.seed,
                goldens=drawn.goldens,
                options=plan.options,
            ),
            tools=self.family.tools,
            estimate=_for_weights(_EXAMPLES_COST, plan, plan.examples_seconds, copies=1.5),
            modules=(self.family.networks, *self.plan.sources),
        )

    def _lowered(self, component: str, asked: TargetKind, inputs: Mapping[str, Input]) -> Stage:
        made = self._recipe.components[component]
        precisions = made.precision
        precision = precisions[asked]
        # What an accelerator leaves to the CPU is the same for each of them: it is lowered once.
        target = runs_as(asked, precision)
        targets: tuple[TargetKind, ...] = (target,)
        if profile_of(target).together:
            alike = (t for t in self._chosen if t.family == target.family and precisions[t] is precision)
            targets = tuple(sorted(t for t in alike if made.options(t) == made.options(target)))
        return self._lowering(component, targets, precision, made.options(asked), inputs)

    def _lowering(
        self,
        component: str,
        targets: tuple[TargetKind, ...],
        precision: Precision,
        options: QuantizationOptions,
        inputs: Mapping[str, Input],
        *,
        compiled_for: Profile | None = None,
    ) -> Stage:
        made, plan = self._recipe.components[component], self._plan_of(component)
        target = targets[0]
        profile = profile_of(target)
        to_compile, foreign = compiled_for is not None, not plan.plain_operators
        same = not to_compile and made.precision.get(target) is precision
        compiled = {}
        if profile.compiled_from:
            wanted = compiled_precision(precision)
            compiled[COMPILED] = self._lowering(
                component, (profile.compiled_from,), wanted, options, inputs, compiled_for=profile
            )
        what = f"lower {component} for {', '.join(targets)}"
        if not same:
            # Names tell stages apart: targets may be compiled from sources of one precision that differ in options.
            changed = f" with {options}" if options.given else ""
            what = f"{what} in {precision}{changed}{', to be compiled' if to_compile else ''}"
        seconds = profile.lower_seconds * (1 + _SHARE_OF_COMPILER * (len(targets) - 1))
        return Stage(
            name=what,
            run=f"{_STEPS}.lower:run",
            inputs={**inputs, **compiled},
            settings=LowerSettings(
                component=component,
                networks=self.family.networks,
                decompose=foreign and (compiled_for or profile).rewrites(precision),
                plain_norms=foreign and (compiled_for or profile).rewrites_norms(precision),
                targets=targets,
                precision=precision,
                keep_fp32=made.keep_fp32,
                weight_bits=made.bits(precision),
                quantization=options,
                shared_binary=made.shared_binary,
                to_compile=to_compile,
            ),
            tools=(*self.family.tools, *profile.tools),
            estimate=_for_weights(_LOWER_COST, plan, seconds, copies=_COPIES),
            modules=(self.family.networks, *self.plan.sources),
        )

    def _proved(self, component: str, target: TargetKind, lowered: Stage, examples: Stage) -> Stage:
        made, gates, profile = self._recipe.components[component], self._recipe.gates, profile_of(target)
        return Stage(
            name=f"verify {component} for {target}",
            run=f"{_STEPS}.prove:run",
            inputs={"lowered": lowered, "examples": examples},
            settings=ProveSettings(
                component=component,
                target=target,
                precision=made.precision[target],
                gates=gates.of(made),
                ladder={**FAMILIES[self._recipe.family].ladder, **gates.ladder},
                not_run=self.family.not_run,
                pictures=made.pictures,
                goldens=self._recipe.calibration.goldens,
            ),
            tools=profile.tools,
            estimate=_for_weights(_PROVE_COST, self._plan_of(component), profile.prove_seconds, copies=2.0),
        )


def _for_weights(cost: Estimate, plan: ComponentPlan, seconds: float, *, copies: float) -> Estimate:
    """Return what a stage takes for a component's weights."""
    more = max(0.0, plan.weights_mib - _SMALL_MIB)
    slower = 1 + _SLOWER * more if cost is not _EXAMPLES_COST else 1.0  # a plan knows what its examples take
    return Estimate(
        seconds=seconds * slower,
        ram_mib=round(cost.ram_mib + copies * more),
        disk_mib=round(cost.disk_mib + more),
    )
