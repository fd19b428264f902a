"""`bench real-size`: a checkpoint's networks by their first layers, on a tiny checkpoint."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

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
