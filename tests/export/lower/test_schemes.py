"""Precisions of weights and of activations, each on a target whose toolchain really has it."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind


class Wide(nn.Module):
    """Layers that are large enough to be compressed: whole blocks of inputs, whole groups of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(12, 64, 3, padding=1), nn.Hardswish(), nn.Conv2d(64, 64, 3, padding=1))
        self.tail = nn.Conv2d(64, 12, 1)
        self.condition = nn.Linear(3, 12, bias=False)

    def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
        x = self.body(F.pixel_unshuffle(tile, 2)) + 1
        x = self.tail(x) * self.condition(amounts).reshape(1, 12, 1, 1)
        return F.pixel_shuffle(x, 2)


@pytest.fixture
def wide() -> nn.Module:
    torch.manual_seed(0)
    return Wide().eval()


def _lowered(
    target: TargetKind, precision: Precision, model: nn.Module, spec: ComponentSpec, samples: list[Sample], folder: Path
) -> LoweredArtifact:
    folder.mkdir(exist_ok=True)
    out = folder / f"wide{TARGETS[target].suffix}"
    return lower(LoweringRequest(model, spec, samples, precision, {target: out}))[target]


def _size(path: Path) -> int:
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


@pytest.mark.parametrize(
    ("target", "precision", "least_db", "bits"),
    [
        (TargetKind("coreml:ios18"), Precision.W4, 35, 4.6),
        (TargetKind("coreml:ios18"), Precision.PALETTE4, 30, 4.2),
        (TargetKind("coreml:ios17"), Precision.PALETTE6, 45, 6.2),
        (TargetKind("executorch-coreml"), Precision.W4, 35, 4.6),
    ],
)
def test_core_ml_packages_hold_few_bits_and_compute_what_torch_does(
    target: TargetKind,
    precision: Precision,
    least_db: float,
    bits: float,
    wide: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    pytest.importorskip("coremltools")
    made = _lowered(target, precision, wide, spec, samples[:2], tmp_path)
    whole = _lowered(target, Precision.FP16, wide, spec, samples[:2], tmp_path / "whole")
    assert made.rung1[0].reaches(least_db)
    assert not made.rung1[0].reaches(least_db + 25), "nothing was rounded"
    assert made.rung2[0].reaches(55), "the package computes something else than torch with the same weights"
    saved = 8 * (_size(whole.path) - _size(made.path)) / (12 * 64 * 9 + 64 * 64 * 9)
    assert saved > 0.85 * (16 - bits), "the weights are not stored in few bits"


@pytest.mark.parametrize(
    ("precision", "least_db", "kind"),
    [
        (Precision.A16W8, 35, onnx.TensorProto.INT8),
        (Precision.A16W4, 12, onnx.TensorProto.INT4),
        (Precision.W8A8_DYNAMIC, 40, onnx.TensorProto.INT8),
    ],
)
def test_onnx_has_wide_activations_and_ranges_as_they_come(
    precision: Precision,
    least_db: float,
    kind: int,
    wide: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    made = _lowered(ONNX, precision, wide, spec, samples, tmp_path)
    assert made.rung1[0].reaches(least_db)
    assert not made.rung1[0].reaches(100), "nothing was rounded"
    assert made.rung2[0].reaches(40)
    assert made.coverage.share == 1
    assert kind in {tensor.data_type for tensor in onnx.load(made.path).graph.initializer}
