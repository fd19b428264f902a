"""Our MIL interpreter against Apple's own runtime, operator by operator, on one network that both formats hold."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import Final

import torch
from pydantic import Field
from torch import Tensor

from pocketcrafter.benchmarks.bisect.coreai import observe_coreai
from pocketcrafter.benchmarks.bisect.mil import torch_names
from pocketcrafter.benchmarks.bisect.reference import BEST_DB, Reference, ratio_db
from pocketcrafter.benchmarks.common.markdown import NOT_MEASURED, markdown
from pocketcrafter.benchmarks.common.network_source import student_weights
from pocketcrafter.export.families.registry import student_network
from pocketcrafter.export.lower.coreml.session import opened_program, program_values
from pocketcrafter.export.lower.mil_interpreter import Interpreter
from pocketcrafter.export.lower.mil_interpreter.divergence import plain_name
from pocketcrafter.export.lower.mil_interpreter.program import Name, Op, Port, Program
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.components import ComponentName, ComponentSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.progress import NamedProgress
from pocketcrafter.runtime.targets import TARGETS

_GIVEN: Final = "given_"
_CONSTANT: Final = "const"
_HALF: Final = "fp16"
_FURTHER_DB: Final = 6.0
"""The interpreter may be so much further from Apple's runtime than torch is: it rounds, too."""
_ROUNDED_DB: Final[Mapping[str, float]] = {_HALF: 60.0, "fp32": 120.0}
"""What some roundings in a row leave; one alone leaves 74 dB in float16."""


@dataclass(frozen=True)
class Stretch:
    """What the interpreter computes from values of Apple's runtime up to the next one.

    Attributes
    ----------
    layer
        Plain name of the operator at its end, whose output is compared.
    places
        Places in the program of the operators that it holds, the last one's among them.
    dtype
        ``fp16`` where one of them is declared to be, or the type of its output.
    sqnr_db
        The interpreter's output against Apple's; `BEST_DB` of equal ones.
    """

    layer: str
    places: frozenset[int]
    dtype: str
    sqnr_db: float


class OperatorRow(Config):
    """The operators of one kind in one arithmetic."""

    kind: str = Field(description="MIL's word.")
    dtype: str = Field(description="Of the outputs that are compared; empty where none is.")
    count: int
    alone: int = Field(description="Operators whose inputs and output Apple's runtime all shows.")
    worst_db: float | None = Field(description="The lowest ratio of a stretch that holds one; null where none does.")
    apple_db: float | None = Field(description="Of that stretch, Apple's output against torch's on the same values.")
    median_db: float | None = Field(description="Over operators, each by the worst stretch that holds it.")


class StretchRow(Config):
    """A stretch at whose end Apple's runtime is nearer to torch than to the interpreter."""

    component: ComponentName
    layer: str
    kinds: tuple[str, ...] = Field(description="Of the operators that it holds.")
    sqnr_db: float
    apple_db: float


class OperatorReport(Config):
    """Every operator of the packages; 1000 dB stands for equality."""

    bundle: str
    target: str
    against: str
    components: tuple[ComponentName, ...] = Field(description="Those that both targets hold in one precision.")
    stretches: int
    unexplained: tuple[StretchRow, ...] = Field(
        description="What torch does not confirm; the interpreter may be wrong."
    )
    rows: tuple[OperatorRow, ...]


