"""``pocketcrafter bench budget``."""

from pathlib import Path

import click

from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import GateError


@click.command("budget")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the full-precision weights  [default: what is installed].",
)
@json_option
def budget(bundle: Path, weights: Path | None, *, as_json: bool) -> None:
    r"""Count a bundle's parameters and bytes against what a phone can spare.

    The critic's parameters are counted with the composition network's, the artist's are tone and restoration. Exit
    code 1: something is over its budget.

    \b
    Example:
      pocketcrafter bench budget build/default.pcbundle
    """
    from pocketcrafter.benchmarks.budget.measure import BudgetReport, budget_tables
    from pocketcrafter.runtime.bundle.reader import Bundle

    report = BudgetReport.of(Bundle.open(bundle), weights)
    click.echo(report.model_dump_json(indent=1) if as_json else budget_tables(report))
    if over := report.overspent:
        raise GateError(f"Over the phone's budget: {'; '.join(over)}. Fewer bits or smaller networks are needed.")
