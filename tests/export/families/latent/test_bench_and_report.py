"""Benches and the report know what a latent pair is made of."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from pocketcrafter.runtime import cli
from pocketcrafter.runtime.photo import Photo, encode


def test_latency_tells_of_words_steps_and_the_first_picture(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["bench", "latency", str(bundle), "--target", "onnx", "--component", "vision", "--competitor", "none"]
    asked += ["--repeats", "2", "--loads", "1", "--end-to-end", "--megapixels", "0.1", "--json"]
    assert cli.run(asked) == 0
    said = capsys.readouterr().out
    report = json.loads(said)
    (photo,) = report["pairs"]
    phases, memory = photo["phases_ms"], photo["memory_mib"]
    named = {"first word", "each word", "each step", "first picture", "vision", "encode", "decode", "transfer"}
    assert phases.keys() == named
    assert 0 < phases["vision"] < phases["first word"] < phases["first picture"] < photo["warm"]["p90_ms"] * 1.5
    assert phases["first word"] + 11 * phases["each word"] + 4 * phases["each step"] < phases["first picture"] * 1.5
    assert photo["base_rss_mib"] < memory["critic"] <= memory["artist"] + 1 <= photo["peak_rss_mib"] + 1

    (tmp_path / "latency.json").write_text(said)
    out = tmp_path / "report.html"
    assert cli.run(["report", str(bundle), "--out", str(out), "--latency", str(tmp_path / "latency.json")]) == 0
    page = out.read_text()
    assert "First picture" in page
    assert f"critic {memory['critic']:.0f} MiB" in page


def test_report_shows_each_step_and_the_critique(bundle: Path, photo: Photo, tmp_path: Path) -> None:
    encode(photo, tmp_path / "photo.png")
    out = tmp_path / "report.html"
    assert cli.run(["report", str(bundle), "--out", str(out), "--photos", str(tmp_path / "photo.png")]) == 0
    page = out.read_text()
    assert [f"photo.png after step {step} of 4" in page for step in range(1, 6)] == [True, True, True, True, False]
    assert "&lt;think&gt; is missing" in page


def test_profile_runs_a_language_model_whose_caches_are_inputs_of_each_layer(
    layered_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["bench", "profile", str(layered_bundle), "--target", "onnx", "--repeats", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["skipped"] == []
    (language,) = (network for network in report["networks"] if network["component"] == "language")
    assert language["total_ms"] > 0
    assert sum(op["macs"] for op in language["ops"]) > 0
