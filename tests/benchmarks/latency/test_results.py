"""Latency results: the schema is the one checked in, and a file that was tampered with is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.benchmarks.common.timing import Timing
from pocketcrafter.benchmarks.latency.results import SCHEMA_FILE, LatencyReport, read_latency, schema_text
from pocketcrafter.runtime.errors import ConfigError


def test_the_checked_in_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "run: python -m pocketcrafter.benchmarks.latency.results"
    )


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=60))
def test_a_timing_survives_a_round_trip(samples: list[float]) -> None:
    timing = Timing.of(samples)
    assert Timing.model_validate_json(timing.model_dump_json()) == timing


def test_a_report_survives_a_round_trip(report_of: Callable[..., LatencyReport], tmp_path: Path) -> None:
    report = report_of({"onnx": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]})
    (tmp_path / "a.json").write_text(report.model_dump_json())
    assert read_latency(tmp_path / "a.json") == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(extra=1), "extra"),
        (lambda r: r.update(schema_version=1), "schema_version"),
        (lambda r: r["cases"][0]["warm"].update(median_ms=1.0), "its samples give"),
        (lambda r: r["cases"][0]["warm"]["median_interval_ms"].update(low=2.5), "its samples give"),
        (lambda r: r["cases"][0]["warm"]["median_interval_ms"].update(low=9), "before it starts"),
        (lambda r: r["cases"][0]["warm"].update(samples_ms=[]), "samples_ms"),
        (lambda r: r["cases"][0]["warm"]["samples_ms"].append(-1), "samples_ms"),
        (lambda r: r["cases"][0].update(component="No name"), "component"),
        (lambda r: r.pop("machine"), "machine"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused_with_the_place(
    change: Callable[[dict[str, Any]], object],
    message: str,
    report_of: Callable[..., LatencyReport],
    tmp_path: Path,
) -> None:
    raw = json.loads(report_of({"onnx": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}).model_dump_json())
    change(raw)
    (tmp_path / "a.json").write_text(json.dumps(raw))
    with pytest.raises(ConfigError, match=message):
        read_latency(tmp_path / "a.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b'{"schema_version": 1'])
def test_what_is_no_result_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ConfigError, match="not what `pocketcrafter bench latency --json` writes"):
        read_latency(tmp_path / "a.json")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_latency(tmp_path / "none.json")
