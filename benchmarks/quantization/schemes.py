"""``pocketcrafter quantize schemes``: which precision each target has, and why not the others."""

import json
from typing import TYPE_CHECKING

import click

from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.targets import TARGETS, TargetKind

if TYPE_CHECKING:
    from pocketcrafter.runtime.bundle.results import Precision


@click.command()
@click.option("--target", type=click.Choice(list(TARGETS)), help="This target alone, with reasons.")
@json_option
def schemes(target: str | None, *, as_json: bool) -> None:
    r"""Show which precisions a recipe may ask of each target, and why not the others.

    \b
    Example:
      pocketcrafter quantize schemes --target executorch-xnnpack
    """
    from pocketcrafter.benchmarks.common.markdown import markdown
    from pocketcrafter.export.lower.profiles import profile_of
    from pocketcrafter.runtime.bundle.results import Precision

    targets = tuple(TARGETS) if target is None else (TargetKind(target),)
    if as_json:
        click.echo(json.dumps({t: {p.value: _answer(t, p) for p in Precision} for t in targets}, indent=1))
    elif target is None:
        rows = [(t, *("yes" if p in profile_of(t).precisions else "–" for p in Precision)) for t in targets]
        click.echo(markdown(("target", *(p.value for p in Precision)), rows))
    else:
        only = targets[0]
        rows = [(p.value, *_words(only, p)) for p in Precision]
        click.echo(markdown((only, "", "nearest"), rows))


def _answer(target: TargetKind, precision: "Precision") -> dict[str, object]:
    from pocketcrafter.export.lower.precisions import nearest_precision
    from pocketcrafter.export.lower.profiles import profile_of

    if precision in profile_of(target).precisions:
        return {"possible": True}
    near = nearest_precision(target, precision)
    return {"possible": False, "reason": profile_of(target).refusals[precision], "nearest": near.value}


def _words(target: TargetKind, precision: "Precision") -> tuple[str, str]:
    from pocketcrafter.export.lower.precisions import nearest_precision
    from pocketcrafter.export.lower.profiles import profile_of

    if precision in profile_of(target).precisions:
        return "yes", ""
    return profile_of(target).refusals[precision], nearest_precision(target, precision).value
