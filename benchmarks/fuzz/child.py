"""A process that fuzzes one reader with atheris (libFuzzer), guided by the coverage of Python code.

It is a process of its own because libFuzzer ends the one that it runs in, as a fault in a decoder's C code does.
"""

import base64
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.benchmarks.common.names import Format
from pocketcrafter.benchmarks.fuzz.target import Target, target_of
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import PocketCrafterError
from pocketcrafter.runtime.memory import resident_mib

JOB: Final = "job.json"
RESULT: Final = "result.json"
MOST_BYTES: Final = 4096
"""Length of an input, or twice that of the longest seed."""
MOST_FINDINGS: Final = 20
_INSTRUMENTED: Final = [
    "pocketcrafter",
    "yaml",
    *(f"PIL.{kind}ImagePlugin" for kind in ("Jpeg", "Png", "WebP", "Tiff")),
]
_CHECK_MEMORY_EACH: Final = 64


class FuzzJob(Config):
    """What is to be fuzzed, and how long."""

    format: Format
    executions: int
    seconds: float
    seed: int


class Finding(Config):
    """An input on which a reader did something else than to read it or to say by a typed error why not."""

    what: str = Field(max_length=2000, description="The error, and where it was raised.")
    input_base64: str = Field(description="The input; of faults that were found more than once, the first one.")


class FuzzResult(Config):
    """What came of fuzzing one reader."""

    format: Format
    executions: int
    seconds: float = Field(description="Of the clock.")
    cpu_seconds: float
    read: int = Field(description="Inputs that were read.")
    refused: int = Field(description="Inputs that were refused by a typed error.")
    slowest_cpu_s: float = Field(description="Seconds of the CPU that the slowest input took.")
    grown_mib: float = Field(description="How much resident memory grew over that before the first input.")
    findings: tuple[Finding, ...] = ()


class Journal:
    """Runs one input after the other and keeps what came of them."""

    def __init__(self, folder: Path, job: FuzzJob) -> None:
        self._target = imported_target(job.format)
        self.seeds = self._target.seeds()
        self._folder, self._job = folder, job
        self._findings: dict[str, Finding] = {}
        self._executions = self._read = self._refused = 0
        self._slowest = self._grown = 0.0
        self._started, self._cpu_started = time.monotonic(), time.process_time()
        self._base_mib = resident_mib()[0]

    def take(self, content: bytes) -> None:
        """Run one input; after the last one, write the result and end the process."""
        self._executions += 1
        before = time.process_time()
        try:
            self._target.read(content)
        except PocketCrafterError:
            self._refused += 1
        except Exception as error:
            self._find(_described(error), content)
        else:
            self._read += 1
        took = time.process_time() - before
        self._slowest = max(self._slowest, took)
        if took > self._target.most_cpu_s:
            self._find(f"over {self._target.most_cpu_s:g} s of the CPU", content)
        if took > 0.1 or self._executions % _CHECK_MEMORY_EACH == 0:
            self._grown = max(self._grown, resident_mib()[1] - self._base_mib)
            if self._grown > self._target.most_mib:
                self._find(
                    f"over {self._target.most_mib:g} MiB of memory, by this input or one shortly before", content
                )
        if self._executions >= self._job.executions or time.monotonic() - self._started > self._job.seconds:
            self._end()

    def _find(self, what: str, content: bytes) -> None:
        if len(self._findings) < MOST_FINDINGS:
            finding = Finding(what=what[-2000:], input_base64=base64.b64encode(content).decode())
            self._findings.setdefault(what, finding)

    def _end(self) -> None:
        result = FuzzResult(
            format=self._job.format,
            executions=self._executions,
            seconds=time.monotonic() - self._started,
            cpu_seconds=time.process_time() - self._cpu_started,
            read=self._read,
            refused=self._refused,
            slowest_cpu_s=self._slowest,
            grown_mib=self._grown,
            findings=tuple(self._findings.values()),
        )
        (self._folder / RESULT).write_text(result.model_dump_json())
        # libFuzzer would print figures of its own and end the process too.
        os._exit(0)


def imported_target(name: Format) -> Target:
    """Import a reader such that its coverage guides the fuzzer."""
    import atheris  # noqa: PLC0415 - an extra

    with atheris.instrument_imports(include=_INSTRUMENTED):
        return target_of(name)


def _described(error: Exception) -> str:
    """Name an error by its type and place, which are the same however it is reached, and not by its message."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(f.filename).name}:{f.lineno} in {f.name}" for f in frames[-4:]]
    return f"{type(error).__name__}: {' > '.join(places)}"


def main(folder: Path) -> None:
    """Fuzz until the job is done; the result is in `RESULT`."""
    import atheris  # noqa: PLC0415 - an extra

    job = FuzzJob.model_validate_json((folder / JOB).read_bytes())
    journal = Journal(folder, job)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(journal.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    most = max(MOST_BYTES, 2 * max(map(len, journal.seeds)))
    words = [f"-seed={job.seed}", f"-max_len={most}", "-timeout=300", "-rss_limit_mb=8192", "-len_control=0"]
    # libFuzzer's -runs counts otherwise; the journal ends the process.
    atheris.Setup([sys.argv[0], *words, f"-artifact_prefix={folder}/", str(corpus)], journal.take)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
