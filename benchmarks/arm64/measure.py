"""Every golden of a bundle on an emulated ARM64 processor, compared with this machine's outputs and full precision."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from pocketcrafter.benchmarks.arm64.emulator import ENGINES, LABEL, ArmSystem, open_system, run_emulated
from pocketcrafter.benchmarks.common.machine import Machine, this_machine
from pocketcrafter.benchmarks.common.markdown import markdown
from pocketcrafter.benchmarks.device.measure import HOST_GATE
from pocketcrafter.export.lower.measure import compare
from pocketcrafter.runtime.bundle.gates import Gate, judge
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity, Precision, figures_of
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.progress import NamedProgress


class ArmNetwork(Config):
    """One artifact's goldens."""

    component: ComponentName
    target: str
    precision: Precision
    against_host: tuple[Fidelity, ...] = Field(description="Against the same artifact on this machine's processor.")
    host_gate: Gate
    against_golden: tuple[Fidelity, ...] = Field(description="Against the full-precision goldens.")
    golden_gate: Gate
    seconds: float = Field(ge=0, description="What the emulation took; says nothing of any processor.")

    @property
    def passed(self) -> bool:
        """Whether both gates are kept."""
        verdicts = (
            judge(figures_of(self.against_host), self.host_gate),
            judge(figures_of(self.against_golden), self.golden_gate),
        )
        return all(verdict.passed for verdict in verdicts)


class ArmReport(Config):
    """Everything that one `pocketcrafter bench arm64` found."""

    schema_version: Literal[1] = 1
    bundle: str
    processor: str = Field(description="What was emulated, and by what.")
    machine: Machine = Field(description="Where the emulator ran; the other side of the comparison.")
    tools: dict[str, str] = Field(description="Versions of the ARM64 runtimes.")
    networks: tuple[ArmNetwork, ...]

    @property
    def failures(self) -> list[str]:
        """Networks that missed a gate."""
        return [f"{n.component} on {n.target}" for n in self.networks if not n.passed]


def arm_lines(report: ArmReport) -> Iterator[str]:
    """Yield the lines of a report."""
    yield f"{report.bundle} on {report.processor}, against {report.machine.processor}; no device is involved"
    yield ""
    head = ("network", "on", "precision", "result", "against this machine", "largest difference", "against the goldens")
    yield markdown(head, [_row(network) for network in report.networks])


def _row(network: ArmNetwork) -> tuple[str, ...]:
    return (
        network.component,
        network.target,
        network.precision.value,
        "passed" if network.passed else "FAILED",
        _lowest(network.against_host, network.host_gate),
        f"{max(f.max_abs_error for f in network.against_host):.1e}",
        _lowest(network.against_golden, network.golden_gate),
    )


def _lowest(fidelity: Sequence[Fidelity], gate: Gate) -> str:
    ratios = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(ratios):.1f} dB ({gate})" if ratios else "identical"


def run_arm64(
    bundle: Bundle,
    folder: Path,
    targets: Sequence[str] = (),
    components: Sequence[str] = (),
    progress: NamedProgress = lambda *_: None,
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
