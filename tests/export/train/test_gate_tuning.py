"""The gate that is tuned is the gate that the runtime carries out."""

import numpy as np
import pytest
import torch

from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.gate_frames import JudgedFrames, Kind, balanced_rows, kinds_of
from pocketcrafter.export.train.gate_tuning import TRIALS, _Trials, gate_figures, gated, tune_gate
from pocketcrafter.export.train.limits import MAX_OPENED_SHARE
from pocketcrafter.runtime.attribute_gate import AttributeGate, GateSettings, apply_gate
from pocketcrafter.runtime.plan import RESTORATION, TONAL, Attribute

INDEX = {a: i for i, a in enumerate(Attribute)}
SOURCES = ["one", "one", "two"]
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
    settings, figures = tune_gate(JudgedFrames.of(store, knowing, SOURCES), trials.append)
    assert sum(trials) == TRIALS
    assert figures.delta_e_change < -1
    assert figures.allowed()
    assert [a for a in RESTORATION if settings.attributes[a].shrink == 0] == []
    unforeseeable = apply_gate(*(np.ones(len(Attribute), np.float32),) * 3, settings)
    assert not unforeseeable.is_active(Attribute.HIGHLIGHTS, Attribute.SHADOWS)


def test_tuning_leaves_clean_frames_alone_whatever_the_critic_says(store: EvidenceStore) -> None:
    rng = np.random.default_rng(1)
    shape = store.plans.shape
    guessing = judgement(rng.normal(0, 0.5, shape), rng.random(shape), rng.random(shape))
    _, figures = tune_gate(JudgedFrames.of(store, guessing, SOURCES))
    assert figures.delta_e_change <= 0
    assert figures.allowed()


def test_joined_frames_keep_their_own_photos_and_sources(store: EvidenceStore, judged: Judgement) -> None:
    frames = JudgedFrames.of(store, judged, SOURCES, np.arange(6))
    joined = frames.joined(JudgedFrames.of(store, judged, ["three"] * 3, np.arange(6, 10)))
    assert len(joined.plans) == 10
    assert not set(joined.photos[:6]) & set(joined.photos[6:])
    assert joined.sources.tolist() == [SOURCES[photo] for photo in store.photos[:6]] + ["three"] * 4
    np.testing.assert_array_equal(joined.plans, store.plans[:10])
    for column, whole in zip(joined.judged, judged, strict=True):
        torch.testing.assert_close(column, whole[:10])


def test_a_trial_measures_the_same_whatever_was_kept_before(store: EvidenceStore, judged: Judgement) -> None:
    """Guards the cache of rendered frames."""
    gates = [dict.fromkeys(FORESEEABLE, AttributeGate(presence=p, confidence=0, dead_zone=0)) for p in (0.4, 0.5, 0.6)]
    trials, fresh = (_Trials(JudgedFrames.of(store, judged, SOURCES)) for _ in range(2))
    for gate in gates:
        trials.keep(gate)
        trials.outcome(gates[0])
    again, once = trials.outcome(gates[1]), fresh.outcome(gates[1])
    assert again.delta_e_change == pytest.approx(once.delta_e_change, abs=1e-6)
    assert again.harmed == once.harmed


def test_an_attribute_that_would_be_made_worse_stays_closed(store: EvidenceStore) -> None:
    """A critic that is right about everything but the sign of temperature, and about blur where there is none."""
    truth = np.array(store.plans)
    plan, presence = truth.copy(), np.where(truth != 0, 0.97, 0.05)
    plan[:, INDEX[Attribute.TEMPERATURE]] *= -1
    plan[:, INDEX[Attribute.DEBLUR]] = 1 - truth[:, INDEX[Attribute.DEBLUR]]
    presence[:, INDEX[Attribute.DEBLUR]] = 1
    settings, _ = tune_gate(JudgedFrames.of(store, judgement(plan, presence, np.ones_like(truth)), SOURCES))
    for attribute in (Attribute.TEMPERATURE, Attribute.DEBLUR):
        assert settings.attributes[attribute].shrink == 0
    assert settings.attributes[Attribute.DENOISE].shrink > 0


