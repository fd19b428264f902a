"""What the emulated ARM64 processor made of a bundle's artifacts: a closed model, and its table."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from pocketcrafter.benchmarks.latency.machine import Machine
from pocketcrafter.benchmarks.quality.tables import markdown
from pocketcrafter.runtime.bundle.gates import Gate, judge
from pocketcrafter.runtime.bundle.results import Fidelity, Precision, figures_of
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config


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
