"""``pocketcrafter build``: from a recipe to a verified bundle."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pocketcrafter.export.shipped import DEFAULT_RECIPE, SHIPPED_PAIRS, WEIGHTS, not_installed
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFolder, json_option
from pocketcrafter.runtime.targets import TARGETS, TargetKind
from pocketcrafter.runtime.words import counted

if TYPE_CHECKING:
    from pocketcrafter.export.builder.stage import Stage
    from pocketcrafter.export.builder.store import Store
    from pocketcrafter.export.recipe import Recipe

_BUNDLE: Final = Path("build/default.pcbundle")


def _read_precisions(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> Mapping[str, Precision] | Precision | None:
    """Read one ``PRECISION``, or ``COMPONENT=PRECISION`` pairs."""
    found: dict[str, Precision] = {}
    for value in values:
        name, named, precision = value.rpartition("=")
        if named and not name:
            raise click.BadParameter(f"{value!r}: names no component before `=`.", ctx, param)
        if precision not in set(Precision):
            raise click.BadParameter(f"{value!r}: precisions are {', '.join(Precision)}.", ctx, param)
        if name in found:
            raise click.BadParameter(f"{value!r}: given twice.", ctx, param)
        found[name] = Precision(precision)
    if "" in found and len(found) > 1:
        raise click.BadParameter("give one precision for all components, or one for each that is named.", ctx, param)
    return found.get("") or found or None


class _Folder(click.Path):
    """A folder that exists, or the name of a shipped pair where none is called so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click has it
        """See `click.Path.convert`."""
        if value in SHIPPED_PAIRS and not Path(value).exists():
            value = str(WEIGHTS / value)
            if (absent := not_installed(Path(value))) is not None:
                self.fail(absent, param, ctx)
        return super().convert(value, param, ctx)


