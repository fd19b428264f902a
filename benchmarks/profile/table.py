"""Profiles for people and for other programs: tables, CSV, and a trace for Chrome's and Perfetto's viewers."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final

from pocketcrafter.benchmarks.common.markdown import NOT_MEASURED, markdown
from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.results import NetworkProfile, OpProfile, Peaks, ProfileReport
from pocketcrafter.benchmarks.profile.roofline import roof_of, where_time_goes
from pocketcrafter.runtime.words import counted

_CSV_HEAD: Final = (
    "component", "target", "precision", "order", "op", "layer", "layer_is_exact", "kind", "ms", "cycles", "macs",
    "inside",
)  # fmt: skip

_NOT_TOLD: Final = "layers not known"
"""Stands for all kinds where an engine tells neither layers nor shapes of its operators."""


def profile_lines(report: ProfileReport, top: int) -> Iterator[str]:
    """Yield for each network its ``top`` dearest operators, and what each kind of layer comes to."""
    yield f"{report.bundle}; {report.machine.label}; threads: {report.threads}"
    if report.peaks:
        yield (
            f"roof: {report.peaks.int8_gmacs:.0f} GMAC/s in INT8, {report.peaks.fp32_gmacs:.0f} in float32 "
            f"(products of {report.peaks.side}² matrices in ONNX Runtime)"
        )
    for network in report.networks:
        yield ""
        yield f"## {network.component} on {network.target}, {network.precision}: {_summary(network)}"
        yield ""
        ranked = sorted(enumerate(network.ops), key=lambda pair: -_cost(pair[1]))[:top]
        yield markdown(
            ("order", "op", "layer", "ms", "share", "million MACs", "GMAC/s", ""),
            [_row(number, op, network) for number, op in ranked],
        )
        yield ""
        head = ("kind of layer", "operators", "ms", "share", "million MACs", "GMAC/s", "of the roof")
        yield markdown(head, list(_kinds(network, report.peaks)))
        if report.peaks and (parts := where_time_goes(network, report.peaks)):
            yield ""
            rows = [(part.what, f"{part.ms:.3f}", f"{part.share:.1%}") for part in parts]
            yield markdown(("where the time goes", "ms", "of the run"), rows)
        if network.undivided_macs:
            yield (
                f"The MACs are the whole network's, as the manifest states them: {network.engine} names no shapes. "
                "With --weights, the folder of the network's weights, they are told layer by layer."
            )
    yield from (f"not profiled: {s.what}: {s.reason}" for s in report.skipped)


def as_csv(report: ProfileReport) -> str:
    """Return all operators, one a line, in running order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEAD)
    for n in report.networks:
        for number, op in enumerate(n.ops):
            writer.writerow(
                (
                    n.component,
                    n.target,
                    n.precision,
                    number,
                    op.op,
                    op.layer,
                    op.exact,
                    op.kind,
                    op.ms,
                    op.cycles,
                    op.macs,
                    op.inside,
                )
            )
    return out.getvalue()


def as_trace(report: ProfileReport) -> str:
    """Return a trace in the Trace Event Format: a process a network, its operators laid end to end by their medians.

    Where a run crosses between the accelerated backend and what is outside of it there is an instant event.
    """
    events: list[dict[str, Any]] = []
    for pid, network in enumerate(report.networks, 1):
        name = f"{network.component} on {network.target}, {network.precision}"
        events.append({"ph": "M", "pid": pid, "tid": 1, "name": "process_name", "args": {"name": name}})
        events.append({"ph": "M", "pid": pid, "tid": 1, "name": "thread_name", "args": {"name": network.engine}})
        clock_us = 0.0
        for before, op in pairwise([None, *network.ops]):
            if op is None or op.ms is None:
                continue
            if before is not None and before.inside != op.inside:
                crossing = "into the backend" if op.inside else "out of the backend"
                events.append({"ph": "i", "s": "p", "pid": pid, "tid": 1, "ts": clock_us, "name": crossing})
            facts = {"layer": op.layer, "exact": op.exact, "macs": op.macs, "inside": op.inside}
            events.append(
                {"ph": "X", "pid": pid, "tid": 1, "ts": clock_us, "dur": 1e3 * op.ms, "name": op.op,
                 "cat": op.kind.value, "args": facts}
            )  # fmt: skip
            clock_us += 1e3 * op.ms
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})


def _summary(network: NetworkProfile) -> str:
    crossed = (
        f"{network.boundaries} boundaries, {counted(sum(not op.inside for op in network.ops), 'operator')} outside"
    )
    if network.total_ms is None:
        return f"{counted(len(network.ops), 'operator')}, {crossed} ({network.engine})"
    return (
        f"{network.total_ms:.2f} ms, {network.timed_ms or 0:.2f} of them in "
        f"{counted(len(network.ops), 'operator')}; {crossed} ({network.engine}, median of {network.runs})"
    )


def _row(number: int, op: OpProfile, network: NetworkProfile) -> tuple[str, ...]:
    layer = op.layer if op.exact else f"(after {op.layer})" if op.layer else NOT_MEASURED
    mark = "" if op.inside else "outside"
    return (str(number), op.op, layer, *_times(op.ms, op.cycles, op.macs, network), mark)


def _kinds(network: NetworkProfile, peaks: Peaks | None) -> Iterator[tuple[str, ...]]:
    found: dict[str, list[OpProfile]] = defaultdict(list)
    for op in network.ops:
        found[_NOT_TOLD if network.undivided_macs else op.kind.value].append(op)
    for kind in (*LayerKind, _NOT_TOLD):
        if ops := found[kind]:
            times = [op.ms for op in ops if op.ms is not None]
            counted = [op.cycles for op in ops if op.cycles is not None]
            ms, macs = sum(times) if times else None, sum(op.macs for op in ops) or network.undivided_macs
            figures = _times(ms, sum(counted) if counted else None, macs, network)
            yield (kind, str(len(ops)), *figures, _of_roof(ms, macs, network, peaks))


def _of_roof(ms: float | None, macs: int, network: NetworkProfile, peaks: Peaks | None) -> str:
    """Return which share of the machine's matrix products in the network's arithmetic a kind of layer reaches."""
    if peaks is None or not ms or not macs:
        return ""
    return f"{macs / ms / 1e6 / roof_of(network, peaks):.0%}"


def _times(ms: float | None, cycles: int | None, macs: int, network: NetworkProfile) -> tuple[str, str, str, str]:
    """Return time, share, MACs and speed; emulated cycles stand in the time's place, and have no speed."""
    millions = f"{macs / 1e6:.2f}" if macs else ""
    if ms is None and cycles is not None and network.counted_cycles:
        return f"{cycles / 1e6:.2f} M emulated cycles", f"{cycles / network.counted_cycles:.1%}", millions, NOT_MEASURED
    if ms is None:
        return NOT_MEASURED, NOT_MEASURED, millions, NOT_MEASURED
    share = ms / network.timed_ms if network.timed_ms else 0.0
    return f"{ms:.3f}", f"{share:.1%}", millions, f"{macs / ms / 1e6:.1f}" if macs and ms else ""


def _cost(op: OpProfile) -> float:
    return next((float(cost) for cost in (op.ms, op.cycles) if cost is not None), float(op.macs))
