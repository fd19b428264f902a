"""``pocketcrafter teacher inspect``, ``merge``, ``convert``: what a release holds; its adapters and pickles turned."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketcrafter.export.teachers.systems import SystemName
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFile, OutputFolder, json_option
from pocketcrafter.runtime.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pocketcrafter.export.teachers.inspect import NetworkFacts, TeacherFacts


@click.command("inspect")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--layout",
    type=click.Choice([name.value for name in SystemName]),
    help="Whose layout it is; told by its files when not given.",
)
@json_option
def inspect(folder: Path, layout: str | None, *, as_json: bool) -> None:
    r"""Show what a teacher's folder holds, from headers alone.

    Nothing is loaded: system, fingerprints, adapters and the factor they are applied with, words, licence, memory and
    seconds to expect, and what is missing or foreign, by name. Exit code 1: something is missing or foreign.

    \b
    Example:
      pocketcrafter teacher inspect SmartPhotoCrafter/
    """
    from pocketcrafter.export.teachers import inspect as look

    facts = look.inspect(folder, SystemName(layout) if layout else None)
    if as_json:
        click.echo(json.dumps({**facts.model_dump(mode="json"), "usable": facts.usable}, indent=1))
    else:
        click.echo("\n".join(_told(facts)))
    if not facts.usable:
        sys.exit(GateError.exit_code)


@click.command("cost")
@click.argument("system", type=click.Choice(["smart-photo-crafter", "aesformer"]))
@click.option("--count", type=click.IntRange(1), default=1_000_000, show_default=True, help="Photos to label.")
@click.option("--gpus", type=click.IntRange(1), default=64, show_default=True, help="GPUs that label them.")
@click.option(
    "--price", "prices", type=(str, float), multiple=True, metavar="GPU USD", help="Of an hour of a GPU; repeatable."
)
@json_option
def cost(system: str, count: int, gpus: int, prices: tuple[tuple[str, float], ...], *, as_json: bool) -> None:
    r"""Show what a published teacher takes, at its real size.

    Nothing is downloaded and nothing runs: shapes come from configurations, and seconds are multiply-accumulates and
    bytes over what machines' data sheets say, at a share that is told.

    \b
    Example:
      pocketcrafter teacher cost smart-photo-crafter --count 1000000 --gpus 64 --price "H100 SXM" 2.5
    """
    from pocketcrafter.export.teachers.cost import GPUS, cost_of
    from pocketcrafter.export.teachers.published import labelling, published_layout

    if unknown := [name for name, _ in prices if name not in GPUS]:
        raise click.BadParameter(f"{unknown[0]} is no machine of the table: {', '.join(GPUS)}", param_hint="--price")
    layout = published_layout(SystemName(system))
    photo = cost_of(layout)
    many = labelling(layout, photo, count, gpus, dict(prices))
    if as_json:
        click.echo(json.dumps({"photo": photo.model_dump(), "labelling": many.model_dump()}, indent=1))
        return
    click.echo(f"{layout.system.title}: {photo.vram_gib:.1f} GiB, of which weights {photo.weights_gib:.1f}")
    click.echo(f"{photo.tera_macs:.0f}·10¹² multiply-accumulates a photo, {photo.read_gb:.0f} GB read. {photo.how}")
    click.echo(f"\n| GPU | s a photo | GPU hours | hours on {gpus} | USD | written, GB/s |\n| --- |{' --- |' * 5}")
    for name, seconds in photo.seconds.items():
        price = f"{many.cost[name]:,.0f}" if name in many.cost else "–"
        written = f"{many.write_bytes_per_second[name] / 1e9:.2f}"
        hours = f"{many.gpu_hours[name]:,.0f} | {many.hours[name]:,.1f}"
        click.echo(f"| {name} | {seconds:.1f} | {hours} | {price} | {written} |")
    if photo.too_small:
        click.echo(f"\ntoo small: {', '.join(photo.too_small)}")
    megabytes = (many.hidden_bytes, many.hidden_int8_bytes, many.picture_bytes)
    click.echo(
        "\na photo: hidden states {:.2f} MB (8 bits: {:.2f}), pictures {:.2f} MB, text {:.1f} kB".format(
            *(size / 1e6 for size in megabytes), many.text_bytes / 1e3
        )
    )
    click.echo(
        f"{count:,} photos: {many.total_bytes / 1e12:.1f} TB (8 bits: {many.total_int8_bytes / 1e12:.1f}); "
        f"{gpus} workers read {many.start_bytes / 1e12:.2f} TB of weights to begin with"
    )


@click.command("merge")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("network")
@click.option("--out", type=OutputFolder(), required=True, help="Folder of the merged network.")
@json_option
def merge(folder: Path, network: str, out: Path, *, as_json: bool) -> None:
    r"""Merge a teacher's adapter into its weights, on the disk.

    NETWORK is what `teacher inspect` calls it. The factor is the one that the release applies, whatever the adapter's
    configuration says. A gigabyte of memory does for any size. Run it again to resume: finished shards are kept.

    \b
    Example:
      pocketcrafter teacher merge SmartPhotoCrafter/ dit --out merged/transformer
    """
    from pocketcrafter.export.teachers.layout import read_layout
    from pocketcrafter.export.teachers.merging import merge_to

    layout = read_layout(folder)
    with Bars() as bars:
        made = merge_to(layout.network(network), out, lambda done, total: bars.update(network, done, total))
    note = layout.system.note
    if as_json:
        files = [str(path) for path in made.files]
        click.echo(json.dumps({"files": files, "changed": made.changed, "kept": made.kept, "note": note}, indent=1))
    else:
        click.echo(f"{out}: {made.changed} tensors changed, {len(made.files)} files, of which {made.kept} were there")
        if note:
            click.echo(f"NOTE: {note}")


@click.command("convert")
@click.argument("pickle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=OutputFile(".safetensors"), required=True, help="The safetensors file.")
@json_option
def convert(pickle: Path, out: Path, *, as_json: bool) -> None:
    r"""Write a pickle of tensors as safetensors.

    It is read by torch's restricted loader, which makes tensors and nothing else; a file that wants more is refused.

    \b
    Example:
      pocketcrafter teacher convert unet_conv_out.pth --out unet_conv_out.safetensors
    """
    from pocketcrafter.export.teachers.convert import convert_pickle

    shapes = convert_pickle(pickle, out)
    if as_json:
        click.echo(json.dumps({"out": str(out), "tensors": {name: list(shape) for name, shape in shapes.items()}}))
    else:
        click.echo(f"{out}: {len(shapes)} tensors")


def _told(facts: "TeacherFacts") -> "Iterator[str]":
    yield f"{facts.folder}: {facts.title} ({facts.system})"
    allowed = {None: "not stated", True: "allowed", False: "FORBIDDEN"}[facts.commercial]
    yield f"licence      {facts.license} (commercial use: {allowed})"
    if facts.prompt_sha256:
        yield f"prompt       sha256 {facts.prompt_sha256}"
    for network in facts.networks:
        yield from _network(network)
    cost = facts.cost
    yield f"memory       {cost.vram_gib:.1f} GiB, of which weights {cost.weights_gib:.1f}"
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in cost.seconds.items())
    yield f"a photo      {times or 'no machine of the table has that memory'}"
    if cost.too_small:
        yield f"too small    {', '.join(cost.too_small)}"
    yield f"             ({cost.tera_macs:.1f}·10¹² multiply-accumulates. {cost.how})"
    for title, lines in (("missing", facts.missing), ("foreign", facts.foreign), ("not read", facts.unread)):
        yield from (f"{title if number == 0 else '':<13}{line}" for number, line in enumerate(lines))
    yield from (f"WARNING      {line}" for line in facts.warnings)


def _network(network: "NetworkFacts") -> "Iterator[str]":
    types = ", ".join(network.dtypes)
    known = f" = {network.known_as}" if network.known_as else ""
    yield f"{network.name:<13}{network.kind}, {network.parameters / 1e6:,.1f} M parameters, {network.tensors} tensors"
    yield f"             {types}; fingerprint {network.fingerprint}{known}"
    if network.vocabulary:
        yield f"             {network.vocabulary.words} words, {network.vocabulary.rows} rows of embeddings"
    for adapter in network.adapters:
        scales = ", ".join(f"{scale:g}" for scale in adapter.stored_scales)
        applied = "as written" if adapter.scale is None else f"applied {adapter.scale:g}"
        ranks = ", ".join(map(str, adapter.ranks))
        yield f"             LoRA ({adapter.dialect}), rank {ranks} on {adapter.layers} layers: {adapter.file}"
        yield f"             scale {scales} in its files, {applied}"
