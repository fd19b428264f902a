"""Families: which pipeline a bundle has, what is said of one that has none, and that the rest takes it all the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pocketcrafter.runtime import cli
from pocketcrafter.runtime.bundle.integrity import digest_text
from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.split import split
from pocketcrafter.runtime.bundle.verify import verify
from pocketcrafter.runtime.errors import BundleError, NoPipelineError
from pocketcrafter.runtime.families import Pipeline
from pocketcrafter.runtime.pipeline import PhotoPipeline

Change = Callable[[dict[str, Any]], Any]


def changed(bundle: Path, change: Change) -> Path:
    raw = json.loads((bundle / MANIFEST).read_bytes())
    change(raw)
    data = json.dumps(raw).encode()
    (bundle / MANIFEST).write_bytes(data)
    (bundle / DIGEST).write_bytes(digest_text(data))
    return bundle


def test_a_pocket_bundle_has_the_photo_pipeline(bundle_dir: Path) -> None:
    assert isinstance(Pipeline.open(bundle_dir), PhotoPipeline)


def test_a_bundle_of_networks_is_whole_and_enhances_nothing(
    bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = changed(bundle_dir, lambda m: m.update(family="networks", settings={}))
    assert verify(networks, 1).ok
    (part,) = split(networks, tmp_path / "parts").values()
    assert Bundle.open(part).manifest.family == "networks"
    assert cli.run(["inspect", str(networks)]) == 0
    with pytest.raises(NoPipelineError, match=r"holds networks alone \(restore\).*`pocketcrafter inspect`"):
        Pipeline.open(networks)
    capsys.readouterr()
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"")
    assert cli.run(["enhance", str(photo), "--bundle", str(networks), "-o", str(tmp_path / "out.png")]) == 2
    assert "holds networks alone (restore)" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


def test_a_family_of_a_newer_version_is_measured_but_not_driven(bundle_dir: Path) -> None:
    newer = changed(bundle_dir, lambda m: m.update(family="video", settings={"frames": 4}))
    assert verify(newer, 1).ok
    with pytest.raises(NoPipelineError, match="does not know; it knows pocket, networks"):
        Pipeline.open(newer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["settings"]["gate"]["attributes"].pop("tint_mired"), "no gate for tint_mired"),
        (lambda m: m["settings"].pop("gate"), "gate: missing"),
        (lambda m: m["components"][0]["spec"].update(name="vision"), "has no component vision"),
        (lambda m: m["components"][0]["spec"].update(name="judge"), "its gate says nothing of that"),
        (lambda m: m["settings"]["gate"]["attributes"]["contrast"].update(presence="0.5"), "presence: "),
        (lambda m: m["components"][0]["spec"].update(name="decoder"), "the decoder needs tokenizer/tokenizer.json"),
    ],
)
def test_what_a_pocket_bundle_lacks_is_told(bundle_dir: Path, change: Change, message: str) -> None:
    with pytest.raises(BundleError, match="family pocket") as caught:
        Pipeline.open(changed(bundle_dir, change))
    assert message in str(caught.value)
    (problem,) = verify(bundle_dir, 1).problems
    assert message in problem
