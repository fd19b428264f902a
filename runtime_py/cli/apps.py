"""What makers of apps need: ``pocketcrafter shippable`` and ``export-vectors``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFolder, json_option, threads_option
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


@click.command("export-vectors")
@click.argument("photos", nargs=-1, metavar="[PHOTO]...")
@click.option("--out", type=OutputFolder(), required=True, help="Folder of the vectors.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Run this bundle's pair on the photos; of a pocket bundle the vocabulary is used too. May be repeated.",
)
@threads_option
@json_option
def vectors_command(
    photos: tuple[str, ...], out: Path, bundles: tuple[Path, ...], threads: int, *, as_json: bool
) -> None:
    r"""Write test vectors of the runtime for other languages.

    For each function: inputs and answers, as JSON and raw tensors. With photos also what the pairs of bundles make
    of them, at full size.

    \b
    Example:
      pocketcrafter export-vectors --out build/vectors
      pocketcrafter export-vectors tests/photos --bundle build/default.pcbundle --out build/vectors
    """
    from pocketcrafter.runtime.cli.inputs import find_photos
    from pocketcrafter.runtime.vectors.export import export_vectors

    paths, errors = find_photos(photos)
    if errors:
        raise errors[0]
    with Bars() as bars:
        counts = export_vectors(out, bundles, paths, threads, lambda done, total: bars.update("photos", done, total))
    lines = [f"{count:>4} {name}" for name, count in counts.items()]
    click.echo(json.dumps({"out": str(out), "cases": counts}, indent=1) if as_json else "\n".join([*lines, str(out)]))
