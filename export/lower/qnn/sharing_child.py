"""The process in which QNN compiles several graphs into one binary, which stores equal weights once, and runs them."""

import sys
from pathlib import Path

import numpy as np
from pydantic import Field

from pocketcrafter.runtime.backends.processes import JOB, Told, run_job
from pocketcrafter.runtime.backends.qnn_child import QnnJob, Sharing, inputs_file, open_session, outputs_file
from pocketcrafter.runtime.config import Config


class SharedGraph(Config):
    """One graph; its samples lie in the folder of its number beside the job."""

    model: Path
    context: Path = Field(description="Where its context model goes; the binary lies beside the first one's.")
    samples: int = Field(ge=0)


class SharingJob(Config):
    """What the process is to do."""

    soc_id: int = Field(description="QNN's number of the system-on-chip.")
    architecture: int = Field(description="The version of its HTP.")
    graphs: tuple[SharedGraph, ...] = Field(min_length=2)


def work(folder: Path, tell: Told) -> None:
    """Do the job that lies in a folder.

    The emulator does not open such a binary: graphs are run by the sessions that compiled them.
    """
    job = SharingJob.model_validate_json((folder / JOB).read_bytes())
    sessions, socs = [], {job.soc_id: job.architecture}
    for index, graph in enumerate(job.graphs):
        compiled = QnnJob(model=graph.model, socs=socs, context=graph.context, samples=graph.samples)
        sharing = Sharing.LAST if index == len(job.graphs) - 1 else Sharing.MORE
        sessions.append(open_session(compiled, sharing))
        tell(index + 1, len(job.graphs))
    for index, (graph, session) in enumerate(zip(job.graphs, sessions, strict=True)):
        names, room = [output.name for output in session.get_outputs()], folder / f"{index}"
        for sample in range(graph.samples):
            with np.load(inputs_file(room, sample), allow_pickle=False) as inputs:
                values = session.run(names, dict(inputs))
            np.savez(outputs_file(room, sample), allow_pickle=False, **dict(zip(names, values, strict=True)))


if __name__ == "__main__":
    sys.exit(run_job(work))
