"""What `pocketcrafter bench parity` found: closed models, as they are printed and as they lie in the bundle."""

from typing import Final, Literal

from pydantic import Field

from pocketcrafter.benchmarks.latency.machine import Machine
from pocketcrafter.runtime.bundle.gates import Figure, Gate, judge
from pocketcrafter.runtime.bundle.results import Fidelity, Precision, Rung, figures_of
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config

PARITY_REPORT: Final = "reports/parity.json"
"""Where the whole result lies in a bundle."""


class NetworkParity(Config):
    """One component on one target."""

    component: ComponentName
    target: str
    precision: Precision
    recorded: tuple[Rung, ...] = Field(description="Rungs 1 and 2 as the build measured them.")
    again: tuple[Rung, ...] = Field((), description="Those of them that could be run again here, on the goldens.")
    goldens: tuple[Fidelity, ...] = Field((), description="The artifact here against the full-precision goldens.")
    golden_gate: Gate
    not_run: str = Field("", description="Why nothing of it runs here; empty where it does.")

    @property
    def goldens_passed(self) -> bool | None:
        """Whether every golden keeps its gate; `None` where none was run."""
        return judge(figures_of(self.goldens), self.golden_gate).passed


class PhotoParity(Config):
    """One photo through a target, against the same photo through the full-precision pipeline."""

    photo: str = Field(max_length=255)
    changed: bool = Field(description="Whether either pipeline changed the photo.")
    restored: bool = Field(description="Whether either plan asked for restoration.")
    delta_e: float = Field(ge=0, description="Mean CIEDE2000 between the two results.")
    plan_error: float = Field(ge=0, description="Mean error of the gated plan over attributes, in vector units.")
    tokens_same: int = Field(0, ge=0, description="Greedy choices of the prose that agree.")
    tokens_compared: int = Field(0, ge=0)


class TargetParity(Config):
    """A target end to end."""

    target: str
    not_run: str = Field("", description="Why it was not run; empty where it was.")
    photos: tuple[PhotoParity, ...] = ()
    rung: Rung = Field(description="Rung 3, as it goes into the manifest.")


class StudioParity(Config):
    """Rung 0: the student's pipeline beside the studio's, both in full precision, on frames with known truth."""

    studio: dict[str, str] = Field(description="SHA-256 of each studio network that took a student's place.")
    frames: int = Field(ge=1)
    split: str
    student: tuple[Figure, ...]
    studio_figures: tuple[Figure, ...]
    rung: Rung = Field(description="Rung 0 of the components that have a studio, as it goes into the manifest.")


class ParityReport(Config):
    """Everything that one `pocketcrafter bench parity` found."""

    schema_version: Literal[1] = 1
    bundle: str
    machine: Machine
    threads: int = Field(ge=1)
    networks: tuple[NetworkParity, ...]
    targets: tuple[TargetParity, ...]
    studio: StudioParity | None = None

    @property
    def failures(self) -> list[str]:
        """Every gate that was missed, in words."""
        found = []
        for network in self.networks:
            name = f"{network.component} on {network.target}"
            found += [f"{name}: rung {r.rung} ({r.gate_text})" for r in network.again if r.passed is False]
            if network.goldens_passed is False:
                found.append(f"{name}: goldens ({network.golden_gate})")
        rungs = [(t.target, t.rung) for t in self.targets] + ([("student", self.studio.rung)] if self.studio else [])
        for name, rung in rungs:
            if rung.passed is False:
                missed = "; ".join(str(verdict) for verdict in rung.verdicts if verdict.passed is False)
                found.append(f"{name}: rung {rung.rung}: {missed}")
        return found
