"""ExecuTorch programs for Snapdragons' Hexagon processors: compiled by QNN, run on its emulator."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import nn

from pocketcrafter.export.lower.base import (
    LoweredArtifact,
    Progress,
    Sample,
    Simulation,
    as_tensors,
    check_precision,
    frozen,
    hold_back,
    measured,
    on_the_cpu,
    run_torch,
)
from pocketcrafter.export.lower.executorch_qnn_child import COVERAGE, EXPORTED, LOWERED, LowerJob
from pocketcrafter.export.lower.pools import spell_out_pools
from pocketcrafter.export.lower.qnn_context import EMULATED, check_socs
from pocketcrafter.export.lower.xnnpack import XnnpackLowering
from pocketcrafter.runtime.backends.executorch_qnn import run_program, why_no_executorch_qnn
from pocketcrafter.runtime.backends.processes import JOB, call_process
from pocketcrafter.runtime.backends.qnn_child import inputs_file, outputs_file, read_values, write_values
from pocketcrafter.runtime.backends.qnn_sdk import qnn_environment
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.bundle.results import Coverage, Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.targets import SOC_OF, TargetKind

_CHILD: Final = "pocketcrafter.export.lower.executorch_qnn_child"
_SIMULATED: Final = "the PT2E fake-quantized model in torch"


class ExecutorchQnnLowering:
    """Lowers to ``executorch-qnn:<soc>``."""

    def __init__(self, target: TargetKind) -> None:
        self._target = target
        self._soc = SOC_OF[target]

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

        Quantization, simulation and compiler run in one process of their own, the emulator in another: QNN's libraries
        keep what they learnt of one system-on-chip, and some of their failures end a process.

        Raises
        ------
        ConfigError
            If modules are to stay in floating point beside integers.
        WrongSocError
            If a binary in the program is for another system-on-chip.
        BackendError
            If a package is missing, or QNN fails.
        """
        check_precision(self._target, precision)
        if precision is Precision.FP32:
            return on_the_cpu(XnnpackLowering().lower(model, spec, calibration, precision, out, progress=progress))
        if reason := why_no_executorch_qnn():
            raise BackendError(f"{self._target} cannot be built: {reason}")
        used, held = hold_back(calibration)
        held = held[:EMULATED]
        eager = frozen(model, keep_fp32)
        quantized = precision is not Precision.FP16
        if quantized and keep_fp32:
            raise ConfigError(
                f"{self._target} cannot keep {', '.join(keep_fp32)} in floating point beside {precision}: ExecuTorch "
                "leaves float layers of an integer graph to the CPU. Build this component in fp16, or for "
                f"qnn-context:{self._soc.lower()}."
            )
        job = LowerJob(soc=self._soc, precision=precision, calibration=len(used), held=len(held))
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            folder = Path(name)
            _leave(eager, spec, (*used, *held), job, folder)
            call_process(_CHILD, folder, out, "ExecuTorch for QNN", environment=qnn_environment(), progress=progress)
            coverage = Coverage.model_validate_json((folder / COVERAGE).read_bytes())
            simulation = None
            if quantized:
                files = [outputs_file(folder, len(used) + index) for index in range(len(held))]
                simulation = Simulation([named_outputs(read_values(file), spec) for file in files], _SIMULATED)
            made = folder / LOWERED
            feeds = [list(checked_inputs(sample, spec).values()) for sample in held]
            facts, said = run_program(made, feeds, socs=True)
            check_socs(facts.soc_ids, self._soc, out)
            emulated = [named_outputs(outputs, spec) for outputs in said]
            how = f"The .pte for {self._soc} in ExecuTorch on QNN's HTP emulator (x86, no device)"
            result = measured(out, coverage, spec, run_torch(eager, held, spec), simulation, emulated, how)
            made.replace(out)
        return result


def _leave(model: nn.Module, spec: ComponentSpec, samples: Sequence[Sample], job: LowerJob, folder: Path) -> None:
    with torch.no_grad():
        program = torch.export.export(model, as_tensors(samples[0], spec))
    spell_out_pools(program.graph_module)
    torch.export.save(program, folder / EXPORTED)
    for index, sample in enumerate(samples):
        write_values(inputs_file(folder, index), checked_inputs(sample, spec).values())
    (folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
