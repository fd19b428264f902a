"""Disturbs commands while they write: kills them, takes their room, fails their output; then looks at what they left.

After each disturbance every file under a final name must be, to the byte, that of an undisturbed run; an exit code of
0 must mean that all of them are there; an error must be in words; and the next run must finish the work.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

import numpy as np
from pydantic import Field

from pocketcrafter.benchmarks.common.machine import Machine, this_machine
from pocketcrafter.benchmarks.common.names import SubjectName
from pocketcrafter.benchmarks.endurance.subjects import RESULTS, Subject
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError

try:
    import pty
    import resource
except ImportError:  # Windows
    pty = resource = None  # type: ignore[assignment]

_STEP: Final = 64 << 10
_MOST_LIMITS: Final = 16
_FASTER: Final = 0.7
_MAIN: Final = "from pocketcrafter.runtime.cli import main; main()"

Told = Callable[[str, int, int], None]
"""Called with what is done, how much of it is done, and how much there is."""


class Disturbance(StrEnum):
    """What is done to a command."""

    KILL = "kill -9"
    FILE_LIMIT = "file size limit (EFBIG)"
    FULL_DISK = "full disk (ENOSPC)"
    FULL_OUTPUT = "full standard output (ENOSPC)"
    FAILED_OUTPUT = "failing standard output (EIO)"


class Trial(Config):
    """One disturbance, and what was wrong after it."""

    subject: SubjectName
    disturbance: Disturbance
    at: float = Field(description="Share of an undisturbed run's time, or bytes of room.")
    disturbed: bool = Field(description="Whether it came before the command had ended well.")
    leftovers: int = Field(ge=0, description="Temporary files that a killed process left; the next run removes them.")
    faults: tuple[str, ...]


class EnduranceReport(Config):
    """All that was tried."""

    machine: Machine
    seed: int
    seconds: Mapping[SubjectName, float] = Field(description="An undisturbed run, interpreter included.")
    trials: tuple[Trial, ...]
    not_tried: tuple[str, ...] = Field(description="What this machine does not allow, and why.")

    @property
    def faults(self) -> list[str]:
        """Everything that was wrong."""
        return [f"{t.subject}, {t.disturbance} at {t.at:g}: {fault}" for t in self.trials for fault in t.faults]


def measure_endurance(
    subjects: Mapping[SubjectName, tuple[Subject, int]], seed: int, progress: Told = lambda *_: None
) -> EnduranceReport:
    """Disturb each command.

    Parameters
    ----------
    subjects
        What to run, and at how many random points each is killed.
    seed
        Of the points.
    told
        Progress.

    Raises
    ------
    ConfigError
        If a command fails undisturbed, or this system is Windows.
    """
    trials: list[Trial] = []
    if pty is None:
        raise ConfigError("This system has neither pseudo-terminals nor limits on files; run this on Linux or macOS.")
    seconds, not_tried = {}, list[str]()
    for name, (subject, kills) in subjects.items():
        with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
            course = _Course(subject, Path(folder))
            seconds[name] = course.seconds
            shares = np.random.default_rng(seed).uniform(0, 1, kills)
            for done, trial in enumerate(course.killed(list(map(float, shares)))):
                progress(f"{name}: killed", done, kills)
                trials.append(trial)
            progress(f"{name}: no room", 0, 1)
            trials += course.limited()
            trials += course.output_failed()
            if reason := course.why_no_disk():
                not_tried.append(f"{name}, {Disturbance.FULL_DISK}: {reason}")
            else:
                trials += course.disk_full()
    return EnduranceReport(
        machine=this_machine(), seed=seed, seconds=seconds, trials=tuple(trials), not_tried=tuple(not_tried)
    )


def endurance_table(report: EnduranceReport) -> str:
    """Return the report as text: a line for each command and disturbance."""
    lines = [f"{'command':<14} {'disturbance':<32} {'trials':>6} {'in time':>7} {'leftovers':>9} {'faults':>6}"]
    for subject in report.seconds:
        for kind in Disturbance:
            chosen = [t for t in report.trials if (t.subject, t.disturbance) == (subject, kind)]
            if chosen:
                counts = (len(chosen), sum(t.disturbed for t in chosen), sum(t.leftovers for t in chosen))
                faults = sum(len(t.faults) for t in chosen)
                lines.append(f"{subject:<14} {kind:<32} {counts[0]:>6} {counts[1]:>7} {counts[2]:>9} {faults:>6}")
    return "\n".join([*lines, *(f"not tried: {reason}" for reason in report.not_tried)])


class _Course:
    """One command, and what it gives when nobody disturbs it."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self._subject, self._folder = subject, folder
        room = self._room()
        started = time.monotonic()
        done = self._run(room)
        self.seconds = time.monotonic() - started
        if done.returncode != 0:
            raise ConfigError(f"`{subject.name}` fails undisturbed: {done.stderr.decode(errors='replace')}")
        self._whole = _files(room / RESULTS)
        self._largest = max(path.stat().st_size for path in (room / RESULTS).rglob("*") if path.is_file())
        self._bytes = sum(path.stat().st_size for path in (room / RESULTS).rglob("*") if path.is_file())
        shutil.rmtree(room)

    def killed(self, shares: Sequence[float]) -> Iterator[Trial]:
        """Kill a run at each of these shares of the time that it takes, each as often as needed to be in time."""
        room, seconds, is_new = self._room(), self.seconds, True
        for number, share in enumerate(shares):
            while not self._kill(room, share * seconds):
                # It was faster than before: the machine has less to do, or there was less left of the work.
                seconds *= _FASTER
                if is_new:
                    self.seconds = seconds
                room, is_new = self._renewed(room), True
            left, faults = _leftovers(room), self._broken(room)
            if self._subject.goes_on and number < len(shares) - 1:
                is_new = False
            else:
                faults += self._finished(room)
                room, seconds, is_new = self._renewed(room), self.seconds, True
            yield self._trial(Disturbance.KILL, share, left, faults, disturbed=True)

    def limited(self) -> Iterator[Trial]:
        """Give no file more than so many bytes, at every 64 KiB of the largest result, or every few times that."""
        for size in range(0, self._largest + 1, _STEP * -(-self._largest // (_STEP * _MOST_LIMITS))):
            room = self._room()
            done = self._run(room, most_bytes=size)
            yield self._judged(Disturbance.FILE_LIMIT, size, room, done)

    def disk_full(self) -> Iterator[Trial]:
        """Put the results on a disk that is too small for them, by a little or by much."""
        for share in (0.05, 0.2, 0.4, 0.6, 0.8, 0.95):
            room, size = self._room(), int(share * self._bytes)
            with _disk(room / RESULTS, size):
                done = self._run(room)
                yield self._judged(Disturbance.FULL_DISK, size, room, done, finish=False)

    def output_failed(self) -> Iterator[Trial]:
        room = self._room()
        with Path("/dev/full").open("wb") as full:
            done = self._run(room, stdout=full)
        yield self._judged(Disturbance.FULL_OUTPUT, 0, room, done, progress=True)
        room = self._room()
        ours, theirs = pty.openpty()
        os.close(ours)  # a terminal that has gone: writing to it fails with EIO
        done = self._run(room, stdout=theirs)
        os.close(theirs)
        yield self._judged(Disturbance.FAILED_OUTPUT, 0, room, done, progress=True)

    def why_no_disk(self) -> str | None:
        """Return why no small disk can be mounted here, or `None` where one can."""
        try:
            with _disk(self._folder / "disk", _STEP):
                return None
        except OSError as error:
            return str(error)

    def _judged(
        self,
        kind: Disturbance,
        at: float,
        room: Path,
        done: "subprocess.CompletedProcess[bytes]",
        *,
        progress: bool = False,
        finish: bool = True,
    ) -> Trial:
        """Look at what a run left that ended by itself; ``told`` where nothing but its words were in the way."""
        faults, left = self._broken(room), _leftovers(room)
        if left:
            faults.append(f"{left} temporary files were left")
        if done.returncode == 0 and (progress or _files(room / RESULTS) != self._whole):
            faults.append("exit code 0")
        if done.returncode not in {0, 1, 2} or b"Traceback" in done.stderr:
            faults.append(f"exit code {done.returncode}: {done.stderr[-300:].decode(errors='replace')}")
        if finish:
            faults += self._finished(room)
            shutil.rmtree(room)
        return self._trial(kind, at, left, faults, disturbed=done.returncode != 0)

    def _trial(self, kind: Disturbance, at: float, left: int, faults: list[str], *, disturbed: bool) -> Trial:
        return Trial(
            subject=self._subject.name,
            disturbance=kind,
            at=round(at, 4),
            disturbed=disturbed,
            leftovers=left,
            faults=tuple(faults),
        )

    def _room(self) -> Path:
        room = Path(tempfile.mkdtemp(dir=self._folder))
        self._subject.prepare(room)
        return room

    def _renewed(self, room: Path) -> Path:
        shutil.rmtree(room)
        return self._room()

    def _run(
        self, room: Path, stdout: IO[bytes] | int = subprocess.PIPE, most_bytes: int | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        limit = None if most_bytes is None else _limit(most_bytes)
        return subprocess.run(  # noqa: S603
            self._command(room), stdout=stdout, stderr=subprocess.PIPE, preexec_fn=limit, check=False
        )

    def _command(self, room: Path) -> list[str]:
        return [sys.executable, "-c", _MAIN, *map(str, self._subject.arguments(room))]

    def _kill(self, room: Path, seconds: float) -> bool:
        """Kill a run and all its processes after so many seconds; false where it had ended by then."""
        process = subprocess.Popen(  # noqa: S603
            self._command(room), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        return False

    def _finished(self, room: Path) -> list[str]:
        """Run undisturbed, and return what is wrong then."""
        done = self._run(room)
        if done.returncode != 0:
            return [f"the next run fails: {done.stderr[-300:].decode(errors='replace')}"]
        faults = [] if _files(room / RESULTS) == self._whole else ["the next run gives other results"]
        if left := _leftovers(room):
            faults.append(f"{left} temporary files are left after the next run")
        return faults

    def _broken(self, room: Path) -> list[str]:
        found = _files(room / RESULTS)
        return [f"{name} is not whole" for name, digest in found.items() if self._whole.get(name) != digest]


def _files(folder: Path) -> dict[str, str]:
    """Hash every file that is under a final name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_hidden(path.relative_to(folder))
    }


def _leftovers(room: Path) -> int:
    return sum(".tmp" in path.name and path.name.startswith(".") for path in room.rglob("*"))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _limit(size: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@contextlib.contextmanager
def _disk(place: Path, size: int) -> Iterator[None]:
    """Mount a small file system in memory, for which one must be root.

    Raises
    ------
    OSError
        If that is not allowed.
    """
    place.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or sys.platform != "linux":
        raise OSError("there is no mount(8) with tmpfs here")
    options = f"size={max(size >> 10, 4)}k"
    done = subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip())
    try:
        yield
    finally:
        subprocess.run([shutil.which("umount") or "umount", str(place)], check=True)  # noqa: S603
