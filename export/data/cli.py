"""``pocketcrafter data``: the photo sets on the command line."""

import json
import sys
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

import click
from tqdm import tqdm

from pocketcrafter.export.data.sources import SOURCE_NAMES
from pocketcrafter.runtime.cli.group import ENTRY_POINTS, LazyGroup
from pocketcrafter.runtime.cli.options import OutputFolder, json_option
from pocketcrafter.runtime.errors import StorageError

if TYPE_CHECKING:
    from pocketcrafter.export.data.manifest import Manifest

_EXAMPLES: Final = """\b
Examples:
  pocketcrafter data prepare --out data --photos ~/Pictures/holiday
  pocketcrafter data prepare --out mine --source none --photos ~/Pictures
"""


class _Data(LazyGroup):
    lazy: ClassVar = {
        "prepare": "pocketcrafter.export.data.cli:prepare_command",
        "degrade": "pocketcrafter.export.data.cli:degrade_command",
        "label": "pocketcrafter.export.labels.commands:label",
    }

    def entry(self, name: str) -> EntryPoint | None:
        """See :meth:`LazyGroup.entry`."""
        return (
            EntryPoint(name, f"{self.lazy[name]} [cluster]", ENTRY_POINTS) if name == "label" else super().entry(name)
        )


@click.group("data", cls=_Data)
def data() -> None:
    r"""Make the photo sets that models are trained and measured on.

    \b
    Example:
      pocketcrafter data prepare --out data --photos ~/Pictures/holiday
    """


@click.command("prepare", epilog=_EXAMPLES)
@click.option(
    "--out",
    type=OutputFolder(),
    required=True,
    help="Folder that gets train/, validation/, heldout/, manifest.json and the cache of packages.",
)
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="A folder of more photos; may be given again. A MANIFEST.csv in it is honored.",
)
@click.option(
    "--source",
    "only",
    type=click.Choice([*SOURCE_NAMES, "none"]),
    multiple=True,
    metavar="SOURCE",
    help=f"Use this source of the recipe; may be given again. One of {', '.join(SOURCE_NAMES)}, or none. Default: all.",
)
@click.option(
    "--jobs", "workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes at a time."
)
@json_option
def prepare_command(out: Path, photos: tuple[Path, ...], only: tuple[str, ...], workers: int, as_json: bool) -> None:
    """Fetch the photo sources, prepare their photos and write the manifest.

    Nothing is installed: packages are downloaded into OUT/cache and unpacked there. Run it again to resume.
    """
    from pocketcrafter.export.data.prepare import prepare

    chosen = [name for name in only if name != "none"] if only else None
    try:
        with _Bar() as bar:
            manifest = prepare(out, photos=photos, only=chosen, workers=workers, progress=bar.update)
    except OSError as error:
        where = error.filename or out
        raise StorageError(f"{where}: {error.strerror}; what is done is kept, run this again") from error
    click.echo(json.dumps(_summary(manifest, out), indent=1) if as_json else _report(manifest, out))


@click.command(
    "degrade", epilog="Example: pocketcrafter data degrade --data data --most-photos 96 --out degraded --seed 1"
)
@click.option("--out", type=OutputFolder(), required=True, help="Folder that gets the frames, as PNG.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Made by `pocketcrafter data prepare`.",
)
@click.option(
    "--split", type=click.Choice(["train", "validation"]), default="train", show_default=True, help="Which photos."
)
@click.option("--most-photos", type=click.IntRange(min=1), help="Use this many photos at most, drawn by the seed.")
@click.option("--per-photo", type=click.IntRange(min=1), default=1, show_default=True, help="Frames of each photo.")
@click.option("--side", "side_px", type=click.IntRange(64, 512), default=512, show_default=True, help="Frames, pixels.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of photos, places and faults.")
@json_option
def degrade_command(
    *,
    out: Path,
    data: Path,
    split: str,
    most_photos: int | None,
    per_photo: int,
    side_px: int,
    seed: int,
    as_json: bool,
) -> None:
    """Write degraded frames of prepared photos, for `data label` to show to a teacher.

    Photos that need nothing teach a student to do nothing. Run it again to resume.
    """
    import numpy as np

    from pocketcrafter.export.data.degraded_photos import write_degraded
    from pocketcrafter.export.data.manifest import Split, load_manifest

    photos = sorted(data / record.file for record in load_manifest(data).photos(Split(split)))
    if most_photos is not None and most_photos < len(photos):
        drawn = np.random.default_rng(seed).choice(len(photos), most_photos, replace=False)
        photos = [photos[place] for place in sorted(drawn)]
    with tqdm(total=len(photos) * per_photo, desc="degraded frames", unit="frame") as bar:
        written = write_degraded(
            photos, data, out, per_photo=per_photo, side_px=side_px, seed=seed, on_frame=bar.update
        )
    click.echo(json.dumps({"frames": [str(path) for path in written]}) if as_json else f"{len(written)} frames: {out}")


class _Bar:
    """Shows each kind of work as one tqdm bar on stderr."""

    def __init__(self) -> None:
        self._what = ""
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, what: str, done: int, total: int) -> None:
        bar = self._bar
        if bar is None or bar.total != total or done < bar.n:
            if bar is not None:
                bar.close()
            # What an earlier run made is no sign of how fast this one is.
            bar = self._bar = tqdm(total=total, initial=done, file=sys.stderr, unit=" steps")
        if what != self._what:
            self._what = what
            bar.set_description(what)
        bar.update(done - bar.n)


def _summary(manifest: "Manifest", out: Path) -> dict[str, object]:
    from pocketcrafter.export.data.manifest import MANIFEST_NAME, Split

    return {
        "manifest": str(out / MANIFEST_NAME),
        "photos": {split.value: len(manifest.photos(split)) for split in Split},
        "left_out": [record.model_dump() for record in manifest.left_out],
        "licences": dict(Counter(record.licence for record in manifest.records).most_common()),
    }


def _report(manifest: "Manifest", out: Path) -> str:
    from pocketcrafter.export.data.manifest import MANIFEST_NAME, Split

    lines = [f"{split.value:<12}{len(manifest.photos(split)):>5} photos" for split in Split]
    lines += [f"left out    {len(manifest.left_out):>5} photos:"]
    lines += [f"  {record.source}: {record.original}: {record.reason}" for record in manifest.left_out]
    return "\n".join([*lines, f"manifest: {out / MANIFEST_NAME}"])
