"""The gates of one artifact, its rungs, and what keeps it from being shipped: alike for every network and target."""

from collections.abc import Iterator, Sequence

from pydantic import Field

from pocketcrafter.runtime.bundle.gates import Gate, Verdict, judge
from pocketcrafter.runtime.bundle.results import Coverage, Fidelity, Rung, figures_of
from pocketcrafter.runtime.config import Config


class ArtifactGates(Config):
    """What one artifact must reach."""

    rung1: Gate = Field(description="Fake-quantized against full precision, every output.")
    rung2: Gate = Field(description="Artifact against fake-quantized, every output.")
    goldens: Gate | None = Field(None, description="Artifact against full precision, in place of either rung's gate.")
    picture: Gate = Field(description="Artifact against full precision, outputs that are pictures.")
    coverage: Gate = Field(description="The delegated share of the multiply-accumulates.")
    fallbacks: tuple[str, ...] = Field((), description="Operators that may run outside the accelerated backend.")

    def golden(self, *, quantized: bool) -> Gate:
        """Return the gate of the artifact against full precision: both rungs at once where it is quantized."""
        return self.goldens or (self.rung1 if quantized else self.rung2)


def first_rungs(
    gates: ArtifactGates,
    rung1: tuple[Sequence[Fidelity], str],
    rung2: tuple[Sequence[Fidelity], str],
    *,
    quantized: bool,
    ran: bool,
) -> tuple[Rung, Rung]:
    """Judge the two rungs that a lowering measures.

    Parameters
    ----------
    gates
        Of the artifact.
    rung1, rung2
        What was measured, and how.
    quantized
        Whether there is a fake-quantized model at all; rung 1 is about nothing else.
    ran
        Whether the artifact runs on this machine; rung 2 says why not where it does not.
    """
    exact = Rung(rung=1, passed=None, how="not quantized", gates=(gates.rung1,))
    first = Rung.judged(1, rung1[1], (gates.rung1,), fidelity=rung1[0]) if quantized else exact
    not_run = Rung(rung=2, passed=None, how=rung2[1], gates=(gates.rung2,), fidelity=tuple(rung2[0]))
    return first, Rung.judged(2, rung2[1], (gates.rung2,), fidelity=rung2[0]) if ran else not_run


def misses(
    gates: ArtifactGates,
    rungs: tuple[Rung, Rung],
    goldens: Sequence[Fidelity] | None,
    coverage: Coverage,
    *,
    quantized: bool,
    ran: bool,
) -> list[str]:
    """Return what keeps an artifact from being shipped, a sentence each; nothing where every gate is kept.

    Parameters
    ----------
    gates
        Of the artifact.
    rungs
        Rungs 1 and 2, from :func:`first_rungs`.
    goldens
        The artifact against full precision; none where there are no goldens to run.
    coverage
        What is delegated, with the fallbacks that the recipe allows marked; see :func:`with_permissions`.
    quantized, ran
        As in :func:`first_rungs`.
    """

    def asked() -> Iterator[tuple[str, Verdict]]:
        if quantized:
            yield "rung 1 (fake-quantized)", rungs[0].verdicts[0]
        if ran:
            yield "rung 2 (host artifact)", rungs[1].verdicts[0]
        if ran and goldens is not None:
            yield "goldens", judge(figures_of(goldens), gates.golden(quantized=quantized))
        if (pictures := judge(figures_of(goldens or ()), gates.picture)).judged:
            yield "pictures", pictures
        yield "coverage", judge(coverage.figures, gates.coverage)

    found = [f"{what}: {verdict}" for what, verdict in asked() if not verdict.passed]
    refused = [f for f in coverage.fallbacks if not f.allowed]
    return found + [
        f"fallback: {f.op} ×{f.count} ({f.reason}); replace it, or allow it with `gates.fallbacks: [{f.op}]`"
        for f in refused
    ]


def with_permissions(coverage: Coverage, allowed: tuple[str, ...]) -> Coverage:
    """Operators that do no arithmetic of their own come allowed by the lowering; the recipe may allow more."""
    fallbacks = tuple(f.model_copy(update={"allowed": f.allowed or f.op in allowed}) for f in coverage.fallbacks)
    return coverage.model_copy(update={"fallbacks": fallbacks})
