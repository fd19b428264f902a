"""Distilling a critic: the teacher's plan, presence and hidden states, beside the truth and the picture it gives.

Soft answers carry what one label does not: how sure a better judge is (Hinton et al., 2015); hidden states are matched
through a linear layer that is thrown away afterwards (FitNets: Romero et al., ICLR 2015).
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.critic import Judge, Judgement
from pocketcrafter.export.train.critic import CriticTask
from pocketcrafter.runtime.pocket import TOKEN_DIM, TOKENS

_PLAN_WEIGHT: Final = 1.0
_PRESENCE_WEIGHT: Final = 0.05
_HIDDEN_WEIGHT: Final = 0.02


class Student(nn.Module):
    """A judge and the layer that reads the teacher's tokens off its own."""

    def __init__(self, judge: Judge, teacher_tokens: int) -> None:
        super().__init__()
        self.judge = judge
        self.project = nn.Linear(TOKENS * TOKEN_DIM, teacher_tokens * TOKEN_DIM)


class DistillCriticTask:
    """A student judge learns a teacher's judgements of the frames of a critic's task.

    Parameters
    ----------
    truth
        The student's own task.
    teacher
        What the teacher says of every stored frame.
    """

    def __init__(self, truth: CriticTask, teacher: Judgement) -> None:
        self.truth, self.teacher = truth, teacher
        self.scale = float(teacher.tokens.std())
        self.model = Student(truth.model, teacher.tokens.shape[1]).to(truth.device)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch of random frames."""
        rows = self.truth.draw(step)
        said: Judgement = self.model.judge(self.truth.vectors(rows))
        plan, presence, tokens = (
            getattr(self.teacher, name)[rows].to(self.truth.device) for name in ("plan", "presence", "tokens")
        )
        foreseeable = self.truth.foreseeable
        agreement = F.binary_cross_entropy(said.presence.float(), presence.clamp(0, 1), reduction="none")
        hidden = (self.model.project(said.tokens.flatten(1)) - tokens.flatten(1)) / self.scale
        losses = self.truth.losses(said, rows) | {
            "teacher_plan": _PLAN_WEIGHT * ((said.plan - plan).square() * foreseeable).mean(),
            "teacher_presence": _PRESENCE_WEIGHT * (agreement * foreseeable).mean(),
            "teacher_hidden": _HIDDEN_WEIGHT * hidden.square().mean(),
        }
        total = torch.stack([*losses.values()]).sum()
        return total, {name: float(part.detach()) for name, part in losses.items()}
