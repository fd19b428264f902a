"""Distilling the restoration network: many steps of the studio's flow in a few of the pocket's.

Along a deterministic flow the student learns the straight line between the teacher's states at the ends of each of its
own steps (progressive distillation: Salimans & Ho, ICLR 2022; in one step, the distillation of rectified flow: Liu et
al., ICLR 2023), beside the truth, which the teacher itself only approaches.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from pocketcrafter.export.distill.trajectories import Trajectories
from pocketcrafter.export.models.layout import channels_last
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.losses import picture_loss
from pocketcrafter.runtime.errors import ConfigError

_TRUTH_WEIGHT: Final = 0.5


class DistillArtistTask:
    """A student that takes few steps learns where a teacher's many lead.

    Parameters
    ----------
    student
        A restoration network; the teacher's steps are a multiple of its own.
    trajectories
        The teacher's.
    settings, device
        As in `RestoreTask`.

    Raises
    ------
    ConfigError
        If the teacher's steps are no multiple of the student's.
    """

    def __init__(
        self, student: Restore, trajectories: Trajectories, settings: FitSettings, device: torch.device
    ) -> None:
        check_divides(trajectories.steps, student.config.steps)
        self.stride = trajectories.steps // student.config.steps
        self.model = channels_last(student, device)
        self.trajectories, self.settings, self.device = trajectories, settings, device

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of one of the student's steps, the same for the whole batch."""
        rng = np.random.default_rng([self.settings.seed, step])
        rows = np.sort(rng.choice(len(self.trajectories), self.settings.batch, replace=False))
        steps = self.model.config.steps
        index = int(rng.integers(steps))
        start, end = (self._read(self.trajectories.states[rows, i * self.stride]) for i in (index, index + 1))
        target, amounts = self._read(self.trajectories.targets[rows]), self._read(self.trajectories.amounts[rows])
        time = torch.full((self.settings.batch, 1), index / steps, device=self.device)
        velocity = self.model.velocity(start, amounts, time).float()
        followed = picture_loss(velocity, (end - start) * steps)
        # From where the step begins, the rest of the way to the truth, at an even speed.
        true = picture_loss(velocity, (target - start) / (1 - index / steps))
        loss = followed + _TRUTH_WEIGHT * true
        return loss, {"teacher": float(followed.detach()), "truth": float(true.detach())}

    def _read(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(rows.astype(np.float32)).to(self.device)


def check_divides(teacher_steps: int, student_steps: int) -> None:
    """Refuse a student whose steps do not end on its teacher's.

    Raises
    ------
    ConfigError
        If the teacher's steps are no multiple of the student's.
    """
    if teacher_steps % student_steps:
        raise ConfigError(
            f"A teacher of {teacher_steps} steps cannot teach {student_steps}: choose a divisor of {teacher_steps}."
        )
