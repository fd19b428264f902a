"""What a recipe may ask for, and the shipped recipe of fewest bits: small, and rounded once and for all."""

import json
from collections.abc import Mapping

import torch
from click.testing import CliRunner

from pocketcrafter.benchmarks.quantization.cli import quantize
from pocketcrafter.export.distill.qat import weight_scheme
from pocketcrafter.export.models import decoder_network
from pocketcrafter.export.recipe import load_recipe, resolve
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.quantize.algorithms.blocks import Blocks
from pocketcrafter.quantize.algorithms.rounding import round_linears
from pocketcrafter.quantize.config import WeightOnly
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.targets import ONNX, TARGETS

_MIXED = DEFAULT_RECIPE.with_name("mixed.yaml")
_LEAST_INT8_BITS = 8
"""No INT8 weight has fewer, whatever its scales take."""


def _size(made: Mapping[str, Blocks]) -> int:
    return sum(blocks.size for blocks in made.values())


def test_every_pair_is_told() -> None:
    result = CliRunner().invoke(quantize, ["schemes", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert set(told) == set(TARGETS)
    assert all(set(answers) == {p.value for p in Precision} for answers in told.values())
    assert told["coreml:ios17"]["w4"]["nearest"] == "palette4"
    one = CliRunner().invoke(quantize, ["schemes", "--target", "executorch-xnnpack"])
    assert "XNNPACK has no 16-bit integers" in one.output


def test_the_mixed_recipe_is_a_third_of_int8_and_is_not_rounded_again() -> None:
    recipe, scheme = load_recipe(_MIXED), weight_scheme(_MIXED)
    made = recipe.components[Pocket.DECODER]
    decoder = decoder_network(resolve(_MIXED, made.weights))
    rounded = round_linears(decoder, scheme, bfloat16_scales=True)
    assert {blocks.bits for blocks in rounded.values()} == {2, 4}
    for name, blocks in rounded.items():
        assert torch.equal(blocks.weight(), decoder.get_submodule(name).weight), f"{name} would be rounded again"
    original = decoder_network(resolve(DEFAULT_RECIPE, load_recipe(DEFAULT_RECIPE).components[Pocket.DECODER].weights))
    assert _size(rounded) <= 0.35 * _size(round_linears(original, WeightOnly(bits=8), bfloat16_scales=True))
    assert _size(rounded) <= 0.35 * sum(b.levels.numel() for b in rounded.values()) * _LEAST_INT8_BITS / 8
    assert recipe.targets == (ONNX,), "no other target has weights of 2 bits"
