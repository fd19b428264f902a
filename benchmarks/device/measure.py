"""Rung 4 and latency on a device: goldens go out, outputs and times come back."""

import hashlib
import shlex
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from pocketcrafter.benchmarks.common.timing import Timing
from pocketcrafter.benchmarks.device.adb import AdbDevice, RunnerError
from pocketcrafter.benchmarks.device.results import (
    DeviceCase,
    DeviceFacts,
    DeviceGolden,
    DeviceReport,
    DeviceState,
    RunnerResult,
)
from pocketcrafter.benchmarks.device.stage import RUNNER, check_runner, part_of, run_runner, staged
from pocketcrafter.export.lower.measure import compare
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.gates import all_passed, judge
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
from pocketcrafter.runtime.bundle.manifest import ComponentEntry, Golden
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Rung, figures_of
from pocketcrafter.runtime.progress import NamedProgress
from pocketcrafter.runtime.validation import check_json

_RUN_SECONDS: Final = 600.0


def run_goldens(
    bundle: Bundle,
    target: str,
    device: AdbDevice,
    runner: Path,
    folder: str,
    *,
    threads: int = 1,
    keep: bool = False,
    progress: NamedProgress = lambda *_: None,
) -> DeviceReport:
    """Run every golden of a target on a device, and hold the outputs against those of this machine.

    Parameters
    ----------
    bundle, target
        Whose goldens. The target must run on this machine too: that is what rung 4 compares with.
    device, runner, folder
        Where, with what, and in which folder of the device.
    threads
        Threads to compute with.
    keep
        Leave everything on the device.
    progress
        Called with what is run, networks done and networks in all.

    Raises
    ------
    DeviceError
        Of the type that `pocketcrafter.benchmarks.device.adb` has for it.
    ConfigError
        If the runner cannot run the target.
    BackendError
        If this machine cannot.
    """
    check_runner(runner, device)
    facts = _facts(device)
    found = []
    entries = bundle.manifest.components
    with staged(device, folder, {**part_of(bundle, target), RUNNER: runner}, keep=keep):
        for done, entry in enumerate(entries):
            progress(f"{entry.spec.name} on {facts.model or device.serial}", done, len(entries))
            found.append(_golden(bundle, entry, target, device, folder, threads, facts))
    progress("goldens", len(entries), len(entries))
    return _report(bundle, target, facts, goldens=found)


def run_latency(
    bundle: Bundle,
    target: str,
    device: AdbDevice,
    runner: Path,
    folder: str,
    *,
    threads: int = 1,
    repeats: int = 50,
    cool_down_s: float = 10.0,
    keep: bool = False,
    progress: NamedProgress = lambda *_: None,
) -> DeviceReport:
    """Time every network of a target on a device, with its temperature and battery before and after each.

    Parameters
    ----------
    bundle, target, device, runner, folder, threads, keep, progress
        As in `run_goldens`.
    repeats
        Timed runs of each network, after a first one that is reported by itself.
    cool_down_s
        Pause before each network.

    Raises
    ------
    DeviceError, ConfigError
        As `run_goldens` does.
    """
    check_runner(runner, device)
    facts = _facts(device)
    found = []
    entries = bundle.manifest.components
    with staged(device, folder, {**part_of(bundle, target), RUNNER: runner}, keep=keep):
        for done, entry in enumerate(entries):
            progress(f"{entry.spec.name} on {facts.model or device.serial}", done, len(entries))
            time.sleep(cool_down_s)
            before = _state(device)
            _, result = _run(bundle, entry, entry.goldens[0], device, folder, threads, repeats)
            found.append(
                DeviceCase(
                    component=entry.spec.name,
                    precision=entry.artifacts[target].precision,
                    threads=result.threads,
                    load_ms=result.load_ms,
                    first_ms=result.first_ms,
                    warm=Timing.of(result.samples_ms),
                    peak_rss_mib=result.peak_rss_kib / 1024,
                    before=before,
                    after=_state(device),
                )
            )
    progress("networks", len(entries), len(entries))
    return _report(bundle, target, facts, cases=found)


