"""Damage, rankings and searches: on a small made-up trial for the arithmetic, on real networks end to end."""

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from pocketcrafter.benchmarks.common.names import Architecture
from pocketcrafter.benchmarks.common.prose import Asked
from pocketcrafter.benchmarks.quantization.cli import quantize
from pocketcrafter.benchmarks.quantization.laboratory import Head, Journal, Laboratory, Measured
from pocketcrafter.benchmarks.quantization.memory import measure_memory
from pocketcrafter.benchmarks.quantization.outside import measure_outside
from pocketcrafter.benchmarks.quantization.search import Budget, pareto, search, write_overlay
from pocketcrafter.benchmarks.quantization.sensitivity import check_plot, plot_sensitivity, sensitivity
from pocketcrafter.benchmarks.quantization.subjects import Damage, PictureSubject, WordsSubject, full_precision, traced
from pocketcrafter.benchmarks.quantization.trials import (
    OPEN_GATE,
    PictureTrial,
    TrialSettings,
    WordsTrial,
    blocks_of_modules,
    drawn_as_built,
    make_trial,
)
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.builder.settings import CALIBRATION, ExamplesSettings
from pocketcrafter.export.builder.steps import examples
from pocketcrafter.export.families.registry import FAMILIES
from pocketcrafter.export.models import MODELS, decoder_network, save_component
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.recipe import load_recipe, resolve
from pocketcrafter.export.shipped import DEFAULT_RECIPE, WEIGHTS
from pocketcrafter.quantize.algorithms.rounding import round_linears
from pocketcrafter.quantize.config import WeightOnly
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError, GateError
from pocketcrafter.runtime.families import POCKET
from pocketcrafter.runtime.names import Mode
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import POCKET_SPECS, Pocket
from pocketcrafter.runtime.prose.tokenizer import Words
from pocketcrafter.runtime.prose.writer import Writer
from pocketcrafter.runtime.targets import ONNX

HARM = {"a": 0.1, "b": 3.0, "c": 0.5}
BYTES = {"a": 100, "b": 100, "c": 1000}