def operators(
    bundle: Bundle, target: str, against: str, weights: Path | None = None, progress: NamedProgress = lambda *_: None
) -> OperatorReport:
    """Compare the interpreter with Apple's runtime on the first golden of each network.

    Parameters
    ----------
    bundle
        With both targets.
    target, against
        One of Core ML, and one of Core AI.
    weights
        Folder of the full-precision weights, whose graph tells which values are of one operator; what is installed
        when `None`.
    progress
        Called with the network's name, networks done and networks in all.

    Raises
    ------
    ConfigError
        If the bundle lacks a target, one is of another kind, or no network has one precision on both.
    BackendError
        If Apple's packages or the weights are not here, or an artifact cannot be run.
    """
    bundle.chosen_targets([target, against])
    for name, backend in ((target, BackendName.MIL_INTERPRETER), (against, BackendName.COREAI)):
        if TARGETS[bundle.manifest.targets[name].kind].backend is not backend:
            raise ConfigError(
                f"{name} is not run by {backend}: compare a target of coreml:<ios> with one of coreai:<ios>."
            )
    entries = [
        entry
        for entry in bundle.manifest.components
        if entry.artifacts[target].precision is entry.artifacts[against].precision
    ]
    if not entries:
        raise ConfigError(f"{bundle.path}: no network has one precision on {target} and {against}.")
    found = []
    for done, entry in enumerate(entries):
        progress(entry.spec.name, done, len(entries))
        path = student_weights(bundle, entry, weights)
        network = frozen(student_network(bundle.manifest.family, entry.spec.name, path), ())
        packages = bundle.artifact(entry, target), bundle.artifact(entry, against)
        inputs = read_tensors(bundle.file(entry.goldens_of(None)[0].inputs), entry.spec.inputs)
        found.append(compare_network(*packages, entry.spec, inputs, Reference(network, entry.spec)))
    progress("networks", len(entries), len(entries))
    return OperatorReport(
        bundle=bundle.manifest.name,
        target=target,
        against=against,
        components=tuple(entry.spec.name for entry in entries),
        stretches=sum(one.stretches for one in found),
        unexplained=tuple(row for one in found for row in one.unexplained),
        rows=_rows([operator for one in found for operator in one.operators]),
    )


@dataclass(frozen=True)
class JudgedOperator:
    """One operator of a package.

    Attributes
    ----------
    kind
        MIL's word.
    worst
        The worst stretch that holds it; `None` where none does.
    apple_db
        There, Apple's output against torch's.
    alone
        Whether a stretch holds nothing else.
    """

    kind: str
    worst: Stretch | None
    apple_db: float
    alone: bool


@dataclass(frozen=True)
class NetworkAgreement:
    """The operators of one package, constants left out."""

    stretches: int
    operators: tuple[JudgedOperator, ...]
    unexplained: tuple[StretchRow, ...]


def compare_network(
    package: Path, asset: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference
) -> NetworkAgreement:
    """Interpret a Core ML package on what Apple's runtime computes in a Core AI asset of the same network.

    Raises
    ------
    BackendError
        If Apple's packages are not here, or an artifact cannot be run.
    """
    program, feeds, states = opened_program(package, spec, inputs)
    seen = observe_coreai(asset, spec, inputs, reference)
    names = torch_names(program, program_values(program, feeds, states), reference)
    common = {layer: node for layer, node in names.items() if node in seen}
    found = compared(program, feeds, states, {layer: seen[node].value for layer, node in common.items()})
    errors = {e.node: e.local_db for e in reference.errors(inputs, {node: seen[node] for node in common.values()})}
    apples = {layer: errors[at] for layer, node in common.items() for at in reference.shown_for(node, errors.keys())}
    ops = program.function().ops
    return NetworkAgreement(
        len(found), tuple(_judged(ops, found, apples)), tuple(_unexplained(spec.name, ops, found, apples))
    )


def compared(
    program: Program,
    feeds: Mapping[str, Tensor],
    states: Mapping[str, Tensor],
    given: Mapping[str, FloatArray],
) -> list[Stretch]:
    """Interpret a program whose operators read given values in place of its own, and compare its own with them.

    Parameters
    ----------
    program, feeds, states
        As of `opened_program`.
    given
        What another runtime computed, by layers' plain names; arrays of another shape than the layer's are left out.
    """
    function = program.function()
    ports = {port.name: port for op in function.ops for port in op.outputs if _fits(port, given)}
    fed = {f"{_GIVEN}{name}": torch.from_numpy(given[plain_name(name)].copy()) for name in ports}
    own = replace(
        function,
        inputs=(*function.inputs, *(replace(port, name=f"{_GIVEN}{name}") for name, port in ports.items())),
        ops=tuple(_reading(op, ports) for op in function.ops),
    )
    made: dict[str, Tensor] = {}

    def keep(op: Op, outputs: tuple[Tensor, ...]) -> None:
        made.update((port.name, value) for port, value in zip(op.outputs, outputs, strict=True) if port.name in ports)

    interpreter = Interpreter(replace(program, functions={**program.functions, own.name: own}))
    interpreter.run({**feeds, **fed}, interpreter.new_state(states), keep)
    return [
        Stretch(plain_name(name), places, _dtype(own.ops, places), ratio_db(fed[f"{_GIVEN}{name}"], made[name].numpy()))
        for name, places in _held(own.ops)
        if name in ports
    ]


def _fits(port: Port, given: Mapping[str, FloatArray]) -> bool:
    value = given.get(plain_name(port.name))
    return value is not None and port.type is not None and port.type.shape == value.shape


