"""The sections on time, size and harm, and the leaderboard: true to what they were given, whole without a network."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.bisect.results import BisectReport, LayerRow
from pocketcrafter.benchmarks.cli import bench
from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.parity.results import store_rungs
from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.results import NetworkProfile, OpProfile, ProfileReport
from pocketcrafter.benchmarks.quantization.laboratory import Head
from pocketcrafter.benchmarks.quantization.sensitivity import SensitivityReport, UnitDamage
from pocketcrafter.benchmarks.quantization.subjects import Damage
from pocketcrafter.benchmarks.quantization.trials import TrialSettings
from pocketcrafter.benchmarks.report.card import read_card
from pocketcrafter.benchmarks.report.command import report_command
from pocketcrafter.benchmarks.report.page import leaderboard_page, ranked
from pocketcrafter.runtime.bundle.gates import Figure, Metric
from pocketcrafter.runtime.bundle.results import Precision, Rung
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import Pocket

HOSTILE = '</script><img src="https://example.com/x.png">'
COMPONENTS = (Pocket.CRITIC, Pocket.TONE, Pocket.RESTORE)


@pytest.fixture
def proved(make_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """A bundle with rung 3."""
    root = make_bundle(tmp_path / "small.pcbundle")
    rung = Rung(rung=3, passed=True, how="photos", figures=(Figure(metric=Metric.DELTA_E_MEAN, value=0.25),))
    store_rungs(root, {(component, "onnx"): (rung,) for component in COMPONENTS}, {})
    return root


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    ops = (
        OpProfile(op="Conv", layer="stem.0", exact=True, kind=LayerKind.CONVOLUTION, ms=6.0, macs=9, inside=True),
        OpProfile(op=HOSTILE, layer="stem.0", exact=False, ms=1.0, inside=False),
        OpProfile(op="Conv", layer="tail", exact=True, kind=LayerKind.POINTWISE, ms=3.0, macs=9, inside=True),
    )
    networks = [
        NetworkProfile(
            component=Pocket.TONE, target=target, precision=Precision.INT8, engine="test", runs=runs, total_ms=total,
            ops=ops if runs else tuple(op.model_copy(update={"ms": None}) for op in ops),
        )
        for target, runs, total in (("onnx", 3, 11.0), ("coreml:ios18", 0, None))
    ]  # fmt: skip
    report = ProfileReport(
        bundle="small", manifest_sha256="0" * 64, machine=this_machine(), threads=1, networks=tuple(networks)
    )
    path = tmp_path / "profile.json"
    path.write_text(report.model_dump_json())
    return path


@pytest.fixture
def sensitivity(tmp_path: Path) -> Path:
    trial = TrialSettings(component="restore", weights=Path("w"), data=Path("d"), split="validation", photos=2)
    units = [
        UnitDamage(unit=name, damage=Damage(delta_e=damage, sqnr_db=40), saved=9)
        for name, damage in (("depthwise_first", 0.7), (HOSTILE, 0.1))
    ]
    report = SensitivityReport(
        head=Head(trial=trial, weights_sha256="0" * 64), everything=Damage(delta_e=1, sqnr_db=30), units=tuple(units)
    )
    path = tmp_path / "sensitivity.json"
    path.write_text(report.model_dump_json())
    return path


def references(page: str) -> list[str]:
    """Return what a page asks from outside itself."""
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            del tag
            found.extend(v or "" for n, v in attrs if n in {"src", "href", "xlink:href", "srcset", "data"})

    Parser().feed(page)
    return [reference for reference in found if not reference.startswith(("#", "data:"))]


def written(arguments: list[str], out: Path) -> tuple[str, dict[str, Any]]:
    result = CliRunner().invoke(report_command, [*arguments, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    return out.read_text(encoding="utf-8"), json.loads(result.stdout)


def test_the_report_shows_where_time_size_and_harm_come_from(
    proved: Path, profile: Path, sensitivity: Path, tmp_path: Path
) -> None:
    arguments = [str(proved), "--profile", str(profile), "--sensitivity", str(sensitivity)]
    page, card = written(arguments, tmp_path / "report.html")
    for section in ("size", "profile", "sensitivity"):
        assert f'<h2 id="{section}">' in page
        assert f'href="#{section}"' in page
    assert 'tone on onnx <span class="soft">int8: 11.00 ms, 3 operators, 2 crossings' in page
    assert 'tone on coreml:ios18 <span class="soft">int8, 3 operators' in page  # a census has no times
    assert "depthwise_first: 0.7" in page
    assert "ΔE 0.25" in page
    assert HOSTILE not in page
    assert references(page) == []
    assert card["targets"]["onnx"]["delta_e"] == 0.25


def test_icicles_are_as_wide_as_their_shares(proved: Path, profile: Path, tmp_path: Path) -> None:
    page, _ = written([str(proved), "--profile", str(profile)], tmp_path / "report.html")
    svg = page[page.index('aria-label="Where the time of tone on onnx goes"') :]
    svg = svg[: svg.index("</svg>")]
    boxes = re.findall(r'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+)[^"]*"[^>]*style="fill: var', svg)
    assert boxes
    widths = sorted(abs(float(right) - float(left)) for left, right in boxes)
    whole = widths[-1]
    shares = [round(width / whole, 2) for width in widths]
    assert shares == [0.3, 0.3, 0.7, 0.7, 1.0]  # tail twice, as a part and as a layer; stem with what follows it twice


def test_what_is_no_sensitivity_is_refused(proved: Path, profile: Path, tmp_path: Path) -> None:
    command = [str(proved), "--sensitivity", str(profile), "--out", str(tmp_path / "r.html")]
    result = CliRunner().invoke(report_command, command)
    assert isinstance(result.exception, ConfigError)
    assert "quantize sensitivity --json" in str(result.exception)


def test_the_leaderboard_ranks_what_is_proved_before_what_is_small(
    proved: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    failed = make_bundle(tmp_path / "failed.pcbundle", second_passed=False, text=HOSTILE)
    cards = []
    for name, bundle in (("failed", failed), ("proved", proved)):
        _, card = written([str(bundle)], tmp_path / f"{name}.html")
        cards.append(tmp_path / f"{name}.json")
        cards[-1].write_text(json.dumps(card))
    out = tmp_path / "leaderboard.html"
    result = CliRunner().invoke(bench, ["leaderboard", *map(str, cards), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    assert [row["state"] for row in json.loads(result.stdout)] == ["passed where run", "failed"]
    page = out.read_text(encoding="utf-8")
    assert page.index("0.25") < page.index("✕ failed")
    assert references(page) == []


def test_the_leaderboard_warns_of_several_machines(proved: Path, tmp_path: Path) -> None:
    _, raw = written([str(proved)], tmp_path / "r.html")
    path = tmp_path / "card.json"
    path.write_text(json.dumps(raw | {"machine": "One"}))
    one = read_card(path)
    assert "cannot be compared" in leaderboard_page([one, one.model_copy(update={"machine": "Two"})])
    assert "cannot be compared" not in leaderboard_page([one, one])
    assert len(ranked([one, one])) == 2
    path.write_text("{}")
    with pytest.raises(ConfigError, match="report --json"):
        read_card(path)


def test_the_sections_fit_a_phone(browser: Any, proved: Path, profile: Path, sensitivity: Path, tmp_path: Path) -> None:
    arguments = [str(proved), "--profile", str(profile), "--sensitivity", str(sensitivity)]
    written(arguments, tmp_path / "report.html")
    browser.open(tmp_path / "report.html")
    browser.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    assert browser.complaints() == []


def test_the_report_shows_the_errors_of_layers(proved: Path, tmp_path: Path) -> None:
    rows = tuple(
        LayerRow(
            node=f"n{place}", layer=name, op="conv2d", local_db=own, rounding_db=33, fault_db=fault, drift_db=own - 1
        )
        for place, (name, own, fault) in enumerate(
            (("head", 34.0, 1000.0), (HOSTILE, 12.0, 12.1), ("tail", 1000.0, 1000.0))
        )
    )
    report = BisectReport(
        bundle="other", component=Pocket.TONE, target="onnx", precision=Precision.INT8, operators=9, layers=rows
    )
    layers = tmp_path / "layers.json"
    layers.write_text(report.model_dump_json())
    page, _ = written([str(proved), "--bisect", str(layers)], tmp_path / "report.html")
    assert '<h2 id="layers">' in page
    assert 'href="#layers"' in page
    assert 'aria-label="Errors of the layers of tone on onnx"' in page
    assert "3 of 9 operators seen; of another bundle, other: 1 stands out, first" in page
    assert "rounding alone" in page
    assert HOSTILE not in page
    assert references(page) == []
