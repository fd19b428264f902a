"""Runs the numeric ladder: every network's goldens and tensors, then whole photos, target by target."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx

from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.common.network_source import NetworkSource, student_weights
from pocketcrafter.benchmarks.common.reference_record import Record
from pocketcrafter.benchmarks.parity.photos import compare_photos, end_to_end_rung
from pocketcrafter.benchmarks.parity.reference import check_record, compare_with_record, reference_rung
from pocketcrafter.benchmarks.parity.results import NetworkParity, ParityReport, StudioParity, TargetParity
from pocketcrafter.benchmarks.parity.studio import compare_with_studio
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.families.registry import FAMILIES as BUILDABLE
from pocketcrafter.export.lower.measure import compare
from pocketcrafter.export.lower.onnx.simulation import SIMULATED, simulate
from pocketcrafter.quantize.onnx.matmul_nbits import decoded
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.registry import usable_backend, why_unusable
from pocketcrafter.runtime.bundle.gates import Gate
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity, Rung
from pocketcrafter.runtime.bundle.verify import golden_fidelity
from pocketcrafter.runtime.errors import NotRunHereError
from pocketcrafter.runtime.families import FAMILIES, is_stepwise
from pocketcrafter.runtime.progress import NamedProgress
from pocketcrafter.runtime.targets import ONNX, TargetKind

Tensors = dict[str, FloatArray]
Simulate = Callable[[Path, ComponentEntry, list[Tensors]], list[Tensors]]
"""Runs the fake-quantized network that an artifact holds on samples."""

_REASON_CHARS = 500


def network_parity(
    bundle: Bundle, entry: ComponentEntry, target: str, weights: Path | None, threads: int
) -> NetworkParity:
    """Run a component's goldens on one target, and rungs 1 and 2 again where the artifact holds what they compare.

    Parameters
    ----------
    bundle, entry, target
        The network.
    weights
        Its full-precision weights; none where its family cannot make the network of them, and rungs 1 and 2 are not
        run again.
    threads
        Threads to compute with.

    Notes
    -----
    Fake-quantized weights can be read back from an ONNX artifact. The other toolchains simulate what they do not ship:
    there the goldens, in which both rungs come together, are what can be run again.

    Raises
    ------
    BackendError
        If a network fails.
    BundleError
        If a golden is damaged.
    """
    artifact = entry.artifacts[target]
    recorded = tuple(r for r in artifact.rungs if r.rung in {1, 2})
    facts = {
        "component": entry.spec.name,
        "target": target,
        "precision": artifact.precision,
        "recorded": recorded,
        "golden_gate": artifact.golden_gate,
    }
    backend = bundle.manifest.targets[target].backend
    if reason := why_unusable(backend):
        return NetworkParity.model_validate(facts | {"not_run": reason})
    try:
        ran = _run_again(bundle, entry, target, weights, threads)
    except NotRunHereError as error:
        ran = {"not_run": str(error)}
    return NetworkParity.model_validate(facts | ran)


def _run_again(
    bundle: Bundle, entry: ComponentEntry, target: str, weights: Path | None, threads: int
) -> dict[str, object]:
    artifact, kind = entry.artifacts[target], bundle.manifest.targets[target].kind
    recorded = tuple(r for r in artifact.rungs if r.rung in {1, 2})
    path = bundle.artifact(entry, target)
    session = usable_backend(bundle.manifest.targets[target].backend).open(path, entry.spec, threads)
    samples = [read_tensors(bundle.file(golden.inputs), entry.spec.inputs) for golden in entry.goldens_of(None)]
    expected = [read_tensors(bundle.file(golden.outputs), entry.spec.outputs) for golden in entry.goldens_of(None)]
    actual = [session.run(sample) for sample in samples]
    again: tuple[Rung, ...] = ()
    if weights is not None and kind in SIMULATIONS and artifact.precision.quantized:
        student = TorchBackend().student(bundle.manifest.family, weights, entry.spec, threads)
        simulated = SIMULATIONS[kind](path, entry, samples)
        again = (
            _judged(recorded, 1, compare(samples, [student.run(s) for s in samples], simulated, entry.spec), _AGAIN[0]),
            _judged(recorded, 2, compare(samples, simulated, actual, entry.spec), _AGAIN[1]),
        )
    goldens = (
        *compare(samples, expected, actual, entry.spec),
        *golden_fidelity(bundle, entry, target, threads, entry.functions[1:]),
    )
    return {"again": again, "goldens": goldens}


def _simulate_onnx(path: Path, entry: ComponentEntry, samples: list[Tensors]) -> list[Tensors]:
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-parity-") as folder:
        plain = Path(folder) / "decoded.onnx"
        onnx.save(decoded(onnx.load(path)), plain)
        return simulate(plain, samples, entry.spec)


SIMULATIONS: Final[Mapping[TargetKind, Simulate]] = {ONNX: _simulate_onnx}
"""Targets whose artifacts hold their own simulation."""

_AGAIN: Final = (
    f"On the goldens: {SIMULATED} against eager torch in full precision",
    f"On the goldens: the artifact on this machine against {SIMULATED}",
)


def _judged(recorded: tuple[Rung, ...], number: int, fidelity: tuple[Fidelity, ...], how: str) -> Rung:
    gates = next((r.gates for r in recorded if r.rung == number), ())
    return Rung.judged(number, how, gates, fidelity=fidelity)


def climb(
    bundle: Bundle,
    targets: Sequence[str],
    photos: Sequence[Path],
    *,
    weights: Path | None = None,
    record: Record | None = None,
    studio: Mapping[str, Path] | None = None,
    frames: Sequence[MeasuredFrame] = (),
    split: str = "",
    threads: int = 2,
    progress: NamedProgress = lambda *_: None,
) -> ParityReport:
    """Run rungs 1 to 3 of a bundle, and rung 0 where a studio is given.

    Parameters
    ----------
    bundle
        The bundle; nothing is written into it.
    targets
        By name; all of them when empty. Those that cannot run here are in the report with the reason.
    photos
        Whole photos for rung 3; without any it is not run.
    weights
        Folder with the full-precision weights; what the installation ships when not given.
    record
        What a latent pair's own libraries made of photos: rung 3 is held against it.
    studio, frames, split
        Rung 0: as in `compare_with_studio`.
    threads
        Threads to compute with.
    progress
        Called with what is being done, how much is done and how much there is.

    Raises
    ------
    ConfigError
        If the bundle lacks a target that was asked for, or the record is of another pair.
    BackendError
        If the full-precision weights are not here, or a network fails.
    """
    manifest = bundle.manifest
    chosen = bundle.chosen_targets(targets)
    if record is not None:
        check_record(bundle, record)
    student: dict[str, Path] = {}
    # Where photos are run in full precision, weights are needed; elsewhere networks are compared where they are named.
    if _in_full_precision(manifest.family) or (weights is not None and manifest.family in BUILDABLE):
        student = {e.spec.name: student_weights(bundle, e, weights) for e in manifest.components}
    reference = NetworkSource(bundle, threads, weights=student)
    networks: list[NetworkParity] = []
    jobs = [(entry, target) for target in chosen for entry in manifest.components]
    for done, (entry, target) in enumerate(jobs):
        progress(f"{entry.spec.name} on {target}", done, len(jobs))
        networks.append(network_parity(bundle, entry, target, student.get(entry.spec.name), threads))
    progress("networks", len(jobs), len(jobs))
    ends = [_target(bundle, reference, target, photos, record, threads, progress) for target in chosen]
    compared: StudioParity | None = None
    if studio:
        compared = compare_with_studio(reference, studio, frames, split, progress)
    return ParityReport(
        bundle=manifest.name,
        machine=this_machine(),
        threads=threads,
        networks=tuple(networks),
        targets=tuple(ends),
        studio=compared,
    )


def _target(
    bundle: Bundle,
    reference: NetworkSource,
    target: str,
    photos: Sequence[Path],
    record: Record | None,
    threads: int,
    progress: NamedProgress,
) -> TargetParity:
    gates = bundle.manifest.gates(3, target)
    reason = _why_not_whole(bundle, photos, record, target)
    if reason:
        return TargetParity(target=target, not_run=reason, rung=_not_run(gates, reason))
    source = NetworkSource(bundle, threads, target=target)

    def report_photo(photo: str, done: int, total: int) -> None:
        progress(f"{photo} on {target}", done, total)

    if record is not None:
        try:
            held = compare_with_record(source, record, report_photo)
        except NotRunHereError as error:
            return TargetParity(target=target, not_run=str(error), rung=_not_run(gates, str(error)))
        return TargetParity(target=target, reference=tuple(held), rung=reference_rung(held, gates, target, record))
    found = compare_photos(reference, source, photos, report_photo)
    return TargetParity(target=target, photos=tuple(found), rung=end_to_end_rung(found, gates, target))


def _why_not_whole(bundle: Bundle, photos: Sequence[Path], record: Record | None, target: str) -> str | None:
    family = bundle.manifest.family
    if is_stepwise(family) and record is None:
        return "no --reference was given: pocketcrafter reference record PAIR --photos DIR --out X.pcref"
    if not (is_stepwise(family) or _in_full_precision(family)):
        return f"the family {family} has no full-precision pipeline that makes pictures of photos"
    if not photos and record is None:
        return "no photos were given"
    return why_unusable(bundle.manifest.targets[target].backend)


def _in_full_precision(family: str) -> bool:
    known = FAMILIES.get(family)
    return not is_stepwise(family) and known is not None and known.pipeline is not None and family in BUILDABLE


def _not_run(gates: tuple[Gate, ...], reason: str) -> Rung:
    return Rung(rung=3, passed=None, how=reason[:_REASON_CHARS], gates=gates)
