"""INT8 for an artist: found by what the pictures lose, and built as it was found."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from torch import nn

from pocketcrafter.benchmarks.common.reference_record import Record
from pocketcrafter.benchmarks.quantization.pairs import PairGates, PairLaboratory, tune_pair, write_recipe
from pocketcrafter.export.families.latent.pair import read_pair
from pocketcrafter.export.families.latent.parts import load_part
from pocketcrafter.export.families.latent.plan import infer_recipe
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.export.shipped import DEFAULT_RECIPE, WEIGHTS
from pocketcrafter.quantize.config import StaticInt8
from pocketcrafter.quantize.modules import check_modules, is_within
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.runtime.bundle.gates import Gate, Metric
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.latent.settings import LADDER
from pocketcrafter.runtime.targets import ONNX

PHOTOS = Path(__file__).parents[3] / "photos"


def test_modules_stay_float_until_the_gates_are_kept(pair: Path, record: Path, tmp_path: Path) -> None:
    laboratory = PairLaboratory.open(pair, "decode", Record(record), PHOTOS, 8)
    whole = FakeQuantSwitches(laboratory.model, laboratory.tensors(laboratory.used), StaticInt8())
    gates = PairGates(sqnr_db=laboratory.damage(whole.run).sqnr_db + 1)
    report = tune_pair(laboratory, gates, "pair", lambda *_: None)
    assert report.keep_fp32
    assert 0 < report.int8_share < 1
    sizes = {name: value.numel() for name, value in laboratory.model.named_parameters() if name.endswith(".weight")}
    float_share = sum(n for name, n in sizes.items() if is_within(name, report.keep_fp32)) / sum(
        n for name, n in sizes.items() if ".decoder." in f".{name}"
    )
    assert report.int8_share == pytest.approx(1 - float_share)
    kept = StaticInt8(keep_fp32=report.keep_fp32)
    mixed = FakeQuantSwitches(laboratory.model, laboratory.tensors(laboratory.used), kept)
    assert laboratory.damage(mixed.run).keeps(gates)
    assert report.mixtures[-2].damage.sqnr_db < report.mixtures[-1].damage.sqnr_db

    write_recipe(pair, report, tmp_path / "pair.yaml")
    component = load_recipe(tmp_path / "pair.yaml").components["decode"]
    assert component.keep_fp32 == report.keep_fp32
    assert component.precision["onnx"] == "int8"

    other = report.model_copy(update={"component": "encode", "keep_fp32": ()})
    write_recipe(pair, other, tmp_path / "both.yaml", tmp_path / "pair.yaml")
    both = load_recipe(tmp_path / "both.yaml").components
    assert [both[name].precision["onnx"] for name in ("encode", "denoise", "decode")] == ["int8", "fp32", "int8"]
    assert both["decode"] == component


@pytest.mark.parametrize(("precision", "share"), [(Precision.W8, 0.99), (Precision.W4, 0.97)])
def test_words_of_int4_may_differ_more_often(pair: Path, precision: Precision, share: float) -> None:
    recipe = infer_recipe(pair, [ONNX], {"language": precision})
    gates = recipe.gates.ladder.get(3, LADDER[3])
    assert Gate(metric=Metric.TOKEN_AGREEMENT, minimum=share) in gates
    assert Gate(metric=Metric.PSNR_DB, minimum=35) in gates


def test_the_shipped_recipe_in_int8_keeps_modules_that_the_pair_has() -> None:
    recipe = load_recipe(DEFAULT_RECIPE.with_name("latent-studio-int8.yaml"))
    studio = read_pair(WEIGHTS / "latent-studio")
    for name in ("encode", "denoise", "decode"):
        network = load_part(studio, name).network
        assert isinstance(network, nn.Module)
        check_modules(network, recipe.components[name].keep_fp32)
        assert recipe.components[name].precision["onnx"] == "int8"
