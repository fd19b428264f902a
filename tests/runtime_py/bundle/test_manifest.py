"""The manifest: what it accepts, what it refuses, and that its schema is the one checked in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketcrafter.runtime.bundle.gates import Gate, Metric
from pocketcrafter.runtime.bundle.manifest import MANIFEST, parse_manifest, safe_path
from pocketcrafter.runtime.bundle.results import Rung, sqnr_gate
from pocketcrafter.runtime.bundle.schema import SCHEMA_FILE, schema_text
from pocketcrafter.runtime.errors import BundleError

Change = Callable[[dict[str, Any]], object]


def test_the_checked_in_schema_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run: python -m pocketcrafter.runtime.vectors"


def test_a_manifest_survives_a_round_trip_byte_for_byte(bundle_dir: Path) -> None:
    data = (bundle_dir / MANIFEST).read_bytes()
    assert parse_manifest(data, "m").to_bytes() == data


def first_artifact(m: dict[str, Any]) -> dict[str, Any]:
    return m["components"][0]["artifacts"]["onnx"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(surprise=1), "surprise: unknown key; valid keys are schema_version"),
        (lambda m: m.update(schema_version=3), "schema version 3; this program reads version 2. Upgrade it"),
        (
            lambda m: m.update(schema_version=1),
            "schema version 1; this program reads version 2. Build the bundle again",
        ),
        (lambda m: m.pop("family"), "family: missing"),
        (lambda m: m.update(family="No Family"), "family"),
        (lambda m: m.pop("settings"), "settings: missing"),
        (lambda m: m["files"].append(m["files"][0]), "is listed twice"),
        (lambda m: m["files"].append(m["files"][0] | {"path": m["files"][0]["path"].upper()}), "is listed twice"),
        (lambda m: m["files"].append(m["files"][0] | {"path": "manifest.json"}), "hold the list itself"),
        (lambda m: m["files"].pop(), "is used but not in `files`"),
        (lambda m: m["files"][0].update(path="../x"), "does not stay inside"),
        (lambda m: m["files"][0].update(path="/etc/passwd"), "does not stay inside"),
        (lambda m: m["files"][0].update(size=-1), "size: -1 is out of range; it must be from 0 to 4294967296"),
        (lambda m: m["files"][0].update(sha256="F" * 64), "sha256"),
        (lambda m: m["components"].append(m["components"][0]), "component restore is listed twice"),
        (lambda m: first_artifact(m).update(path="LICENSES/Apache-2.0.txt"), "must end in .onnx"),
        (lambda m: first_artifact(m)["coverage"].update(macs_total=1), "more than all 1"),
        (lambda m: m["targets"]["onnx"].update(backend="executorch"), "is run by onnxruntime"),
        (lambda m: m["targets"].update(more=m["targets"]["onnx"]), "has artifacts for onnx"),
        (lambda m: m["targets"]["onnx"].update(kind="hexagon"), "targets.onnx.kind"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(bundle_dir: Path, change: Change, message: str) -> None:
    raw = json.loads((bundle_dir / MANIFEST).read_bytes())
    change(raw)
    with pytest.raises(BundleError, match="m: ") as caught:
        parse_manifest(json.dumps(raw).encode(), "m")
    assert message in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"NaN"])
def test_what_is_not_a_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        parse_manifest(data, "m")


def test_a_manifest_of_absurd_size_is_refused() -> None:
    with pytest.raises(BundleError, match="at most"):
        parse_manifest(b" " * (5 << 20), "m")


@given(st.text(max_size=30))
def test_a_safe_path_never_leaves_its_directory(text: str) -> None:
    try:
        path = safe_path(text)
    except ValueError:
        return
    root = Path("/a/b")
    assert (root / path).resolve().is_relative_to(root)
    assert (root / path).resolve() != root


@given(st.lists(st.sampled_from(["a", "b.c", "..", ".", "", "C:", "\\", "~"]), min_size=1, max_size=5))
def test_paths_with_special_parts_are_refused(parts: list[str]) -> None:
    legal = all(p in {"a", "b.c", "~"} for p in parts)
    try:
        safe_path("/".join(parts))
    except ValueError:
        assert not legal
    else:
        assert legal


def test_other_kernels_must_reach_what_rung_2_asked(bundle_dir: Path) -> None:
    artifact = parse_manifest((bundle_dir / MANIFEST).read_bytes(), "m").components[0].artifacts["onnx"]
    assert artifact.kernels_gate == sqnr_gate(40), "rung 2 was not run"
    coverage = Gate(metric=Metric.MAC_COVERAGE, minimum=0.95)
    rung = Rung(rung=2, passed=None, how="on the host", gates=(coverage, sqnr_gate(18)))
    assert artifact.model_copy(update={"rungs": (rung, *artifact.rungs)}).kernels_gate == sqnr_gate(18)
