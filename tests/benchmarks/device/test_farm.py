"""The farm's adapter: what it refuses before anything leaves the machine, and how it reads the documented answers."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.device.command import device
from pocketcrafter.benchmarks.device.farm import FarmError, case_of, run_on_farm
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import BundleError
from pocketcrafter.runtime.pocket import Pocket

PROFILE: dict[str, Any] = {
    "execution_summary": {
        "estimated_inference_time": 2500,
        "estimated_inference_peak_memory": 3 << 20,
        "first_load_time": 40_000,
        "warm_load_time": 9_000,
        "all_inference_times": [2400, 2500, 2600],
    },
    "execution_detail": [{"name": "a", "compute_unit": "NPU"}, {"name": "b", "compute_unit": "CPU"}],
}


def tone_of(bundle: Path) -> tuple[ComponentEntry, dict[str, FloatArray], dict[str, FloatArray]]:
    opened = Bundle.open(bundle)
    entry = opened.manifest.entry(Pocket.TONE)
    golden = entry.goldens[0]
    inputs = read_tensors(opened.root / golden.inputs, entry.spec.inputs)
    return entry, dict(inputs), dict(read_tensors(opened.root / golden.outputs, entry.spec.outputs))


def test_times_memory_units_and_answers_are_read(bundle: Path) -> None:
    entry, inputs, expected = tone_of(bundle)
    outputs = {name: [value + np.float32(1e-3)] for name, value in expected.items()}
    case = case_of(entry, "onnx", "https://farm/jobs/1", PROFILE, outputs, inputs, expected)
    assert (case.load_ms, case.warm.median_ms, case.peak_rss_mib) == (40.0, 2.5, 3.0)
    assert case.layers_by_unit == {"NPU": 1, "CPU": 1}
    assert [f.max_abs_error for f in case.against_golden] == [pytest.approx(1e-3, rel=0.01)]


@pytest.mark.parametrize(
    "change",
    [
        lambda p, _: p.pop("execution_summary"),
        lambda p, _: p["execution_summary"].update(estimated_inference_time=-1),
        lambda p, _: p["execution_summary"].update(all_inference_times=["soon"]),
        lambda _, o: o.clear(),
        lambda _, o: o.update(grid=[]),
        lambda _, o: o.update(grid=[np.zeros(3, np.float32)]),
    ],
)
def test_an_answer_that_is_not_as_documented_is_refused(
    change: Callable[[dict[str, Any], dict[str, Any]], object], bundle: Path
) -> None:
    entry, inputs, expected = tone_of(bundle)
    profile = {**PROFILE, "execution_summary": dict(PROFILE["execution_summary"])}
    outputs: dict[str, Any] = {name: [value] for name, value in expected.items()}
    change(profile, outputs)
    with pytest.raises(FarmError, match="did not answer as it documents"):
        case_of(entry, "onnx", "https://farm/jobs/1", profile, outputs, inputs, expected)


def test_a_client_that_is_not_installed_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qai_hub", None)
    result = CliRunner().invoke(device, ["farm", str(bundle), "--phone", "Samsung Galaxy S25"])
    assert isinstance(result.exception, FarmError)
    assert "pip install 'pocketcrafter[farm]'" in str(result.exception)
    assert result.exception.exit_code == 2


def test_artifacts_that_the_farm_cannot_run_never_leave(
    make_bundle: Callable[..., Path], resealed: Callable[[Path], object], tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "b.pcbundle")
    with (bundle / "targets/onnx/restore.onnx").open("ab") as artifact:
        artifact.write(b"EPContext")
    resealed(bundle)
    with pytest.raises(FarmError, match=r"restore\.onnx: Qualcomm AI Hub does not run artifacts of `onnx`"):
        list(run_on_farm(Bundle.open(bundle), "onnx", "Samsung Galaxy S25", lambda *_: None))
    with pytest.raises(BundleError, match="no target `coreml`; it has onnx"):
        list(run_on_farm(Bundle.open(bundle), "coreml", "Samsung Galaxy S25", lambda *_: None))
