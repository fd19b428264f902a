"""The process in which ExecuTorch lowers for QNN: quantizes, simulates, compiles for one system-on-chip, then ends."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
from executorch.backends.qualcomm.utils.utils import (
    generate_htp_compiler_spec,
    generate_qnn_executorch_compiler_spec,
    to_edge_transform_and_lower_to_qnn,
)
from pydantic import Field
from torch import Tensor
from torch.export import ExportedProgram

from pocketcrafter.export.lower.coverage import torch_coverage
from pocketcrafter.export.lower.quick import quicken
from pocketcrafter.quantize.pt2e import outputs_of
from pocketcrafter.quantize.qnn import QnnScheme, quantize_qnn
from pocketcrafter.runtime.backends.processes import JOB, Told, run_job
from pocketcrafter.runtime.backends.qnn_child import inputs_file, outputs_file, read_values, write_values
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.targets import Soc

EXPORTED: Final = "exported.pt2"
LOWERED: Final = "lowered.pte"
COVERAGE: Final = "coverage.json"
ENGINE: Final = "the HTP"

_SCHEMES: Final[Mapping[Precision, QnnScheme]] = {
    Precision.INT8: QnnScheme.A8W8,
    Precision.A16W8: QnnScheme.A16W8,
    Precision.A16W4: QnnScheme.A16W4,
}


class LowerJob(Config):
    """What the process is to do; the exported network and the samples lie beside it."""

    soc: Soc
    precision: Precision
    calibration: int = Field(ge=1, description="The first samples, which are calibrated with.")
    held: int = Field(ge=0, description="Those after them, which the fake-quantized network is run on.")


def work(folder: Path, tell: Told) -> None:
    """Do the job that lies in a folder."""
    quicken()
    job = LowerJob.model_validate_json((folder / JOB).read_bytes())
    program = torch.export.load(folder / EXPORTED)
    first = _tensors(folder, 0)
    module: torch.nn.Module = program.module()
    if job.precision in _SCHEMES:
        samples = [_tensors(folder, index) for index in range(job.calibration)]
        scheme = _SCHEMES[job.precision]
        module = quantize_qnn(program, samples, scheme, job.soc, progress=tell)
        for index in range(job.calibration, job.calibration + job.held):
            with torch.no_grad():
                outputs = outputs_of(module(*_tensors(folder, index)))
            write_values(outputs_file(folder, index), (output.numpy() for output in outputs))
    _lower(module, program, first, job, folder)


def _lower(
    module: torch.nn.Module, program: ExportedProgram, inputs: tuple[Tensor, ...], job: LowerJob, folder: Path
) -> None:
    options = generate_htp_compiler_spec(use_fp16=job.precision is Precision.FP16)
    chip = generate_qnn_executorch_compiler_spec(soc_model=QcomChipset[job.soc], backend_options=options)
    with torch.no_grad():
        edge = to_edge_transform_and_lower_to_qnn(module, inputs, chip)
    coverage = torch_coverage(program.graph_module, edge.exported_program().graph_module, ENGINE)
    (folder / COVERAGE).write_text(coverage.model_dump_json(), encoding="utf-8")
    (folder / LOWERED).write_bytes(edge.to_executorch().buffer)


def _tensors(folder: Path, index: int) -> tuple[Tensor, ...]:
    return tuple(map(torch.from_numpy, read_values(inputs_file(folder, index))))


if __name__ == "__main__":
    sys.exit(run_job(work))
