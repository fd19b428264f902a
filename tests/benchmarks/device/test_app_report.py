"""What the demo app exports goes into the bundle as rung 4, judged by the bundle's own gates."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.device.adb import DeviceError
from pocketcrafter.benchmarks.device.app_report import store_app_report
from pocketcrafter.benchmarks.device.command import device
from pocketcrafter.runtime.bundle.reader import Bundle


@pytest.fixture
def part(bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(bundle, tmp_path / "part.pcbundle")
    return tmp_path / "part.pcbundle"


def report_of(part: Path, sqnr_db: float, *, passed: bool = True) -> dict[str, Any]:
    """What the app writes after a run whose every output is at one ratio."""
    opened = Bundle.open(part)
    target = next(iter(opened.manifest.targets))
    goldens = []
    for entry in opened.manifest.components:
        names = [
            tensor.name if golden.function is None else f"{golden.function}.{tensor.name}"
            for golden in entry.goldens
            for tensor in entry.spec.of(golden.function).outputs
        ]
        figures = [{"output": name, "sqnr_db": sqnr_db, "cosine": 1.0, "max_abs_error": 0.1} for name in names]
        rung = {"rung": 4, "passed": passed, "how": "the goldens, on a Testphone", "gates": [], "fidelity": figures}
        goldens.append({"component": entry.spec.name, "against_host": [], "against_golden": figures, "rung": rung})
    return {
        "schema_version": 1,
        "bundle": opened.manifest.name,
        "manifest_sha256": hashlib.sha256((part / "manifest.json").read_bytes()).hexdigest(),
        "target": target,
        "device": {"model": "Testphone", "soc": "TS1", "system": "Android 15, API 35", "machine": "aarch64"},
        "started": "2026-01-01T00:00:00Z",
        "goldens": goldens,
    }


def written(path: Path, report: dict[str, Any]) -> Path:
    path.write_text(json.dumps(report))
    return path


def test_a_phone_that_passes_is_written_into_the_bundle(part: Path, tmp_path: Path) -> None:
    report = report_of(part, 90.0)
    done = CliRunner().invoke(device, ["pull", str(part), "--file", str(written(tmp_path / "goldens.json", report))])
    assert done.exit_code == 0, done.output
    # Nothing was run on this computer.
    assert "| passed | – | 90.0 dB |" in done.output
    kept = Bundle.open(part)
    kept.check_integrity()
    for entry in kept.manifest.components:
        rung = next(r for r in entry.artifacts[report["target"]].rungs if r.rung == 4)
        assert (rung.passed, rung.how) == (True, "the goldens, on a Testphone")
    assert "Testphone" in (part / f"reports/device-{report['target']}.json").read_text()


def test_the_newest_report_is_taken_off_the_phone(phone: Any, plug: Callable[[Any], str], part: Path) -> None:
    place = ["--serial", plug(phone), "--folder", str(phone.folder)]
    none = CliRunner().invoke(device, ["pull", str(part), *place])
    assert isinstance(none.exception, DeviceError)
    written(phone.folder / "goldens-1700000000000.json", report_of(part, 3.0))
    written(phone.folder / "goldens-1800000000000.json", report_of(part, 90.0))
    (phone.folder / "goldens-of-old.json").write_text("{}")
    done = CliRunner().invoke(device, ["pull", str(part), *place])
    assert done.exit_code == 0, done.output
    assert "Testphone" in next((part / "reports").glob("device-*.json")).read_text()


def test_the_bundle_judges_and_not_the_app(part: Path, tmp_path: Path) -> None:
    report = report_of(part, 3.0)
    done = CliRunner().invoke(device, ["pull", str(part), "--file", str(written(tmp_path / "goldens.json", report))])
    assert done.exit_code == 1
    assert "rung 4 failed" in done.output


def test_reports_of_another_bundle_or_of_a_part_are_refused(part: Path, tmp_path: Path) -> None:
    before = (part / "manifest.json").read_bytes()
    report = report_of(part, 90.0)
    with pytest.raises(DeviceError, match="another state"):
        store_app_report(part, written(tmp_path / "a.json", report | {"manifest_sha256": "0" * 64}))
    with pytest.raises(DeviceError, match="has not"):
        store_app_report(part, written(tmp_path / "b.json", report | {"target": "onnx2"}))
    report["goldens"][0]["against_golden"] = report["goldens"][0]["against_golden"][1:]
    with pytest.raises(DeviceError, match="not every output"):
        store_app_report(part, written(tmp_path / "c.json", report))
    assert (part / "manifest.json").read_bytes() == before
