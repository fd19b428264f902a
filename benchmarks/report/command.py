"""``pocketcrafter report``: a bundle's proof, figures and photos in one file; and ``bench leaderboard``."""

import hashlib
import json
from pathlib import Path

import click

from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFile, json_option, threads_option

_RESULT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("report")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=OutputFile(".html", ".htm"), required=True, help="The HTML file to write.")
@click.option("--latency", type=_RESULT, help="What `bench latency --json` wrote.")
@click.option("--quality", type=_RESULT, help="What `bench quality --json` wrote.")
@click.option(
    "--gallery",
    type=click.Path(exists=True, path_type=Path),
    help="What `bench quality --gallery` wrote: the worst frames.",
)
@click.option("--profile", type=_RESULT, help="What `bench profile --json` wrote.")
@click.option(
    "--sensitivity", "sensitivities", type=_RESULT, multiple=True, help="What `quantize sensitivity --json` wrote."
)
@click.option("--bisect", "layers", type=_RESULT, multiple=True, help="What `bisect --json` wrote; repeatable.")
@click.option(
    "--photos",
    type=click.Path(),
    multiple=True,
    help="A photo, a folder or a pattern to show before and after; repeatable.",
)
@threads_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the bundle's card as JSON, as `bench leaderboard` takes it."
)
def report_command(
    bundle: Path,
    out: Path,
    latency: Path | None,
    quality: Path | None,
    gallery: Path | None,
    profile: Path | None,
    sensitivities: tuple[Path, ...],
    layers: tuple[Path, ...],
    photos: tuple[str, ...],
    threads: int,
    *,
    as_json: bool,
) -> None:
    r"""Write one self-contained HTML file: verdicts, parity ladder, coverage, latency, quality, photos, provenance.

    It opens offline, on a phone too. Exit code 1: the bundle is damaged, and no report was written.

    \b
    Example:
      pocketcrafter report build/default.pcbundle --out report.html --latency latency.json --photos tests/photos
    """
    # These are slow to import, and `pocketcrafter --help` imports this module.
    from pocketcrafter.benchmarks.bisect.results import read_bisect
    from pocketcrafter.benchmarks.latency.results import read_latency
    from pocketcrafter.benchmarks.profile.results import read_profile
    from pocketcrafter.benchmarks.quality.gallery import read_gallery
    from pocketcrafter.benchmarks.quality.results import read_quality
    from pocketcrafter.benchmarks.report.card import card_of
    from pocketcrafter.benchmarks.report.facts import target_facts
    from pocketcrafter.benchmarks.report.page import Analysis, read_sensitivity, report_page
    from pocketcrafter.benchmarks.report.photos import MOST_PHOTOS, failures_of, photo_pairs, stepped_pairs
    from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.cli.inputs import find_photos
    from pocketcrafter.runtime.families import BundleSource, Pipeline, is_stepwise
    from pocketcrafter.runtime.files import write_text

    opened = Bundle.open(bundle)
    found, errors = find_photos(photos)
    if errors:
        raise errors[0]
    with Bars() as bars:
        pairs = []
        if found and is_stepwise(opened.manifest.family):
            pairs = stepped_pairs(BundleSource(opened, None, threads), threads, found, bars.update)
        elif found:
            pairs = photo_pairs(Pipeline.open(bundle, threads=threads), found, bars.update)
    speed, pictures = read_latency(latency) if latency else None, read_quality(quality) if quality else None
    page = report_page(
        opened,
        speed,
        pictures,
        failures_of(*read_gallery(gallery)) if gallery else [],
        pairs,
        max(0, len(found) - MOST_PHOTOS),
        Analysis(
            profile=read_profile(profile) if profile else None,
            sensitivities=[read_sensitivity(path) for path in sensitivities],
            layers=[read_bisect(path) for path in layers],
        ),
    )
    write_text(out, page)
    verdicts = target_facts(opened.manifest)
    if as_json:
        digest = hashlib.sha256(read_manifest_bytes(opened.root)).hexdigest()
        size = len(page.encode())
        card = card_of(opened.manifest, digest, verdicts, speed, pictures, report=str(out), size=size)
        click.echo(card.model_dump_json(indent=1))
        return
    click.echo(f"{out}: {len(page.encode()) / (1 << 20):.1f} MiB")
    for target in verdicts:
        click.echo(f"{target.name}: {target.state}. {target.verdict}")


@click.command("leaderboard")
@click.argument("cards", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=OutputFile(".html", ".htm"), required=True, help="The HTML file to write.")
@json_option
def leaderboard_command(cards: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    r"""Put several bundles side by side: CARDS are what `pocketcrafter report --json` printed of each.

    \b
    Example:
      pocketcrafter bench leaderboard int8.json int4.json --out leaderboard.html
    """
    from pocketcrafter.benchmarks.report.card import read_card
    from pocketcrafter.benchmarks.report.page import leaderboard_page, ranked
    from pocketcrafter.runtime.files import write_text

    read = [read_card(path) for path in cards]
    write_text(out, leaderboard_page(read))
    rows = ranked(read)
    if as_json:
        listed = [{"bundle": c.bundle, "target": n, **t.model_dump(mode="json")} for c, n, t in rows]
        click.echo(json.dumps(listed, indent=1))
        return
    click.echo("\n".join([f"{out}:", *(f"{c.bundle} {n}: {t.state}, {t.mib:.2f} MiB" for c, n, t in rows)]))
