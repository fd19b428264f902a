"""The parity report of a bundle, in Markdown: every rung, how it was run, and what fell back."""

from collections.abc import Sequence

from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.results import Fidelity
from pocketcrafter.runtime.words import counted

_STATE = {True: "passed", False: "**failed**", None: "not run"}


def parity_report(name: str, components: Sequence[ComponentEntry]) -> str:
    """Return the report of all components on all their targets."""
    lines = [f"# Parity of the bundle `{name}`", ""]
    for component in components:
        for target, artifact in component.artifacts.items():
            coverage = artifact.coverage
            lines += [f"## {component.spec.name} on {target}, {artifact.precision}", ""]
            lines += ["| rung | state | gate | how |", "|---|---|---|---|"]
            lines += [f"| {r.rung} | {_STATE[r.passed]} | {r.gate_text} | {r.how} |" for r in artifact.rungs]
            lines += [f"- rung {r.rung}: {', '.join(map(str, r.figures))}" for r in artifact.rungs if r.figures]
            lines += [
                "",
                "| measured | output | SQNR dB | PSNR dB | cosine | largest error |",
                "|---|---|---|---|---|---|",
            ]
            for rung in artifact.rungs:
                lines += [_row(f"rung {rung.rung}", f) for f in rung.fidelity]
            lines += [_row("golden", f) for f in artifact.goldens]
            lines += [
                "",
                f"Delegated: {coverage.share:.1%} of {coverage.macs_total / 1e6:.1f} million MACs, "
                f"{counted(coverage.delegated_ops, 'operator')} in {counted(coverage.subgraphs, 'subgraph')}.",
            ]
            lines += [f"- left outside: {f.op} ×{f.count}: {f.reason}" for f in coverage.fallbacks]
            lines.append("")
    return "\n".join(lines)


def _row(what: str, fidelity: Fidelity) -> str:
    sqnr = "identical" if fidelity.sqnr_db is None else f"{fidelity.sqnr_db:.1f}"
    psnr = "" if fidelity.psnr_db is None else f"{fidelity.psnr_db:.1f}"
    return f"| {what} | {fidelity.output} | {sqnr} | {psnr} | {fidelity.cosine:.6f} | {fidelity.max_abs_error:.2g} |"
