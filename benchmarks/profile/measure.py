"""Profiles every network of a bundle on every target that has a profiler here."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.common.network_source import student_weights
from pocketcrafter.benchmarks.common.timing import Skipped
from pocketcrafter.benchmarks.profile.engines import (
    Profile,
    Subject,
    profile_coreml,
    profile_executorch,
    profile_onnx,
    profile_qnn,
)
from pocketcrafter.benchmarks.profile.layers import Layer, layers_of
from pocketcrafter.benchmarks.profile.results import NetworkProfile, ProfileReport
from pocketcrafter.benchmarks.profile.roofline import measure_peaks
from pocketcrafter.export.families.registry import student_network
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import why_unusable
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.progress import NamedProgress

PROFILERS: Final[Mapping[BackendName, Profile]] = {
    BackendName.ONNXRUNTIME: profile_onnx,
    BackendName.EXECUTORCH: profile_executorch,
    BackendName.MIL_INTERPRETER: profile_coreml,
    BackendName.QNN_EMULATOR: profile_qnn,
}
"""Emulators that are not listed keep no clock that a device would know."""


def profile_bundle(
    bundle: Bundle,
    targets: Sequence[str] = (),
    components: Sequence[str] = (),
    *,
    weights: Path | None = None,
    runs: int = 10,
    threads: int = 1,
    peaks: bool = False,
    progress: NamedProgress = lambda *_: None,
) -> ProfileReport:
    """Profile a bundle's networks on the inputs of their goldens.

    Parameters
    ----------
    bundle
        The bundle.
    targets, components
        Empty stands for all.
    weights
        Folder with the full-precision weights, whose layers the operators are led back to; what is installed when not
        given. Without the weights the operators keep the engines' names.
    runs
        Timed runs after one that is not, ≥ 1.
    threads
        Threads to compute with.
    peaks
        Measure this machine's matrix products first, as the roof for the layers' speed.
    progress
        Called with what is profiled, networks done and networks in all.

    Raises
    ------
    ConfigError
        If the bundle lacks a target or component that was asked for.
    BundleError
        If a golden is damaged.
    BackendError
        If nothing could be profiled, with every reason.
    """
    manifest = bundle.manifest
    chosen = bundle.chosen_targets(targets)
    jobs = [(entry, target) for entry in bundle.chosen_components(components) for target in chosen]
    roof = measure_peaks(threads) if peaks else None
    networks, skipped = [], []
    layers: dict[str, list[Layer]] = {}
    for done, (entry, target) in enumerate(jobs):
        name = f"{entry.spec.name} on {target}"
        progress(name, done, len(jobs))
        backend = manifest.targets[target].backend
        if backend not in PROFILERS:
            skipped.append(Skipped(what=name, reason=f"{backend} emulates, and counts no cycles of a device"))
            continue
        if reason := why_unusable(backend):
            skipped.append(Skipped(what=name, reason=reason[:2000]))
            continue
        if entry.spec.name not in layers:
            layers[entry.spec.name] = source_layers(bundle, entry, weights)
        try:
            networks.append(_profiled(bundle, entry, target, layers[entry.spec.name], runs, threads))
        except BackendError as error:
            skipped.append(Skipped(what=name, reason=str(error)[:2000]))
    progress("profiles", len(jobs), len(jobs))
    if not networks:
        reasons = "".join(f"\n  {s.what}: {s.reason}" for s in skipped)
        raise BackendError(f"{bundle.path}: nothing could be profiled here:{reasons}")
    return ProfileReport(
        bundle=manifest.name,
        manifest_sha256=hashlib.sha256(read_manifest_bytes(bundle.root)).hexdigest(),
        machine=this_machine(),
        threads=threads,
        peaks=roof,
        networks=tuple(networks),
        skipped=tuple(skipped),
    )


def source_layers(bundle: Bundle, entry: ComponentEntry, weights: Path | None) -> list[Layer]:
    """Return the layers that a component was lowered from; none where its weights are not here.

    Parameters
    ----------
    bundle, entry
        The component.
    weights
        Folder with the full-precision weights; what is installed when `None`.
    """
    try:
        path = student_weights(bundle, entry, weights)
        network = student_network(bundle.manifest.family, entry.spec.name, path)
    except BackendError:
        return []
    return layers_of(frozen(network, ()), entry.spec)


def _profiled(
    bundle: Bundle, entry: ComponentEntry, target: str, layers: list[Layer], runs: int, threads: int
) -> NetworkProfile:
    artifact = entry.artifacts[target]
    subject = Subject(
        artifact=bundle.artifact(entry, target),
        spec=entry.spec,
        precision=artifact.precision,
        inputs=read_tensors(bundle.file(entry.goldens[0].inputs), entry.spec.inputs),
        layers=layers,
        threads=threads,
        runs=runs,
    )
    found = PROFILERS[bundle.manifest.targets[target].backend](subject)
    return NetworkProfile(
        component=entry.spec.name,
        target=target,
        precision=artifact.precision,
        engine=found.engine,
        runs=found.runs,
        total_ms=found.total_ms,
        macs=artifact.coverage.macs_total,
        ops=found.ops,
    )
