"""``pocketcrafter reference``: what a pair's own libraries make of photos, recorded for other machines."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import click

from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.group import LazyGroup
from pocketcrafter.runtime.cli.options import OutputFile, json_option
from pocketcrafter.runtime.words import counted

if TYPE_CHECKING:
    from PIL import Image

_TOOLS: Final = ("torch", "transformers", "diffusers", "numpy", "pillow")


class _References(LazyGroup):
    extra = "build"
    lazy: ClassVar = {"record": "pocketcrafter.benchmarks.reference.cli:record"}


@click.group("reference", cls=_References)
def reference() -> None:
    r"""Record what a latent pair's own libraries make of photos.

    \b
    Example:
      pocketcrafter reference record my-pair --photos holiday/ --device cuda --out my-pair.pcref
    """


@click.command("record")
@click.argument("pair", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--photos", type=click.Path(), multiple=True, required=True, help="A photo, a folder or a pattern.")
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cpu", show_default=True, help="What computes.")
@click.option("--out", type=OutputFile(".pcref"), required=True, help="The record.")
@click.option(
    "--side", type=click.IntRange(64, 8192), default=1024, show_default=True, help="Larger photos are scaled to it, px."
)
@json_option
def record(pair: Path, photos: tuple[str, ...], device: str, out: Path, side: int, *, as_json: bool) -> None:
    r"""Record ids, hidden states, every step and the pictures.

    The pair runs by transformers and diffusers themselves, in float32, on the noise that its bundles draw. The record
    holds the photos too, in sRGB and at 8 bits: `bench parity --reference` shows a bundle the same ones.

    \b
    Example:
      pocketcrafter reference record my-pair --photos holiday/ --device cuda --out my-pair.pcref
      pocketcrafter bench parity build/my-pair.pcbundle --reference my-pair.pcref
    """
    from pocketcrafter.benchmarks.common.reference_record import RecordedPhoto, write_record
    from pocketcrafter.benchmarks.reference.libraries import Libraries
    from pocketcrafter.export.families.latent.pair import read_pair
    from pocketcrafter.runtime.cli.inputs import find_photos

    found, errors = find_photos(photos)
    if errors:
        raise errors[0]
    libraries = Libraries(read_pair(pair), device)
    made: list[tuple[str, RecordedPhoto]] = []
    with Bars() as bars:
        for number, path in enumerate(found):
            bars.update(path.name, number, len(found))
            made.append((path.name, libraries.record(_shown(path, side))))
        bars.update("photos", len(found), len(found))
    about = libraries.manifest(made, _TOOLS)
    write_record(out, about, [photo for _, photo in made])
    if as_json:
        click.echo(json.dumps({"out": str(out), **about.model_dump(mode="json")}, indent=1))
    else:
        words = sum(photo.critic.ids.size for _, photo in made if photo.critic is not None)
        runs = f"{counted(len(made), 'photo')}, {counted(words, 'word')}, {counted(about.steps, 'step')} each"
        click.echo(f"{out}: {runs}, on {about.device}")


def _shown(path: Path, side: int) -> "Image.Image":
    """Return a photo as the pair is shown it: upright, sRGB, 8 bits, no larger than asked."""
    from PIL import Image

    from pocketcrafter.runtime.photo import decode
    from pocketcrafter.runtime.photo.color import in_srgb

    photo = decode(path)
    image = Image.fromarray(in_srgb(photo.pixels, photo.icc))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image