def _golden(
    bundle: Bundle,
    entry: ComponentEntry,
    target: str,
    device: AdbDevice,
    folder: str,
    threads: int,
    facts: DeviceFacts,
) -> DeviceGolden:
    session = bundle.target_session(entry.spec.name, threads, target)
    samples, host, expected, actual = [], [], [], []
    for golden in entry.goldens_of(None):
        outputs, _ = _run(bundle, entry, golden, device, folder, threads, 0)
        actual.append(outputs)
        samples.append(read_tensors(bundle.file(golden.inputs), entry.spec.inputs))
        host.append(session.run(samples[-1]))
        expected.append(read_tensors(bundle.file(golden.outputs), entry.spec.outputs))
    against_host = compare(samples, host, actual, entry.spec)
    against_golden = compare(samples, expected, actual, entry.spec)
    artifact = entry.artifacts[target]
    to_golden = judge(figures_of(against_golden), artifact.golden_gate)
    return DeviceGolden(
        component=entry.spec.name,
        against_host=against_host,
        against_golden=against_golden,
        rung=Rung(
            rung=4,
            passed=all_passed((judge(figures_of(against_host), artifact.kernels_gate), to_golden)),
            how=f"The goldens on {facts.model or 'a device'} ({facts.soc or facts.machine}, {facts.system}) against "
            "the same artifact on the host",
            gates=(artifact.kernels_gate,),
            fidelity=against_host,
        ),
    )


def _run(
    bundle: Bundle,
    entry: ComponentEntry,
    golden: Golden,
    device: AdbDevice,
    folder: str,
    threads: int,
    repeats: int,
) -> tuple[dict[str, FloatArray], RunnerResult]:
    """Run one golden in a folder below ``folder``; outputs that do not fit the spec are the runner's fault."""
    spec = entry.spec
    run = f"{folder}/run-{spec.name}"
    inputs = read_tensors(bundle.file(golden.inputs), spec.inputs)
    device.remove(run)
    device.make_folder(run)
    arguments = ["--model", f"{spec.name}.pte", "--out", run, "--threads", str(threads), "--repeats", str(repeats)]
    device.require_room(run, sum(a.nbytes for a in inputs.values()))
    for number, tensor in enumerate(spec.inputs):
        name = f"{run}/input_{number}.bin"
        device.push(inputs[tensor.name].astype("<f4").tobytes(), name)
        arguments += ["--input", name]
    run_runner(device, folder, arguments, _RUN_SECONDS)
    outputs: dict[str, FloatArray] = {}
    for number, tensor in enumerate(spec.outputs):
        data = device.pull(f"{run}/output_{number}.bin")
        if len(data) != 4 * int(np.prod(tensor.shape)):
            raise RunnerError(f"{device.serial}: `{tensor.name}` came back with {len(data)} bytes; try again.")
        outputs[tensor.name] = np.frombuffer(data, dtype="<f4").reshape(tensor.shape).astype(np.float32)
    text = device.pull(f"{run}/result.json")
    where = f"{device.serial}: the runner's result is not what it should be"
    result = check_json(RunnerResult, text, where, RunnerError)
    device.run(f"rm -f {shlex.quote(run)}/*.bin")
    return outputs, result


def _facts(device: AdbDevice) -> DeviceFacts:
    release = device.android_property("ro.build.version.release")
    return DeviceFacts(
        model=device.android_property("ro.product.model")[:200],
        soc=device.android_property("ro.soc.model")[:200],
        system=f"Android {release}"[:200] if release else device.run("uname -sr")[1][:200],
        machine=device.machine()[:64],
    )


def _state(device: AdbDevice) -> DeviceState:
    _, battery = device.run("dumpsys battery")
    pairs = (line.strip().partition(":") for line in battery.splitlines())
    reported = {key: value.strip() for key, _, value in pairs}
    _, zones = device.run("cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null")
    degrees = [int(word) / 1000 for word in zones.split() if word.lstrip("-").isdigit()]
    level, tenths = reported.get("level", ""), reported.get("temperature", "")
    return DeviceState(
        battery_percent=int(level) if level.isdigit() else None,
        battery_celsius=int(tenths) / 10 if tenths.isdigit() else None,
        hottest_celsius=max(degrees, default=None),
    )


def _report(
    bundle: Bundle,
    target: str,
    facts: DeviceFacts,
    *,
    goldens: Sequence[DeviceGolden] = (),
    cases: Sequence[DeviceCase] = (),
) -> DeviceReport:
    return DeviceReport(
        bundle=bundle.manifest.name,
        manifest_sha256=hashlib.sha256(read_manifest_bytes(bundle.root)).hexdigest(),
        target=target,
        device=facts,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        goldens=tuple(goldens),
        cases=tuple(cases),
    )
