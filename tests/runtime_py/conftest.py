"""ICC profiles built from their published primaries, so that no profile file has to be shipped."""

from collections.abc import Callable

import pytest

from pocketcrafter.benchmarks.fuzz.containers import icc_profile


@pytest.fixture
def rgb_profile() -> Callable[[str], bytes]:
    """A matrix profile of a known RGB space by name."""
    return icc_profile
