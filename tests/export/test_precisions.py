"""The table of precisions: every pair is possible or has a reason, and what is impossible leads to what is not."""

from pathlib import Path

import pytest
import yaml

from pocketcrafter.export.lower.precisions import nearest_precision, refusal
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.targets import TARGETS, TargetKind


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


def test_a_recipe_is_told_the_nearest(tmp_path: Path) -> None:
    made = {"extends": "default.yaml", "components": {"decoder": {"precision": {"coreml:ios17": "w4"}}}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(made))
    with pytest.raises(ConfigError, match=r"coreml:ios17 has no w4: .* iOS 18. The nearest is palette4; it has fp32"):
        load_recipe(tmp_path / "r.yaml")
