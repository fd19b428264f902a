"""``pocketcrafter bench arm64``: a bundle's goldens on an emulated ARM64 processor."""

import sys
from pathlib import Path

import click

from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import GateError


@click.command("arm64")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--system",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/arm64"),
    show_default=True,
    help="Folder of the emulated Debian with the runtimes; made the first time (450 MB, as root).",
)
@click.option("--target", "targets", multiple=True, help="Only this target; may be given again.")
@click.option(
    "--component",
    "components",
    multiple=True,
    metavar="NAME",
    help="Only this network of the bundle; may be given again.",
)
@json_option
def arm64(bundle: Path, system: Path, targets: tuple[str, ...], components: tuple[str, ...], *, as_json: bool) -> None:
    r"""Run every network's goldens on an emulated ARM64 processor, against this machine's and full precision.

    ONNX Runtime and ExecuTorch with XNNPACK take other code on ARM than on x86; QEMU runs that code, 20 to 500 times
    slower than a phone would. What it computes is told, how fast it is is not. Exit code 1: a gate was missed.

    \b
    Example:
      pocketcrafter bench arm64 build/default.pcbundle --component critic
    """
    from pocketcrafter.benchmarks.arm64.measure import arm_lines, run_arm64
    from pocketcrafter.runtime.bundle.reader import Bundle

    with Bars() as bars:
        report = run_arm64(Bundle.open(bundle), system, targets, components, bars.update)
    click.echo(report.model_dump_json(indent=1) if as_json else "\n".join(arm_lines(report)))
    if report.failures:
        click.echo(f"missed: {', '.join(report.failures)}", err=True)
        sys.exit(GateError.exit_code)
