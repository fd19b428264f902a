"""The report: true to the manifest, whole in one file, and deaf to whatever a name or a reason tries to smuggle in."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.common.timing import Interval, Timing
from pocketcrafter.benchmarks.latency.results import (
    CaseResult,
    LatencyReport,
    PhotoResult,
    Ratio,
    SustainedCurve,
    SustainedPoint,
)
from pocketcrafter.benchmarks.report import page as page_module
from pocketcrafter.benchmarks.report.command import report_command
from pocketcrafter.benchmarks.report.facts import State, target_facts
from pocketcrafter.benchmarks.report.page import report_page
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.pocket import Pocket

HOSTILE = '</script><img src="https://example.com/x.png" onerror="alert(1)">$x^2$'
REFERENCES = {"src", "href", "srcset", "action", "data", "poster", "formaction", "background", "xlink:href"}


class Page(HTMLParser):
    """Collects elements, references and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def references(self) -> list[str]:
        return [value or "" for _, attrs in self.elements for name, value in attrs.items() if name in REFERENCES]


def latency_of(runner: str) -> LatencyReport:
    timings = [Timing.of([10.0 + 0.1 * i for i in range(20)]), Timing.of([30.0, 31.0])]
    point = SustainedPoint(
        seconds=60, inferences=9, median_ms=12, rss_mib=80, frequency_mhz=None, temperature_celsius=None
    )
    return LatencyReport(
        schema_version=4,
        bundle="small",
        manifest_sha256="0" * 64,
        machine=this_machine(),
        started="2026-01-01T00:00:00+00:00",
        repeats=20,
        noise_limit=0.2,
        cases=tuple(
            CaseResult(
                runner=name,
                ours=ours,
                precision=Precision.INT8,
                component=Pocket.TONE,
                threads=1,
                load_ms=(5.0,),
                first_ms=(20.0,),
                in_a_row=1,
                warm=timing,
                cpu_ms=10,
                base_rss_mib=50,
                peak_rss_mib=100,
                sqnr_db=None,
                attempts=2,
                noisy=not ours,
            )
            for name, ours, timing in zip((runner, "torch-eager-fp32"), (True, False), timings, strict=True)
        ),
        ratios=(
            Ratio(
                component=Pocket.TONE,
                threads=1,
                ours=runner,
                competitor="torch-eager-fp32",
                ratio=3.0,
                interval=Interval(low=2.5, high=3.5),
                cpu_ratio=3.1,
            ),
        ),
        photos=tuple(
            PhotoResult(
                target="onnx",
                megapixels=12,
                restoration=restoration,
                threads=1,
                load_ms=(20.0,),
                first_ms=(2_500.0,),
                base_rss_mib=90,
                warm=Timing.of([14_000.0 if restoration else 2_000.0]),
                stages_ms={"decode": 100.0, "develop": 900.0},
                cpu_ms=1500,
                peak_rss_mib=300,
                attempts=1,
                noisy=False,
            )
            for restoration in (False, True)
        ),
        sustained=(SustainedCurve(runner=runner, component=Pocket.TONE, threads=1, points=(point, point)),),
    )


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    ramp = np.linspace(0, 255, 200).astype(np.uint8)
    path = tmp_path / 'a "quoted" & <b>bold<b>.png'
    Image.fromarray(np.stack([np.tile(ramp, (120, 1))] * 3, axis=-1)).save(path)
    return path


