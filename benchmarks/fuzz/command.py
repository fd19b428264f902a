"""``pocketcrafter bench fuzz``: mutated files at every reader; nothing but typed errors may come of them."""

import base64
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click
from pydantic import Field

from pocketcrafter.benchmarks.fuzz.child import JOB, RESULT, Finding, FuzzJob, FuzzResult
from pocketcrafter.benchmarks.fuzz.target import Format
from pocketcrafter.benchmarks.latency.machine import Machine, this_machine
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError, GateError

_ARTIFACTS: Final = ("crash-*", "timeout-*", "oom-*", "leak-*")
"""What libFuzzer calls the inputs that ended its process."""


class FuzzReport(Config):
    """What came of fuzzing."""

    machine: Machine
    seed: int
    results: tuple[FuzzResult, ...] = Field(description="By format.")

    @property
    def executions(self) -> int:
        """Executions of all readers."""
        return sum(result.executions for result in self.results)

    @property
    def findings(self) -> int:
        """Different faults of all readers."""
        return sum(len(result.findings) for result in self.results)


@click.command("fuzz")
@click.option(
    "--target",
    "targets",
    type=click.Choice([name.value for name in Format]),
    multiple=True,
    help="Only these readers; repeatable.",
)
@click.option("--executions", type=click.IntRange(1), default=2000, show_default=True, help="At most, of each reader.")
@click.option("--seconds", type=click.FloatRange(1), default=60.0, show_default=True, help="At most, for each reader.")
@click.option("--seed", type=click.IntRange(1, 1 << 30), default=1, show_default=True, help="Draws the mutations.")
@json_option
def fuzz(targets: tuple[str, ...], executions: int, seconds: float, seed: int, *, as_json: bool) -> None:
    r"""Feed mutated files to the readers of photos, metadata, bundles, recipes, weights and critiques.

    Each reader runs in a process of its own under atheris (libFuzzer, guided by coverage). A finding is any error that
    is not one of PocketCrafter's, a broken promise, an end of the process, and an input that takes too much time or
    memory. Exit code 1: there is one. With --json, findings hold their inputs.

    \b
    Example:
      pocketcrafter bench fuzz --target png --executions 20000
    """
    if find_spec("atheris") is None:
        raise BackendError(
            "`atheris` is not installed (its wheels are for Linux on x86-64): pip install 'pocketcrafter[fuzz]'"
        )
    names = [Format(name) for name in targets] or list(Format)
    results = []
    for name in names:
        result = _fuzzed(FuzzJob(format=name, executions=executions, seconds=seconds, seed=seed))
        results.append(result)
        if not as_json:
            click.echo(_line(result))
    report = FuzzReport(machine=this_machine(), seed=seed, results=tuple(results))
    if as_json:
        click.echo(report.model_dump_json(indent=1))
    else:
        click.echo(f"{report.executions} executions, {report.findings} findings; {report.machine.label}")
    if report.findings:
        raise GateError(f"{report.findings} inputs were neither read nor refused by a typed error; see --json.")


def _fuzzed(job: FuzzJob) -> FuzzResult:
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-fuzz-") as name:
        folder = Path(name)
        (folder / JOB).write_text(job.model_dump_json())
        log = folder / "log.txt"
        with log.open("wb") as written:
            words = [sys.executable, "-m", "pocketcrafter.benchmarks.fuzz.child", name]
            done = subprocess.run(words, stdout=written, stderr=written, check=False)  # noqa: S603 - our own words
        if (folder / RESULT).is_file():
            return FuzzResult.model_validate_json((folder / RESULT).read_bytes())
        tail = log.read_text(errors="replace")[-1500:]
        ended = next((path for pattern in _ARTIFACTS for path in folder.glob(pattern)), None)
        if ended is None:
            raise BackendError(f"The fuzzer of {job.format} ended with {done.returncode}:\n{tail}")
        finding = Finding(
            what=f"the process ended with {done.returncode} ({ended.name.split('-')[0]}): {tail}",
            input_base64=base64.b64encode(ended.read_bytes()).decode(),
        )
        return FuzzResult(
            format=job.format,
            executions=1,
            seconds=0,
            cpu_seconds=0,
            read=0,
            refused=0,
            slowest_cpu_s=0,
            grown_mib=0,
            findings=(finding,),
        )


def _line(result: FuzzResult) -> str:
    rate = result.executions / max(result.seconds, 1e-3)
    words = [
        f"{result.format:<14} {result.executions:>8} executions in {result.seconds:6.0f} s ({rate:.0f}/s)",
        f"{result.read} read, {result.refused} refused",
        f"slowest {result.slowest_cpu_s:.2f} s, +{result.grown_mib:.0f} MiB",
        f"{len(result.findings)} findings",
    ]
    return "\n".join([", ".join(words), *(f"  {finding.what}" for finding in result.findings)])
