"""ExecuTorch programs for Snapdragons' Hexagon processors: compiled by QNN, run on its emulator."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import nn

from pocketcrafter.export.lower.base import (
    SLOWLY,
    LoweredArtifact,
    Progress,
    Sample,
    Simulation,
    as_tensors,
    check_precision,
    export_stateless,
    frozen,
    hold_back,
    measured,
    on_the_cpu,
    run_torch,
)
from pocketcrafter.export.lower.executorch.xnnpack import XnnpackLowering
from pocketcrafter.export.lower.pools import spell_out_pools
from pocketcrafter.export.lower.qnn.executorch_child import COMPILED, EXPORTED, LOWERED, Compiled, LowerJob
from pocketcrafter.export.lower.qnn.soc import check_socs, soc_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.executorch_qnn import why_no_executorch_qnn
from pocketcrafter.runtime.backends.executorch_qnn_child import QnnProgramJob
from pocketcrafter.runtime.backends.processes import JOB, call_process
from pocketcrafter.runtime.backends.qnn_child import inputs_file, outputs_file, read_values, write_values
from pocketcrafter.runtime.backends.qnn_sdk import qnn_environment
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.files import move
from pocketcrafter.runtime.targets import TargetKind

_CHILD: Final = "pocketcrafter.export.lower.qnn.executorch_child"
_SIMULATED: Final = "the PT2E fake-quantized model in torch"


class ExecutorchQnnLowering:
    """Lowers to ``executorch-qnn:<soc>``."""

    def __init__(self, target: TargetKind) -> None:
        self._target = target
        self._soc = soc_of(target)

    def lower(
        self,
        model: nn.Module,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        out: Path,
        *,
        keep_fp32: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> LoweredArtifact:
        """Quantize with PT2E, compile, emulate; see :meth:`pocketcrafter.export.lower.base.Lowering.lower`.

        ``fp32`` is the program of the `executorch-xnnpack` target: the HTP computes no float32, the phone's CPU does.

        Quantization and simulation run in a process of their own, compiler and emulator in copies of it: QNN's
        libraries keep what they learnt of one system-on-chip, and some of their failures end a process.

        Raises
        ------
        ConfigError
            If modules are to stay in floating point beside integers.
        WrongSocError
            If a binary in the program is for another system-on-chip.
        BackendError
            If a package is missing, or QNN fails.
        """
        if precision is Precision.FP32:
            return on_the_cpu(XnnpackLowering().lower(model, spec, calibration, precision, out, progress=progress))
        made = self.lower_together(
            model, spec, calibration, precision, {self._target: out}, keep_fp32=keep_fp32, progress=progress
        )
        return made[self._target]

    def lower_together(
        self,
        model: nn.Module,
        spec: ComponentSpec,
        calibration: Sequence[Sample],
        precision: Precision,
        outs: Mapping[TargetKind, Path],
        *,
        keep_fp32: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> dict[TargetKind, LoweredArtifact]:
        """Quantize once, compile and emulate for each; see `pocketcrafter.export.lower.base.Together`.

        Raises
        ------
        ConfigError, WrongSocError, BackendError
            As :meth:`lower`.
        """
        for target in outs:
            check_precision(target, precision)
        if reason := why_no_executorch_qnn():
            raise BackendError(f"{self._target} cannot be built: {reason}")
        used, held = hold_back(calibration, spec, SLOWLY)
        eager = frozen(model, keep_fp32)
        quantized = precision is not Precision.FP16
        if quantized and keep_fp32:
            raise ConfigError(
                f"{self._target} cannot keep {', '.join(keep_fp32)} in floating point beside {precision}: ExecuTorch "
                "leaves float layers of an integer graph to the CPU. Build this component in fp16, or for "
                f"qnn-context:{self._soc.lower()}."
            )
        socs = {soc_of(target): out for target, out in outs.items()}
        job = LowerJob(socs=tuple(socs), precision=precision, calibration=len(used), held=len(held))
        first = outs[self._target]
        with tempfile.TemporaryDirectory(dir=first.parent, prefix=f".{first.name}.") as name:
            folder = Path(name)
            _leave(eager, spec, (*used, *held), job, folder)
            call_process(_CHILD, folder, first, "ExecuTorch for QNN", environment=qnn_environment(), progress=progress)
            simulation = None
            if quantized:
                simulated = _said(folder, range(len(used), len(used) + len(held)), spec)
                simulation = Simulation(simulated, _SIMULATED)
            reference = run_torch(eager, held, spec)
            made = {}
            for target, out in outs.items():
                soc, room = soc_of(target), folder / soc_of(target)
                compiled = Compiled.model_validate_json((room / COMPILED).read_bytes())
                check_socs(compiled.soc_ids, soc, out)
                emulated = _said(room, range(len(held)), spec)
                how = f"The .pte for {soc} in ExecuTorch on QNN's HTP emulator (x86, no device)"
                made[target] = measured(out, compiled.coverage, spec, reference, simulation, emulated, how)
            for soc, out in socs.items():
                move(folder / soc / LOWERED, out)
        return made


def _said(folder: Path, samples: Iterable[int], spec: ComponentSpec) -> list[dict[str, FloatArray]]:
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
