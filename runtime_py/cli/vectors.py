"""``pocketcrafter export-vectors``: what the runtime answers, for its ports to other languages."""

import json
from pathlib import Path

import click

from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFolder, json_option, threads_option


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
