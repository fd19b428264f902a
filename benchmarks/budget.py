"""Parameters and artifact sizes of a bundle, beside what a phone's app can spare."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from pydantic import Field

from pocketcrafter.benchmarks.common.markdown import NOT_MEASURED, markdown
from pocketcrafter.benchmarks.common.network_source import student_weights
from pocketcrafter.export.families.registry import student_network
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.config import Config

_TARGET_BYTES: Final = 12_000_000
"""All artifacts of one target: what a phone downloads and keeps."""


class NetworkGroup(StrEnum):
    """What people know the networks as."""

    CRITIC = "critic"
    DECODER = "decoder"
    ARTIST = "artist"


GROUP_OF: Final[Mapping[Role, NetworkGroup]] = {
    Role.VISION: NetworkGroup.CRITIC,
    Role.EMBEDDING: NetworkGroup.DECODER,
    Role.LANGUAGE: NetworkGroup.DECODER,
    Role.BRIDGE: NetworkGroup.ARTIST,
    Role.EDIT: NetworkGroup.ARTIST,
    Role.ENCODE: NetworkGroup.ARTIST,
    Role.DECODE: NetworkGroup.ARTIST,
    Role.DENOISE: NetworkGroup.ARTIST,
}
_PARAMETERS: Final[Mapping[NetworkGroup, int]] = {
    NetworkGroup.CRITIC: 5_000_000,
    NetworkGroup.DECODER: 8_000_000,
    NetworkGroup.ARTIST: 4_000_000,
}


class Spent(Config):
    """What one thing takes of its budget."""

    name: str
    made_of: Mapping[str, int] = Field(description="Parameters or bytes by component.")
    budget: int = Field(ge=1)

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.made_of.values())

    @property
    def kept(self) -> bool:
        """Whether it stays within its budget."""
        return self.total <= self.budget


class BudgetReport(Config):
    """A bundle's parameters by part, and its bytes by target."""

    bundle: str
    parameters: tuple[Spent, ...]
    targets: tuple[Spent, ...]

    @classmethod
    def of(cls, bundle: Bundle, weights: Path | None) -> Self:
        """Count.

        Parameters
        ----------
        bundle
            What is weighed.
        weights
            Folder of the weights that it was built from; what this installation ships when not given.

        Raises
        ------
        BackendError
            If the weights are not there, or are others.
        """
        manifest = bundle.manifest
        counted: dict[NetworkGroup, dict[str, int]] = {}
        for entry in manifest.components:
            component = entry.spec.name
            model = student_network(manifest.family, component, student_weights(bundle, entry, weights))
            counted.setdefault(GROUP_OF[entry.spec.role], {})[component] = sum(p.numel() for p in model.parameters())
        sizes = {
            target: {e.spec.name: manifest.artifact_bytes(e.artifacts[target]) for e in manifest.components}
            for target in manifest.targets
        }
        return cls(
            bundle=manifest.name,
            parameters=tuple(
                Spent(name=p, made_of=counted[p], budget=_PARAMETERS[p]) for p in NetworkGroup if p in counted
            ),
            targets=tuple(Spent(name=t, made_of=made, budget=_TARGET_BYTES) for t, made in sizes.items()),
        )

    @property
    def overspent(self) -> list[str]:
        """What does not stay within its budget, in words."""
        return [
            f"{spent.name} {spent.total / 1e6:.2f} M {what} (at most {spent.budget / 1e6:g} M)"
            for what, all_spent in (("parameters", self.parameters), ("bytes", self.targets))
            for spent in all_spent
            if not spent.kept
        ]


def budget_tables(report: BudgetReport) -> str:
    """Return the figures as two Markdown tables: parameters by part, megabytes by target."""
    parts = [
        (s.name, " + ".join(f"{n} {p / 1e6:.2f}" for n, p in s.made_of.items()), *_sums(s)) for s in report.parameters
    ]
    components = list(dict.fromkeys(c for spent in report.targets for c in spent.made_of))
    targets = [
        (s.name, *(f"{s.made_of[c] / 1e6:.2f}" if c in s.made_of else NOT_MEASURED for c in components), *_sums(s))
        for s in report.targets
    ]
    return "\n\n".join(
        [
            markdown(("part", "million parameters", "sum", "budget"), parts),
            markdown(("target, MB", *components, "sum", "budget"), targets),
        ]
    )


def _sums(spent: Spent) -> tuple[str, str]:
    return f"{spent.total / 1e6:.2f}", f"{spent.budget / 1e6:g}"
