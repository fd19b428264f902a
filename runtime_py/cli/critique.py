"""``pocketcrafter critique``: what is wrong with a photo, as far as the critic can tell."""

from pathlib import Path

import click

from pocketcrafter.runtime.cli.inputs import bundle_or_default, find_photos
from pocketcrafter.runtime.cli.options import (
    backend_option,
    bundle_option,
    json_option,
    photos_argument,
    threads_option,
)
from pocketcrafter.runtime.cli.report import PhotoReport
from pocketcrafter.runtime.critique import GROUPS, Critique, describe
from pocketcrafter.runtime.errors import PhotoError
from pocketcrafter.runtime.photo import decode
from pocketcrafter.runtime.pipeline import PhotoPipeline


@click.command("critique")
@photos_argument
@bundle_option
@backend_option
@threads_option
@json_option
def critique_command(photos: tuple[str, ...], bundle: Path | None, backend: str, threads: int, as_json: bool) -> None:
    r"""Say what is worth changing in photos, and score them from 0 to 100.

    PHOTO is a file, a folder or a glob pattern. Items that no measurement stands behind are "not assessed".

    \b
    Example:
      pocketcrafter critique holiday/beach.jpg
    """
    paths, errors = find_photos(photos)
    pipeline = PhotoPipeline.open(bundle_or_default(bundle), backend, threads)
    report = PhotoReport(as_json=as_json, failures=errors)
    for path in paths:
        try:
            critique = pipeline.critique(decode(path))
        except PhotoError as error:
            report.fail(error, path)
            continue
        result = {
            "photo": str(path),
            "words": describe(critique.plan),
            "critique": critique.model_dump(mode="json"),
        }
        report.add(result, "\n".join(_told(path, critique)))
    report.finish()


def _told(path: Path, critique: Critique) -> list[str]:
    lines = [f"{path}: score {critique.score:.0f}, {describe(critique.plan)}"]
    for group, items in GROUPS.items():
        told = [(item, critique.findings[item]) for item in items if critique.findings[item] != "not_assessed"]
        if told:
            parts = (f"{item} {finding if finding == 'fine' else f'{finding:.2f}'}" for item, finding in told)
            lines.append(f"  {group:<16} {', '.join(parts)}")
        else:
            lines.append(f"  {group:<16} not assessed")
    return lines
