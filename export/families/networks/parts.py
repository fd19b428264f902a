"""Describes components of foreign networks by running them once, and draws random inputs for them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from pocketcrafter.export.families.family import Part
from pocketcrafter.quantize.modules import outputs_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec


def draw_samples(spec: ComponentSpec, count: int, seed: int) -> list[dict[str, FloatArray]]:
    """Draw inputs: uniform where a range is known, normal where none is.

    Parameters
    ----------
    spec
        The component's contract.
    count
        Number of samples.
    seed
        What they are drawn from.
    """
    generator = np.random.default_rng(seed)
    return [{t.name: _draw(t, generator) for t in spec.inputs} for _ in range(count)]


def make_part(name: str, module: nn.Module, role: Role, inputs: Sequence[TensorSpec], *outputs: str) -> Part:
    """Describe a component by its outputs' names; their shapes are found by running it once, on zeros.

    Parameters
    ----------
    name
        Of the component.
    module
        Called with the inputs in order.
    role
        What the component does in a pair.
    inputs
        Its inputs.
    outputs
        Names of its outputs, in order.
    """
    with torch.no_grad():
        made = outputs_of(module(*(torch.zeros(t.shape) for t in inputs)))
    found = tuple(
        TensorSpec(name=output, shape=tuple(value.shape), semantics=f"{output.replace('_', ' ')} of {name}")
        for output, value in zip(outputs, made, strict=True)
    )
    return Part(module.eval(), ComponentSpec(name=name, role=role, inputs=tuple(inputs), outputs=found))


def tensor(name: str, shape: Sequence[int], low: float | None = None, high: float | None = None) -> TensorSpec:
    """Describe an input.

    Parameters
    ----------
    name
        Of the input.
    shape
        Static shape.
    low, high
        Range of the values, where it is known.
    """
    return TensorSpec(name=name, shape=tuple(shape), minimum=low, maximum=high, semantics=name.replace("_", " "))


def _draw(spec: TensorSpec, generator: np.random.Generator) -> FloatArray:
    if spec.minimum is not None and spec.maximum is not None:
        return generator.uniform(spec.minimum, spec.maximum, spec.shape).astype(np.float32)
    return generator.standard_normal(spec.shape, np.float32)
