"""Each target, from a network to an artifact that runs here and does what the network does."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.measure import SLOWLY, hold_back
from pocketcrafter.export.lower.programs import frozen
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.targets import ONNX, TARGETS, XNNPACK, TargetKind

_HEAD_MACS = 16 * 12 * 9 * 16 * 16


def _all_macs() -> int:
    fine = 16 * 16
    film = 3 * 8 + 2 * 8 * 32
    return _HEAD_MACS + fine * (2 * 16 * 32 + 32 * 9 + 16 * 12 * 9) + fine // 4 * (16 * 4 * 24 + 24 * 64) + film


@pytest.fixture(params=[XNNPACK, ONNX], scope="module")
def target(request: pytest.FixtureRequest) -> TargetKind:
    return TargetKind(request.param)


def _out(folder: Path, target: TargetKind, name: str = "restore") -> Path:
    return folder / f"{name}{TARGETS[target].suffix}"


@dataclass(frozen=True)
class _Lowered:
    artifact: LoweredArtifact
    told: list[tuple[int, int]]


@pytest.fixture(scope="module")
def int8(
    target: TargetKind,
    make_restore: Callable[[], nn.Module],
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path_factory: pytest.TempPathFactory,
) -> _Lowered:
    told: list[tuple[int, int]] = []
    out = _out(tmp_path_factory.mktemp("int8"), target)
    artifact = lower(
        LoweringRequest(
            make_restore(),
            spec,
            samples,
            Precision.INT8,
            {target: out},
            progress=lambda done, total: told.append((done, total)),
        )
    )[target]
    return _Lowered(artifact, told)


def test_int8_artifact_climbs_the_ladder_wholly_delegated(
    target: TargetKind, int8: _Lowered, spec: ComponentSpec, samples: list[Sample]
) -> None:
    lowered = int8.artifact
    assert [p.name for p in lowered.path.parent.iterdir()] == [lowered.path.name]
    assert int8.told[-1] == (5, 5)
    (one,), (two,) = lowered.rung1, lowered.rung2
    assert one.reaches(30)
    assert two.reaches(40)
    assert one.sqnr_db is not None
    assert one.sqnr_db < 80, "nothing was quantized"
    assert lowered.coverage.macs_total == lowered.coverage.macs_delegated == _all_macs()
    assert not [f for f in lowered.coverage.fallbacks if not f.allowed]
    assert lowered.coverage.subgraphs == 1
    session = usable_backend(TARGETS[target].backend).open(lowered.path, spec, 1)
    assert np.abs(session.run(samples[0])["restored"] - samples[0]["tile"]).max() > 0.01


def test_running_a_program_does_not_import_the_compiler(
    make_restore: Callable[[], nn.Module], spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    out = tmp_path / "restore.pte"
    lower(LoweringRequest(make_restore(), spec, samples, Precision.FP32, {XNNPACK: out}))[XNNPACK]
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    ran = """
import sys
from pathlib import Path
from pocketcrafter.runtime.backends.executorch import ExecutorchBackend
from pocketcrafter.runtime.components import ComponentSpec
spec = ComponentSpec.model_validate_json(Path("spec.json").read_bytes())
ExecutorchBackend().open(Path("restore.pte"), spec, 1)
print([name for name in ("executorch.exir", "torch._dynamo") if name in sys.modules])
"""
    said = subprocess.run([sys.executable, "-c", ran], cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S603
    assert said.stdout.strip() == "[]"


def test_full_precision_artifact_is_the_model(
    target: TargetKind, restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    lowered = lower(LoweringRequest(restore, spec, samples, Precision.FP32, {target: _out(tmp_path, target)}))[target]
    assert lowered.rung1 == ()
    assert lowered.rung2[0].reaches(100)
    assert lowered.coverage.share == 1


def test_a_correction_that_is_always_zero_leaves_the_picture_bit_by_bit(
    target: TargetKind, restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    """Outputs without range must not trip a backend, nor may the picture's own residual be rounded."""
    for parameter in restore.get_submodule("tail").parameters():
        nn.init.zeros_(parameter)
    lowered = lower(LoweringRequest(restore, spec, samples, Precision.INT8, {target: _out(tmp_path, target)}))[target]
    session = usable_backend(TARGETS[target].backend).open(lowered.path, spec, 1)
    np.testing.assert_array_equal(session.run(samples[0])["restored"], samples[0]["tile"])


def test_the_same_inputs_give_the_same_bytes_that_name_no_path(
    target: TargetKind,
    int8: _Lowered,
    restore: nn.Module,
    spec: ComponentSpec,
    samples: list[Sample],
    tmp_path: Path,
) -> None:
    first = int8.artifact.path.read_bytes()
    out = _out(tmp_path, target, "second")
    second = lower(LoweringRequest(restore, spec, samples, Precision.INT8, {target: out}))[target].path.read_bytes()
    assert first == second
    assert str(Path(__file__).parents[3]).encode() not in first


