"""Distilling the restoration network: many steps of the studio's flow in a few of the pocket's.

Along a deterministic flow the student learns the straight line between the teacher's states at the ends of each of its
own steps (progressive distillation: Salimans & Ho, ICLR 2022; in one step, the distillation of rectified flow: Liu et
al., ICLR 2023), beside the truth, which the teacher itself only approaches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pocketcrafter.export.models.blocks import channels_last
from pocketcrafter.export.models.restore import Restore
from pocketcrafter.export.train.fit import FitSettings, picture_loss
from pocketcrafter.export.train.memmap_store import Layout, StoredArrays, open_progress, weights_digest
from pocketcrafter.export.train.restore import PATCH_PX, Patches
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan import RESTORATION

_TRUTH_WEIGHT: Final = 0.5
GROUP: Final = 8
"""Trajectories that are made at a time; a store's length is a multiple of it."""


class TrajectoriesConfig(Config):
    """What identifies a store; another configuration needs another folder."""

    groups: int
    seed: int
    photos_sha256: str
    teacher_sha256: str
    steps: int


@dataclass(frozen=True)
class Trajectories(StoredArrays):
    """Memory-mapped arrays, one row a patch.

    Attributes
    ----------
    states
        The teacher's states at t = 0 (the patch as it is), 1/steps, …, 1: float16 ``(N, steps + 1, 3, 128, 128)``.
    targets
        The patch without its restoration faults: float16 ``(N, 3, 128, 128)``.
    amounts
        denoise, deblur, dejpeg in [0, 1]: float32 ``(N, 3)``.
    """

    states: npt.NDArray[np.float16]
    targets: npt.NDArray[np.float16]
    amounts: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.amounts)

    @property
    def steps(self) -> int:
        """Steps that the teacher took."""
        return int(self.states.shape[1]) - 1


def build_trajectories(
    folder: Path,
    teacher: Restore,
    patches: Patches,
    groups: int,
    seed: int,
    device: torch.device,
    on_progress: Callable[[int], object] = lambda _: None,
) -> Trajectories:
    """Make the store, or what is missing of it, and open it.

    Group ``i`` depends on the seed and ``i`` alone, so that an interrupted build goes on where it stopped.

    Parameters
    ----------
    folder
        Where the arrays are kept: about a megabyte a trajectory of eight steps.
    teacher
        A restoration network; its own number of steps is taken.
    patches
        What its photos are restored from.
    groups, seed
        How many groups of `GROUP` trajectories, and what they are drawn from.
    device
        What the teacher runs on.
    on_progress
        Called with the number of trajectories that were there already, then with that of each group made.

    Raises
    ------
    ConfigError
        If the folder holds a store of another configuration.
    """
    steps = teacher.config.steps
    config = TrajectoriesConfig(
        groups=groups,
        seed=seed,
        photos_sha256=sha256(b"".join(photo.tobytes() for photo in patches.photos)).hexdigest(),
        teacher_sha256=weights_digest(teacher.state_dict()),
        steps=steps,
    )
    picture = (3, PATCH_PX, PATCH_PX)
    layout: Layout = {
        "states": (np.float16, (steps + 1, *picture)),
        "targets": (np.float16, picture),
        "amounts": (np.float32, (len(RESTORATION),)),
    }
    done = open_progress(folder, config, layout, groups * GROUP, groups)
    on_progress(GROUP * int(done.sum()))
    if not done.all():
        store = Trajectories.open(folder, "r+")
        network = channels_last(teacher, device).eval()
        for group in np.flatnonzero(~done):
            _fill(store, network, patches, int(group), seed, device)
            done[group] = True
            done.flush()
            on_progress(GROUP)
    return Trajectories.open(folder)


@torch.no_grad()
def _fill(store: Trajectories, teacher: Restore, patches: Patches, group: int, seed: int, device: torch.device) -> None:
    rows = slice(group * GROUP, (group + 1) * GROUP)
    degraded, targets, amounts = patches.draw(GROUP, np.random.default_rng([seed, group]))
    states = torch.stack(teacher.trajectory(degraded.to(device), amounts.to(device)), 1)
    store.states[rows], store.targets[rows], store.amounts[rows] = (
        states.cpu().numpy(),
        targets.numpy(),
        amounts.numpy(),
    )


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