class MadeUpTrial:
    """Harms add up; a cheap unit takes a quarter of its bytes."""

    units = ("a", "b", "c")

    def __init__(self) -> None:
        self.measured = 0

    def damage(self, cheap: Collection[str]) -> Damage:
        self.measured += 1
        return Damage(delta_e=sum(HARM[u] for u in cheap), sqnr_db=30.0 - len(cheap) if cheap else None)

    def size(self, cheap: Collection[str]) -> int:
        return sum(BYTES[u] // (4 if u in cheap else 1) for u in self.units)


@pytest.fixture
def settings() -> TrialSettings:
    return TrialSettings(component=Pocket.TONE, weights=WEIGHTS, data=Path("data"), split="validation", photos=1)


@pytest.fixture
def head(settings: TrialSettings) -> Head:
    return Head.of(settings)


def test_modules_are_ranked_by_what_is_seen(settings: TrialSettings, head: Head) -> None:
    report = sensitivity(head, Laboratory(settings, MadeUpTrial(), Journal(None, head)))
    assert [row.unit for row in report.units] == ["b", "c", "a"]
    assert report.everything.delta_e == pytest.approx(3.6)
    assert report.units[1].saved == 750


def test_the_search_spares_what_harms_most_for_its_bytes(settings: TrialSettings, head: Head) -> None:
    laboratory = Laboratory(settings, MadeUpTrial(), Journal(None, head))
    found = search(head, laboratory, Budget.parse("gate=0.7"))
    assert found.dear == ("b",)
    assert found.chosen.size == 100 + 25 + 250
    sizes, harms = ([getattr(c, n) for c in found.front] for n in ("size", "damage"))
    assert sizes == sorted(sizes)
    assert all(x.order > y.order for x, y in pairwise(harms))
    assert search(head, laboratory, Budget.parse("size=300")).dear == ()
    with pytest.raises(GateError, match="nearest has"):
        search(head, laboratory, Budget.parse("size=2"))


@pytest.mark.parametrize("text", ["size", "gate=-1", "weight=3", "size=0", "size=x", "gate=nan", "=3"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"size=1\.5MB"):
        Budget.parse(text)


def test_sizes_have_units() -> None:
    assert Budget.parse("size=1.5MB").size == 1.5 * 2**20
    assert Budget.parse("size=3kb").size == 3 * 2**10


def test_only_what_nothing_beats_is_on_the_front() -> None:
    def at(size: int, harm: float) -> Measured:
        return Measured(cheap=(str(size),), damage=Damage(delta_e=harm, sqnr_db=None), size=size)

    best = (at(1, 3.0), at(2, 2.0), at(4, 0.5))
    assert pareto([at(3, 2.5), *best[::-1], at(5, 0.5)]) == best


def test_a_journal_goes_on_where_it_was_stopped(settings: TrialSettings, head: Head, tmp_path: Path) -> None:
    path, first, second = tmp_path / "j.jsonl", MadeUpTrial(), MadeUpTrial()
    sensitivity(head, Laboratory(settings, first, Journal(path, head)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    report = sensitivity(head, Laboratory(settings, second, Journal(path, head)))
    assert (first.measured, second.measured) == (4, 1)
    assert path.read_bytes() == whole
    assert report.everything.delta_e == pytest.approx(3.6)
    other = Head(trial=settings.model_copy(update={"photos": 2}), weights_sha256=head.weights_sha256)
    with pytest.raises(ConfigError, match="another measurement"):
        Journal(path, other)
    path.write_text("a diary\nof mine\n")
    with pytest.raises(ConfigError, match="no journal"):
        Journal(path, head)


def test_a_plot_has_a_bar_for_every_unit(settings: TrialSettings, head: Head, tmp_path: Path) -> None:
    report = sensitivity(head, Laboratory(settings, MadeUpTrial(), Journal(None, head)))
    for name in ("p.svg", "p.png"):
        plot_sensitivity(report, tmp_path / name)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "p.svg").read_text()
    with pytest.raises(ConfigError, match="png or"):
        check_plot(tmp_path / "p.gif")


def test_a_found_mixture_is_a_recipe_that_builds(settings: TrialSettings, head: Head, tmp_path: Path) -> None:
    class Grid(MadeUpTrial):
        units = ("grid", "whole", "down.0")

        def damage(self, cheap: Collection[str]) -> Damage:
            return Damage(delta_e=float("grid" in cheap), sqnr_db=30.0)

        def size(self, cheap: Collection[str]) -> int:
            return 100 - len(cheap)

    found = search(head, Laboratory(settings, Grid(), Journal(None, head)), Budget.parse("gate=0.5"))
    write_overlay(found, DEFAULT_RECIPE, tmp_path / "mixed.yaml")
    recipe = load_recipe(tmp_path / "mixed.yaml")
    assert recipe.components[Pocket.TONE].keep_fp32 == ("grid",)
    assert recipe.components[Pocket.RESTORE] == load_recipe(DEFAULT_RECIPE).components[Pocket.RESTORE]
    assert yaml.safe_load((tmp_path / "mixed.yaml").read_text())["extends"] == "default.yaml"


def test_a_mixture_of_bits_is_a_recipe_for_onnx(tmp_path: Path) -> None:
    settings = TrialSettings(
        component=Pocket.DECODER,
        weights=WEIGHTS,
        data=Path("data"),
        split="validation",
        photos=1,
        bits=2,
        dear_bits=4,
    )

    class Layers(MadeUpTrial):
        units = ("logits", "word")

        def damage(self, cheap: Collection[str]) -> Damage:
            return Damage(disagreement=0.1 * ("logits" in cheap), sqnr_db=30.0)

        def size(self, cheap: Collection[str]) -> int:
            return 100 - len(cheap)

    head = Head.of(settings)
    found = search(head, Laboratory(settings, Layers(), Journal(None, head)), Budget.parse("gate=0.02"))
    write_overlay(found, DEFAULT_RECIPE, tmp_path / "mixed.yaml")
    recipe = load_recipe(tmp_path / "mixed.yaml")
    assert recipe.targets == (ONNX,)
    assert recipe.components[Pocket.DECODER].precision[ONNX] is Precision.W4
    assert recipe.components[Pocket.DECODER].weight_bits == {"word": 2}


def test_joints_belong_to_the_module_they_are_in() -> None:
    assert blocks_of_modules(("head", "", "body.0.expand", "body.0", "body.1.expand", "tail")) == (
        "head",
        "body.0",
        "body.1.expand",
        "tail",
    )


@pytest.fixture(scope="module")
def random_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that do something, in a folder."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for component in (Pocket.CRITIC, Pocket.TONE, Pocket.RESTORE):
        model = MODELS[component]()
        for name in ("grid", "tail"):
            if hasattr(model, name):
                torch.nn.init.normal_(getattr(model, name).weight, std=0.02)
        save_component(model, folder / f"{component}.safetensors")
    return folder


def test_pictures_go_through_the_whole_pipeline(random_pair: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    subject = PictureSubject(full_precision(random_pair, OPEN_GATE, threads=1), [picture])
    assert subject.changed == 1
    spec, rng = POCKET_SPECS[Pocket.TONE], np.random.default_rng(1)
    model = MODELS[Pocket.TONE]()
    model.load_state_dict(TorchBackend().open(random_pair / "tone.safetensors", spec, 1).model.state_dict())
    calibration = [tuple(torch.from_numpy(rng.random(t.shape, np.float32)) for t in spec.inputs) for _ in range(4)]
    trial = PictureTrial(Pocket.TONE, model.eval(), FakeQuantSwitches(model.eval(), calibration), subject)
    none, some, everything = (trial.damage(cheap) for cheap in ((), ("grid",), trial.units))
    assert none.delta_e == 0
    assert none.sqnr_db is None or none.sqnr_db > 100
    assert everything.plan_error == 0, "the critic is in full precision"
    assert (everything.delta_e or 0) > 0
    assert (some.sqnr_db or 0) > (everything.sqnr_db or 0)
    assert trial.size(trial.units) < trial.size(("grid",)) < trial.size(())


def test_several_processes_measure_what_one_does(data: Path) -> None:
    """Each process draws its own frames and calibrates by itself: what is ranked must not depend on who measured."""
    settings = TrialSettings(component=Pocket.TONE, weights=WEIGHTS, data=data, split="heldout", photos=1, samples=5)
    head, trial = Head.of(settings), make_trial(settings)
    wanted = [(unit,) for unit in trial.units[:3]] + [trial.units]
    alone, together = (Laboratory(settings, trial, Journal(None, head), count).measure(wanted) for count in (1, 2))
    assert together == alone
    assert len({one.damage.sqnr_db for one in alone}) == len(wanted)


def test_fewer_bits_change_more_words() -> None:
    decoder = decoder_network(WEIGHTS / "decoder.safetensors")
    words = Words.read(WEIGHTS / TOKENIZER)
    session = TorchBackend().open(WEIGHTS / "decoder.safetensors", POCKET_SPECS[Pocket.DECODER], 1)
    rng, writer = np.random.default_rng(0), Writer(session, words)
    # Several critiques at length: a near tie in a short one is turned by any rounding.
    asked = [
        Asked(
            rng.normal(size=(1, 4, 64)).astype(np.float32), dict.fromkeys(Attribute, 0.0) | {a: -0.3}, 70.0, Mode.FULL
        )
        for a in (Attribute.EXPOSURE, Attribute.CONTRAST, Attribute.SATURATION)
    ]
    traces = [traced(one, writer, words) for one in asked]
    subject = WordsSubject(decoder, traces)
    assert subject.choices == sum(len(trace.choices) for trace in traces) > 150
    assert subject.damage(decoder) == Damage(disagreement=0, sqnr_db=None)
    few, many = (WordsTrial(decoder, round_linears(decoder, WeightOnly(bits=b)), None, subject) for b in (2, 8))
    worse, better = (trial.damage(trial.units) for trial in (few, many))
    assert (worse.sqnr_db or 0) + 20 < (better.sqnr_db or 0)
    assert (worse.disagreement or 0) > (better.disagreement or 0)
    assert few.size(few.units) < 0.4 * many.size(many.units)
    assert few.damage(()) == Damage(disagreement=0, sqnr_db=None)


@pytest.mark.parametrize("command", ["sensitivity", "search", "methods", "schemes"])
def test_help_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(quantize, [command, "--help"])
    assert result.exit_code == 0
    assert f"pocketcrafter quantize {command}" in result.output


def test_bad_input_is_told(tmp_path: Path) -> None:
    missing = ["sensitivity", "tone", "--data", str(tmp_path), "--weights", str(tmp_path), "--json"]
    result = CliRunner().invoke(quantize, missing)
    assert isinstance(result.exception, ConfigError)
    assert "no such weights" in str(result.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["AutoencoderTiny", "SmolVLM text"])
def test_other_architectures_stay_themselves(name: str) -> None:
    rows = {row.scheme: row for row in measure_outside(lambda *_: None, [Architecture(name)])}
    assert rows["INT8 static"].sqnr_db > 15
    if name == "SmolVLM text":
        assert rows["W8"].sqnr_db > rows["W4"].sqnr_db + 15
        assert rows["W4 GPTQ"].cosine > 0.98


def test_memory_is_that_of_a_process_and_within_its_bar() -> None:
    row = measure_memory(9_000_000, 4)
    assert row.parameters == 8 * 2**20
    assert 50 < row.peak_mib < row.bar_mib
    assert row.quantized_mib < 0.17 * row.model_mib


def test_trials_calibrate_with_what_builds_calibrate_with(tmp_path: Path) -> None:
    """Guards figures of something else than what ships: another draw of frames gave another ΔE by a quarter."""
    recipe = load_recipe(DEFAULT_RECIPE)
    settings = TrialSettings(
        component=Pocket.RESTORE, weights=WEIGHTS, data=Path("data"), split="validation", photos=1, samples=5
    )
    built = ExamplesSettings(
        component=Pocket.RESTORE,
        networks=FAMILIES[POCKET].networks,
        samples=5,
        seed=recipe.calibration.seed,
        goldens=1,
    )
    inputs = {"photos": resolve(DEFAULT_RECIPE, recipe.calibration.photos), "weights": WEIGHTS / "restore.safetensors"}
    examples.run(inputs, built, tmp_path, lambda *_: None)
    stored = np.load(tmp_path / CALIBRATION)
    drawn = drawn_as_built(settings)
    assert len(drawn) == 5
    for index, sample in enumerate(drawn):
        for name, array in sample.items():
            np.testing.assert_array_equal(array, stored[f"{index}.{name}"])