def _dtype(ops: Sequence[Op], places: Set[int]) -> str:
    made = [port.type.dtype.name for place in sorted(places) for port in ops[place].outputs if port.type]
    return _HALF if _HALF in made else made[-1]


def _reading(op: Op, ports: Mapping[str, Port]) -> Op:
    """Return an operator that reads given values where there are such."""
    inputs = {
        parameter: tuple(Name(f"{_GIVEN}{b.name}") if isinstance(b, Name) and b.name in ports else b for b in bound)
        for parameter, bound in op.inputs.items()
    }
    return replace(op, inputs=inputs)


def _held(ops: Sequence[Op]) -> Iterator[tuple[str, frozenset[int]]]:
    """Yield each value with the places of the operators that compute it from the function's inputs."""
    held: dict[str, frozenset[int]] = {}
    for place, op in enumerate(ops):
        if op.kind == _CONSTANT:
            continue
        places = frozenset({place}).union(*(held[read] for read in op.reads() if read in held))
        for port in op.outputs:
            held[port.name] = places
            yield port.name, places


def _judged(ops: Sequence[Op], found: Sequence[Stretch], apples: Mapping[str, float]) -> Iterator[JudgedOperator]:
    for place, op in enumerate(ops):
        if op.kind != _CONSTANT:
            holding = [one for one in found if place in one.places]
            worst = min(holding, key=lambda one: one.sqnr_db, default=None)
            apple = apples[worst.layer] if worst else BEST_DB
            yield JudgedOperator(op.kind, worst, apple, any(len(one.places) == 1 for one in holding))


def _unexplained(
    component: ComponentName, ops: Sequence[Op], found: Sequence[Stretch], apples: Mapping[str, float]
) -> Iterator[StretchRow]:
    for one in found:
        apple = apples[one.layer]
        if one.sqnr_db < min(apple - _FURTHER_DB, _ROUNDED_DB.get(one.dtype, BEST_DB)):
            kinds = tuple(sorted({ops[place].kind for place in one.places}))
            yield StretchRow(component=component, layer=one.layer, kinds=kinds, sqnr_db=one.sqnr_db, apple_db=apple)


def _rows(found: Sequence[JudgedOperator]) -> tuple[OperatorRow, ...]:
    groups: dict[tuple[str, str], list[JudgedOperator]] = {}
    for one in found:
        groups.setdefault((one.kind, one.worst.dtype if one.worst else ""), []).append(one)
    rows = []
    for (kind, dtype), group in sorted(groups.items()):
        ratios = sorted((one.worst.sqnr_db, one.apple_db) for one in group if one.worst is not None)
        rows.append(
            OperatorRow(
                kind=kind,
                dtype=dtype,
                count=len(group),
                alone=sum(one.alone for one in group),
                worst_db=ratios[0][0] if ratios else None,
                apple_db=ratios[0][1] if ratios else None,
                median_db=median_low(ratio for ratio, _ in ratios) if ratios else None,
            )
        )
    return tuple(rows)


def operator_lines(report: OperatorReport) -> str:
    """Return the kinds that were compared as a Markdown table, and those that were not in a sentence."""
    head = ("operator", "in", "count", "by itself", "median, dB", "worst, dB", "Apple's against torch there, dB")
    rows = [
        (f"`{r.kind}`", r.dtype, f"{r.count}", f"{r.alone}", *map(_decibels, (r.median_db, r.worst_db, r.apple_db)))
        for r in report.rows
        if r.dtype
    ]
    left = Counter({row.kind: row.count for row in report.rows if not row.dtype})
    about = f"{', '.join(report.components)}: {report.stretches} values of {report.target} against {report.against}."
    rest = ", ".join(f"{kind} ({count})" for kind, count in sorted(left.items())) or "none"
    doubts = [
        f"not confirmed by torch: {one.component}, `{one.layer}` ({', '.join(one.kinds)}): {one.sqnr_db:.1f} dB, where "
        f"Apple's runtime is {_decibels(one.apple_db)} dB from torch"
        for one in report.unexplained
    ]
    behind = f"Behind the last value that is seen, and not compared: {rest}."
    return "\n".join([about, "", markdown(head, rows), "", *doubts, behind])


def _decibels(ratio: float | None) -> str:
    return NOT_MEASURED if ratio is None else "equal" if ratio >= BEST_DB else f"{ratio:.1f}"
