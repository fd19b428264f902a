"""``pocketcrafter bench proofs``."""

from pathlib import Path

import click

from pocketcrafter.runtime.cli.options import json_option


@click.command("proofs")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@json_option
def proofs_command(bundle: Path, *, as_json: bool) -> None:
    r"""Show what ran each artifact: device, runtime, emulator, nothing.

    Read off the manifest alone: the strongest rung of each component on each target that was really run.

    \b
    Example:
      pocketcrafter bench proofs build/default.pcbundle
    """
    from pocketcrafter.benchmarks.proofs.table import proof_lines, proofs
    from pocketcrafter.runtime.bundle.reader import Bundle

    table = proofs(Bundle.open(bundle).manifest)
    click.echo(table.model_dump_json(indent=1) if as_json else proof_lines(table))
