"""Mutated files at every reader; nothing but typed errors may come of them."""

import base64
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.benchmarks.common.machine import Machine
from pocketcrafter.benchmarks.fuzz.child import JOB, RESULT, Finding, FuzzJob, FuzzResult
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError

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


def check_fuzzer() -> None:
    """Look for the fuzzer.

    Raises
    ------
    BackendError
        If it is not installed.
    """
    if find_spec("atheris") is None:
        raise BackendError(
            "`atheris` is not installed (its wheels are for Linux on x86-64): pip install 'pocketcrafter[fuzz]'"
        )


def fuzz_reader(job: FuzzJob) -> FuzzResult:
    """Run one reader's fuzzer in a process of its own.

    Raises
    ------
    BackendError
        If the process ended without a result or an input that ended it.
    """
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


def fuzz_line(result: FuzzResult) -> str:
    """Return what is to be said of one reader."""
    rate = result.executions / max(result.seconds, 1e-3)
    words = [
        f"{result.format:<14} {result.executions:>8} executions in {result.seconds:6.0f} s ({rate:.0f}/s)",
        f"{result.read} read, {result.refused} refused",
        f"slowest {result.slowest_cpu_s:.2f} s, +{result.grown_mib:.0f} MiB",
        f"{len(result.findings)} findings",
    ]
    return "\n".join([", ".join(words), *(f"  {finding.what}" for finding in result.findings)])
