"""The gates of an artifact: each one can fail a build, and all that failed are told."""

import pytest

from pocketcrafter.export.builder.settings import LoweringRecord, ProveSettings
from pocketcrafter.export.builder.steps.prove import proof_of
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.recipe import Gates
from pocketcrafter.runtime.bundle.results import Coverage, Fallback, Fidelity, Precision, sqnr_gate
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind

SETTINGS = ProveSettings(
    component=Pocket.RESTORE,
    target=ONNX,
    precision=Precision.INT8,
    gates=Gates().of(),
    pictures=("restored",),
    goldens=1,
    not_run={0: "no teacher", 3: "no photos"},
)
FULL = Coverage(macs_total=1000, macs_delegated=1000, delegated_ops=3, subgraphs=1)


def fidelity(sqnr_db: float | None, psnr_db: float | None = None) -> Fidelity:
    return Fidelity(output="restored", sqnr_db=sqnr_db, cosine=1, max_abs_error=0, psnr_db=psnr_db)


def record(rung1: float = 35, rung2: float = 50, coverage: Coverage = FULL) -> LoweringRecord:
    return LoweringRecord(
        artifact="restore.onnx",
        coverage=coverage,
        rung1=(fidelity(rung1),),
        rung1_how="in torch",
        rung2=(fidelity(rung2),),
        rung2_how="on the CPU",
    )


def test_an_artifact_above_every_gate_records_its_rungs() -> None:
    artifact = proof_of(record(), [fidelity(34, 41)], SETTINGS)
    assert [(r.rung, r.passed) for r in artifact.rungs] == [(0, None), (1, True), (2, True), (3, None), (4, None)]
    assert artifact.golden_gate == sqnr_gate(30)
    assert artifact.goldens[0].psnr_db == 41


@pytest.mark.parametrize(
    ("made", "golden", "words"),
    [
        (
            record(rung1=29.9),
            fidelity(34, 41),
            "rung 1 (fake-quantized): SQNR of `restored` 29.9 dB, the gate is SQNR >= 30 dB",
        ),
        (record(rung2=39), fidelity(34, 41), "rung 2 (host artifact)"),
        (record(), fidelity(29, 41), "goldens: SQNR of `restored` 29 dB"),
        (record(), fidelity(34, 39), "PSNR of `restored` 39 dB, the gate is PSNR >= 40 dB"),
        (
            record(coverage=FULL.model_copy(update={"macs_delegated": 949})),
            fidelity(34, 41),
            "delegated MACs 94.9%, the gate is delegated MACs >= 95%",
        ),
        (
            record(coverage=FULL.model_copy(update={"macs_total": 0, "macs_delegated": 0})),
            fidelity(34, 41),
            "coverage: nothing was measured",
        ),
    ],
)
def test_each_gate_alone_fails_the_artifact(made: LoweringRecord, golden: Fidelity, words: str) -> None:
    with pytest.raises(GateError) as caught:
        proof_of(made, [golden], SETTINGS)
    assert words in str(caught.value)
    assert str(caught.value).count("\n") == 1


def test_an_unexpected_fallback_fails_until_the_recipe_allows_it() -> None:
    fallback = Fallback(op="Resize", count=2, reason="nearest", allowed=False)
    made = record(coverage=FULL.model_copy(update={"fallbacks": (fallback,)}))
    with pytest.raises(GateError, match=r"Resize ×2 \(nearest\).*gates.fallbacks: \[Resize\]"):
        proof_of(made, [fidelity(34, 41)], SETTINGS)
    gates = SETTINGS.gates.model_copy(update={"fallbacks": ("Resize",)})
    allowing = SETTINGS.model_copy(update={"gates": gates})
    assert proof_of(made, [fidelity(34, 41)], allowing).coverage.fallbacks[0].allowed


def test_all_misses_are_told_together() -> None:
    with pytest.raises(GateError) as caught:
        proof_of(record(rung1=1, rung2=1), [fidelity(1, 1)], SETTINGS)
    assert str(caught.value).count("\n") == 4


def test_a_rung_that_measured_nothing_does_not_pass() -> None:
    empty = record().model_copy(update={"rung2": ()})
    with pytest.raises(GateError, match=r"rung 2 .*nothing was measured"):
        proof_of(empty, [fidelity(34, 41)], SETTINGS)


def test_full_precision_has_no_rung_1_and_the_higher_golden_gate() -> None:
    exact = SETTINGS.model_copy(update={"precision": Precision.FP32})
    made = record().model_copy(update={"rung1": ()})
    artifact = proof_of(made, [fidelity(60, 70)], exact)
    assert artifact.rungs[1].passed is None
    assert artifact.golden_gate == sqnr_gate(40)
    with pytest.raises(GateError, match="goldens"):
        proof_of(made, [fidelity(35, 70)], exact)


def test_what_only_a_device_runs_is_told_as_not_run_and_never_as_passed() -> None:
    made = record().model_copy(update={"rung1": (), "rung2": (), "rung2_how": "a phone must"})
    vulkan = SETTINGS.model_copy(update={"target": TargetKind("executorch-vulkan"), "precision": Precision.FP16})
    artifact = proof_of(made, [], vulkan)
    assert [(r.rung, r.passed) for r in artifact.rungs] == [(0, None), (1, None), (2, None), (3, None), (4, None)]
    assert artifact.rungs[2].how == "a phone must"
    assert artifact.goldens == ()
    with pytest.raises(GateError, match="nothing was measured"):
        proof_of(made, [], SETTINGS)
    with pytest.raises(GateError, match=r"delegated MACs 94\.9%"):
        proof_of(made.model_copy(update={"coverage": FULL.model_copy(update={"macs_delegated": 949})}), [], vulkan)


@pytest.mark.parametrize("target", [t for t in TARGETS if profile_of(t).fp32_runs_on])
def test_what_an_accelerator_leaves_to_the_cpu_is_judged_there_and_says_so(target: TargetKind) -> None:
    settings = SETTINGS.model_copy(update={"target": target, "precision": Precision.FP32})
    rung2 = proof_of(record(), [fidelity(60, 70)], settings).rungs[2]
    assert (rung2.passed, rung2.how) == (
        True,
        "On the CPU beside the accelerator, as float32 was asked for: on the CPU",
    )
    with pytest.raises(GateError, match="rung 2"):
        proof_of(record(rung2=39), [fidelity(60, 70)], settings)
