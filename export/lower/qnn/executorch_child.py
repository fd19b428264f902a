"""The process in which ExecuTorch lowers for QNN: quantizes and simulates once, then compiles for each Snapdragon."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from executorch.backends.qualcomm._passes.qnn_pass_manager import get_qnn_pass_manager_cls
from executorch.backends.qualcomm.partition.qnn_partitioner import QnnPartitioner
from executorch.backends.qualcomm.python.PyQnnManagerAdaptor import StripProtocol
from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset, QnnExecuTorchBackendType
from executorch.backends.qualcomm.utils.qnn_manager_lifecycle import QnnManagerContext
from executorch.backends.qualcomm.utils.utils import (
    generate_htp_compiler_spec,
    generate_qnn_executorch_compiler_spec,
    qnn_edge_config,
)
from executorch.exir import EdgeProgramManager
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir.lowered_backend_module import CompileSpec
from executorch.exir.program._program import _gen_edge_manager_for_partitioners, lift_constant_tensor_pass
from pydantic import Field
from torch import Tensor
from torch.export import ExportedProgram

from pocketcrafter.export.lower.executorch.coverage import torch_coverage
from pocketcrafter.export.lower.fx_patches import patch_fx
from pocketcrafter.export.lower.qnn.context_model import SOC_ID_AT
from pocketcrafter.quantize.modules import outputs_of
from pocketcrafter.quantize.torch.qnn import QnnScheme, quantize_qnn
from pocketcrafter.runtime.backends import executorch_qnn_child as emulator
from pocketcrafter.runtime.backends.processes import JOB, Told, in_a_fork, run_job
from pocketcrafter.runtime.backends.qnn_child import inputs_file, outputs_file, read_values, write_values
from pocketcrafter.runtime.bundle.results import Coverage, Precision
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.targets import Soc

EXPORTED: Final = "exported.pt2"
LOWERED: Final = "lowered.pte"
COMPILED: Final = "compiled.json"
ENGINE: Final = "the HTP"

_METHOD: Final = "forward"
_SCHEMES: Final[Mapping[Precision, QnnScheme]] = {
    Precision.INT8: QnnScheme.A8W8,
    Precision.A16W8: QnnScheme.A16W8,
    Precision.A16W4: QnnScheme.A16W4,
}


class LowerJob(Config):
    """What the process is to do; the exported network and the samples lie beside it."""

    socs: tuple[Soc, ...] = Field(min_length=1, description="Each has a folder, in which an emulator's job lies.")
    precision: Precision
    calibration: int = Field(ge=1, description="The first samples, which are calibrated with.")
    held: int = Field(ge=0, description="Those after them, which the fake-quantized network is run on.")


class Compiled(Config):
    """What came of one compilation."""

    coverage: Coverage
    soc_ids: tuple[int, ...] = Field(description="QNN's number of the system-on-chip, of each context binary.")


def work(folder: Path, tell: Told) -> None:
    """Do the job that lies in a folder."""
    patch_fx()
    job = LowerJob.model_validate_json((folder / JOB).read_bytes())
    program = torch.export.load(folder / EXPORTED)
    first = _tensors(folder, 0)
    module: torch.nn.Module = program.module()
    if job.precision in _SCHEMES:
        samples = [_tensors(folder, index) for index in range(job.calibration)]
        scheme = _SCHEMES[job.precision]
        module = quantize_qnn(program, samples, scheme, job.socs[0], progress=tell)
        for index in range(job.calibration, job.calibration + job.held):
            with torch.no_grad():
                outputs = outputs_of(module(*_tensors(folder, index)))
            write_values(outputs_file(folder, index), (output.numpy() for output in outputs))
    edge = _edge(module, first, _compiler(job.socs[0], job.precision))
    for soc in job.socs:
        # QNN's libraries keep what they learnt of one system-on-chip, and its compiler and its emulator of each other.
        in_a_fork(partial(_compile, edge, program, _compiler(soc, job.precision), folder / soc), folder)
        in_a_fork(partial(emulator.work, folder / soc, lambda *_: None), folder)


def _compiler(soc: Soc, precision: Precision) -> list[CompileSpec]:
    options = generate_htp_compiler_spec(use_fp16=precision is Precision.FP16)
    specs: list[CompileSpec] = generate_qnn_executorch_compiler_spec(
        soc_model=QcomChipset[soc], backend_options=options
    )
    return specs


def _edge(module: torch.nn.Module, inputs: tuple[Tensor, ...], compiler: list[CompileSpec]) -> EdgeProgramManager:
    """Do what ``to_edge_transform_and_lower_to_qnn`` does before it asks what the system-on-chip takes.

    That is most of its time, and the same for all of them.
    """
    with torch.no_grad():
        exported = torch.export.export(module, inputs, strict=True)
        passes: Any = get_qnn_pass_manager_cls(QnnExecuTorchBackendType.kHtpBackend)()
        programs = {_METHOD: passes.transform_for_export_pipeline(exported)}
        transforms = passes.get_to_edge_transform_passes(exported, compiler_specs=compiler)
        partitioners = {_METHOD: [QnnPartitioner(compiler)]}
        edge: EdgeProgramManager = _gen_edge_manager_for_partitioners(partitioners, programs, qnn_edge_config(), None)
        edge = edge.transform({_METHOD: transforms})
        lift_constant_tensor_pass(edge.exported_program())
    return edge


def _compile(edge: EdgeProgramManager, program: ExportedProgram, compiler: list[CompileSpec], folder: Path) -> None:
    with torch.no_grad(), QnnManagerContext({_METHOD: compiler}):
        edge = edge.to_backend({_METHOD: QnnPartitioner(compiler)})
    coverage = torch_coverage(program.graph_module, edge.exported_program().graph_module, ENGINE)
    content = edge.to_executorch().buffer
    compiled = Compiled(coverage=coverage, soc_ids=_soc_ids(content))
    (folder / LOWERED).write_bytes(content)
    (folder / COMPILED).write_text(compiled.model_dump_json(), encoding="utf-8")


def _soc_ids(content: bytes) -> tuple[int, ...]:
    """Return the system-on-chip of every context binary in a program."""
    program = deserialize_pte_binary(content).program
    binaries = [
        bytes(StripProtocol(program.backend_delegate_data[delegate.processed.index].data))
        for plan in program.execution_plan
        for delegate in plan.delegates
        if delegate.id == emulator.DELEGATE
    ]
    if not binaries or any(len(binary) < SOC_ID_AT.stop for binary in binaries):
        raise BackendError("No whole QNN context binary is in the program that ExecuTorch made.")
    return tuple(int.from_bytes(binary[SOC_ID_AT], "little") for binary in binaries)


def _tensors(folder: Path, index: int) -> tuple[Tensor, ...]:
    return tuple(map(torch.from_numpy, read_values(inputs_file(folder, index))))


if __name__ == "__main__":
    sys.exit(run_job(work))
