"""The ladder as one Markdown table, a row a network, and what stands behind its rungs."""

from collections.abc import Iterator, Sequence

from pocketcrafter.benchmarks.parity.results import NetworkParity, ParityReport
from pocketcrafter.benchmarks.quality.tables import markdown
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.bundle.results import Fidelity, Rung

_STATE = {True: "passed", False: "FAILED", None: "not run"}
_HEAD = ("network", "on", "precision", "0 studio", "1 fake-quantized", "2 host", "goldens here", "3 photos", "4 device")


def parity_lines(report: ParityReport, manifest: Manifest) -> Iterator[str]:
    """Yield the lines of a report.

    Parameters
    ----------
    report
        What was run.
    manifest
        The bundle's, from before or after the results were stored: rungs that were not run now are shown as it has
        them.
    """
    yield f"{report.bundle} on {report.machine.label}"
    yield ""
    yield markdown(_HEAD, [_row(network, report, manifest) for network in report.networks])
    yield ""
    yield "Rungs 1 and 2 as the build measured them; in brackets what they came to on the goldens here."
    for target in report.targets:
        yield f"{target.target}: rung 3 {_STATE[target.rung.passed]}: " + (
            target.not_run or f"{_figures(target.rung)}; {target.rung.how}"
        )
    if studio := report.studio:
        yield f"student: {', '.join(map(str, studio.student))}"
        yield f"studio: {', '.join(map(str, studio.studio_figures))}"
        yield f"rung 0 {_STATE[studio.rung.passed]}: {_figures(studio.rung)}; {studio.rung.how}"
    for network in report.networks:
        if network.not_run:
            yield f"not run: {network.component} on {network.target}: {network.not_run}"
    yield from (f"FAILED: {failure}" for failure in report.failures)


def _row(network: NetworkParity, report: ParityReport, manifest: Manifest) -> tuple[str, ...]:
    stored = {r.rung: r for r in manifest.entry(network.component).artifacts[network.target].rungs}
    again = {r.rung: r for r in network.again}
    ends = {t.target: t.rung for t in report.targets}
    if report.studio and network.component in report.studio.studio:
        stored[0] = report.studio.rung
    if ends[network.target].passed is not None:
        stored[3] = ends[network.target]
    return (
        network.component,
        network.target,
        network.precision.value,
        _cell(stored.get(0)),
        _cell(stored.get(1), again.get(1)) if network.precision.quantized else "not quantized",
        _cell(stored.get(2), again.get(2)),
        _lowest(network.goldens) or "not run",
        _cell(stored.get(3)),
        _cell(stored.get(4)),
    )


def _cell(rung: Rung | None, again: Rung | None = None) -> str:
    if rung is None or rung.passed is None:
        return "not run"
    said = _lowest(rung.fidelity) or ", ".join(map(str, rung.figures[:1]))
    state = "" if rung.passed else "FAILED "
    return f"{state}{said or 'passed'}" + (f" ({_lowest(again.fidelity)})" if again else "")


def _figures(rung: Rung) -> str:
    return ", ".join(map(str, rung.figures))


def _lowest(fidelity: Sequence[Fidelity]) -> str:
    ratios = [f.sqnr_db for f in fidelity if f.sqnr_db is not None]
    return f"{min(ratios):.1f} dB" if ratios else "identical" if fidelity else ""
