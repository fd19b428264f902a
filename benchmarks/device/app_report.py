"""Rung 4 from an app: the goldens that the demo ran on a phone, judged here and written into the bundle."""

import hashlib
import re
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.common.result_files import read_result
from pocketcrafter.benchmarks.device.adb import AdbDevice, DeviceError
from pocketcrafter.benchmarks.device.results import DEVICE_REPORT, DeviceReport
from pocketcrafter.benchmarks.parity.results import store_rungs
from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Rung
from pocketcrafter.runtime.files import write_bytes

_MOST_BYTES: Final = 4 << 20
_NAME: Final = re.compile(r"goldens-[0-9]{1,19}\.json")


def pull_app_report(device: AdbDevice, folder: str, out: Path) -> Path:
    """Fetch what the app wrote when its goldens ran last.

    Parameters
    ----------
    device
        The phone.
    folder
        The app's own folder there.
    out
        Receives the file.

    Returns
    -------
    Path
        Where it lies here.

    Raises
    ------
    DeviceError
        If the phone goes away, or there is no such file.
    """
    found = {name: size for name, size in device.files(folder).items() if _NAME.fullmatch(name)}
    if not found:
        raise DeviceError(
            f"{device.serial}: {folder} has no goldens; run the self-test of the app, or name its --folder."
        )
    # The app names them by when it was installed.
    newest = max(found, key=lambda name: int(name.removeprefix("goldens-").removesuffix(".json")))
    if found[newest] > _MOST_BYTES:
        raise DeviceError(f"{device.serial}: {folder}/{newest} is no report of goldens; it was not fetched.")
    write_bytes(out / newest, device.pull(f"{folder}/{newest}"))
    return out / newest


def store_app_report(path: Path, file: Path) -> DeviceReport:
    """Judge an app's goldens by the bundle's own gates, and write them in as rung 4.

    Parameters
    ----------
    path
        The bundle that the app holds: the part that `pocketcrafter split` wrote, as a folder or a zip.
    file
        What the app exported.

    Returns
    -------
    DeviceReport
        The report with rungs as they were judged here.

    Raises
    ------
    ConfigError
        If the file is no such report.
    DeviceError
        If it is of another bundle, or does not cover every network's every output.
    """
    report = read_result(file, DeviceReport, "app's report", "the demo's self-test screen", _MOST_BYTES)
    bundle = Bundle.open(path)
    if report.manifest_sha256 != hashlib.sha256(read_manifest_bytes(bundle.root)).hexdigest():
        raise DeviceError(
            f"{file}: of another state of {report.bundle}; give the very part that the app was built with."
        )
    if report.target not in bundle.manifest.targets:
        raise DeviceError(f"{file}: of the target {report.target}, which {path} has not.")
    ran = {golden.component: golden for golden in report.goldens}
    judged, rungs = [], dict[tuple[str, str], tuple[Rung, ...]]()
    for entry in bundle.manifest.components:
        golden = ran.get(entry.spec.name)
        expected = sorted(
            t.name if g.function is None else f"{g.function}.{t.name}"
            for g in entry.goldens
            for t in entry.spec.of(g.function).outputs
        )
        if golden is None or sorted(f.output for f in golden.against_golden) != expected:
            raise DeviceError(f"{file}: not every output of `{entry.spec.name}` was compared; run the self-test again.")
        # What the app says of having passed is not taken: its figures are held against the gate again.
        gate = entry.artifacts[report.target].golden_gate
        rung = Rung.judged(4, golden.rung.how, [gate], fidelity=golden.against_golden)
        judged.append(golden.model_copy(update={"rung": rung}))
        rungs[entry.spec.name, report.target] = (rung,)
    stored = report.model_copy(update={"goldens": tuple(judged)})
    name = DEVICE_REPORT.format(target=report.target.replace(":", "-"))
    store_rungs(path, rungs, {name: stored.model_dump_json(indent=1).encode()})
    return stored
