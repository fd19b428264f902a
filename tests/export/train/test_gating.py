"""The gate that is tuned is the gate that the runtime carries out."""

import numpy as np
import pytest
import torch

from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.gating import TRIALS, JudgedFrames, _Trials, gated, tune_gate
from pocketcrafter.runtime.gate import AttributeGate, GateSettings, apply_gate
from pocketcrafter.runtime.plan import RESTORATION, TONAL, Attribute

INDEX = {a: i for i, a in enumerate(Attribute)}
FORESEEABLE = [a for a in TONAL if a not in (Attribute.HIGHLIGHTS, Attribute.SHADOWS)]


def judgement(plan: np.ndarray, presence: np.ndarray, confidence: np.ndarray) -> Judgement:
    nothing = torch.zeros(len(plan), 1)
    said = [torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)) for a in (plan, presence, confidence)]
    return Judgement(*said, score=nothing, tokens=nothing, scene=nothing)


def random_gate(rng: np.random.Generator) -> AttributeGate:
    presence, confidence, dead_zone, shrink = (float(rng.choice([0.0, 0.1, 0.3, 0.6, 0.7, 1.0])) for _ in range(4))
    return AttributeGate(presence=presence, confidence=confidence, dead_zone=dead_zone, shrink=shrink)


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_the_runtime(seed: int) -> None:
    """Values lie on the thresholds too, and amounts out of range."""
    rng = np.random.default_rng(seed)
    shape = (40, len(Attribute))
    levels = np.array([0, 0.1, 0.3, 0.6, 0.7, 1.0], dtype=np.float32)
    plan = np.where(rng.random(shape) < 0.5, rng.choice([*levels, *-levels], shape), rng.normal(0, 1.5, shape))
    presence, confidence = (
        np.where(rng.random(shape) < 0.5, rng.choice(levels, shape), rng.random(shape)) for _ in range(2)
    )
    gates = {a: random_gate(rng) for a in Attribute}
    said = judgement(plan, presence, confidence)
    settings = GateSettings(attributes=gates)
    expected = [
        apply_gate(*(t[i].numpy() for t in (said.plan, said.presence, said.confidence)), settings).vector()
        for i in range(shape[0])
    ]
    columns = [INDEX[a] for a in TONAL]
    actual = gated(said, gates).numpy()
    np.testing.assert_allclose(actual[:, columns], np.stack(expected)[:, columns], atol=1e-6)
    assert not actual[:, [INDEX[a] for a in RESTORATION]].any()


def test_attributes_without_a_gate_stay_as_they_are() -> None:
    ones = np.ones((1, len(Attribute)))
    gates = {Attribute.CONTRAST: AttributeGate(presence=0, confidence=0, dead_zone=0)}
    plan = gated(judgement(0.5 * ones, ones, ones), gates)[0]
    assert [a for a in Attribute if plan[INDEX[a]] != 0] == [Attribute.CONTRAST]


def test_tuning_trusts_a_critic_that_knows_and_gives_a_complete_gate(store: EvidenceStore) -> None:
    rng = np.random.default_rng(0)
    truth = np.array(store.plans)
    presence = np.where(truth != 0, 0.97, 0.05) + rng.uniform(-0.02, 0.02, truth.shape)
    knowing = judgement(truth + rng.normal(0, 0.02, truth.shape), presence, np.ones_like(truth))
    trials: list[int] = []
    settings, figures = tune_gate(JudgedFrames.of(store, knowing), trials.append)
    assert sum(trials) == TRIALS
    assert figures["delta_e_change"] < -2
    assert figures["worse_share"] < 0.2
    assert figures["clean_changed"] == 0
    assert all(settings.attributes[a].shrink > 0 for a in (*FORESEEABLE, *RESTORATION))
    unforeseeable = apply_gate(*(np.ones(len(Attribute), np.float32),) * 3, settings)
    assert not unforeseeable.is_active(Attribute.HIGHLIGHTS, Attribute.SHADOWS)


def test_tuning_leaves_clean_frames_alone_whatever_the_critic_says(store: EvidenceStore) -> None:
    rng = np.random.default_rng(1)
    shape = store.plans.shape
    guessing = judgement(rng.normal(0, 0.5, shape), rng.random(shape), rng.random(shape))
    _, figures = tune_gate(JudgedFrames.of(store, guessing))
    assert figures["delta_e_change"] <= 0.05
    assert figures["clean_changed"] <= 0.3


def test_joined_frames_stay_parts_of_their_own(store: EvidenceStore, judged: Judgement) -> None:
    frames = JudgedFrames.of(store, judged, np.arange(6))
    joined = frames.joined(JudgedFrames.of(store, judged, np.arange(6, 10)))
    assert len(joined.plans) == 10
    assert joined.parts.tolist() == [0] * 6 + [1] * 4
    np.testing.assert_array_equal(joined.plans, store.plans[:10])
    for column, whole in zip(joined.judged, judged, strict=True):
        torch.testing.assert_close(column, whole[:10])


def test_a_trial_measures_the_same_whatever_was_kept_before(store: EvidenceStore, judged: Judgement) -> None:
    """Guards the cache of rendered frames."""
    gates = [dict.fromkeys(FORESEEABLE, AttributeGate(presence=p, confidence=0, dead_zone=0)) for p in (0.4, 0.5, 0.6)]
    trials, fresh = (_Trials(JudgedFrames.of(store, judged)) for _ in range(2))
    for gate in gates:
        trials.keep(gate)
        trials.outcome(gates[0])
    assert trials.outcome(gates[1]) == pytest.approx(fresh.outcome(gates[1]), abs=1e-6)


def test_an_attribute_that_would_be_made_worse_stays_closed(store: EvidenceStore) -> None:
    """A critic that is right about everything but the sign of temperature, and about blur where there is none."""
    truth = np.array(store.plans)
    plan, presence = truth.copy(), np.where(truth != 0, 0.97, 0.05)
    plan[:, INDEX[Attribute.TEMPERATURE]] *= -1
    plan[:, INDEX[Attribute.DEBLUR]] = 1 - truth[:, INDEX[Attribute.DEBLUR]]
    presence[:, INDEX[Attribute.DEBLUR]] = 1
    settings, _ = tune_gate(JudgedFrames.of(store, judgement(plan, presence, np.ones_like(truth))))
    for attribute in (Attribute.TEMPERATURE, Attribute.DEBLUR):
        assert settings.attributes[attribute].shrink == 0
    assert settings.attributes[Attribute.EXPOSURE].shrink > 0


def test_restoration_is_as_rare_without_the_fault_in_every_part() -> None:
    """Photos of one source look blurred to the critic: a share over all photos would let most of them be sharpened."""
    column = INDEX[Attribute.DEBLUR]
    rng = np.random.default_rng(0)
    plans = np.zeros((400, len(Attribute)), dtype=np.float32)
    plans[::2, column] = 0.8
    parts = np.repeat([0, 1], 200)
    presence = np.where(plans > 0, 0.99, np.where(parts == 0, 0.2, 0.9)[:, None] + rng.uniform(0, 0.05, plans.shape))
    pictures = torch.zeros(400, 3, 32, 32)
    frames = JudgedFrames(pictures, pictures, plans, judgement(plans, presence, np.ones_like(presence)), parts)
    gate = tune_gate(frames)[0].attributes[Attribute.DEBLUR]
    opened = presence[:, column] >= gate.presence
    for part in (0, 1):
        here = parts == part
        assert opened[here & (plans[:, column] == 0)].mean() <= 0.03
        assert opened[here & (plans[:, column] > 0)].all()
