"""What of the iOS app can be checked without a Mac: strings, project, privacy manifest, its models' contract."""

import json
import plistlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.components import TensorSpec
from pocketcrafter.runtime.plan import RESTORATION, Attribute
from pocketcrafter.runtime.pocket import POCKET_SPECS, PROSE_LAYERS, PROSE_LENGTH, PROSE_WORDS, TOKEN_DIM, Pocket

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "ios_demo/App"
SOURCES = sorted((APP / "Sources").glob("*.swift"))
RUNNER = APP.parent / "PocketCrafterKit/Sources/CoreMLRunner/CoreMLRunners.swift"

STATEFUL: Final = ("coreml:ios18", "coreml:ios26")


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
        product = dependency.get("product")
        assert f'.library(name: "{product}"' in package if product else dependency["target"] in project["targets"]
    asked = {key for key in target["info"]["properties"] if key.endswith("UsageDescription")}
    assert asked == set(strings("InfoPlist"))
    assert target["info"]["properties"]["CFBundleLocalizations"] == ["en", "zh-Hans"]


def test_the_asset_pack_and_the_on_demand_resource_are_the_ones_that_the_app_asks_for() -> None:
    pack = json.loads((APP / "AssetPack.json").read_text(encoding="utf-8"))
    store = (APP / "Sources/BundleStore.swift").read_text()
    named = dict(re.findall(r'static let (name|suffix|tag) = "(\w+)"', store))
    project = yaml.safe_load((APP / "project.yml").read_text(encoding="utf-8"))["targets"]
    resource = next(s for s in project["PocketCrafter"]["sources"] if isinstance(s, dict))
    folder = f"{named['name']}.{named['suffix']}"
    assert (pack["assetPackID"], pack["fileSelectors"]) == (named["tag"], [{"directory": folder}])
    # Part of the app, as the README says, unless whoever builds it adds the tag.
    assert (resource.get("resourceTags"), resource["path"]) == (None, folder)
    assert f"resourceTags: [{named['tag']}]" in (APP.parent / "README.md").read_text(encoding="utf-8")
    groups = [t["entitlements"]["properties"]["com.apple.security.application-groups"] for t in project.values()]
    assert groups == [[project["PocketCrafter"]["info"]["properties"]["BAAppGroupID"]]] * 2


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


@pytest.fixture
def apple_bundle() -> Bundle:
    """Return the bundle of Core ML targets that was built last."""
    folders = [ROOT / f"build/{name}.pcbundle" for name in ("ios", "all")]
    built = [folder for folder in folders if folder.is_dir()]
    if not built:
        command = "pocketcrafter build --target coreml:ios18 --out build/ios.pcbundle"
        pytest.skip(f"there is no bundle of Core ML targets: `{command}` makes it")
    return Bundle.open(built[0])


def test_packages_take_and_give_what_swift_hands_over_and_reads(apple_bundle: Bundle) -> None:
    """`CoreMLRunner` names the tensors of the contract; `CoreMLDecoder` those of two functions and a state."""
    kinds = [kind for kind in apple_bundle.manifest.targets if kind.startswith("coreml:")]
    assert kinds
    for kind in kinds:
        for component in apple_bundle.manifest.components:
            spec, package = component.spec, apple_bundle.path / component.artifacts[kind].path
            functions = functions_of(package)
            for name, function in functions.items():
                states = {state.name for state in function.state}
                given = {tensor: shape for tensor, shape in shapes(spec.inputs).items() if tensor not in states}
                wanted = shapes(spec.outputs)
                if name == "prefill":
                    given = {tensor: (prefill_rows(), *shape[1:]) for tensor, shape in given.items()}
                    wanted = {"logits": (prefill_rows(), PROSE_WORDS)}
                assert features(function.input) == given, (kind, spec.name)
                assert features(function.output).items() >= wanted.items(), (kind, spec.name)
            if kind in STATEFUL and spec.name == Pocket.DECODER:
                assert set(functions) == {"decode", "prefill"}
                assert states == {tensor.name for tensor in spec.inputs[3:]}


def functions_of(package: Path) -> dict[str, Any]:
    """Return the functions of a package as its specification describes them; a single one has no name."""
    proto = pytest.importorskip("coremltools.proto.Model_pb2")
    model = proto.Model.FromString(next(package.rglob("*.mlmodel")).read_bytes())
    return {function.name: function for function in model.description.functions} or {"": model.description}


def features(described: Iterable[Any]) -> dict[str, tuple[int, ...]]:
    return {feature.name: tuple(feature.type.multiArrayType.shape) for feature in described}


def shapes(tensors: Iterable[TensorSpec]) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in tensors}


def prefill_rows() -> int:
    found = re.search(r"prefillRows = (\d+)", RUNNER.read_text())
    assert found is not None
    return int(found[1])