def test_a_failure_leaves_nothing_behind(
    target: TargetKind, restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="keep_fp32"):
        lower(
            LoweringRequest(
                restore, spec, samples, Precision.INT8, {target: _out(tmp_path, target)}, keep_fp32=("no_such_module",)
            )
        )[target]
    with pytest.raises(ConfigError, match="two samples"):
        lower(LoweringRequest(restore, spec, samples[:1], Precision.INT8, {target: _out(tmp_path, target)}))[target]
    assert list(tmp_path.iterdir()) == []


def test_kept_layers_are_listed_on_onnx(
    restore: nn.Module, spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    lowered = lower(
        LoweringRequest(restore, spec, samples, Precision.INT8, {ONNX: _out(tmp_path, ONNX)}, keep_fp32=("head",))
    )[ONNX]
    (kept,) = lowered.coverage.fallbacks
    assert kept.allowed
    assert kept.count == 1
    assert "head" in kept.reason


def test_what_xnnpack_refuses_is_named_with_its_layer_and_a_way_out(
    spec: ComponentSpec, samples: Sequence[Sample], tmp_path: Path
) -> None:
    class Splitting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, padding=1)
            self.mix = nn.Conv2d(3, 3, 1)

        def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
            left, right = self.conv(tile).chunk(2, 1)
            mixed: Tensor = self.mix(left * right)
            return mixed * amounts.reshape(1, 3, 1, 1)

    lowered = lower(
        LoweringRequest(Splitting().eval(), spec, samples, Precision.INT8, {XNNPACK: _out(tmp_path, XNNPACK)})
    )[XNNPACK]
    (refused,) = [f for f in lowered.coverage.fallbacks if not f.allowed]
    assert refused.op == "aten.split_with_sizes_copy.default"
    assert "slices" in refused.reason
    assert "chunk(2, 1)" in refused.reason
    assert str(tmp_path.parents[2]) not in refused.reason


class _Counting(nn.Module):
    """Adds to its output how often it has run, from three on."""

    runs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)
        self.register_buffer("runs", torch.full((1,), 3.0))

    def forward(self, tile: Tensor, amounts: Tensor) -> Tensor:
        self.runs += 1
        mixed: Tensor = self.mix(tile)
        return mixed * amounts.reshape(1, 3, 1, 1) + self.runs


def test_state_in_a_buffer_is_refused_since_a_program_would_start_with_zeros(
    spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    """Guards two silent traps of ExecuTorch: buffers that lose what they hold, and that methods write over."""
    out = _out(tmp_path, XNNPACK)
    with pytest.raises(ConfigError, match="_Counting writes into `runs` while it runs"):
        lower(LoweringRequest(_Counting(), spec, samples, Precision.FP32, {XNNPACK: out}))[XNNPACK]
    assert not any(tmp_path.iterdir())


def test_a_program_forgets_what_a_buffer_starts_with() -> None:
    """What that guard is for: where ExecuTorch keeps it one day, this fails, and the guard may go."""
    inputs = [torch.zeros(1, 3, 4, 4), torch.zeros(1, 3)]
    edge = importlib.import_module("executorch.exir").to_edge(torch.export.export(frozen(_Counting(), ()), (*inputs,)))
    program = importlib.import_module("executorch.runtime").Runtime.get().load_program(edge.to_executorch().buffer)
    method = program.load_method("forward")
    assert [float(method.execute(inputs)[0].max()) for _ in range(2)] == [1, 2]


def test_nothing_that_is_lowered_can_be_trained() -> None:
    """Guards a trap of ExecuTorch: buffers beside trainable parameters fail to lower."""
    trainable = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2)).eval()
    assert not [name for name, p in frozen(trainable, ()).named_parameters() if p.requires_grad]
    assert all(p.requires_grad for p in trainable.parameters()), "the one that was given is left alone"


def test_measuring_samples_are_not_calibrated_with(samples: list[Sample], spec: ComponentSpec) -> None:
    used, held = hold_back(samples, spec)
    assert len(used) == 5
    assert len(held) == 1
    assert not {id(s) for s in used} & {id(s) for s in held}
    used, held = hold_back(samples * 20, spec)
    assert (len(used), len(held)) == (112, 8)


def test_outputs_with_many_values_need_few_samples_to_measure_with(samples: list[Sample]) -> None:
    tiles = POCKET_SPECS[Pocket.RESTORE]
    used, held = hold_back(samples * 20, tiles)
    assert (len(used), len(held)) == (112, 4)
    assert len(hold_back(samples * 20, tiles, SLOWLY)[1]) == 1
    # The decoder's caches are large, its log-odds are not.
    assert len(hold_back(samples * 20, POCKET_SPECS[Pocket.DECODER], SLOWLY)[1]) == 2
