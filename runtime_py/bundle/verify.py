"""The whole proof of a bundle on this machine: every hash, and every golden on every target that can run here."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.bundle.gates import Gate, judge
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.integrity import DamagedBundleError
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity, figures_of
from pocketcrafter.runtime.components import ComponentName, ComponentSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import (
    BundleError,
    NotExactHereError,
    NotRunHereError,
    PocketCrafterError,
)
from pocketcrafter.runtime.families import family_settings


class Outcome(StrEnum):
    """How a target's golden run ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"


class GoldenRun(Config):
    """One component's goldens on one target."""

    target: str
    component: ComponentName
    outcome: Outcome
    reason: str = Field("", description="Why it failed or was not run.")
    gate: Gate = Field(description="What every output must reach.")
    fidelity: tuple[Fidelity, ...] = Field((), description="One entry per golden and output.")


class VerifyReport(Config):
    """What `pocketcrafter verify` found."""

    bundle: str
    files: int = 0
    bytes: int = 0
    problems: tuple[str, ...] = Field((), description="Faults of the files; the goldens are run only without any.")
    goldens: tuple[GoldenRun, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the files are whole, no golden failed and at least one ran."""
        outcomes = {run.outcome for run in self.goldens}
        return not self.problems and Outcome.FAILED not in outcomes and Outcome.PASSED in outcomes


def verify(path: Path, threads: int, progress: Callable[[str, int, int], None] = lambda *_: None) -> VerifyReport:
    """Hash every file and run every golden on every target that this machine can run.

    Parameters
    ----------
    path
        A bundle directory or a zip of one.
    threads
        Threads to compute with.
    progress
        Called with what is being done, how much of it is done, and how much there is.

    Returns
    -------
    VerifyReport
        Faults are in the report; nothing that is wrong with the bundle raises.
    """
    try:
        bundle = Bundle.open(path)
        family_settings(bundle.manifest)
        _check(bundle, progress)
    except DamagedBundleError as error:
        return VerifyReport(bundle=str(path), problems=error.problems)
    except BundleError as error:
        return VerifyReport(bundle=str(path), problems=(str(error),))
    runs = []
    jobs = [(entry, target) for target in bundle.manifest.targets for entry in bundle.manifest.components]
    for done, (entry, target) in enumerate(jobs):
        progress(f"{entry.spec.name} on {target}", done, len(jobs))
        runs.append(_golden_run(bundle, entry, target, threads))
    progress("goldens", len(jobs), len(jobs))
    files = bundle.manifest.files
    return VerifyReport(bundle=str(path), files=len(files), bytes=sum(f.size for f in files), goldens=tuple(runs))


def _check(bundle: Bundle, progress: Callable[[str, int, int], None]) -> None:
    total, seen = sum(f.size for f in bundle.manifest.files), 0

    def read(count: int) -> None:
        nonlocal seen
        seen += count
        progress("hashes", seen, total)

    bundle.check_integrity(read)


def _golden_run(bundle: Bundle, entry: ComponentEntry, target: str, threads: int) -> GoldenRun:
    gate = entry.artifacts[target].golden_gate

    def run(outcome: Outcome, reason: str = "", fidelity: tuple[Fidelity, ...] = ()) -> GoldenRun:
        component = entry.spec.name
        return GoldenRun(
            target=target, component=component, outcome=outcome, reason=reason, gate=gate, fidelity=fidelity
        )

    if reason := why_unusable(bundle.manifest.targets[target].backend):
        return run(Outcome.NOT_RUN, reason)
    try:
        fidelity = tuple(golden_fidelity(bundle, entry, target, threads, entry.functions))
    except (NotExactHereError, NotRunHereError) as error:
        return run(Outcome.NOT_RUN, str(error))
    except PocketCrafterError as error:
        return run(Outcome.FAILED, str(error))
    verdict = judge(figures_of(fidelity), gate)
    return run(Outcome.PASSED if verdict.passed else Outcome.FAILED, "" if verdict.passed else str(verdict), fidelity)


def golden_fidelity(
    bundle: Bundle, entry: ComponentEntry, target: str, threads: int, functions: Sequence[str | None]
) -> Iterator[Fidelity]:
    """Run the goldens of some functions of a component on one target; raises as :func:`compare_golden` does.

    Parameters
    ----------
    bundle, entry, target
        Which artifact.
    threads
        Threads to compute with, ≥ 1.
    functions
        Names of functions; `None` is the main one.
    """
    for function in functions:
        session = bundle.target_session(entry.spec.name, threads, target, function)
        for golden in entry.goldens_of(function):
            files = bundle.file(golden.inputs), bundle.file(golden.outputs)
            yield from compare_golden(*files, entry.spec, session, function=function)


def compare_golden(
    inputs: Path,
    outputs: Path,
    spec: ComponentSpec,
    session: Session,
    pictures: tuple[str, ...] = (),
    function: str | None = None,
) -> list[Fidelity]:
    """Run a golden and compare every output with what was recorded.

    Parameters
    ----------
    inputs, outputs
        The golden's files.
    spec, session
        The component and how it runs.
    pictures
        Outputs in [0, 1] whose peak ratio is wanted too.
    function
        The further function that the golden and the session are of; its outputs are told as ``<function>.<output>``.

    Raises
    ------
    BundleError
        If a file is not what the spec says.
    GateError
        If an output is not finite.
    BackendError
        If the session fails.
    """
    contract, of = spec.of(function), "" if function is None else f"{function}."
    given = read_tensors(inputs, contract.inputs)
    actual = session.run(given)
    expected = read_tensors(outputs, contract.outputs)
    found = []
    for output in contract.outputs:
        data_range = 1.0 if output.name in pictures else None
        fidelity = Fidelity.of(output, given, expected[output.name], actual[output.name], data_range)
        found.append(fidelity.model_copy(update={"output": f"{of}{output.name}"}))
    return found
