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

from pocketcrafter.export.models.layout import channels_last
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.losses import picture_loss
from pocketcrafter.export.train.restore import Patches
from pocketcrafter.runtime.errors import ConfigError

_TRUTH_WEIGHT: Final = 0.5


class DistillArtistTask:
    """A student that takes few steps learns where a teacher's many lead.

    Parameters
    ----------
    teacher, student
        Restoration networks; the teacher's steps are a multiple of the student's.
    patches, settings, device
        As in `RestoreTask`.

    Raises
    ------
    ConfigError
        If the teacher's steps are no multiple of the student's.
    """

    def __init__(
        self, teacher: Restore, student: Restore, patches: Patches, settings: FitSettings, device: torch.device
    ) -> None:
        self.stride, rest = divmod(teacher.config.steps, student.config.steps)
        if rest:
            raise ConfigError(
                f"A teacher of {teacher.config.steps} steps cannot teach {student.config.steps}: choose a divisor."
            )
        self.teacher = channels_last(teacher, device).eval().requires_grad_(False)
        self.model = channels_last(student, device)
        self.patches, self.settings, self.device = patches, settings, device

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of one of the student's steps, the same for the whole batch."""
        rng = np.random.default_rng([self.settings.seed, step])
        degraded, target, amounts = (t.to(self.device) for t in self.patches.draw(self.settings.batch, rng))
        steps = self.model.config.steps
        index = int(rng.integers(steps))
        with torch.no_grad():
            states = self.teacher.trajectory(degraded, amounts)
        start, end = states[index * self.stride], states[(index + 1) * self.stride]
        time = torch.full((self.settings.batch, 1), index / steps, device=self.device)
        velocity = self.model.velocity(start, amounts, time).float()
        followed = picture_loss(velocity, (end - start) * steps)
        # From where the step begins, the rest of the way to the truth, at an even speed.
        true = picture_loss(velocity, (target - start) / (1 - index / steps))
        loss = followed + _TRUTH_WEIGHT * true
        return loss, {"teacher": float(followed.detach()), "truth": float(true.detach())}
