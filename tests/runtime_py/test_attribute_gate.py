"""The gate lets through what the critic is sure of, and nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.attribute_gate import AttributeGate, GateSettings, apply_gate
from pocketcrafter.runtime.errors import ShapeMismatchError
from pocketcrafter.runtime.plan import RESTORATION, Attribute, EditPlan

SETTINGS = GateSettings.uniform(presence=0.5, confidence=0.4, dead_zone=0.1)
INDEX = {a: i for i, a in enumerate(Attribute)}


def vector(fill: float = 0.0, **values: float) -> FloatArray:
    out = np.full(len(Attribute), fill, dtype=np.float32)
    for name, value in values.items():
        out[INDEX[Attribute[name]]] = value
    return out


def test_a_sure_attribute_passes_unchanged_and_in_its_unit() -> None:
    plan = apply_gate(vector(EXPOSURE=0.4, TEMPERATURE=-0.25), vector(0.9), vector(0.9), SETTINGS)
    assert plan.exposure_ev == pytest.approx(0.8)
    assert plan.temperature_mired == pytest.approx(-25)


@pytest.mark.parametrize(
    ("amount", "presence", "confidence"), [(0.09, 0.9, 0.9), (0.8, 0.49, 0.9), (0.8, 0.9, 0.39), (-0.09, 1.0, 1.0)]
)
def test_an_attribute_below_any_threshold_is_left_alone(amount: float, presence: float, confidence: float) -> None:
    assert not apply_gate(vector(CONTRAST=amount), vector(presence), vector(confidence), SETTINGS).is_active()


def test_thresholds_themselves_pass() -> None:
    assert (
        apply_gate(vector(CONTRAST=0.5), vector(0.5), vector(0.5), GateSettings.uniform(0.5, 0.5, 0.5)).contrast == 0.5
    )


def test_shrink_and_thresholds_are_per_attribute() -> None:
    gates = dict(SETTINGS.attributes)
    gates[Attribute.SATURATION] = AttributeGate(presence=0, confidence=0, dead_zone=0, shrink=0.5)
    gates[Attribute.HIGHLIGHTS] = AttributeGate(presence=0, confidence=0, dead_zone=0, shrink=0)
    plan = apply_gate(vector(0.4), vector(0.45), vector(0.9), GateSettings(attributes=gates))
    assert plan == EditPlan(saturation=plan.saturation)
    assert plan.saturation == pytest.approx(0.2)


@given(hnp.arrays(np.float32, 11, elements=st.floats(width=32)))
def test_any_network_output_gives_a_legal_plan(raw: FloatArray) -> None:
    plan = apply_gate(raw, vector(1.0), vector(1.0), SETTINGS)
    assert all(0 <= getattr(plan, a) <= 1 for a in RESTORATION)
    for attribute in Attribute:
        if not math.isfinite(raw[INDEX[attribute]]):
            assert getattr(plan, attribute) == 0


def test_not_a_number_probabilities_change_nothing() -> None:
    assert not apply_gate(vector(0.9), vector(math.nan), vector(1.0), SETTINGS).is_active()


def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(ShapeMismatchError, match="presence"):
        apply_gate(vector(), np.zeros((1, 11), np.float32), vector(), SETTINGS)


def test_settings_survive_json_and_must_name_every_attribute() -> None:
    assert GateSettings.model_validate_json(SETTINGS.model_dump_json()) == SETTINGS
    with pytest.raises(ValidationError, match="deblur"):
        GateSettings(attributes={a: g for a, g in SETTINGS.attributes.items() if a is not Attribute.DEBLUR})
