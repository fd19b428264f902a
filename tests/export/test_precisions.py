"""The table of precisions: every pair is possible or has a reason, and what is impossible leads to what is not."""

import itertools
from pathlib import Path

import pytest
import yaml

from pocketcrafter.export.lower.precisions import nearest_precision, refusal, with_equal_bits
from pocketcrafter.export.lower.profiles import no_functions, profile_of
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.targets import ONNX, TARGETS, TargetKind


@pytest.mark.parametrize("target", TARGETS)
def test_every_precision_is_there_or_has_a_reason(target: TargetKind) -> None:
    lacking = set(Precision) - set(profile_of(target).precisions)
    assert lacking <= set(profile_of(target).refusals)
    for precision in Precision:
        near, why = nearest_precision(target, precision), refusal(target, precision)
        assert near in profile_of(target).precisions
        assert (near == precision) == (why is None) == (precision not in lacking)
        if why is not None:
            assert profile_of(target).refusals[precision] in why
            assert f"The nearest is {near}" in why


def test_what_is_nearest_has_as_few_bits() -> None:
    four = {Precision.W4, Precision.A8W4_DYNAMIC, Precision.A16W4, Precision.PALETTE4}
    able = [target for target in TARGETS if four & set(profile_of(target).precisions)]
    assert len(able) >= 11
    for target in able:
        assert {nearest_precision(target, precision) for precision in four} <= four


@pytest.mark.parametrize("functions", [(), ("prefill",)])
def test_what_is_taken_in_a_precisions_place_is_never_refused(functions: tuple[str, ...]) -> None:
    """Neither by the target's profile nor for the further functions of a language model."""
    for target, precision in itertools.product(TARGETS, Precision):
        if functions and not profile_of(target).functions:
            continue
        taken = with_equal_bits(target, precision, functions)
        assert taken is None or refusal(target, taken, functions) is None
        assert taken is None or no_functions(target, "language", functions, taken) is None
        assert (taken is precision) is (refusal(target, precision, functions) is None)


def test_eight_bits_of_a_language_model_are_its_weights_alone_where_activations_cannot_be() -> None:
    assert with_equal_bits(ONNX, Precision.INT8, ("prefill",)) is Precision.W8
    assert with_equal_bits(ONNX, Precision.INT8) is Precision.INT8
    told = refusal(TargetKind("qnn-context:sm8750"), Precision.W4, ("prefill",))
    assert told is not None
    assert told.endswith("The nearest is fp16; it has fp32, fp16.")


def test_a_recipe_is_told_the_nearest(tmp_path: Path) -> None:
    made = {"extends": "default.yaml", "components": {"decoder": {"precision": {"coreml:ios17": "w4"}}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(made))
    with pytest.raises(ConfigError, match=r"coreml:ios17 has no w4: .* iOS 18. The nearest is palette4; it has fp32"):
        load_recipe(tmp_path / "r.yaml")
