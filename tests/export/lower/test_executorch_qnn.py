"""ExecuTorch programs for Snapdragons: compiled from the wheel alone, run on the HTP emulator, never on a device."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.qnn.context_model import WrongSocError, check_socs
from pocketcrafter.export.lower.request import LoweredArtifact, LoweringRequest, Sample
from pocketcrafter.runtime.backends.executorch_qnn import ExecutorchQnnBackend, why_no_executorch_qnn
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.targets import TARGETS, Soc, TargetKind

needs_qnn = pytest.mark.skipif(
    why_no_executorch_qnn() is not None, reason=f"the extra `qnn` is not here: {why_no_executorch_qnn()}"
)

_SM8650 = TargetKind("executorch-qnn:sm8650")
_SM8850 = TargetKind("executorch-qnn:sm8850")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a16w8")


@pytest.fixture(scope="module")
def together(
    folder: Path, make_restore: Callable[[], nn.Module], spec: ComponentSpec, samples: list[Sample]
) -> dict[TargetKind, LoweredArtifact]:
    outs = {target: folder / f"{TARGETS[target].socs[0]}.pte" for target in (_SM8650, _SM8850)}
    return lower(LoweringRequest(make_restore(), spec, samples, Precision.A16W8, outs))


@pytest.fixture(scope="module")
def lowered(together: dict[TargetKind, LoweredArtifact]) -> LoweredArtifact:
    return together[_SM8850]


@needs_qnn
def test_a_program_is_one_part_on_the_htp_that_does_what_the_fake_quantized_model_does(
    lowered: LoweredArtifact,
) -> None:
    assert lowered.rung1[0].reaches(50)
    assert lowered.rung1[0].sqnr_db is not None
    assert lowered.rung1[0].sqnr_db < 90, "nothing was quantized"
    assert lowered.rung2[0].reaches(50)
    assert "emulator" in lowered.rung2_how
    assert lowered.coverage.share == 1
    assert lowered.coverage.macs_total > 0
    assert lowered.coverage.subgraphs == 1
    assert not [f for f in lowered.coverage.fallbacks if not f.allowed]


@needs_qnn
def test_one_quantization_serves_every_soc(
    folder: Path, together: dict[TargetKind, LoweredArtifact], spec: ComponentSpec, samples: list[Sample]
) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["SM8650.pte", "SM8850.pte"]
    old, new = together[_SM8650], together[_SM8850]
    assert old.rung1 == new.rung1
    assert old.rung2[0].reaches(50)
    assert old.path.read_bytes() != new.path.read_bytes()
    said = [ExecutorchQnnBackend().open(made.path, spec, 1).run(samples[0]) for made in (old, new)]
    assert 0.01 < np.abs(said[0]["restored"] - samples[0]["tile"]).max() < 1
    np.testing.assert_allclose(said[0]["restored"], said[1]["restored"], atol=1e-3)


def test_a_binary_for_another_soc_is_refused(tmp_path: Path) -> None:
    check_socs((87,), (Soc.SM8850,), tmp_path)
    with pytest.raises(WrongSocError, match="compiled for SM8850, not for SM8650"):
        check_socs((87,), (Soc.SM8650,), tmp_path)


@needs_qnn
def test_an_artifact_of_another_contract_is_refused(lowered: LoweredArtifact, spec: ComponentSpec) -> None:
    other = spec.model_copy(update={"inputs": spec.inputs[:1]})
    with pytest.raises(BackendError, match="contract of `restore`"):
        ExecutorchQnnBackend().open(lowered.path, other, 1)


@needs_qnn
def test_a_damaged_program_is_an_error_not_a_crash(
    lowered: LoweredArtifact, spec: ComponentSpec, tmp_path: Path
) -> None:
    content = lowered.path.read_bytes()
    (tmp_path / "half.pte").write_bytes(content[: len(content) // 2])
    with pytest.raises(BackendError, match=r"half\.pte"):
        ExecutorchQnnBackend().open(tmp_path / "half.pte", spec, 1)


@needs_qnn
def test_floats_among_integers_are_refused_with_the_way_out(
    make_restore: Callable[[], nn.Module], spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"cannot keep tail .*in fp16, or for qnn-context:sm8850"):
        lower(
            LoweringRequest(
                make_restore(), spec, samples, Precision.INT8, {_SM8850: tmp_path / "restore.pte"}, keep_fp32=("tail",)
            )
        )[_SM8850]


def test_other_precisions_are_refused_with_what_there_is(
    make_restore: Callable[[], nn.Module], spec: ComponentSpec, samples: list[Sample], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"has no w4: .* nearest is a16w4; it has fp32, fp16, int8, a16w8, a16w4"):
        lower(LoweringRequest(make_restore(), spec, samples, Precision.W4, {_SM8850: tmp_path / "restore.pte"}))[
            _SM8850
        ]
    assert list(tmp_path.iterdir()) == []
