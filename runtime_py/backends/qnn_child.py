"""The process in which QNN's libraries are loaded: compiles and runs one model for one system-on-chip, then ends."""

import importlib
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from pydantic import Field

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.processes import JOB, Told, orders, run_job
from pocketcrafter.runtime.config import Config

INTERFACE: Final = "interface.json"
_PROVIDER: Final = "QNNExecutionProvider"
_MOST_OPTIMIZED: Final = "3"


class QnnJob(Config):
    """What the process is to do; inputs and outputs lie beside it in numbered files."""

    model: Path
    socs: Mapping[int, int] = Field(
        description="QNN's numbers of the systems-on-chip to compile for, and the versions of their HTPs; none for a "
        "context model."
    )
    context: Path | None = Field(description="Where the compiled context model goes; null to write none.")
    profile: Path | None = Field(None, description="Where QNN's own profile goes, as CSV; null to keep none.")
    samples: int | None = Field(ge=0, description="How many there are; null to wait for orders.")


class Interface(Config):
    """Inputs and outputs of an opened model, with their shapes."""

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


def inputs_file(folder: Path, index: int) -> Path:
    """Return where the inputs of a sample lie."""
    return folder / f"inputs_{index}.npz"


def outputs_file(folder: Path, index: int) -> Path:
    """Return where the outputs of a sample lie."""
    return folder / f"outputs_{index}.npz"


def write_values(path: Path, values: Iterable[FloatArray]) -> None:
    """Leave tensors for another process, by their places."""
    np.savez(path, *values, allow_pickle=False)


def read_values(path: Path) -> list[FloatArray]:
    """Read what `write_values` left."""
    with np.load(path, allow_pickle=False) as data:
        return [data[f"arr_{place}"] for place in range(len(data.files))]


def work(folder: Path, tell: Told) -> None:
    """Do the job that lies in a folder."""
    job = QnnJob.model_validate_json((folder / JOB).read_bytes())
    session = open_session(job)
    interface = Interface(
        inputs={t.name: tuple(t.shape) for t in session.get_inputs()},
        outputs={t.name: tuple(t.shape) for t in session.get_outputs()},
    )
    (folder / INTERFACE).write_text(interface.model_dump_json(), encoding="utf-8")
    tell(0, job.samples or 0)
    for done, index in enumerate(numbers(job.samples), start=1):
        with np.load(inputs_file(folder, index), allow_pickle=False) as inputs:
            values = session.run(list(interface.outputs), dict(inputs))
        np.savez(outputs_file(folder, index), allow_pickle=False, **dict(zip(interface.outputs, values, strict=True)))
        tell(done, job.samples or done)


def numbers(samples: int | None) -> Iterable[int]:
    """Return the numbers of the samples to run: those that are there, or those that are asked for."""
    return orders() if samples is None else range(samples)


class Sharing(StrEnum):
    """Where a model stands among those that are compiled into one binary, which stores equal weights once."""

    MORE = "more"
    """Others follow."""
    LAST = "last"
    """The binary is written with this one."""


def open_session(job: QnnJob, sharing: Sharing | None = None) -> Any:  # noqa: ANN401 - onnxruntime is untyped
    """Open a model with the QNN provider alone.

    Parameters
    ----------
    job
        The model, and what it is compiled to.
    sharing
        Where it stands among those of one process that share a binary, which then lies beside their context models, in
        a file named after the first one's; each other model keeps its binary inside its context model.
    """
    wheel = importlib.import_module("onnxruntime_qnn")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # Otherwise what QNN refuses runs on the CPU, and nobody is told.
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if job.context is not None:
        options.add_session_config_entry("ep.context_enable", "1")
        # One file, which cannot be paired with another one's binary.
        options.add_session_config_entry("ep.context_embed_mode", "1" if sharing is None else "0")
        options.add_session_config_entry("ep.context_file_path", str(job.context))
    settings = {
        "backend_path": wheel.get_qnn_htp_path(),
        "offload_graph_io_quantization": "0",
        "htp_graph_finalization_optimization_mode": _MOST_OPTIMIZED,
    }
    if job.profile is not None:
        settings |= {"profiling_level": "detailed", "profiling_file_path": str(job.profile)}
    if job.socs:
        settings["soc_model"] = ",".join(map(str, job.socs))
    if len(job.socs) > 1:  # one alone is known by its number
        settings["htp_arch"] = ",".join(map(str, job.socs.values()))
    if sharing is not None:
        options.add_session_config_entry("ep.share_ep_contexts", "1")
        settings["enable_htp_weight_sharing"] = "1"
        if sharing is Sharing.LAST:
            options.add_session_config_entry("ep.stop_share_ep_contexts", "1")
    if not any(device.ep_name == _PROVIDER for device in ort.get_ep_devices()):
        ort.register_execution_provider_library(_PROVIDER, wheel.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == _PROVIDER]
    options.add_provider_for_devices(devices, settings)
    session = ort.InferenceSession(job.model, options)
    # The other guard: Python's session would try again on the CPU after an error of the provider.
    session.disable_fallback()
    return session


if __name__ == "__main__":
    sys.exit(run_job(work))
