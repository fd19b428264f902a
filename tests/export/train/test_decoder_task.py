"""The decoder learns what it is told, from frames as a critic sees them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.models.llama import ProseLlama
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.train.decoder import DecoderTask, as_step
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.prose.facts import measure_facts
from pocketcrafter.export.train.prose.sampling import Judged, draw_subject
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import PROSE_CACHE, PROSE_LAYERS, PROSE_LENGTH, PROSE_WORDS, TOKEN_DIM
from pocketcrafter.runtime.prose.prompt import LADDERS

SETTINGS = FitSettings(steps=12, batch=2, learning_rate=3e-3, warmup=2, seed=3)


@pytest.fixture(scope="module")
def frames(store: EvidenceStore, judged: Judgement) -> Judged:
    return Judged.of(judged, store.plans, measure_facts(np.array(store.views)))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(WEIGHTS / TOKENIZER))


class FirstBatch:
    """The task's first batch, again and again."""

    def __init__(self, task: DecoderTask) -> None:
        self.task, self.model = task, task.model

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        return self.task.parameter_groups()

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        del step
        return self.task.loss(0)


def test_a_batch_is_learned_by_heart_and_kept_as_single_steps(
    frames: Judged, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    seen: list[float] = []
    task = DecoderTask(ProseLlama(), frames, tokenizer, SETTINGS, torch.device("cpu"))
    fitted = fit(FirstBatch(task), SETTINGS, tmp_path, lambda _, parts: seen.append(parts["loss"]))
    assert seen[0] == pytest.approx(np.log(PROSE_WORDS), rel=0.1), "a new decoder expects every word alike"
    assert seen[-1] < 0.8 * seen[0]
    step = as_step(fitted)
    with torch.no_grad():
        logits, *_ = step(
            torch.eye(PROSE_WORDS)[:1],
            torch.zeros(1, TOKEN_DIM),
            torch.eye(PROSE_LENGTH)[:1],
            *(torch.zeros(PROSE_CACHE) for _ in range(2 * PROSE_LAYERS)),
        )
    assert logits.shape == (1, PROSE_WORDS)


def test_batches_depend_on_seed_and_step_alone(frames: Judged, tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    task = DecoderTask(ProseLlama(), frames, tokenizer, SETTINGS, torch.device("cpu"))
    with torch.no_grad():
        assert task.loss(4)[1] == task.loss(4)[1]
        assert task.loss(4)[1] != task.loss(5)[1]


def test_plans_of_every_kind_are_drawn_and_all_of_them_can_be_told(frames: Judged) -> None:
    rng = np.random.default_rng(0)
    subjects = [draw_subject(frames, int(rng.integers(len(frames))), rng) for _ in range(1500)]
    for subject in subjects:
        assert all(x is None or x in LADDERS[a] for a, x in subject.plan.items())
        assert 0 <= subject.score <= 100
    counts = [sum(1 for x in s.plan.values() if x) for s in subjects]
    assert min(counts) == 0
    assert max(counts) >= 5
    told = {(a, x) for s in subjects for a, x in s.plan.items()}
    assert len(told) > 0.8 * sum(len(LADDERS[a]) + 1 for a in Attribute)


def test_another_vocabulary_is_refused(frames: Judged, tmp_path: Path) -> None:
    text = (WEIGHTS / TOKENIZER).read_text().replace("<voice:0>", "<voice:x>")
    (tmp_path / TOKENIZER).write_text(text)
    other = Tokenizer.from_file(str(tmp_path / TOKENIZER))
    with pytest.raises(ConfigError, match="special words"):
        DecoderTask(ProseLlama(), frames, other, SETTINGS, torch.device("cpu"))