@click.command("build")
@click.argument("folder", required=False, type=_Folder(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--recipe",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_RECIPE,
    help="Recipe; default: the shipped one.",
)
@click.option(
    "--target",
    "targets",
    type=click.Choice(list(TARGETS)),
    multiple=True,
    help="Build only this target; may be given again.",
)
@click.option("--all-targets", is_flag=True, help="Build every target that the recipe has a precision for.")
@click.option(
    "--out",
    type=OutputFolder(".pcbundle"),
    help=f"The bundle's directory; default: {_BUNDLE}, or build/NAME.pcbundle for a FOLDER of that name.",
)
@click.option(
    "--stages",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/stages"),
    show_default=True,
    help="Where results of stages are kept for the next build.",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Stages at the same time; one for each core when not given.")
@click.option(
    "--memory",
    "ram_mib",
    type=click.IntRange(256),
    help="MiB for all stages together; most of what is free when not given.",
)
@click.option(
    "--precision",
    "precisions",
    metavar="[COMPONENT=]PRECISION",
    multiple=True,
    callback=_read_precisions,
    help="For a FOLDER: precision of all its components, or of one component or role; may be given again. A target "
    "that lacks it takes its nearest with as many bits a weight and says so, or refuses. Without: floating point.",
)
@click.option(
    "--save-recipe",
    type=click.Path(dir_okay=False, path_type=Path),
    help="For a FOLDER: write its recipe to this file too, for --recipe; with --dry-run nothing but it.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what would be done and what it would take; do nothing but look into the weights.",
)
@json_option
def build_command(
    folder: Path | None,
    recipe: Path,
    targets: tuple[str, ...],
    out: Path | None,
    stages: Path,
    jobs: int | None,
    ram_mib: int | None,
    precisions: Mapping[str, Precision] | Precision | None,
    save_recipe: Path | None,
    *,
    all_targets: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    r"""Quantize, lower, verify and bundle a recipe's networks, or those of a FOLDER.

    What was built before and has not changed is taken as it is; an interrupted build goes on where it stopped.
    A FOLDER is a checkpoint in Hugging Face's layout with safetensors (UNet2DConditionModel, AutoencoderTiny,
    AutoencoderKL; Llama; SmolVLM, Idefics3, Qwen2.5-VL; VisionEncoderDecoder, for onnx): its recipe is inferred,
    --dry-run shows it, and its networks are built into a bundle of their own. A FOLDER with critic/ (SmolVLM, Idefics3,
    Qwen2.5-VL, Qwen3-VL) and artist/ (a pipeline of diffusers) is a pair, which `enhance` and `critique` run; the
    shipped one is found by its name, latent-studio.
    Exit code 0: built. 1: a gate was missed, and nothing was written. 2: bad input, or something is missing.

    \b
    Example:
      pocketcrafter build
      pocketcrafter build --target onnx --out build/onnx.pcbundle --dry-run
      pocketcrafter build --target qnn-context:sm8750 --out build/sm8750.pcbundle
      pocketcrafter build --all-targets --out build/all.pcbundle
      pocketcrafter build latent-studio --target onnx
      pocketcrafter build checkpoints/taesd --target onnx --target coreml:ios18
      pocketcrafter build checkpoints/smolvlm --precision vision=int8 --precision language=w4 --dry-run
    """
    from pocketcrafter.export.builder.graph import bundle_stage
    from pocketcrafter.export.builder.preflight import check_packages, check_room, check_weights
    from pocketcrafter.export.builder.runner import Budget, in_order, missing_stages, run
    from pocketcrafter.export.builder.settings import BUNDLE
    from pocketcrafter.export.builder.store import Store, check_free, install
    from pocketcrafter.export.families.inference import recipe_text, write_recipe
    from pocketcrafter.export.recipe import load_recipe
    from pocketcrafter.runtime.files import only_writer

    check_packages()
    if all_targets and targets:
        raise click.UsageError("--all-targets and --target exclude each other.")
    asked = tuple(TargetKind(t) for t in dict.fromkeys(targets))
    if folder is None and (precisions is not None or save_recipe is not None):
        raise click.UsageError("--precision and --save-recipe are for a FOLDER; a recipe names its precisions.")
    loaded, chosen = _requested(load_recipe(recipe), folder, asked, precisions, all_targets=all_targets)
    where = folder or recipe
    out = out or (_BUNDLE if folder is None else _BUNDLE.with_name(f"{loaded.name}.pcbundle"))
    if save_recipe is not None:
        write_recipe(loaded, save_recipe)
    check_free(out)
    last = bundle_stage(loaded, where, chosen)
    store = Store(stages)
    needed = missing_stages(last, store)
    if dry_run:
        check_weights(needed)
        plan = _plan(last, needed, store)
        inferred = {"recipe": loaded.model_dump(mode="json", exclude_defaults=True), "stages": plan}
        text = "" if folder is None else f"{recipe_text(loaded)}\n"
        shown = plan if folder is None else inferred
        click.echo(json.dumps(shown, indent=1) if as_json else f"{text}{_plan_text(plan, out)}")
        return
    check_room([store.estimate(stage) for stage in needed], stages)
    machine = Budget.of_machine()
    budget = Budget(jobs=jobs or machine.jobs, ram_mib=ram_mib or machine.ram_mib)
    started = time.monotonic()
    with only_writer(out):
        with Bars() as bars:
            made = run(last, store, bars.update, budget) / BUNDLE
        written = install(made, out)
    seconds = time.monotonic() - started
    result = {
        "bundle": str(out),
        "stages_run": [s.name for s in needed],
        "written": written,
        "seconds": round(seconds, 1),
        "costs": [_cost(stage, store) for stage in in_order(last)],
    }
    text = (
        f"{out}: {counted(len(needed), 'stage')} run in {seconds:.0f} s" if needed or written else f"{out}: up to date"
    )
    click.echo(json.dumps(result, indent=1) if as_json else text)


def _requested(
    recipe: "Recipe",
    folder: Path | None,
    targets: tuple[TargetKind, ...],
    precisions: Mapping[str, Precision] | Precision | None,
    *,
    all_targets: bool,
) -> "tuple[Recipe, tuple[TargetKind, ...]]":
    """Return what is to be built: a recipe, or the one of a folder, and its targets where not all of them are meant."""
    from pocketcrafter.export.builder.preflight import check_targets
    from pocketcrafter.export.families.inference import able_targets, infer_recipe, tell_of_pair
    from pocketcrafter.runtime.capabilities import with_sdk

    if folder is None:
        chosen = with_sdk(recipe.buildable) if all_targets else targets
        check_targets(chosen or recipe.targets)
        return recipe, chosen
    tell_of_pair(folder, _note)
    wanted = with_sdk(able_targets(folder, _note)) if all_targets else targets or recipe.targets
    check_targets(wanted)  # what is missing here is told before what a target could not do anyway
    return infer_recipe(folder, wanted, precisions, recipe.gates, _note), ()


def _note(sentence: str) -> None:
    click.echo(f"note: {sentence}", err=True)


def _cost(stage: "Stage", store: "Store") -> dict[str, str | float | int | None]:
    """Return what a stage took when it was made, now or by an earlier build; nulls where its result is not kept."""
    made = store.record(stage)
    facts: dict[str, str | float | int | None] = {"stage": stage.name}
    for name in ("seconds", "cpu_seconds", "peak_rss_mib"):
        value = getattr(made, name, None)
        facts[name] = round(value, 1) if value is not None else None
    return facts


def _plan(last: "Stage", needed: "list[Stage]", store: "Store") -> list[dict[str, str | float | int]]:
    from pocketcrafter.export.builder.runner import in_order

    names = {stage.name for stage in needed}
    rows: list[dict[str, str | float | int]] = []
    for stage in in_order(last):
        cost = store.estimate(stage)
        rows.append(
            {
                "stage": stage.name,
                "state": "needed" if stage.name in names else "cached",
                "key": stage.key(),
                "seconds": round(cost.seconds, 1),
                "ram_mib": cost.ram_mib,
                "disk_mib": cost.disk_mib,
            }
        )
    return rows


def _plan_text(plan: list[dict[str, str | float | int]], out: Path) -> str:
    width = max([len(str(row["stage"])) for row in plan], default=0)
    lines = [f"{'stage':<{width}} {'state':<7} {'key':<12} {'time s':>7} {'RAM MiB':>8} {'disk MiB':>9}"]
    lines += [
        f"{row['stage']:<{width}} {row['state']:<7} {str(row['key'])[:12]} "
        f"{row['seconds']:>7} {row['ram_mib']:>8} {row['disk_mib']:>9}"
        for row in plan
    ]
    needed = [row for row in plan if row["state"] == "needed"]
    seconds, disk = (sum(float(row[what]) for row in needed) for what in ("seconds", "disk_mib"))
    ram = max((row["ram_mib"] for row in needed), default=0)
    return "\n".join(
        [
            *lines,
            "",
            f"{counted(len(needed), 'stage')} to run for {out}: about {seconds:.0f} s of work, {ram} MiB RAM for the "
            f"largest, {disk:.0f} MiB disk.",
        ]
    )
