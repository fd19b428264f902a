"""The process in which ExecuTorch and QNN's libraries are loaded: opens one program, runs it, and ends."""

import importlib
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from pocketcrafter.runtime.backends.processes import JOB, Told, run_job
from pocketcrafter.runtime.backends.qnn_child import inputs_file, numbers, outputs_file, read_values, write_values
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError

PROGRAM: Final = "program.json"
DELEGATE: Final = "QnnBackend"
"""What a program calls QNN."""
Shapes = tuple[tuple[int, ...], ...]


class QnnProgramJob(Config):
    """What the process is to do; inputs and outputs lie beside it in numbered files."""

    program: Path
    samples: int | None = Field(ge=0, description="How many there are; null to wait for orders.")


class ProgramFacts(Config):
    """What a program says of itself."""

    inputs: Shapes
    outputs: Shapes


def work(folder: Path, tell: Told) -> None:
    """Do the job that lies in a folder."""
    job = QnnProgramJob.model_validate_json((folder / JOB).read_bytes())
    content = job.program.read_bytes()
    torch = importlib.import_module("torch")
    runtime = importlib.import_module("executorch.runtime")
    program = runtime.Runtime.get().load_program(content, verification=runtime.Verification.Minimal)
    method = program.load_method("forward")
    if method is None:
        raise BackendError(f"{job.program.name} has no method `forward`.")
    about = method.metadata
    facts = ProgramFacts(
        inputs=tuple(tuple(about.input_tensor_meta(i).sizes()) for i in range(about.num_inputs())),
        outputs=tuple(tuple(about.output_tensor_meta(i).sizes()) for i in range(about.num_outputs())),
    )
    (folder / PROGRAM).write_text(facts.model_dump_json(), encoding="utf-8")
    tell(0, job.samples or 0)
    for done, index in enumerate(numbers(job.samples), start=1):
        outputs: list[Any] = method.execute([*map(torch.from_numpy, read_values(inputs_file(folder, index)))])
        write_values(outputs_file(folder, index), (output.numpy() for output in outputs))
        tell(done, job.samples or done)


if __name__ == "__main__":
    sys.exit(run_job(work))
