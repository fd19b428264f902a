"""MAXIM's loader: a model is read before TensorFlow is asked for, a false one is refused, and a small one runs."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketcrafter.benchmarks.quality.peers import load_maxim
from pocketcrafter.runtime.errors import BackendError, ConfigError, ShapeMismatchError

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None


def model() -> dict[str, Any]:
    """A graph that halves its picture, in the layout of TensorFlow.js."""
    kind = {"type": "DT_FLOAT"}
    end = {"dtype": "DT_FLOAT"}
    nodes = [
        {"name": "xs", "op": "Placeholder", "attr": {"dtype": kind, "shape": {"shape": {"unknownRank": True}}}},
        {"name": "half", "op": "Const", "attr": {"dtype": kind, "value": {"tensor": {"dtype": "DT_FLOAT"}}}},
        {"name": "out", "op": "Mul", "input": ["xs", "half"], "attr": {"T": kind}},
    ]
    weights = [{"name": "half", "shape": [], "dtype": "float32"}]
    return {
        "modelTopology": {"node": nodes},
        "signature": {"inputs": {"a": {"name": "xs:0", **end}}, "outputs": {"b": {"name": "out:0", **end}}},
        "weightsManifest": [{"paths": ["shard.bin"], "weights": weights}],
    }


def write(folder: Path, raw: object, shard: bytes = np.float32(0.5).tobytes()) -> Path:
    (folder / "models").mkdir()
    (folder / "models/model.json").write_text(json.dumps(raw))
    (folder / "models/shard.bin").write_bytes(shard)
    return folder


def test_a_folder_without_a_model_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="npm pack @upscalerjs/maxim-retouching"):
        load_maxim(tmp_path)


@pytest.mark.skipif(HAS_TENSORFLOW, reason="TensorFlow is installed")
def test_without_tensorflow_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="pip install tensorflow-cpu"):
        load_maxim(write(tmp_path, model()))


@pytest.mark.skipif(not HAS_TENSORFLOW, reason="TensorFlow is not installed")
def test_a_small_graph_runs(tmp_path: Path) -> None:
    halve = load_maxim(write(tmp_path, model()))
    picture = np.full((64, 128, 3), 100, dtype=np.uint8)
    np.testing.assert_array_equal(halve(picture), 50)
    with pytest.raises(ShapeMismatchError, match="multiples of 64"):
        halve(picture[:63])


def entry(**change: object) -> dict[str, Any]:
    raw = model()
    raw["weightsManifest"][0]["weights"][0].update(change)
    return raw


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([], "not a TensorFlow.js graph model"),
        ({}, "weightsManifest"),
        (entry(shape=[1 << 62]), "shards end within half"),
        (entry(shape=[-1]), "negative side"),
        (entry(dtype="string"), "string"),
        (entry(quantization={"scale": 1}), "quantized"),
        ({**model(), "signature": {"inputs": {}, "outputs": {}}}, "not a TensorFlow.js graph model"),
    ],
)
def test_what_is_no_model_is_refused(raw: object, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_maxim(write(tmp_path, raw))


def test_shards_are_read_from_beside_the_model_only(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(4))
    raw = model()
    raw["weightsManifest"][0]["paths"] = [str(secret), "../../secret.bin"]
    with pytest.raises(ConfigError, match=r"models/secret\.bin"):
        load_maxim(write(tmp_path, raw))
