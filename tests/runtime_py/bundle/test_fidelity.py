"""Tensor comparison: known values, limits, and what it refuses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pocketcrafter.runtime.bundle.results import Fidelity
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import GateError, ShapeMismatchError
from pocketcrafter.runtime.fidelity import cosine, max_abs_error, psnr_db, sqnr_db

ARRAYS = arrays(np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32))


def test_a_tenth_of_the_signal_is_twenty_decibels() -> None:
    reference = np.array([3, -4], np.float32)
    assert sqnr_db(reference, reference * np.float32(1.1)) == pytest.approx(20, abs=1e-4)


def test_psnr_uses_the_given_range_not_the_data() -> None:
    reference = np.zeros((4, 4), np.float32)
    assert psnr_db(reference, reference + np.float32(0.01), data_range=1) == pytest.approx(40, abs=1e-4)
    assert psnr_db(reference, reference + np.float32(2.55), data_range=255) == pytest.approx(40, abs=1e-4)


@given(ARRAYS)
def test_equal_arrays_are_identical_by_every_measure(array: np.ndarray) -> None:
    assert sqnr_db(array, array) == psnr_db(array, array, 1) == math.inf
    assert max_abs_error(array, array) == 0
    assert cosine(array, array) == pytest.approx(1)
    assert Fidelity.between("x", array, array).sqnr_db is None


@given(ARRAYS, st.floats(0.125, 8))
def test_scale_changes_neither_ratio_nor_angle(array: np.ndarray, scale: float) -> None:
    other = array + np.float32(1)
    wide, scaled = other.astype(np.float64) * scale, array.astype(np.float64) * scale
    assert sqnr_db(scaled, wide) == pytest.approx(sqnr_db(array, other), abs=1e-3)
    assert cosine(scaled, wide) == pytest.approx(cosine(array, other), abs=1e-6)


def test_an_all_zero_reference_reaches_no_gate() -> None:
    zero = np.zeros(3, np.float32)
    assert sqnr_db(zero, zero + 1) == -math.inf
    assert cosine(zero, zero + 1) == 0
    assert not Fidelity.between("x", zero, zero + 1).reaches(0)


def test_an_output_that_mends_an_input_is_compared_by_what_it_changes() -> None:
    rng = np.random.default_rng(0)
    tile = rng.random((1, 3, 8, 8), np.float32)
    restored = tile + np.float32(0.01) * rng.standard_normal(tile.shape, np.float32)
    inputs = (TensorSpec(name="tile", shape=tile.shape, semantics="picture"),)
    output = TensorSpec(name="restored", shape=tile.shape, semantics="picture", mends="tile")
    spec = ComponentSpec(name="restore", role=Role.EDIT, inputs=inputs, outputs=(output,))
    untouched = Fidelity.of(spec.outputs[0], {"tile": tile}, restored, tile)
    assert untouched.sqnr_db == pytest.approx(0, abs=1e-9)
    assert untouched.cosine == 0
    assert untouched.max_abs_error == pytest.approx(float(np.abs(restored - tile).max()))
    assert Fidelity.between("restored", restored, tile).reaches(30), "beside the whole picture nothing is seen of it"
    for wrong in ({"mends": "amounts"}, {"shape": (1, 3, 4, 4)}):
        with pytest.raises(ValueError, match="which is no input of its shape"):
            ComponentSpec(name="restore", role=Role.EDIT, inputs=inputs, outputs=(output.model_copy(update=wrong),))


@pytest.mark.parametrize("measure", [sqnr_db, cosine, max_abs_error])
def test_shapes_must_agree_and_values_be_finite(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(ShapeMismatchError):
        measure(np.zeros(3, np.float32), np.zeros((1, 3), np.float32))
    with pytest.raises(GateError, match="not finite"):
        measure(np.zeros(3, np.float32), np.array([0, np.nan, 0], np.float32))
