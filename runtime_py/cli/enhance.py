"""``pocketcrafter enhance``: photos in, better photos out, at their own resolution."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from pocketcrafter.runtime.cli.options import (
    backend_option,
    bundle_option,
    json_option,
    photos_argument,
    threads_option,
)
from pocketcrafter.runtime.cli.plans import only_option, plan_option, set_option
from pocketcrafter.runtime.errors import PhotoError, StorageError
from pocketcrafter.runtime.names import MAX_STRENGTH

if TYPE_CHECKING:
    from pocketcrafter.runtime.cli.inputs import Names
    from pocketcrafter.runtime.cli.plans import Plans
    from pocketcrafter.runtime.families import Pipeline
    from pocketcrafter.runtime.photo.model import Photo
    from pocketcrafter.runtime.pipeline import Enhanced
    from pocketcrafter.runtime.progress import Progress

_BAR = "{desc} {percentage:3.0f}% |{bar:30}| {elapsed}<{remaining}"


@click.command("enhance")
@photos_argument
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="A file for one photo, a folder for more [default: NAME.enhanced.EXT beside each].",
)
@bundle_option
@backend_option
@threads_option
@click.option(
    "--strength",
    type=click.FloatRange(0, MAX_STRENGTH),
    default=1.0,
    show_default=True,
    help="How much of the plan is done.",
)
@plan_option
@set_option
@only_option
@click.option("--geometry", is_flag=True, help="Level the photo too, where the network is sure of its tilt.")
@click.option(
    "--crop",
    is_flag=True,
    help="With --geometry: crop too. On trial: its ranking of crops is hardly better than chance.",
)
@click.option(
    "--overlay",
    type=click.Path(path_type=Path),
    help="With --geometry: draw what was seen and judged (a file for one photo, a folder for more).",
)
@click.option("--sheet", type=click.Path(path_type=Path), help="Write a before/after contact sheet (.jpg or .png).")
@json_option
def enhance_command(
    photos: tuple[str, ...],
    out: Path | None,
    bundle: Path | None,
    backend: str,
    threads: int,
    strength: float,
    plan_file: Path | None,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    geometry: bool,
    crop: bool,
    overlay: Path | None,
    sheet: Path | None,
    as_json: bool,
) -> None:
    r"""Enhance photos at their own resolution; photos that need nothing are copied as they are.

    PHOTO is a JPEG, PNG, WebP, HEIC or AVIF file, a folder of them or a glob pattern. An input is never overwritten,
    and one bad file does not stop the others (exit code 2).

    The plan of what is done is the critic's, or that of --plan; --only keeps single values of it, then --set sets
    others, and --strength scales the whole.

    \b
    Example:
      pocketcrafter enhance holiday/*.jpg -o better --sheet sheet.jpg
      pocketcrafter enhance tilted.jpg --geometry --overlay seen.jpg
      pocketcrafter enhance dim.jpg --only denoise --set exposure_ev=+0.5
    """
    from pocketcrafter.runtime.cli.inputs import Names, bundle_or_default, find_photos, is_folder
    from pocketcrafter.runtime.cli.plans import Plans
    from pocketcrafter.runtime.cli.report import PhotoReport
    from pocketcrafter.runtime.families import Pipeline
    from pocketcrafter.runtime.files import printable
    from pocketcrafter.runtime.sheet import Pair, page_paths, pair_of, write_sheet

    if (crop or overlay is not None) and not geometry:
        raise click.UsageError("--crop and --overlay are for what --geometry does; give that too.")
    plans = Plans.of_options(plan_file, only, settings)
    if geometry and plans.has_geometry:
        raise click.UsageError("The plan turns or crops by itself: leave --geometry out, or its tilt_degrees and crop.")
    paths, errors = find_photos(photos)
    drawing = None if overlay is None else _Drawing(overlay, is_folder(overlay, len(paths), "--overlay"))
    job = _Job(
        names=Names(paths),
        out=out,
        out_is_folder=is_folder(out, len(paths)),
        strength=strength,
        plans=plans,
        geometry=geometry,
        crop=crop,
        drawing=drawing,
        threads=threads,
    )
    for page in page_paths(sheet, len(paths)) if sheet else ():
        job.names.claim(page)
    pipeline = Pipeline.open(bundle_or_default(bundle), backend, threads)
    pairs: list[Pair] = []
    with PhotoReport(as_json=as_json, failures=errors) as report:
        report.tell(sheet=[])
        with tqdm(total=len(paths), bar_format=_BAR, file=sys.stderr, leave=False, disable=None) as bar:
            for number, path in enumerate(paths):
                bar.set_description(printable(path.name), refresh=False)
                try:
                    done = job.run(pipeline, path, _tiles(bar, number))
                except (PhotoError, StorageError) as error:
                    report.fail(error, path)
                except MemoryError:
                    report.fail(PhotoError(f"{path}: not enough memory for a photo of this size"), path)
                else:
                    report.add(done.summary(), done.told())
                    if sheet is not None:
                        name = printable(path.name)
                        pairs.append(pair_of(done.photo, done.enhanced.photo, done.enhanced.words, name))
                bar.n = number + 1
                bar.refresh()
        pages = write_sheet(pairs, sheet) if sheet is not None and pairs else []
        for page in pages:
            report.say(f"before/after: {page}")
        report.tell(sheet=[str(page) for page in pages])


@dataclass(frozen=True)
class _Done:
    """One photo's result."""

    photo: "Photo"
    source: Path
    target: Path
    enhanced: "Enhanced"
    overlay: Path | None
    seconds: Mapping[str, float]
    notes: tuple[str, ...]

    def told(self) -> str:
        """One line of what was done, and one of what was left out."""
        line = f"{self.source} -> {self.target}: {self.enhanced.words}"
        return line if not self.notes else f"{line}\n  note: {' '.join(self.notes)}"

    def summary(self) -> dict[str, Any]:
        composed, critique, plan = self.enhanced.composed, self.enhanced.critique, self.enhanced.plan
        return {
            "photo": str(self.source),
            "output": str(self.target),
            "words": self.enhanced.words,
            "plan": None if plan is None else plan.model_dump(mode="json"),
            "critique": None if critique is None else critique.model_dump(mode="json"),
            "geometry": None if composed is None else composed.model_dump(mode="json"),
            "overlay": None if self.overlay is None else str(self.overlay),
            "notes": list(self.notes),
            "seconds": {stage: round(seconds, 4) for stage, seconds in self.seconds.items()},
        }


@dataclass(frozen=True)
class _Drawing:
    """Where the drawings of the evidence go."""

    path: Path
    is_folder: bool

    def target(self, source: Path) -> Path:
        return self.path / f"{source.stem}.overlay.jpg" if self.is_folder else self.path


@dataclass(frozen=True)
class _Job:
    """What is the same for every photo of one call."""

    names: "Names"
    out: Path | None
    out_is_folder: bool
    strength: float
    plans: "Plans"
    geometry: bool
    crop: bool
    drawing: _Drawing | None
    threads: int

    def run(self, pipeline: "Pipeline", path: Path, progress: "Progress") -> _Done:
        from pocketcrafter.runtime.cli.inputs import make_folder, place_result
        from pocketcrafter.runtime.geometry.overlay import write_overlay
        from pocketcrafter.runtime.photo import decode
        from pocketcrafter.runtime.photo.model import format_of

        start = time.perf_counter()
        plan = self.plans.plan_of(path)
        photo = decode(path)
        target = place_result(photo, path, self.out, out_is_folder=self.out_is_folder)
        format_of(target)
        self.names.claim(target)
        overlay = None if self.drawing is None else self.drawing.target(path)
        if overlay is not None:
            format_of(overlay)
            self.names.claim(overlay)
        decoded = time.perf_counter()
        enhanced = pipeline.enhance(photo, self.strength, progress, plan=plan, geometry=self.geometry, crop=self.crop)
        done = time.perf_counter()
        make_folder(target.parent)
        notes = (*enhanced.notes, *enhanced.save(target, threads=self.threads))
        if overlay is not None and enhanced.composed is not None:
            make_folder(overlay.parent)
            write_overlay(photo, enhanced.composed, overlay)
        drawn = overlay if enhanced.composed is not None else None
        seconds = {"decode": decoded - start, **enhanced.timings, "encode": time.perf_counter() - done}
        return _Done(photo, path, target, enhanced, drawn, seconds, notes)


def _tiles(bar: "tqdm[Any]", number: int) -> "Progress":
    def progress(done: int, total: int) -> None:
        bar.n = number + done / total
        bar.refresh()

    return progress
