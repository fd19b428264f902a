"""The process in which ExecuTorch and QNN's libraries are loaded: opens one program, runs it, and ends."""

import importlib
import sys
from pathlib import Path
from typing import Final

from pydantic import Field

from pocketcrafter.runtime.backends.executorch import METHOD, TORCH, Shapes, load_method, shapes
from pocketcrafter.runtime.backends.processes import JOB, Told, run_job
from pocketcrafter.runtime.backends.qnn_child import inputs_file, numbers, outputs_file, read_values, write_values
from pocketcrafter.runtime.config import Config

PROGRAM: Final = "program.json"
DELEGATE: Final = "QnnBackend"
"""What a program calls QNN."""


class QnnProgramJob(Config):
    """What the process is to do; inputs and outputs lie beside it in numbered files."""

    program: Path
    method: str = Field(METHOD, description="Which of the program's.")
    samples: int | None = Field(ge=0, description="How many there are; null to wait for orders.")


class ProgramFacts(Config):
    """What a program says of itself."""

    inputs: Shapes
    outputs: Shapes


def work(folder: Path, tell: Told) -> None:
    """Do the job that lies in a folder."""
    job = QnnProgramJob.model_validate_json((folder / JOB).read_bytes())
    torch = importlib.import_module(TORCH)
    _owner, method = load_method(job.program, job.method)
    inputs, outputs = shapes(method)
    facts = ProgramFacts(inputs=inputs, outputs=outputs)
    (folder / PROGRAM).write_text(facts.model_dump_json(), encoding="utf-8")
    tell(0, job.samples or 0)
    for done, index in enumerate(numbers(job.samples), start=1):
        said = method([*map(torch.from_numpy, read_values(inputs_file(folder, index)))])
        write_values(outputs_file(folder, index), (output.numpy() for output in said))
        tell(done, job.samples or done)


if __name__ == "__main__":
    sys.exit(run_job(work))