def photos_of_two_sources(presence: np.ndarray, plan: np.ndarray, plans: np.ndarray) -> JudgedFrames:
    """Gray frames, four of each photo, the underexposed ones darker; the second half is of another source."""
    cleans = torch.full((len(plans), 3, 32, 32), 0.4)
    views = cleans * torch.from_numpy(np.where(plans[:, INDEX[Attribute.EXPOSURE]] > 0, 0.5, 1))[:, None, None, None]
    photos = np.arange(len(plans)) // 4
    sources = np.where(np.arange(len(plans)) < len(plans) // 2, "common", "dark on purpose")
    return JudgedFrames(
        views.float(), cleans, plans, judgement(plan, presence, np.ones_like(presence)), photos, sources
    )


@pytest.mark.parametrize("alone", [None, *RESTORATION], ids=lambda alone: alone or "clean")
def test_a_gate_is_not_allowed_where_it_brightens_one_sources_frames_of_any_kind(
    alone: Attribute | None,
) -> None:
    """As rare as it is over all frames, it is no accident in that source."""
    exposure = INDEX[Attribute.EXPOSURE]
    gates = {Attribute.EXPOSURE: AttributeGate(presence=0.95, confidence=0, dead_zone=0)}
    plans = np.zeros((480, len(Attribute)), dtype=np.float32)
    plans[0::4, exposure] = 0.5
    if alone is not None:
        plans[1::4, INDEX[alone]] = 0.5
    presence, plan = np.where(plans > 0, 0.97, 0.05), plans.copy()
    before = gate_figures(photos_of_two_sources(presence, plan, plans), gates)
    assert before.allowed()
    assert before.delta_e_change < 0
    wronged = np.arange(len(plans))[1::4][-60::3]
    plan[wronged, exposure], presence[wronged, exposure] = 0.5, 0.97
    assert not gate_figures(photos_of_two_sources(presence, plan, plans), gates).allowed()


def test_restoration_is_rare_without_the_fault_in_every_source() -> None:
    """Photos of one source look blurred to the critic: a share over all photos would let most of them be sharpened."""
    column = INDEX[Attribute.DEBLUR]
    rng = np.random.default_rng(0)
    plans = np.zeros((400, len(Attribute)), dtype=np.float32)
    plans[::2, column] = 0.8
    plans[1, INDEX[Attribute.EXPOSURE]] = 0.5
    second = np.arange(400) >= 200
    presence = np.where(plans > 0, 0.99, np.where(second, 0.9, 0.2)[:, None] + rng.uniform(0, 0.05, plans.shape))
    frames = photos_of_two_sources(presence, np.where(presence > 0.5, 0.8, 0), plans)
    gate = tune_gate(frames)[0].attributes[Attribute.DEBLUR]
    opened = presence[:, column] >= gate.presence
    for here in (second, ~second):
        assert opened[here & (plans[:, column] == 0)].mean() <= MAX_OPENED_SHARE
        assert opened[here & (plans[:, column] > 0)].all()


def test_a_source_of_few_photos_counts_for_what_they_say() -> None:
    plans = np.zeros((240, len(Attribute)), dtype=np.float32)
    frames = photos_of_two_sources(plans, plans, plans)
    happened = (frames.sources == "dark on purpose").astype(np.float64)
    everywhere = np.ones(len(plans), dtype=np.bool_)
    few = np.arange(len(plans)) < len(plans) // 2 + 4
    assert frames.by_source(happened, everywhere)[1] > 0.85
    assert 0.5 < frames.by_source(happened, few)[1] < 0.6
    assert frames.by_source(happened, frames.sources == "common").tolist() == [0, 0]


def test_kinds_are_what_is_wrong() -> None:
    plans = np.zeros((5, len(Attribute)), dtype=np.float32)
    plans[1, INDEX[Attribute.DEJPEG]] = plans[2, INDEX[Attribute.DEBLUR]] = plans[3, INDEX[Attribute.DENOISE]] = 0.5
    plans[4, [INDEX[Attribute.DENOISE], INDEX[Attribute.EXPOSURE]]] = 0.5
    assert kinds_of(plans).tolist() == [Kind.CLEAN, Kind.JPEG, Kind.BLUR, Kind.NOISE, Kind.DEGRADED]


def test_frames_are_balanced_over_photos_and_kinds(store: EvidenceStore) -> None:
    rows, kinds = balanced_rows(store, 2), kinds_of(np.array(store.plans))
    places = [(int(store.photos[row]), int(kinds[row])) for row in rows]
    everywhere = {*zip(store.photos.tolist(), kinds.tolist(), strict=True)}
    assert set(places) == everywhere
    assert max(places.count(place) for place in everywhere) == 2
    assert rows.tolist() == sorted(rows)
