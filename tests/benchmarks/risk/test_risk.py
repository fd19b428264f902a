"""Risk-coverage curves: every chooser on the same frames, the oracle ahead, and mistakes explained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pocketcrafter.benchmarks.risk.command import risk_coverage
from pocketcrafter.benchmarks.risk.measure import (
    JUDGE,
    ORACLE,
    SHIPPED_GATE,
    UNIFORM_GATE,
    forward_selection,
    parts,
    plot_risk,
    risk_curves,
    risk_text,
    select_proposals,
    selection_text,
)
from pocketcrafter.export.models import save_component
from pocketcrafter.export.models.backbone import MobileNetV2
from pocketcrafter.export.models.critic import Judge
from pocketcrafter.export.models.estimator import ESTIMATES
from pocketcrafter.export.models.plan_judge import PlanJudge
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.train.critic import judge_store
from pocketcrafter.export.train.evidence import EvidenceStore, build_store
from pocketcrafter.export.train.gate_frames import JudgedFrames, Kind, kinds_of
from pocketcrafter.export.train.gate_tuning import gate_figures
from pocketcrafter.export.train.judge_frames import JudgeConfig, build_judge_store
from pocketcrafter.export.train.judge_inputs import Proposed
from pocketcrafter.export.train.plan_proposals import SHIPPED
from pocketcrafter.export.train.risk import RiskPoint
from pocketcrafter.runtime.attribute_gate import AttributeGate
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import TONAL


def point(chooser: str, bar: float, change: float, harm: float) -> RiskPoint:
    return RiskPoint(
        chooser=chooser,
        bar=bar,
        delta_e_change=change,
        worse=harm / 20,
        improved=0.3,
        touched=0.4,
        clean_changed=harm / 30,
        worst_source=harm,
    )


POINTS = [
    point(JUDGE, -1, -2.6, 3.0),
    point(JUDGE, 0, -2.1, 0.9),
    point(SHIPPED_GATE, 0, -1.7, 3.4),
    point(UNIFORM_GATE, 0.9, -2.4, 7.5),
    point(ORACLE, 0, -4.8, 0),
]


def test_the_text_names_what_each_gains_within_the_aims() -> None:
    text = risk_text(POINTS)
    assert "judge: ΔE2000 -2.10 within the aims in every kind and source (bar 0)." in text
    assert "tuned gate: harms some kind and source of frames beyond the aims at every bar." in text
    assert text.count("\n| ") == 1 + len(POINTS)


def frames_of(folder: Path, photos: list[Path], camera_data: Path) -> EvidenceStore:
    store = build_store(folder / "frames", photos, camera_data, MobileNetV2().state_dict(), 16, 3, processes=1)
    return store.with_estimates(np.zeros((16, ESTIMATES), np.float32))


def test_every_chooser_is_measured_on_the_same_frames_and_the_gate_as_it_is_tuned(
    photos: list[Path], camera_data: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    store = frames_of(tmp_path, photos, camera_data)
    truth = torch.from_numpy(np.array(store.plans))
    said = judge_store(Judge(), store)._replace(plan=0.8 * truth, presence=0.95 * (truth != 0))
    config = JudgeConfig(critic_sha256="", frames_sha256="")
    judged = build_judge_store(tmp_path / "proposals", store, said, np.arange(16), config)
    gates = dict.fromkeys(TONAL, AttributeGate(presence=0.9, confidence=0, dead_zone=0))
    proposed = Proposed(store, said, ["one"] * len(photos), judged, "")
    points = risk_curves(proposed, PlanJudge(), gates)
    figures = gate_figures(JudgedFrames.of(store, said, proposed.sources), gates)
    as_it_is = next(p for p in points if p.chooser == SHIPPED_GATE and p.bar == 0)
    assert as_it_is.delta_e_change == pytest.approx(figures.delta_e_change, abs=1e-3)
    assert as_it_is.delta_e_change < -0.5
    strict = next(p for p in points if p.chooser == SHIPPED_GATE and p.bar == 2)
    assert strict.touched == 0, "at 0.985 nothing of the critic's is sure enough"
    oracle = next(p for p in points if p.chooser == ORACLE)
    assert all(oracle.delta_e_change <= p.delta_e_change for p in points if p.chooser == JUDGE)
    assert oracle.worse == 0


def test_forward_selection_takes_what_adds_most_and_nothing_twice() -> None:
    gains = np.array([[3.0, 2.9, 0.0, -9.0], [0.0, 0.0, 1.0, -9.0], [3.0, 2.9, 0.0, 0.5]], dtype=np.float32)
    taken = forward_selection(gains, 3)
    assert [column for column, _ in taken][:2] == [0, 2], "the second column only repeats the first"
    assert [gain for _, gain in taken] == pytest.approx([2, 7 / 3, 7 / 3])


def test_proposals_are_selected_on_degraded_frames_by_what_they_gain(
    photos: list[Path], camera_data: Path, tmp_path: Path
) -> None:
    store = frames_of(tmp_path, photos, camera_data)
    truth = torch.from_numpy(np.array(store.plans))
    said = judge_store(Judge(), store)._replace(plan=0.5 * truth)
    judged = build_judge_store(
        tmp_path / "proposals", store, said, np.arange(16), JudgeConfig(critic_sha256="", frames_sha256="")
    )
    selection = select_proposals(Proposed(store, said, ["one"] * len(photos), judged, ""), 64, 3)
    assert selection.frames == int((kinds_of(np.array(store.plans)) == Kind.DEGRADED).sum())
    assert selection.steps[0].proposal.strength == 1.6, "the critic says half of what there is"
    assert set(SHIPPED) <= set(parts())
    assert selection.shipped_gain > 0
    assert str(selection.parts) in selection.model_dump_json()
    assert selection_text(selection).count("\n| ") == 4


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_plot_is_drawn(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"risk{suffix}"
    plot_risk(POINTS, path)
    assert path.stat().st_size > 5000


def test_a_plot_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a plot is written as"):
        plot_risk(POINTS, tmp_path / "risk.txt")


def test_a_missing_judge_and_another_critics_judge_are_refused(tmp_path: Path) -> None:
    for name in ("critic.safetensors", "gate.json"):
        (tmp_path / name).write_bytes((WEIGHTS / name).read_bytes())
    words = ["--run", str(tmp_path), "--data", str(tmp_path), "--weights", str(tmp_path)]
    missing = CliRunner().invoke(risk_coverage, words).exception
    assert isinstance(missing, ConfigError)
    assert "pocketcrafter train judge" in str(missing)
    save_component(PlanJudge(), tmp_path / "judge.safetensors", {"critic_sha256": "0" * 64})
    others = CliRunner().invoke(risk_coverage, words).exception
    assert isinstance(others, ConfigError)
    assert "another critic" in str(others)
