"""What ONNX Runtime context models (EPContext) say of themselves, and which are refused: those of another chip."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from pocketcrafter.runtime.errors import BackendError, GateError
from pocketcrafter.runtime.targets import SOC_IDS, TARGETS, Soc, TargetKind
from pocketcrafter.runtime.words import counted

SOC_ID_AT: Final = slice(188, 192)
"""Where a context binary of QNN 2.49 to 2.51 keeps the system-on-chip's number, a little-endian u32."""
_ZIP: Final = b"PK"
_PART: Final = "backend.metadata"
"""What the parts of a binary for several systems-on-chip are called, one for each."""
_CONTEXT: Final = "EPContext"
_BINARY: Final = "ep_cache_context"
_INSIDE: Final = "embed_mode"


class WrongSocError(GateError):
    """A context binary was compiled for another system-on-chip than was asked for."""


def soc_of(target: TargetKind) -> Soc:
    """Return the system-on-chip of a target that is compiled for one.

    Raises
    ------
    TypeError
        If the target is not compiled for a single one.
    """
    socs = TARGETS[target].socs
    if len(socs) != 1:
        raise TypeError(f"the row of {target} names {len(socs)} systems-on-chip")
    return socs[0]


def check_socs(soc_ids: Sequence[int], socs: Sequence[Soc], model: Path) -> None:
    """Refuse context binaries for other systems-on-chip than were asked for.

    Parameters
    ----------
    soc_ids
        QNN's numbers, one a context binary.
    socs
        The systems-on-chip that were asked for.
    model
        Named in the message.

    Raises
    ------
    WrongSocError
        If a number is that of another one, or one is missing.
    """
    wanted = {SOC_IDS[soc]: soc for soc in socs}
    if set(soc_ids) != wanted.keys():
        names = {number: name for name, number in SOC_IDS.items()}
        found = ", ".join(names.get(number, f"QNN's number {number}") for number in sorted(set(soc_ids))) or "none"
        asked = ", ".join(f"{soc} (QNN's number {number})" for number, soc in wanted.items())
        raise WrongSocError(f"{model.name} was compiled for {found}, not for {asked}; nothing was kept.")


class CpuFallbackError(GateError):
    """The HTP does not take an operator; it would have run on the CPU."""


@dataclass(frozen=True)
class ContextFacts:
    """What a context model says of itself."""

    soc_ids: tuple[int, ...]
    """Of each context binary; several where one is for several systems-on-chip."""
    subgraphs: int
    outside: tuple[str, ...]
    """Operators that the HTP did not take: type and name."""


def read_context(path: Path) -> ContextFacts:
    """Read a context model, whose binary is inside or lies beside it.

    Raises
    ------
    BackendError
        If there is nothing in it, or a binary is missing or too short to have a header.
    """
    nodes = onnx.load(path).graph.node
    contexts = [node for node in nodes if node.op_type == _CONTEXT]
    # The first part's binary holds all parts of a graph that was cut.
    binaries = [_binary(node, path) for node in contexts if any(a.name == _BINARY for a in node.attribute)]
    if not nodes or len(binaries) < bool(contexts) or any(len(binary) < SOC_ID_AT.stop for binary in binaries):
        raise BackendError(f"{path}: no whole context binary in it; compile it again.")
    return ContextFacts(
        soc_ids=tuple(number for binary in binaries for number in _soc_ids(binary)),
        subgraphs=len(contexts),
        outside=tuple(f"{node.op_type} {node.name}" for node in nodes if node.op_type != _CONTEXT),
    )


def _soc_ids(binary: bytes) -> Iterator[int]:
    """Yield the numbers of the systems-on-chip that a binary is for: one for several is a ZIP of theirs."""
    if not binary.startswith(_ZIP):
        yield int.from_bytes(binary[SOC_ID_AT], "little")
        return
    try:
        with zipfile.ZipFile(io.BytesIO(binary)) as parts:
            for part in parts.infolist():
                if part.filename.startswith(_PART):
                    with parts.open(part) as content:
                        yield int.from_bytes(content.read(SOC_ID_AT.stop)[SOC_ID_AT], "little")
    except zipfile.BadZipFile as error:
        raise BackendError(
            f"No whole context binary for several systems-on-chip ({error}); compile it again."
        ) from error


def _binary(node: onnx.NodeProto, path: Path) -> bytes:
    """Return a context's binary: of one that lies beside the model its header alone."""
    attributes = {a.name: a for a in node.attribute}
    stored = bytes(attributes[_BINARY].s)
    if _INSIDE not in attributes or attributes[_INSIDE].i:
        return stored
    try:
        with (path.parent / Path(stored.decode()).name).open("rb") as binary:
            return binary.read(SOC_ID_AT.stop)
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"{path}: its binary cannot be read ({error}); compile it again.") from error


def check_context(facts: ContextFacts, socs: Sequence[Soc], model: Path) -> None:
    """Refuse a context model that is not entirely one for the systems-on-chip that were asked for.

    Parameters
    ----------
    facts
        What the context model contains.
    socs
        The systems-on-chip that were asked for.
    model
        Named in the message.

    Raises
    ------
    CpuFallbackError
        If operators are left outside the context binary.
    WrongSocError
        If a binary was compiled for another system-on-chip.
    """
    if facts.outside:
        names = ", ".join(socs)
        raise CpuFallbackError(
            f"{model.name}: {counted(len(facts.outside), 'operator')} would run on the CPU instead of the HTP of "
            f"{names}, and would cut the network into {facts.subgraphs} parts: {', '.join(facts.outside)}. "
            "Write them otherwise."
        )
    check_socs(facts.soc_ids, socs, model)
