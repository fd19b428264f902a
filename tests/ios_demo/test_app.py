"""What of the iOS app can be checked without a Mac: strings, project, privacy manifest, its models' contract."""

import json
import plistlib
import re
from pathlib import Path

import pytest
import yaml

from pocketcrafter.runtime.bundle.manifest import SCHEMA_VERSION, Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.plan import RESTORATION, Attribute
from pocketcrafter.runtime.pocket import POCKET_SPECS, PROSE_LAYERS, PROSE_LENGTH, PROSE_WORDS, TOKEN_DIM, Pocket

APP = Path(__file__).resolve().parents[2] / "ios_demo/App"
SOURCES = sorted((APP / "Sources").glob("*.swift"))
RUNNER = APP.parent / "PocketCrafterKit/Sources/CoreMLRunner/CoreMLRunners.swift"


def strings(name: str) -> dict[str, dict[str, dict[str, object]]]:
    return json.loads((APP / f"Resources/{name}.xcstrings").read_text(encoding="utf-8"))["strings"]  # type: ignore[no-any-return]


def test_every_string_that_people_read_is_in_chinese_too() -> None:
    shown = re.compile(r'(?:Text|Label|navigationTitle)\("((?:[^"\\]|\\\([^)]*\)+)*)"')
    used = {re.sub(r"\\\(.*?\)(?= |$)", "%lld", key) for p in SOURCES for key in shown.findall(p.read_text())}
    tones = {a.value for a in Attribute if a not in RESTORATION}
    assert len(used) > 15
    assert used | tones == set(strings("Localizable"))
    for name in ("Localizable", "InfoPlist"):
        for key, entry in strings(name).items():
            assert "zh-Hans" in entry["localizations"], key
            assert key not in tones or "en" in entry["localizations"], key


def test_the_project_names_what_is_there_and_asks_in_both_languages() -> None:
    project = yaml.safe_load((APP / "project.yml").read_text(encoding="utf-8"))
    target = project["targets"]["PocketCrafter"]
    plain = [source for source in target["sources"] if isinstance(source, str)]
    assert all((APP / folder).is_dir() for folder in plain)
    package = (APP / project["packages"]["PocketCrafterKit"]["path"] / "Package.swift").read_text()
    for dependency in target["dependencies"]:
        assert f'.library(name: "{dependency["product"]}"' in package
    asked = {key for key in target["info"]["properties"] if key.endswith("UsageDescription")}
    assert asked == set(strings("InfoPlist"))
    assert target["info"]["properties"]["CFBundleLocalizations"] == ["en", "zh-Hans"]


def test_the_privacy_manifest_collects_nothing() -> None:
    manifest = plistlib.loads((APP / "Resources/PrivacyInfo.xcprivacy").read_bytes())
    assert manifest["NSPrivacyTracking"] is False
    assert manifest["NSPrivacyCollectedDataTypes"] == manifest["NSPrivacyTrackingDomains"] == []
    source = "".join(path.read_text() for path in SOURCES)
    assert not re.search(r"URLSession|NWConnection|import Network", source)


def test_the_names_that_the_decoders_state_is_read_by_are_the_contracts() -> None:
    """`CoreMLDecoder` writes them out: inputs, state and logits are not those of a component that it was handed."""
    source = RUNNER.read_text()
    spec = POCKET_SPECS[Pocket.DECODER]
    shapes = {t.name: t.shape for t in (*spec.inputs, *spec.outputs)}
    assert shapes["word"][-1] == shapes["logits"][-1] == PROSE_WORDS
    assert (shapes["soft"][-1], shapes["position"][-1]) == (TOKEN_DIM, PROSE_LENGTH)
    named = set(re.findall(r'"([a-z]+)(?:": \(|_\\\(layer\)")', source)) | {"logits"}
    states = {re.sub(r"_\d+$", "", t.name) for t in spec.inputs[3:]}
    assert named >= {"word", "soft", "position", "logits"} | states
    assert len(spec.inputs) == 3 + 2 * PROSE_LAYERS


def test_the_models_of_a_built_bundle_have_the_functions_that_swift_asks_for() -> None:
    """Needs a bundle with Core ML targets: `pocketcrafter build --all-targets`."""
    folder = Path(__file__).resolve().parents[2] / "build/all.pcbundle"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: `pocketcrafter build --all-targets --out build/all.pcbundle` makes it")
    manifest: Manifest = Bundle.open(folder).manifest
    assert manifest.schema_version == SCHEMA_VERSION
    artifacts = {c.spec.name: c.artifacts for c in manifest.components}
    for kind in ("coreml:ios18", "coreml:ios26"):
        functions = {f.name: f for f in artifacts["decoder"][kind].functions}
        assert set(functions) == {"decode", "prefill"}
        assert int(functions["prefill"].inputs[0].shape[0]) == prefill_rows()
        assert [t.name for t in functions["decode"].states] == [t.name for t in POCKET_SPECS[Pocket.DECODER].inputs[3:]]


def prefill_rows() -> int:
    found = re.search(r"prefillRows = (\d+)", RUNNER.read_text())
    assert found is not None
    return int(found[1])
