"""``pocketcrafter shippable``: what is wrong with an app's package before a store or a phone says so."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketcrafter.runtime.shippable.report import ShippableReport
    from pocketcrafter.runtime.shippable.rules import Finding


@click.command("shippable")
@click.argument("package", type=click.Path(exists=True, path_type=Path))
@click.option("--allow", "allowed", metavar="RULE", multiple=True, help="Show this rule's findings only; repeatable.")
@json_option
def shippable_command(package: Path, allowed: tuple[str, ...], *, as_json: bool) -> None:
    r"""Look through an Android package for what stores and phones refuse.

    PACKAGE is an APK, an AAB or a folder. Looks at pages of 16 KB, ABIs, Qualcomm's libraries and contexts, chips,
    the oldest Android, memory, a target for every chip, sizes, the bundle's hashes, and the signature. Nothing is run.
    Exit code 1: something is wrong that --allow does not name.

    \b
    Example:
      pocketcrafter shippable app-release.aab
      pocketcrafter shippable app-debug.apk --allow signature --json
    """
    from pocketcrafter.runtime.shippable.report import look_through
    from pocketcrafter.runtime.shippable.rules import Rule

    if unknown := [rule for rule in allowed if rule not in set(Rule)]:
        raise click.BadParameter(f"no rule {', '.join(unknown)}; there is {', '.join(Rule)}.", param_hint="--allow")
    report = look_through(package)
    missed = [finding for finding in report.findings if finding.rule not in allowed]
    result = report.model_dump(mode="json") | {"ok": not missed}
    click.echo(json.dumps(result, indent=1) if as_json else "\n".join(_lines(report, missed)))
    if missed:
        sys.exit(GateError.exit_code)


def _lines(report: "ShippableReport", missed: "list[Finding]") -> "Iterator[str]":
    for part in report.parts:
        yield f"{part.packed / 2**20:>8.2f} MiB  {part.name}"
    yield ""
    for finding in report.findings:
        mark = "WRONG" if finding in missed else "allowed"
        yield f"{mark} {finding.rule}: {finding.where}: {finding.message}"
    yield f"{len(missed)} to mend" if missed else "nothing to mend"
