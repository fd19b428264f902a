"""`bench real-size`: a checkpoint's networks by their first layers, on a tiny checkpoint."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import numpy as np
from safetensors.numpy import load_file

from pocketcrafter.benchmarks.common.random_weights import write_random
from pocketcrafter.benchmarks.real_size.measure import Lowering, layers_table, lower_layers
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.targets import ONNX


def test_a_vision_encoder_is_lowered_by_its_first_layers(latent_twin: Path, tmp_path: Path) -> None:
    lowering = Lowering(latent_twin / "critic", Role.VISION, ONNX, Precision.FP32, tmp_path)
    (row,) = lower_layers(lowering, [1])
    assert (row.layers, row.refusal, row.coverage, row.embedding_bytes) == (1, "", 1.0, None)
    assert row.bytes is not None
    assert row.bytes >= 4 * row.parameters
    assert min(ratio for ratio in row.rung2_db.values() if ratio is not None) > 100
    assert layers_table([row]).splitlines()[2].startswith("| 1 |")


def test_a_denoising_network_is_lowered_whole(latent_twin: Path, tmp_path: Path) -> None:
    (row,) = lower_layers(Lowering(latent_twin, Role.DENOISE, ONNX, Precision.FP32, tmp_path), [None])
    assert (row.refusal, row.coverage) == ("", 1.0)
    assert row.bytes is not None
    assert row.bytes >= 4 * row.parameters
    assert min(ratio for ratio in row.rung2_db.values() if ratio is not None) > 100


def test_random_weights_keep_the_spread_of_what_they_multiply(tmp_path: Path) -> None:
    shapes = {"a.weight": (64, 16, 3, 3), "norm.weight": (64,), "norm.bias": (64,)}
    assert write_random(tmp_path / "model.safetensors", shapes, "F16") == 64 * 16 * 9 + 128
    found = load_file(tmp_path / "model.safetensors")
    assert {name: array.shape for name, array in found.items()} == shapes
    assert found["a.weight"].dtype == np.float16
    assert found["a.weight"].astype(np.float32).std() == pytest.approx(1 / 12, rel=0.05)
    assert (found["norm.weight"] == 1).all()
    assert not found["norm.bias"].any()
