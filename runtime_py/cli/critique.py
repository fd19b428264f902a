"""``pocketcrafter critique``: what is wrong with a photo, as far as the critic can tell."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketcrafter.runtime.cli.options import (
    backend_option,
    bundle_option,
    json_option,
    photos_argument,
    threads_option,
)
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.names import Mode

if TYPE_CHECKING:
    from pocketcrafter.runtime.prose.writer import Written


@click.command("critique")
@photos_argument
@bundle_option
@backend_option
@threads_option
@click.option(
    "--prose", type=click.Choice([m.value for m in Mode]), help="Put it into words too, at length or in short."
)
@json_option
def critique_command(
    photos: tuple[str, ...], bundle: Path | None, backend: str, threads: int, prose: str | None, as_json: bool
) -> None:
    r"""Say what is worth changing in photos, and score them from 0 to 100.

    PHOTO is a file, a folder or a glob pattern. Items that no measurement stands behind are "not assessed".

    \b
    Example:
      pocketcrafter critique holiday/beach.jpg
      pocketcrafter critique holiday/beach.jpg --prose short
    """
    from pocketcrafter.runtime.cli.inputs import bundle_or_default, find_photos
    from pocketcrafter.runtime.cli.report import PhotoReport
    from pocketcrafter.runtime.families import Pipeline
    from pocketcrafter.runtime.photo import decode

    paths, errors = find_photos(photos)
    pipeline = Pipeline.open(bundle_or_default(bundle), backend, threads)
    with PhotoReport(as_json=as_json, failures=errors) as report:
        for path in paths:
            try:
                photo = decode(path)
            except PhotoError as error:
                report.fail(error, path)
                continue
            told = pipeline.prose(photo, Mode(prose)) if prose else None
            critique = told.critique if told else pipeline.critique(photo)
            result = {
                "photo": str(path),
                "words": critique.words,
                "critique": critique.model_dump(mode="json"),
                "notes": list(photo.notes),
            }
            if told:
                result["prose"] = _prose_result(told.written)
            head, *lines = (told or critique).lines()
            report.add(result, "\n".join([f"{path}: {head}", *lines]))


def _prose_result(written: "Written") -> dict[str, Any]:
    return written.prose.model_dump(mode="json") | {
        "tokens": len(written.ids),
        "steps": written.steps,
        "seconds": round(written.seconds, 4),
        "ms_per_token": round(written.ms_per_token, 3),
    }
