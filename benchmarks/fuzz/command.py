"""``pocketcrafter bench fuzz``."""

import click

from pocketcrafter.benchmarks.common.names import Format
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import GateError


@click.command("fuzz")
@click.option(
    "--format",
    "formats",
    type=click.Choice([name.value for name in Format]),
    multiple=True,
    help="Only these readers; repeatable.",
)
@click.option("--executions", type=click.IntRange(1), default=2000, show_default=True, help="At most, of each reader.")
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="At most, for each reader.")
@click.option("--seed", type=click.IntRange(1, 1 << 30), default=1, show_default=True, help="Draws the mutations.")
@json_option
def fuzz(formats: tuple[str, ...], executions: int, seconds: float, seed: int, *, as_json: bool) -> None:
    r"""Feed mutated files to the readers of photos, metadata, bundles, recipes, weights and critiques.

    Each reader runs in a process of its own under atheris (libFuzzer, guided by coverage). A finding is any error that
    is not one of PocketCrafter's, a broken promise, an end of the process, and an input that takes too much time or
    memory. Exit code 1: there is one. With --json, findings hold their inputs.

    \b
    Example:
      pocketcrafter bench fuzz --format png --executions 20000
    """
    from pocketcrafter.benchmarks.common.machine import this_machine
    from pocketcrafter.benchmarks.fuzz.child import FuzzJob
    from pocketcrafter.benchmarks.fuzz.measure import FuzzReport, check_fuzzer, fuzz_line, fuzz_reader

    check_fuzzer()
    names = [Format(name) for name in formats] or list(Format)
    results = []
    for name in names:
        result = fuzz_reader(FuzzJob(format=name, executions=executions, seconds=seconds, seed=seed))
        results.append(result)
        if not as_json:
            click.echo(fuzz_line(result))
    report = FuzzReport(machine=this_machine(), seed=seed, results=tuple(results))
    if as_json:
        click.echo(report.model_dump_json(indent=1))
    else:
        click.echo(f"{report.executions} executions, {report.findings} findings; {report.machine.label}")
    if report.findings:
        raise GateError(f"{report.findings} inputs were neither read nor refused by a typed error; see --json.")
