"""The ladder: equal networks are found equal, others are found out, and what was found is kept in the bundle."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from pocketcrafter.benchmarks.common.frames import measured_frames
from pocketcrafter.benchmarks.common.machine import this_machine
from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.network_source import NetworkSource, student_weights
from pocketcrafter.benchmarks.parity.measure import climb, network_parity
from pocketcrafter.benchmarks.parity.photos import compare_photos, end_to_end_rung, mean_delta_e
from pocketcrafter.benchmarks.parity.results import ParityReport, PhotoParity, TargetParity, parity_lines, store
from pocketcrafter.benchmarks.parity.studio import compare_with_studio
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.models import load_component, save_component
from pocketcrafter.export.models.critic import Critic, CriticConfig
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.runtime.bundle.gates import Gate, Metric
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.errors import BackendError, ConfigError
from pocketcrafter.runtime.pocket import LADDER, Pocket

SHIPPED = {c: WEIGHTS / f"{c}.safetensors" for c in (Pocket.CRITIC, Pocket.TONE, Pocket.RESTORE)}


@pytest.fixture(scope="module")
def dim(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo that any critic would brighten."""
    with Image.open(photos[0]) as image:
        pixels = np.asarray(image.convert("RGB").crop((0, 0, 320, 320)))
    path = tmp_path_factory.mktemp("dim") / "dim.png"
    Image.fromarray((pixels * 0.3).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def other_tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped tone network, disturbed as no quantization would."""
    tone = load_component(Pocket.TONE, WEIGHTS / "tone.safetensors")
    generator = torch.Generator().manual_seed(0)
    for parameter in tone.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.5 * parameter.std().nan_to_num())
    path = tmp_path_factory.mktemp("tone") / "tone.safetensors"
    save_component(tone, path)
    return path


def parity(delta_e: float, *, changed: bool = True, plan_error: float = 0.0, same: int = 32) -> PhotoParity:
    return PhotoParity(
        photo="a.jpg", changed=changed, restored=False, delta_e=delta_e, plan_error=plan_error,
        tokens_same=same, tokens_compared=32,
    )  # fmt: skip


def test_equal_networks_make_equal_pictures(bundle: Path, dim: Path) -> None:
    sources = [NetworkSource(Bundle.open(bundle), 1, weights=SHIPPED) for _ in range(2)]
    (found,) = compare_photos(*sources, [dim], lambda *_: None)
    assert found.changed
    assert (found.delta_e, found.plan_error) == (0, 0)


def test_another_tone_network_is_found_out(bundle: Path, dim: Path, other_tone: Path) -> None:
    opened = Bundle.open(bundle)
    reference = NetworkSource(opened, 1, weights=SHIPPED)
    target = NetworkSource(opened, 1, weights={**SHIPPED, Pocket.TONE: other_tone})
    found = compare_photos(reference, target, [dim], lambda *_: None)
    assert found[0].plan_error == 0  # the critic is the same
    rung = end_to_end_rung(found, [Gate(metric=Metric.DELTA_E_MEAN, maximum=0.2)], "onnx")
    assert rung.passed is False


def test_photos_that_nobody_changed_do_not_flatter_the_mean() -> None:
    rung = end_to_end_rung([parity(2.0), *[parity(0.0, changed=False)] * 9], LADDER[3], "onnx")
    assert {f.metric: f.value for f in rung.figures}[Metric.DELTA_E_MEAN] == 2.0
    assert rung.passed is False


def test_photos_that_nobody_changed_prove_nothing() -> None:
    rung = end_to_end_rung([parity(0.0, changed=False)] * 3, LADDER[3], "onnx")
    assert rung.passed is None
    assert "0 of them were changed" in rung.how


@pytest.mark.parametrize(
    ("photo", "missed"),
    [
        (parity(0.9), []),
        (parity(3.1), [Metric.DELTA_E_MEAN, Metric.DELTA_E_WORST]),
        (parity(0.1, plan_error=0.03), [Metric.PLAN_ERROR]),
        (parity(0.1, same=31), [Metric.TOKEN_AGREEMENT]),
    ],
)
def test_each_gate_of_rung_3_holds(photo: PhotoParity, missed: list[Metric]) -> None:
    rung = end_to_end_rung([photo], LADDER[3], "onnx")
    assert [v.gate.metric for v in rung.verdicts if not v.passed and v.judged] == missed
    assert rung.passed is not bool(missed)


def test_the_color_difference_of_strips_is_that_of_the_whole() -> None:
    first, second = np.random.default_rng(0).integers(0, 256, (2, 1100, 8, 3), dtype=np.uint8)
    whole = deltaE_ciede2000(rgb2lab(first), rgb2lab(second)).mean()
    assert mean_delta_e(first, second) == pytest.approx(whole)


def test_an_artifact_that_is_not_its_network_fails_rung_1_again(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    entry = opened.manifest.entry(Pocket.CRITIC)
    found = network_parity(opened, entry, "onnx", SHIPPED[Pocket.CRITIC], 1)
    assert found.goldens_passed  # the goldens were made with the artifact itself
    assert [r.passed for r in found.again] == [False, True]


def test_weights_of_another_network_are_refused(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    with pytest.raises(BackendError, match="not the weights"):
        student_weights(opened, opened.manifest.entry(Pocket.TONE), None)


def test_what_was_looked_for_in_a_folder_is_told(bundle: Path, tmp_path: Path) -> None:
    opened = Bundle.open(bundle)
    entry = opened.manifest.entry(Pocket.TONE)
    other = entry.model_copy(update={"source": entry.source.model_copy(update={"weights": "theirs.safetensors"})})
    for wanted, then in ((entry, "not the weights that `tone`"), (other, "does not ship these weights")):
        lacks = f"{tmp_path} has no `{wanted.source.weights}`, so what is installed was looked for"
        with pytest.raises(BackendError, match=f"{lacks}.*{then}.*with --weights"):
            student_weights(opened, wanted, tmp_path)


def test_a_checkpoint_may_be_called_otherwise_by_now(latent_bundle: Path, latent_twin: Path, tmp_path: Path) -> None:
    opened = Bundle.open(latent_bundle)
    entry = opened.manifest.components[0]
    renamed = shutil.copytree(latent_twin, tmp_path / "renamed")
    assert student_weights(opened, entry, renamed) == renamed
    assert student_weights(opened, entry, latent_twin.parent) == latent_twin
    assert student_weights(opened, entry, latent_twin) == latent_twin
    assert TorchBackend().weights("latent-studio").is_dir(), "the shipped pair is a folder"


def test_a_target_that_the_bundle_lacks_is_refused(bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"no target `coreml:ios18`; it has onnx"):
        climb(Bundle.open(bundle), ["coreml:ios18"], [])


def test_a_student_is_no_further_than_its_budget_behind_its_studio(
    bundle: Path, photos: list[Path], noise_profiles: Path, other_tone: Path
) -> None:
    frames = list(measured_frames(photos[:1], noise_profiles, [FrameKind.DEGRADED], 1, 3))
    spoiled = NetworkSource(Bundle.open(bundle), 1, weights={**SHIPPED, Pocket.TONE: other_tone})
    told = compare_with_studio(spoiled, {Pocket.TONE: SHIPPED[Pocket.TONE]}, frames, "test", lambda *_: None)
    mine, theirs = ({f.metric: f.value for f in side} for side in (told.student, told.studio_figures))
    lost = {f.metric: f.value for f in told.rung.figures}
    assert lost[Metric.DELTA_E_LOSS] == pytest.approx(mine[Metric.DELTA_E] - theirs[Metric.DELTA_E])
    assert lost[Metric.PSNR_LOSS_DB] == pytest.approx(theirs[Metric.PSNR_DB] - mine[Metric.PSNR_DB])
    assert told.rung.gates == LADDER[0]
    assert told.rung.passed is (lost[Metric.DELTA_E_LOSS] <= 0.5 and lost[Metric.PSNR_LOSS_DB] <= 0.5)


def test_what_was_found_is_kept_in_the_bundle(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root = make_bundle(tmp_path / "small.pcbundle")
    rung = end_to_end_rung([parity(0.4)], LADDER[3], "onnx")
    networks = tuple(
        network_parity(Bundle.open(root), e, "onnx", SHIPPED[e.spec.name], 1)
        for e in Bundle.open(root).manifest.components[:1]
    )
    report = ParityReport(
        bundle="small", machine=this_machine(), threads=1, networks=networks,
        targets=(TargetParity(target="onnx", photos=(parity(0.4),), rung=rung),),
    )  # fmt: skip
    store(root, report)
    kept = Bundle.open(root)
    kept.check_integrity()
    assert kept.manifest.entry(Pocket.CRITIC).artifacts["onnx"].rungs[3] == rung
    assert [r.rung for r in kept.manifest.entry(Pocket.CRITIC).artifacts["onnx"].rungs] == [0, 1, 2, 3, 4]
    assert ParityReport.model_validate_json((root / "reports/parity.json").read_bytes()) == report
    assert "ΔE2000 mean 0.4" in (root / "reports/parity.md").read_text(encoding="utf-8")
    table = "\n".join(parity_lines(report, kept.manifest))
    assert "| ΔE2000 mean 0.4 | not run |" in table
    shutil.rmtree(root)


def test_a_studio_of_several_critics_gives_its_plan_and_not_its_tokens(
    bundle: Path, photos: list[Path], noise_profiles: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    save_component(Critic(CriticConfig(hidden=16, judges=2)).eval(), tmp_path / "studio.safetensors")
    frames = list(measured_frames(photos[:1], noise_profiles, [FrameKind.CLEAN], 1, 3))
    student = NetworkSource(Bundle.open(bundle), 1, weights=SHIPPED)
    told = compare_with_studio(student, {Pocket.CRITIC: tmp_path / "studio.safetensors"}, frames, "t", lambda *_: None)
    plan = {f.metric: f.value for f in told.rung.figures}[Metric.PLAN_ERROR_LOSS]
    assert plan <= 0  # an untrained critic is no better than the student on a clean frame
