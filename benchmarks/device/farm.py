"""A device farm instead of a phone on a cable: Qualcomm AI Hub through its own client, the package `qai-hub`.

Written against the documentation of qai-hub 0.56 (`Client.submit_inference_job` with inputs and ``profile=True``,
`InferenceJob.download_output_data`, `InferenceJob.download_profile`), and never run: that takes an account and a
network. No test touches the service.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from pocketcrafter.benchmarks.common.timing import Timing
from pocketcrafter.benchmarks.device.adb import DeviceError
from pocketcrafter.benchmarks.device.results import FarmCase
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.validation import check

TAKEN: Final = frozenset({".onnx", ".mlpackage", ".tflite"})
"""Endings of artifacts that the farm runs as they are."""

_CONTEXT: Final = b"EPContext"
_MOST_UNITS: Final = 100_000


class FarmError(DeviceError):
    """The farm's client is missing, has no token, or a job failed."""


class _Layer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    compute_unit: str = Field(max_length=20)


class _Summary(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    estimated_inference_time: PositiveInt = Field(description="µs.")
    estimated_inference_peak_memory: int | None = Field(description="Bytes.")
    first_load_time: PositiveInt = Field(description="µs.")
    all_inference_times: tuple[PositiveInt, ...] = Field((), max_length=_MOST_UNITS, description="µs.")


class _Profile(BaseModel):
    """The part of a downloaded profile that is used; the farm adds keys as it grows."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    execution_summary: _Summary
    execution_detail: tuple[_Layer, ...] = Field((), max_length=_MOST_UNITS)


def run_on_farm(
    bundle: Bundle, target: str, device: str, progress: Callable[[str, int, int], None]
) -> Iterator[FarmCase]:
    """Upload each network of a target with its golden, and yield its speed and what it answered.

    Parameters
    ----------
    bundle, target
        Whose artifacts are plain ONNX, Core ML packages or LiteRT.
    device
        A device as the farm calls it, such as ``Samsung Galaxy S25``.
    progress
        Called with the network, networks done and networks in all.

    Raises
    ------
    FarmError
        If the client is not installed or not configured, an artifact is none that the farm runs, or a job fails.
    BundleError
        If the bundle has no such target.
    """
    if target not in bundle.manifest.targets:
        raise BundleError(f"{bundle.path}: no target `{target}`; it has {', '.join(bundle.manifest.targets)}.")
    entries = bundle.manifest.components
    for entry in entries:
        _check(bundle.artifact(entry, target), target)
    hub = _client_package()
    try:
        client = hub.Client()
        for done, entry in enumerate(entries):
            progress(f"{entry.spec.name} on {device}", done, len(entries))
            yield _case(client, hub.Device(device), bundle, entry, target)
        progress(device, len(entries), len(entries))
    except hub.Error as error:
        raise FarmError(
            f"Qualcomm AI Hub: {error}\nAn account's token is set by: qai-hub configure --api_token TOKEN"
        ) from error


def case_of(
    entry: ComponentEntry,
    target: str,
    url: str,
    profile: Mapping[str, Any],
    outputs: Mapping[str, Any],
    inputs: Mapping[str, FloatArray],
    expected: Mapping[str, FloatArray],
) -> FarmCase:
    """Return what a finished job comes to.

    Parameters
    ----------
    entry, target
        The network and the target it ran for.
    url
        The job's page.
    profile
        As `InferenceJob.download_profile` returns it: times in µs, memory in bytes.
    outputs
        As `InferenceJob.download_output_data` returns it: for each output a list with one array a sample.
    inputs, expected
        The golden's inputs and outputs.

    Raises
    ------
    FarmError
        If the profile or the outputs are not what is documented.
    """
    unexpected = f"{url}: Qualcomm AI Hub did not answer as it documents"
    parsed = check(_Profile, profile, unexpected, FarmError)
    try:
        answered = _answered(outputs, entry.spec)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FarmError(f"{unexpected}: {error}") from error
    summary = parsed.execution_summary
    times = summary.all_inference_times or (summary.estimated_inference_time,)
    peak = summary.estimated_inference_peak_memory
    return FarmCase(
        component=entry.spec.name,
        precision=entry.artifacts[target].precision,
        job=url,
        load_ms=summary.first_load_time / 1e3,
        warm=Timing.of([t / 1e3 for t in times]),
        peak_rss_mib=peak / 2**20 if peak is not None and peak > 0 else None,
        layers_by_unit=dict(Counter(layer.compute_unit for layer in parsed.execution_detail)),
        against_golden=tuple(
            Fidelity.of(output, inputs, expected[output.name], answered[output.name]) for output in entry.spec.outputs
        ),
    )


def _case(client: Any, device: Any, bundle: Bundle, entry: ComponentEntry, target: str) -> FarmCase:  # noqa: ANN401 - the farm's client is untyped here
    golden = entry.goldens[0]
    inputs = read_tensors(bundle.file(golden.inputs), entry.spec.inputs)
    job = client.submit_inference_job(
        str(bundle.artifact(entry, target)),
        device,
        {name: [array] for name, array in inputs.items()},
        f"{bundle.manifest.name} {entry.spec.name} {target}"[:100],
    )
    status = job.wait()
    if not status.success:
        raise FarmError(f"{job.url}: the job for `{entry.spec.name}` failed: {status.message}")
    expected = read_tensors(bundle.file(golden.outputs), entry.spec.outputs)
    outputs = job.download_output_data() or {}
    return case_of(entry, target, job.url, job.download_profile(), outputs, inputs, expected)


def _answered(outputs: Mapping[str, Any], spec: ComponentSpec) -> dict[str, FloatArray]:
    return {t.name: np.asarray(outputs[t.name][0], dtype=np.float32).reshape(t.shape) for t in spec.outputs}


def _check(artifact: Path, target: str) -> None:
    # A model around a context binary ends in `.onnx` too, and the farm takes it for a plain one.
    if artifact.suffix not in TAKEN or (artifact.suffix == ".onnx" and _CONTEXT in artifact.read_bytes()):
        raise FarmError(
            f"{artifact.name}: Qualcomm AI Hub does not run artifacts of `{target}` as they are; "
            f"it takes {', '.join(sorted(TAKEN))}. Choose the target `onnx` or `coreml`."
        )


def _client_package() -> Any:  # noqa: ANN401 - the farm's client is untyped here
    try:
        import qai_hub  # noqa: PLC0415 - an extra of its own
    except ImportError as error:
        raise FarmError(
            f"The farm's client is not installed ({error.name}): pip install 'pocketcrafter[farm]'"
        ) from error
    return qai_hub
