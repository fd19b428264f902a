"""Rooflines: what bounds a layer is what takes longer, and no figure comes without its label and source."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pocketcrafter.benchmarks.cli import bench
from pocketcrafter.benchmarks.estimate.roofline import SOCS_FILE, Soc, estimate, load_socs
from pocketcrafter.benchmarks.profile.layers import Layer, LayerKind
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import Pocket

CHIP = Soc(name="Chip", int8_tops=2, int8_source="a test", memory_gb_per_s=1, memory_source="a test")
"""A billion MACs, or a million bytes, a millisecond."""


def layer(macs: int, weights: int = 0, read: int = 0, written: int = 0) -> Layer:
    return Layer("conv2d", "a", "conv2d", LayerKind.CONVOLUTION, macs, weights, read, written)


def test_a_layer_takes_the_longer_of_arithmetic_and_traffic() -> None:
    busy = estimate(Pocket.TONE, [layer(4_000_000_000, 1_000_000)], Precision.INT8, CHIP)
    assert busy.best_ms == busy.worst_ms == pytest.approx(4.0)
    hungry = estimate(Pocket.TONE, [layer(1_000_000, 3_000_000, 1_000_000, 1_000_000)], Precision.INT8, CHIP)
    assert (hungry.best_ms, hungry.worst_ms) == (pytest.approx(3.0), pytest.approx(5.0))
    both = estimate(Pocket.TONE, [layer(4_000_000_000), layer(0, 3_000_000)], Precision.INT8, CHIP)
    assert both.best_ms == pytest.approx(7.0)  # one after the other: neither hides behind the other


def test_sixteen_bits_cost_rate_and_traffic() -> None:
    made = estimate(Pocket.TONE, [layer(1_000_000_000, 0, 2_000_000, 0)], Precision.A16W8, CHIP)
    assert (made.compute_ms, made.worst_ms) == (pytest.approx(2.0), pytest.approx(4.0))


def test_a_precision_of_which_nothing_is_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="Nothing is published of w4"):
        estimate(Pocket.TONE, [layer(1)], Precision.W4, CHIP)


def test_every_chip_of_the_table_says_where_its_figures_come_from() -> None:
    socs = load_socs()
    assert "SM8750" in socs
    assert all(len(soc.int8_source) > 20 and len(soc.memory_source) > 20 for soc in socs.values())


def test_a_chip_without_published_figures_is_left_out_and_the_table_says_so() -> None:
    assert "SM8850" not in load_socs()
    assert "SM8850 (Snapdragon 8 Elite Gen 5) is left out" in SOCS_FILE.read_text(encoding="utf-8")


def test_the_command_refuses_what_it_cannot_count(bundle: Path) -> None:
    unknown = CliRunner().invoke(bench, ["estimate", str(bundle), "--soc", "SM1"])
    assert isinstance(unknown.exception, ConfigError)
    assert "the table, which has SM8650, SM8750" in str(unknown.exception)
    absent = CliRunner().invoke(bench, ["estimate", str(bundle), "--soc", "sm8750"])
    assert "--weights" in str(absent.exception)  # the test bundle's weights are nobody's
