"""How far an artifact's tensors are from its reference: signal-to-quantization-noise ratio and its relatives."""

import math

import numpy as np

from pocketcrafter.runtime.arrays import AnyFloatArray
from pocketcrafter.runtime.errors import GateError, ShapeMismatchError


def sqnr_db(reference: AnyFloatArray, actual: AnyFloatArray) -> float:
    """Signal-to-quantization-noise ratio in decibels; higher is closer.

    Parameters
    ----------
    reference, actual
        Arrays of one shape, any floating dtype; compared in float64.

    Returns
    -------
    float
        ``10·log10(Σ reference² / Σ (reference − actual)²)``; ``inf`` where they are equal, ``-inf`` where the reference
        is all zero and the other is not.

    Raises
    ------
    ShapeMismatchError
        If the shapes differ.
    GateError
        If a value is not finite.

    Notes
    -----
    Unlike peak-based PSNR it does not hang on one extreme value. For pictures use :func:`psnr_db`, which fixes the
    data range.
    """
    a, b = _pair(reference, actual)
    noise = float(np.sum((a - b) ** 2))
    signal = float(np.sum(a**2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def cosine(reference: AnyFloatArray, actual: AnyFloatArray) -> float:
    """Cosine of the angle between two arrays of one shape, in [-1, 1]; 1 for two all-zero arrays, 0 for one.

    Raises
    ------
    ShapeMismatchError
        If the shapes differ.
    GateError
        If a value is not finite.
    """
    a, b = _pair(reference, actual)
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if 0.0 in lengths:
        return 1.0 if lengths == (0.0, 0.0) else 0.0
    return max(-1.0, min(1.0, float(np.vdot(a / lengths[0], b / lengths[1]))))


def max_abs_error(reference: AnyFloatArray, actual: AnyFloatArray) -> float:
    """Return the largest absolute difference of two arrays of one shape, in their own unit.

    Raises
    ------
    ShapeMismatchError
        If the shapes differ.
    GateError
        If a value is not finite.
    """
    a, b = _pair(reference, actual)
    return float(np.max(np.abs(a - b), initial=0.0))


def psnr_db(reference: AnyFloatArray, actual: AnyFloatArray, data_range: float) -> float:
    """Peak signal-to-noise ratio in decibels of two pictures.

    Parameters
    ----------
    reference, actual
        Arrays of one shape; compared in float64.
    data_range
        Distance between the darkest and brightest legal value (1 for [0, 1], 255 for 8 bits); never read from the data.

    Returns
    -------
    float
        ``10·log10(data_range² / mean squared error)``; ``inf`` where they are equal.

    Raises
    ------
    ShapeMismatchError
        If the shapes differ.
    GateError
        If a value is not finite.
    """
    a, b = _pair(reference, actual)
    error = float(np.mean((a - b) ** 2)) if a.size else 0.0
    return math.inf if error == 0 else 10 * math.log10(data_range**2 / error)


def _pair(reference: AnyFloatArray, actual: AnyFloatArray) -> tuple[AnyFloatArray, AnyFloatArray]:
    if reference.shape != actual.shape:
        raise ShapeMismatchError(f"Arrays of shape {reference.shape} and {actual.shape} cannot be compared.")
    a, b = reference.astype(np.float64), actual.astype(np.float64)
    for name, array in (("reference", a), ("compared", b)):
        if not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            raise GateError(f"The {name} array of shape {array.shape} has {bad} values that are not finite.")
    return a, b
