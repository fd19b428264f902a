"""Reference records: what the pair's own libraries say, and a bundle held against it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

from pocketcrafter.benchmarks.common.reference_record import Record  # noqa: E402
from pocketcrafter.runtime import cli  # noqa: E402
from pocketcrafter.runtime.errors import ConfigError  # noqa: E402


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "np") as opened:
        return dict(opened.metadata())


def _changed(record: Path, out: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    tensors = load_file(record)
    change(tensors)
    save_file(tensors, out, metadata=_metadata(record))
    return out


def _parity(bundle: Path, record: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    asked = ["bench", "parity", str(bundle), "--target", "onnx", "--reference", str(record), "--no-store", "--json"]
    code = cli.run(asked)
    return code, json.loads(capsys.readouterr().out)["targets"][0]


def test_a_bundle_does_what_the_pairs_own_libraries_do(
    bundle: Path, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, target = _parity(bundle, record, capsys)
    assert code == 0
    assert target["rung"]["passed"] is True
    (photo,) = target["reference"]
    assert photo["prompt_equal"]
    assert photo["tokens_same"] == photo["tokens_compared"] == 12
    assert photo["hidden_sqnr_db"] > 80
    assert photo["psnr_db"] > 80
    ran = [(call["component"], call["step"]) for call in photo["calls"]]
    words = [("language", None), *(("language", step) for step in range(1, 12))]
    steps = [("denoise", step) for step in range(1, 5)]
    assert ran == [("vision", None), *words, ("encode", None), ("bridge", None), *steps, ("decode", None)]


def test_the_first_divergence_is_named_by_component_and_step(
    bundle: Path, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors["0.predictions"][2:] *= 1.5

    spoiled = _changed(record, tmp_path / "spoiled.pcref", spoil)
    capsys.readouterr()
    cli.run(["bench", "parity", str(bundle), "--target", "onnx", "--reference", str(spoiled), "--no-store"])
    assert "onnx departs on photo.png: denoise, step 3: SQNR 9.542 dB, the gate is SQNR >= 40 dB" in (
        capsys.readouterr().out
    )


def test_rungs_of_single_networks_take_the_pairs_own_folder(
    bundle: Path, pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["bench", "parity", str(bundle), "--target", "onnx", "--weights", str(pair), "--no-store"]
    assert cli.run(asked) == 0
    assert "rung 3 not run: no --reference was given: pocketcrafter reference record" in capsys.readouterr().out


def test_a_record_of_another_pair_is_refused(
    bundle: Path, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads(_metadata(record)["reference"])
    other = {"reference": json.dumps(about | {"sha256": "0" * 64})}
    save_file(load_file(record), tmp_path / "other.pcref", metadata=other)
    asked = ["bench", "parity", str(bundle), "--reference", str(tmp_path / "other.pcref"), "--no-store"]
    assert cli.run(asked) == 2
    assert "was not built from the pair `pair` as it was recorded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop("0.hidden"), "lacks `hidden` of photo.png"),
        (lambda tensors: tensors.update({"0.ids": tensors["0.ids"][:-1]}), r"`ids` of photo.png is I32 \[11\]"),
        (lambda tensors: tensors.update({"0.text": tensors["0.text"].astype(np.float64)}), "is F64"),
        (lambda tensors: tensors.update({"1.photo": tensors["0.photo"]}), "holds `1.photo`"),
    ],
)
def test_a_record_that_is_not_what_its_manifest_tells_is_refused(
    record: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        Record(_changed(record, tmp_path / "changed.pcref", change))


def test_a_truncated_record_and_a_file_of_another_kind_are_refused(record: Path, tmp_path: Path) -> None:
    (tmp_path / "short.pcref").write_bytes(record.read_bytes()[:-8])
    with pytest.raises(ConfigError, match="is truncated"):
        Record(tmp_path / "short.pcref")
    save_file({"x": np.zeros(2, np.float32)}, tmp_path / "weights.pcref")
    with pytest.raises(ConfigError, match="has no manifest of a record"):
        Record(tmp_path / "weights.pcref")
