"""A bias that is lost in the restoration that ships: its golden fails, and bisect names the layer."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import numpy_helper

from pocketcrafter.benchmarks.bisect.table import bisect
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.runtime import cli
from pocketcrafter.runtime.bundle.integrity import digest_text, sha256_of
from pocketcrafter.runtime.bundle.manifest import DIGEST, MANIFEST
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.verify import Outcome, verify
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.targets import ONNX


@pytest.fixture(scope="module")
def restoring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the shipped restoration alone, for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("restoring")
    default = yaml.safe_load(DEFAULT_RECIPE.read_text())
    alone = {"targets": ["onnx"], "components": {"restore": default["components"]["restore"]}}
    (folder / "restore.yaml").write_text(yaml.safe_dump(default | alone))
    asked = ["--recipe", str(folder / "restore.yaml"), "--stages", str(folder / "stages")]
    assert cli.run(["build", *asked, "--out", str(folder / "restore.pcbundle")]) == 0
    return folder / "restore.pcbundle"


def without_bias(bundle: Path, layer: str, out: Path) -> Path:
    """Copy a bundle whose restoration has lost the bias of a layer; the hashes fit."""
    shutil.copytree(bundle, out)
    artifact = out / "targets/onnx/restore.onnx"
    model = onnx.load(artifact)
    (bias,) = (t for t in model.graph.initializer if t.name == f"{layer}.bias_quantized")
    bias.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(bias)), bias.name))
    artifact.write_bytes(model.SerializeToString())
    raw = json.loads((out / MANIFEST).read_bytes())
    for entry in raw["files"]:
        entry.update(sha256=sha256_of(out / entry["path"]), size=(out / entry["path"]).stat().st_size)
    (out / MANIFEST).write_text(json.dumps(raw))
    (out / DIGEST).write_bytes(digest_text((out / MANIFEST).read_bytes()))
    return out


def test_a_lost_bias_fails_the_golden_and_is_named(restoring: Path, tmp_path: Path) -> None:
    """Beside the whole picture it is 37 and 40 dB, as good as INT8 needs to be: only the change shows it."""
    assert verify(restoring, threads=1).ok
    # The sum after a convolution may be its part of a fused operator: the block is shown in its place.
    for layer, named in {"decoder.1.0.project": "decoder.1.0", "down.0": "down.0"}.items():
        broken = without_bias(restoring, layer, tmp_path / layer)
        (run,) = verify(broken, threads=1).goldens
        assert run.outcome is Outcome.FAILED, layer
        assert "SQNR of `restored`" in run.reason
        assert bisect(Bundle.open(broken), Pocket.RESTORE, ONNX).ranked[0].layer == named
