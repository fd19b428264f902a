"""The Kotlin core agrees with Python: the same constants, the same answers."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from pocketcrafter.benchmarks.device.results import DeviceReport
from pocketcrafter.benchmarks.latency.results import read_latency
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.bundle.writer import amend
from pocketcrafter.runtime.shippable.report import look_through
from pocketcrafter.runtime.shippable.rules import Rule
from pocketcrafter.runtime.vectors.kotlin import FOLDER, kotlin_sources

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "android_demo"
OUT = ROOT / "build/android"
BUNDLE = ROOT / "build/default.pcbundle"
sys.path.insert(0, str(DEMO))

from toolchain.apk import MINIMUM_API, TARGET_API  # noqa: E402
from toolchain.packages import GRADLE_DEPENDENCIES, KOTLIN  # noqa: E402

SKIPPED = 77


def test_the_constants_in_kotlin_are_pythons() -> None:
    written = {name: (ROOT / FOLDER / name).read_text(encoding="utf-8") for name in kotlin_sources()}
    assert written == kotlin_sources(), "run: python -m pocketcrafter.runtime.vectors"
    assert {path.name for path in (ROOT / FOLDER).rglob("generated/*")} == {
        Path(name).name for name in kotlin_sources() if "/generated/" in name
    }


def test_the_core_imports_nothing_of_android() -> None:
    sources = sorted((ROOT / FOLDER / "kotlin").rglob("*.kt"))
    assert len(sources) > 20
    packages = {line.split()[1] for path in sources for line in path.read_text().splitlines() if line[:7] == "import "}
    assert not [name for name in packages if not name.startswith(("org.pocketcrafter.core.", "java.", "kotlin."))]


def test_the_kotlin_tests_pass_on_this_machine(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    pairs = []
    if BUNDLE.is_dir():
        latent = tiled(request.getfixturevalue("layered_bundle"), tmp_path / "tiled.pcbundle")
        pairs = ["--bundle", str(BUNDLE), "--latent", str(latent)]
    printed = built("test", *pairs)
    assert "\nOK (" in printed
    for path in (OUT / "reports/exif-0.jpg", OUT / "reports/exif-1.jpg"):
        with Image.open(path) as saved:
            exif = saved.getexif()
            assert (exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make]) == (1, "PocketCrafter")
            assert exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (48.0, 12.0, 30.0)
            assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] == bytes(range(100))
    if BUNDLE.is_dir():
        latency = read_latency(OUT / "reports/latency.json")
        assert {case.component for case in latency.cases} >= {"critic", "tone", "restore"}
        assert all(point.rss_mib > 0 for curve in latency.sustained for point in curve.points)
        device = DeviceReport.model_validate_json((OUT / "reports/goldens.json").read_text())
        assert device.manifest_sha256 == latency.manifest_sha256
        assert device.goldens
        assert device.failures == []


def test_the_demo_is_packed_and_asks_for_nothing_but_camera_and_media() -> None:
    built("apk")
    report = look_through(OUT / "pocketcrafter-demo.apk")
    # Without a bundle it is packed here; `make android` packs the default one.
    assert {finding.rule for finding in report.findings} - {Rule.BUNDLE} == {Rule.SIGNATURE}
    assert {part.name for part in report.parts} >= {"libraries of arm64-v8a", "classes"}


def test_gradle_depends_on_what_is_compiled_here() -> None:
    gradle = "".join(path.read_text() for path in sorted(DEMO.rglob("*.gradle.kts")))
    named = set(re.findall(r'(?:api|implementation)\("([^"]+)"\)', gradle))
    assert named == GRADLE_DEPENDENCIES
    assert re.findall(r'kotlin\("android"\) version "([^"]+)"', gradle) == [KOTLIN.version]
    assert re.findall(r"minSdk = (\d+)", gradle) == [str(MINIMUM_API)] * 2
    assert re.findall(r"targetSdk = (\d+)", gradle) == [str(TARGET_API)]


def test_both_languages_have_every_string() -> None:
    texts = [(DEMO / f"app/src/main/res/{folder}/strings.xml").read_text() for folder in ("values", "values-zh")]
    strings = [dict(re.findall(r'<string name="(\w+)">(.*)</string>', text)) for text in texts]
    gaps = [{name: re.findall(r"%\d\$[\d.]*\w", text) for name, text in found.items()} for found in strings]
    assert gaps[0] == gaps[1]
    assert len(gaps[0]) > 40
    used = "".join(path.read_text() for path in (DEMO / "app/src/main").rglob("*") if path.suffix in {".kt", ".xml"})
    assert [name for name in gaps[0] if f"R.string.{name}" not in used and f"@string/{name}" not in used] == []


def tiled(bundle: Path, out: Path) -> Path:
    """Copy a latent bundle, and let its artist edit a photo's own pixels in a few tiles."""

    def allowed(manifest: Manifest) -> Manifest:
        settings = manifest.settings | {"artist": {**manifest.settings["artist"], "tiles": 4}}
        return manifest.model_copy(update={"settings": settings})

    shutil.copytree(bundle, out)
    amend(out, allowed, {})
    return out


def built(*words: str) -> str:
    """Run the build; skips where it says that a tool is missing, and returns what it printed."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, str(DEMO / "build.py"), *words], capture_output=True, text=True, check=False
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout
