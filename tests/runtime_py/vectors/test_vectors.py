"""Vectors for other languages: the same bytes again, tensors where the cases say, faults with a reason."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketcrafter.runtime.arrays import AnyFloatArray
from pocketcrafter.runtime.cli import run
from pocketcrafter.runtime.errors import BundleError, ConfigError
from pocketcrafter.runtime.geometry.decide import ReasonKind
from pocketcrafter.runtime.plan import Attribute, EditPlan
from pocketcrafter.runtime.render import render
from pocketcrafter.runtime.vectors.export import export_vectors
from pocketcrafter.runtime.vectors.manifests import _CHANGES, _LATENT_CHANGES


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vectors")
    export_vectors(out, (), (), 1, lambda *_: None)
    return out


def cases(vectors: Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((vectors / "vectors.json").read_text())["cases"][name]
    return found


def tensor(vectors: Path, about: dict[str, Any]) -> AnyFloatArray:
    raw = (vectors / "tensors.bin").read_bytes()
    count = int(np.prod(about["shape"]))
    return np.frombuffer(raw, about["dtype"], count, about["offset"]).reshape(about["shape"])


def test_the_same_again_gives_the_same_bytes(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = tmp_path / "again"
    assert run(["export-vectors", "--out", str(again), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"]["parse"] > 30
    written = {path.name: path.read_bytes() for path in again.iterdir()}
    assert written == {path.name: path.read_bytes() for path in vectors.iterdir()}
    assert sum(map(len, written.values())) < 12 << 20


def test_tensors_are_read_back_from_where_the_cases_say(vectors: Path) -> None:
    for case in cases(vectors, "render"):
        plan = EditPlan.model_validate(case["plan"])
        rendered = render(plan, tensor(vectors, case["encoded"]).astype(np.float32))
        np.testing.assert_array_equal(tensor(vectors, case["rendered"]), rendered)


def test_what_networks_of_the_latent_family_answered_is_played_back(vectors: Path) -> None:
    """Every further run of the language model reads what the runs before it added to the caches."""
    said = cases(vectors, "conversation")[0]
    steps = [run for run in said["runs"] if run["network"] == "step"]
    assert len(steps) == len(said["ids"]) - 1 > said["words"]
    for before, after in pairwise(steps):
        place = int((tensor(vectors, before["inputs"]["mask"])[0, :-1] == 0).sum())
        keys = tensor(vectors, after["inputs"]["keys"])[:, :, place]
        np.testing.assert_array_equal(keys, tensor(vectors, before["outputs"]["new_keys"])[:, :, 0])
    np.testing.assert_array_equal(
        tensor(vectors, said["states"]), tensor(vectors, said["hidden"])[: len(said["critic"]["prompt"]) + 2]
    )


def test_an_edit_ends_with_the_photos_own_latents_decoded(vectors: Path) -> None:
    whole = cases(vectors, "edit")[0]["runs"]
    assert [run["network"] for run in whole[-2:]] == ["decode", "decode"]
    encoded, decoded = whole[0]["outputs"]["latents"], whole[-1]["inputs"]["latents"]
    np.testing.assert_array_equal(tensor(vectors, decoded), tensor(vectors, encoded))


def test_the_cases_hold_both_answers_of_every_judgement(vectors: Path) -> None:
    verdicts = [case["legal"] for case in cases(vectors, "manifest")]
    # The legal one, an integer where a number is asked for, another tool, a source; two whose artifacts are folders.
    assert (verdicts[0], verdicts.count(True), len(verdicts)) == (True, 6, len(_CHANGES) + 10)
    latent = [case["legal"] for case in cases(vectors, "latent_manifest")]
    # The legal one, a critic alone, an artist alone, a step that adds noise, fewer words for the artist.
    assert (latent[0], latent.count(True), len(latent)) == (True, 5, len(_LATENT_CHANGES) + 1)
    tables = [case["words"] is None for case in cases(vectors, "word_table")]
    assert (sum(tables), len(tables)) == (11, 13)
    assert {case["ended"] for case in cases(vectors, "answer")} == {True, False}
    parsed = [case["prose"] is None for case in cases(vectors, "parse")]
    assert 5 < sum(parsed) < len(parsed) - 20
    gated = [case["gated"][attribute] for case in cases(vectors, "critique") for attribute in Attribute]
    assert 0 < sum(amount != 0 for amount in gated) < len(gated)
    horizons = {case["horizon"] for case in cases(vectors, "critique")}
    # Unknown or unsure, level, tilted by 2.5° and 4.4°, and by more than counts.
    assert horizons == {"not_assessed", "fine", 2.5 / 8, 4.4 / 8, 1.0}
    kinds = [{reason["kind"] for reason in case["reasons"]} for case in cases(vectors, "crop_reasons")]
    assert set() in kinds
    assert set(ReasonKind) in kinds
    assert [bool(case["reasons"]) for case in cases(vectors, "compose")].count(True) == 1


def test_photos_without_a_bundle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --bundle too"):
        export_vectors(tmp_path / "out", (), [tmp_path / "x.jpg"], 1, lambda *_: None)
    assert not (tmp_path / "out").exists()


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        export_vectors(tmp_path / "out", [tmp_path], (), 1, lambda *_: None)
    assert not (tmp_path / "out").exists()