@pytest.fixture
def full_report(make_bundle: Callable[..., Path], photo: Path, tmp_path: Path) -> Path:
    """A report of a bundle whose every free text is hostile, with latency and a photo, by the command."""
    bundle = make_bundle(tmp_path / "hostile.pcbundle", text=HOSTILE)
    latency, out = tmp_path / "latency.json", tmp_path / "report.html"
    latency.write_text(latency_of(HOSTILE).model_dump_json())
    arguments = [str(bundle), "--out", str(out), "--latency", str(latency), "--photos", str(photo), "--json"]
    result = CliRunner().invoke(report_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["targets"]["onnx"]["state"] == "passed where run"
    return out


def test_nothing_points_outside_and_hostile_words_stay_words(full_report: Path) -> None:
    text = full_report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.references()
    assert all(ref.startswith(("#", "data:")) for ref in page.references())
    assert not re.findall(r"url\((?!#)|@import", text)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    assert "b" not in {tag for tag, _ in page.elements}
    # Said in the coverage, the licenses, the training data and the latency, each time in full.
    assert page.words.count(HOSTILE) >= 4
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert "default-src 'none'" in policy


def test_every_picture_and_control_has_a_name(full_report: Path) -> None:
    elements = Page(full_report.read_text(encoding="utf-8")).elements
    assert all(attrs.get("alt") for tag, attrs in elements if tag == "img")
    assert all(attrs.get("aria-label") and attrs.get("role") == "img" for tag, attrs in elements if tag == "svg")
    assert all(attrs.get("aria-label") for tag, attrs in elements if tag in {"input", "meter"})
    assert {tag for tag, _ in elements} >= {"img", "svg", "input", "meter", "main", "h1", "nav", "caption"}
    assert ("html", {"lang": "en"}) in elements
    identifiers = [attrs["id"] for _, attrs in elements if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    links = [ref[1:] for ref in Page(full_report.read_text(encoding="utf-8")).references() if ref.startswith("#")]
    assert set(links) <= set(identifiers)


def test_it_opens_without_complaint_and_the_slider_moves_by_keyboard(full_report: Path, browser) -> None:  # noqa: ANN001
    browser.open(full_report)
    assert browser.evaluate("document.querySelectorAll('.pair input').length") == 1
    browser.evaluate("document.querySelector('.pair input').focus()")
    before = browser.evaluate("getComputedStyle(document.querySelector('.before')).clipPath")
    for _ in range(10):
        browser.press("ArrowRight", 39)
    after = browser.evaluate("getComputedStyle(document.querySelector('.before')).clipPath")
    assert browser.evaluate("document.querySelector('.pair input').getAttribute('aria-valuetext')") == "60 % before"
    assert before != after
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("data:", "file:"))] == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_the_width_of_a_phone(full_report: Path, browser, width: int) -> None:  # noqa: ANN001
    browser.open(full_report)
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 1000
    )
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_a_rung_that_was_not_run_is_not_passed(bundle: Path) -> None:
    (target,) = target_facts(Bundle.open(bundle).manifest)
    assert target.state is State.PARTLY
    assert [step.state for step in target.components[0].ladder] == [
        State.NOT_RUN,
        State.PASSED,
        State.PASSED,
        State.NOT_RUN,
        State.NOT_RUN,
    ]
    assert "Not run for every component: rung 0" in target.verdict
    assert target.components[0].ladder[2].figure == "45.5 dB"


def test_a_failed_rung_fails_its_target(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    bundle = Bundle.open(make_bundle(tmp_path / "failed.pcbundle", second_passed=False))
    (target,) = target_facts(bundle.manifest)
    assert target.state is State.FAILED
    assert target.verdict.startswith("Must not ship: critic failed rung 2")
    assert "Must not ship" in Page(report_page(bundle)).words


def test_a_fallback_without_leave_fails_its_target(bundle: Path) -> None:
    raw = Bundle.open(bundle).manifest.model_dump(mode="json")
    raw["components"][2]["artifacts"]["onnx"]["coverage"]["fallbacks"][0]["allowed"] = False
    (target,) = target_facts(type(Bundle.open(bundle).manifest).model_validate(raw))
    assert target.state is State.FAILED
    assert "restore runs Resize outside the accelerated backend without leave" in target.verdict


def test_a_damaged_bundle_gets_no_report(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root = make_bundle(tmp_path / "damaged.pcbundle")
    artifact = root / "targets/onnx/tone.onnx"
    artifact.write_bytes(artifact.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="damaged"):
        CliRunner().invoke(report_command, [str(root), "--out", str(tmp_path / "r.html")], catch_exceptions=False)
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("option", ["--latency", "--quality"])
def test_a_result_of_another_kind_is_refused(option: str, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a": 1}')
    arguments = [str(bundle), "--out", str(tmp_path / "r.html"), option, str(tmp_path / "other.json")]
    with pytest.raises(ConfigError, match=r"not what `pocketcrafter bench \w+ --json` writes"):
        CliRunner().invoke(report_command, arguments, catch_exceptions=False)


def test_latency_of_another_build_is_told(bundle: Path) -> None:
    words = Page(report_page(Bundle.open(bundle), latency_of("onnx"))).words
    assert "Measured on another build of this bundle." in words
    assert "Host figures, not a phone's." in words
    assert "1 of 4 measurements spread by more than 20 %" in words
    assert "3.00× (2.50–3.50)" in words
    assert "Restoration at 12 MP on onnx with 1 thread costs 1.00 s per megapixel." in words


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(scheme: str) -> None:
    style = (Path(page_module.__file__).parent / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme == "dark"]))
    on_paper = [(ink, paper) for ink in ("ink", "soft", "link") for paper in ("paper", "card")]
    on_chips = [(state, f"{state}-paper") for state in ("good", "part", "bad", "open")]
    for ink, paper in on_paper + on_chips:
        brighter, darker = sorted((luminance(colors[ink]), luminance(colors[paper])), reverse=True)
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5, (ink, paper)


def luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    encoded = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in encoded]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))
