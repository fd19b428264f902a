"""Context models of several functions: a graph each, over one QNN binary that stores their weights once."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from pocketcrafter.export.lower.measure import (
    SLOWLY,
    function_samples,
    hold_back,
    measured,
    run_torch,
    with_functions,
)
from pocketcrafter.export.lower.onnx.functions import fix_shapes
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.qnn.context_model import check_context, read_context
from pocketcrafter.export.lower.qnn.sharing_child import SharedGraph, SharingJob
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import named_outputs
from pocketcrafter.runtime.backends.processes import JOB, call_process
from pocketcrafter.runtime.backends.qnn import run_qnn
from pocketcrafter.runtime.backends.qnn_child import inputs_file, outputs_file
from pocketcrafter.runtime.bundle.results import Coverage
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import HTP_ARCHITECTURES, SOC_IDS, Soc

_CHILD: Final = "pocketcrafter.export.lower.qnn.sharing_child"
_Samples = Mapping[str | None, tuple[ComponentSpec, Sequence[Sample]]]
_Outputs = dict[str | None, list[dict[str, FloatArray]]]


def lower_functions(request: LoweringRequest, source: LoweredArtifact, soc: Soc, out: Path) -> LoweredArtifact:
    """Compile every function of an artifact of the `onnx` target into one binary, and emulate each.

    The default function is the artifact; further functions are context models beside it, named after it, and the binary
    lies there too. A runtime that opens several of them at once loads the binary once where its sessions say so
    (``ep.share_ep_contexts``). Where no binary is to be shared, each context model has its own inside.

    Parameters
    ----------
    request
        The network, with samples of all its functions; in float16.
    source
        The float32 graph of free axes.
    soc
        The system-on-chip to compile for.
    out
        Where the artifact goes.

    Raises
    ------
    CpuFallbackError
        If the HTP does not take an operator, which it names.
    WrongSocError
        If the binary is for another system-on-chip.
    BackendError
        If QNN fails.
    """
    spec = request.spec
    _, held = hold_back(request.calibration, spec, SLOWLY)
    samples = function_samples(held, spec, request.functions, SLOWLY)
    eager = frozen(request.module(), request.keep_fp32)
    files = {name: f"{out.stem}.{name}{out.suffix}" if name else out.name for name in samples}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        made = Path(folder) / "made"
        made.mkdir()
        delegated = _write_graphs(source.path, samples, Path(folder))
        contexts = {name: made / file for name, file in files.items()}
        compile_all = _compile_shared if request.shared_binary else _compile_apart
        try:
            emulated = compile_all(samples, contexts, soc, Path(folder), out)
        except BackendError:
            # Models are written before ONNX Runtime finds that operators are left over: they tell which.
            for context in contexts.values():
                if context.exists():
                    check_context(read_context(context), (soc,), out)
            raise
        subgraphs = 0
        for file in files.values():
            facts = read_context(made / file)
            check_context(facts, (soc,), out)
            subgraphs = max(subgraphs, facts.subgraphs)
        macs = source.coverage.macs_total
        coverage = Coverage(macs_total=macs, macs_delegated=macs, delegated_ops=delegated, subgraphs=subgraphs)
        how = f"The graphs for {soc} on QNN's HTP emulator (x86, no device)"
        if request.shared_binary:
            how += ", in the process that compiled them into one binary, which the emulator does not open"
        results = {
            name: measured(out, coverage, about, given, run_torch(eager, given, about), None, emulated[name], how)
            for name, (about, given) in samples.items()
        }
        for written in made.iterdir():
            move(written, out.with_name(written.name))
    default = results.pop(None)
    result = with_functions(default, {f"{name}": found for name, found in results.items()}, spec)
    named = tuple(about.model_copy(update={"file": files[about.name]}) for about in result.functions)
    return replace(result, functions=named)


def _write_graphs(source: Path, samples: _Samples, folder: Path) -> int:
    """Write the graph of each function with its own shapes; return how many operators one has."""
    graph = onnx.load(source)
    for index, (about, _) in enumerate(samples.values()):
        fix_shapes(graph, about)
        onnx.save(graph, _graph_file(folder, index))
    return len(graph.graph.node)


def _graph_file(folder: Path, index: int) -> Path:
    return folder / f"{index}.onnx"


def _compile_apart(
    samples: _Samples, contexts: Mapping[str | None, Path], soc: Soc, folder: Path, _subject: Path
) -> _Outputs:
    """Compile each graph to a context model with its binary inside; return what these make of the samples."""
    made: _Outputs = {}
    for index, (name, (about, given)) in enumerate(samples.items()):
        run_qnn(_graph_file(folder, index), socs={SOC_IDS[soc]: HTP_ARCHITECTURES[soc]}, context=contexts[name])
        _, outputs = run_qnn(contexts[name], given)
        made[name] = [named_outputs([values[t.name] for t in about.outputs], about) for values in outputs]
    return made


def _compile_shared(
    samples: _Samples, contexts: Mapping[str | None, Path], soc: Soc, folder: Path, subject: Path
) -> _Outputs:
    """Compile the graphs to one binary, in a process of its own; return what they make of the samples."""
    graphs = []
    for index, (name, (_, given)) in enumerate(samples.items()):
        room = folder / f"{index}"
        room.mkdir()
        for sample, inputs in enumerate(given):
            np.savez(inputs_file(room, sample), allow_pickle=False, **inputs)
        model, context = _graph_file(folder, index).resolve(), contexts[name].resolve()
        graphs.append(SharedGraph(model=model, context=context, samples=len(given)))
    job = SharingJob(soc_id=SOC_IDS[soc], architecture=HTP_ARCHITECTURES[soc], graphs=tuple(graphs))
    (folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
    call_process(_CHILD, folder, subject, "QNN")
    made: _Outputs = {}
    for index, (name, (about, given)) in enumerate(samples.items()):
        made[name] = [_read(outputs_file(folder / f"{index}", sample), about) for sample in range(len(given))]
    return made


def _read(path: Path, about: ComponentSpec) -> dict[str, FloatArray]:
    with np.load(path, allow_pickle=False) as data:
        return named_outputs([data[output.name] for output in about.outputs], about)
