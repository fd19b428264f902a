"""ExecuTorch programs for Snapdragons' Hexagon processors: compiled by QNN, run on its emulator."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import nn

from pocketcrafter.export.lower.measure import SLOWLY, Simulation, as_tensors, hold_back, measured, run_torch
from pocketcrafter.export.lower.programs import export_stateless, frozen, spell_out_pools
from pocketcrafter.export.lower.qnn.context_model import check_socs, soc_of
from pocketcrafter.export.lower.qnn.executorch_child import COMPILED, EXPORTED, LOWERED, Compiled, LowerJob
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import checked_inputs, named_outputs
from pocketcrafter.runtime.backends.executorch_qnn_child import QnnProgramJob
from pocketcrafter.runtime.backends.processes import JOB, call_process
from pocketcrafter.runtime.backends.qnn_child import inputs_file, outputs_file, read_values, write_values
from pocketcrafter.runtime.backends.qnn_sdk import qnn_environment
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TargetKind

_CHILD: Final = "pocketcrafter.export.lower.qnn.executorch_child"
_SIMULATED: Final = "the PT2E fake-quantized model in torch"


def lower_executorch_qnn(request: LoweringRequest) -> dict[TargetKind, LoweredArtifact]:
    """Quantize with PT2E once, compile and emulate for each system-on-chip; for ``executorch-qnn:<soc>``.

    ``fp32`` is the program of the `executorch-xnnpack` target: the HTP computes no float32, the phone's CPU does.

    Quantization and simulation run in a process of their own, compiler and emulator in copies of it: QNN's libraries
    keep what they learnt of one system-on-chip, and some of their failures end a process.

    Raises
    ------
    ConfigError
        If modules are to stay in floating point beside integers.
    WrongSocError
        If a binary in the program is for another system-on-chip.
    BackendError
        If QNN fails.
    """
    target, first = next(iter(request.outs.items()))
    spec, precision, keep_fp32 = request.spec, request.precision, request.keep_fp32
    used, held = hold_back(request.calibration, spec, SLOWLY)
    eager = frozen(request.module(), keep_fp32)
    quantized = precision is not Precision.FP16
    if quantized and keep_fp32:
        raise ConfigError(
            f"{target} cannot keep {', '.join(keep_fp32)} in floating point beside {precision}: ExecuTorch "
            "leaves float layers of an integer graph to the CPU. Build this component in fp16, or for "
            f"qnn-context:{soc_of(target).lower()}."
        )
    socs = {soc_of(target): out for target, out in request.outs.items()}
    job = LowerJob(socs=tuple(socs), precision=precision, calibration=len(used), held=len(held))
    with tempfile.TemporaryDirectory(dir=first.parent, prefix=f".{first.name}.") as name:
        folder = Path(name)
        _leave(eager, spec, (*used, *held), job, folder)
        environment = qnn_environment()
        call_process(_CHILD, folder, first, "ExecuTorch for QNN", environment=environment, progress=request.progress)
        simulation = None
        if quantized:
            simulated = _outputs(folder, range(len(used), len(used) + len(held)), spec)
            simulation = Simulation(simulated, _SIMULATED)
        reference = run_torch(eager, held, spec)
        made = {}
        for target, out in request.outs.items():
            soc = soc_of(target)
            room = folder / soc
            compiled = Compiled.model_validate_json((room / COMPILED).read_bytes())
            check_socs(compiled.soc_ids, (soc,), out)
            emulated = _outputs(room, range(len(held)), spec)
            how = f"The .pte for {soc} in ExecuTorch on QNN's HTP emulator (x86, no device)"
            made[target] = measured(out, compiled.coverage, spec, held, reference, simulation, emulated, how)
        for soc, out in socs.items():
            move(folder / soc / LOWERED, out)
    return made


def _outputs(folder: Path, samples: Iterable[int], spec: ComponentSpec) -> list[dict[str, FloatArray]]:
    return [named_outputs(read_values(outputs_file(folder, index)), spec) for index in samples]


def _leave(model: nn.Module, spec: ComponentSpec, samples: Sequence[Sample], job: LowerJob, folder: Path) -> None:
    program = export_stateless(model, as_tensors(samples[0], spec))
    spell_out_pools(program.graph_module)
    torch.export.save(program, folder / EXPORTED)
    values = [list(checked_inputs(sample, spec).values()) for sample in samples]
    for index, sample in enumerate(values):
        write_values(inputs_file(folder, index), sample)
    for soc in job.socs:
        room = folder / soc
        room.mkdir()
        for index, sample in enumerate(values[job.calibration :]):
            write_values(inputs_file(room, index), sample)
        emulated = QnnProgramJob(program=room / LOWERED, samples=job.held)
        (room / JOB).write_text(emulated.model_dump_json(), encoding="utf-8")
    (folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
