"""Options that several commands share."""

import os
from pathlib import Path

import click

from pocketcrafter.runtime.backends.names import BackendName

photos_argument = click.argument("photos", nargs=-1, required=True, metavar="PHOTO...")
bundle_option = click.option(
    "--bundle", type=click.Path(path_type=Path), help="Bundle to run [default: build/default.pcbundle here]."
)
backend_option = click.option(
    "--backend",
    type=click.Choice(["auto", *(name.value for name in BackendName)]),
    default="auto",
    show_default=True,
    help="What runs the networks.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1, 256),
    default=lambda: min(8, os.cpu_count() or 1),
    help="Threads to compute with [default: the cores of this machine, 8 at most].",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
