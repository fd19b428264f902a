"""Every golden of a bundle on the emulated processor, held against this machine's and against full precision."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pocketcrafter.benchmarks.arm64.emulator import ENGINES, LABEL, run_emulated
from pocketcrafter.benchmarks.arm64.results import ArmNetwork, ArmReport
from pocketcrafter.benchmarks.arm64.system import ArmSystem, open_system
from pocketcrafter.benchmarks.device.measure import HOST_GATE
from pocketcrafter.benchmarks.latency.machine import this_machine
from pocketcrafter.export.lower.measure import compare
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import ConfigError

Progress = Callable[[str, int, int], None]


def run_arm64(
    bundle: Bundle,
    folder: Path,
    targets: Sequence[str] = (),
    components: Sequence[str] = (),
    progress: Progress = lambda *_: None,
) -> ArmReport:
    """Run a bundle's goldens on an emulated ARM64 processor.

    Parameters
    ----------
    bundle
        Nothing is written into it.
    folder
        Where the emulated system is, or is to be made.
    targets, components
        By name; all that a CPU runs when empty.
    progress
        Called with what is done, networks done and networks in all.

    Raises
    ------
    ConfigError
        If the bundle lacks what was asked for, or no target of it runs on a CPU.
    BackendError
        If the emulator or something of it is missing, or a network fails.
    BundleError
        If a golden is damaged.
    """
    jobs = _jobs(bundle, targets, components)
    system = open_system(folder, progress)
    networks = []
    for done, (entry, target) in enumerate(jobs):
        progress(f"{entry.spec.name} on {target}", done, len(jobs))
        networks.append(_network(bundle, entry, target, system))
    progress("networks", len(jobs), len(jobs))
    return ArmReport(
        bundle=bundle.manifest.name,
        processor=LABEL,
        machine=this_machine(),
        tools=dict(system.tools),
        networks=tuple(networks),
    )


def _jobs(bundle: Bundle, targets: Sequence[str], components: Sequence[str]) -> list[tuple[ComponentEntry, str]]:
    has = [name for name, target in bundle.manifest.targets.items() if target.kind in ENGINES]
    if strange := [name for name in targets if name not in has]:
        raise ConfigError(f"{bundle.path}: `{strange[0]}` is no target of it for a CPU; it has {', '.join(has)}.")
    if not has:
        raise ConfigError(f"{bundle.path}: none of its targets is for a CPU ({', '.join(ENGINES)}).")
    entries = bundle.chosen_components(components)
    return [(entry, target) for target in targets or has for entry in entries]


def _network(bundle: Bundle, entry: ComponentEntry, target: str, system: ArmSystem) -> ArmNetwork:
    artifact, kind = entry.artifacts[target], bundle.manifest.targets[target].kind
    session = bundle.target_session(entry.spec.name, 1, target)
    samples = [read_tensors(bundle.file(golden.inputs), entry.spec.inputs) for golden in entry.goldens_of(None)]
    expected = [read_tensors(bundle.file(golden.outputs), entry.spec.outputs) for golden in entry.goldens_of(None)]
    host = [session.run(sample) for sample in samples]
    start = time.perf_counter()
    emulated = [run_emulated(system, kind, bundle.artifact(entry, target), entry.spec, sample) for sample in samples]
    return ArmNetwork(
        component=entry.spec.name,
        target=target,
        precision=artifact.precision,
        against_host=compare(host, emulated, entry.spec),
        host_gate=HOST_GATE,
        against_golden=compare(expected, emulated, entry.spec),
        golden_gate=artifact.golden_gate,
        seconds=time.perf_counter() - start,
    )
