"""Three ways to teach a few-step artist: along a teacher's trajectories, by consistency, and by matching distributions.

Trajectory regression is progressive distillation at once (Salimans & Ho, ICLR 2022), beside the truth as in
`pocketcrafter.export.distill.artist`. Latent consistency: Luo et al., 2023, with the student itself, not trained, as
its target (Song & Dhariwal, ICLR 2024). Distribution matching: DMD2 (Yin et al., NeurIPS 2024).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.distill.latent.flow import FlowArtist, Guided, Levels, Shown, sampled, scaled, started
from pocketcrafter.export.distill.latent.frames import FlowTrajectories, PairFrames, as_tensor
from pocketcrafter.export.train.fit import FitSettings, Task

_HUBER: Final = 0.03
"""Where latent consistency's loss turns from square to absolute; latents have a deviation of about 1."""
_OWN_LEVELS: Final = 0.5
"""Share of consistency's draws that are at the levels which the phone runs."""
_LOWEST, _HIGHEST = 0.02, 0.98
"""Noise at which distributions are compared."""
_FAKE_STEPS: Final = 3
"""Updates of the network that follows the student's pictures, for each of the student; DMD2 takes five."""
_ADVERSARIAL: Final = 0.05
"""Weight of the discriminator beside the matched distributions."""
_HEAD_WIDTH: Final = 32


class Method(StrEnum):
    """How a few-step artist is taught."""

    TRAJECTORY = "trajectory"
    LCM = "lcm"
    DMD2 = "dmd2"


@dataclass(frozen=True)
class Lesson:
    """What every method is given.

    Attributes
    ----------
    teacher
        Full precision, many steps.
    levels
        Of the student's steps, as phones run them.
    fine
        Of the teacher's steps between them.
    frames
        What both are shown.
    truth
        Weight of the clean frame beside the teacher's states, of trajectory regression.
    settings, device
        Steps, batch, learning rate, seed, and where to train.
    """

    teacher: Guided
    levels: Levels
    fine: Levels
    frames: PairFrames
    truth: float
    settings: FitSettings
    device: torch.device


class _Batch:
    """A step's draws, which depend on seed and step alone."""

    def __init__(self, lesson: Lesson, step: int) -> None:
        self.rng = np.random.default_rng([lesson.settings.seed, step])
        size = min(lesson.settings.batch, len(lesson.frames))
        self.rows: npt.NDArray[np.intp] = np.sort(self.rng.choice(len(lesson.frames), size, replace=False))
        self.shown: Shown = lesson.frames.shown(self.rows, lesson.device)
        network = lesson.teacher.network
        self.clean = scaled(lesson.frames.clean(self.rows, lesson.device), network.settings.latents)

    def at(self, level: float) -> Tensor:
        """Return one level for the whole batch."""
        return self.clean.new_full((len(self.clean),), level)


class TrajectoryTask:
    """The student's step leads where the teacher's steps over the same noise lead, and leans to the truth.

    Parameters
    ----------
    student
        Trained.
    lesson
        What it is taught by.
    trajectories
        The teacher's states.
    """

    def __init__(self, student: FlowArtist, lesson: Lesson, trajectories: FlowTrajectories) -> None:
        self.model, self.lesson, self.trajectories = student.to(lesson.device), lesson, trajectories
        self._stride = len(lesson.fine) // len(lesson.levels)

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the velocity's mean square error in one of the student's steps, the same for the whole batch."""
        lesson, batch = self.lesson, _Batch(self.lesson, step)
        index = int(batch.rng.integers(len(lesson.levels)))
        level, lower = lesson.levels.levels[index : index + 2]
        start, end = (
            as_tensor(self.trajectories.states[batch.rows, place * self._stride], lesson.device)
            for place in (index, index + 1)
        )
        velocity = _in_float32(self.model, start, batch.at(level), batch.shown)
        followed = (velocity - (end - start) / (lower - level)).square().mean()
        # From where the step begins, the rest of the way to the truth, at an even speed.
        true = (velocity - (start - batch.clean) / level).square().mean()
        return followed + lesson.truth * true, {"teacher": float(followed.detach()), "truth": float(true.detach())}


class ConsistencyTask:
    """All noisy states of one of the teacher's trajectories lead to one picture.

    Parameters
    ----------
    student
        Trained.
    lesson
        What it is taught by.
    """

    def __init__(self, student: FlowArtist, lesson: Lesson) -> None:
        self.model, self.lesson = student.to(lesson.device), lesson
        stride = len(lesson.fine) // len(lesson.levels)
        self._own = [place * stride for place in range(len(lesson.levels))]

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return how far the pictures of two neighboring states are apart, of which the teacher leads to the lower."""
        lesson, batch = self.lesson, _Batch(self.lesson, step)
        own = batch.rng.random() < _OWN_LEVELS
        place = int(batch.rng.choice(self._own) if own else batch.rng.integers(len(lesson.fine)))
        level, lower = lesson.fine.levels[place : place + 2]
        noisy = (1 - level) * batch.clean + level * torch.randn_like(batch.clean)
        with torch.no_grad(), torch.autocast(lesson.device.type, enabled=lesson.device.type != "cpu"):
            next_ = noisy + (lower - level) * lesson.teacher.velocity(noisy, batch.at(level), batch.shown).float()
            target = next_ if lower == 0 else self.model.picture(next_, batch.at(lower), batch.shown)
        made = noisy - level * _in_float32(self.model, noisy, batch.at(level), batch.shown)
        loss = ((made - target).square() + _HUBER**2).sqrt().mean() - _HUBER
        true = (made.detach() - batch.clean).square().mean()
        return loss, {"consistency": float(loss.detach()), "truth": float(true)}


class _Head(nn.Module):
    """Tells real latents from the student's, by noisy latents, what the following network predicts, and the photo."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (3 * channels + 1, _HEAD_WIDTH, 2 * _HEAD_WIDTH)
        layers = [
            layer
            for wide, wider in pairwise(widths)
            for layer in (nn.Conv2d(wide, wider, 4, 2, 1), nn.GroupNorm(4, wider), nn.SiLU())
        ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, noisy: Tensor, level: Tensor, velocity: Tensor, picture: Tensor) -> Tensor:
        """Return a score of each place, ``(N, 1, side/4, side/4)``."""
        told = level[:, None, None, None].expand(-1, 1, *noisy.shape[2:])
        out: Tensor = self.layers(torch.cat([noisy, velocity, picture, told], 1))
        return out


class _Match(nn.Module):
    """The student, the network that follows the distribution of its pictures, and the discriminator's head."""

    def __init__(self, student: FlowArtist, fake: FlowArtist) -> None:
        super().__init__()
        self.student, self.fake, self.head = student, fake, _Head(student.shape[0])


class DistributionTask:
    """The student's pictures come to be distributed as the teacher's are, and as real ones.

    DMD2's classifier reads the bottleneck of the following network; here a head of its own reads what that network
    predicts, so that any class of networks serves.

    Parameters
    ----------
    student, fake
        Both trained; they begin alike.
    lesson
        What they are taught by.
    """

    def __init__(self, student: FlowArtist, fake: FlowArtist, lesson: Lesson) -> None:
        self.model: nn.Module = _Match(student, fake).to(lesson.device)
        self.lesson = lesson

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike; the head, which begins at nothing, faster."""
        match = cast("_Match", self.model)
        return [(1.0, [*match.student.parameters(), *match.fake.parameters()]), (4.0, list(match.head.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of the following network and of the head, and in each third step that of the student."""
        lesson, batch, match = self.lesson, _Batch(self.lesson, step), cast("_Match", self.model)
        index = int(batch.rng.integers(len(lesson.levels)))
        taught = step % _FAKE_STEPS == 0
        start = self._arrived(batch, index)
        level = lesson.levels.levels[index]
        with torch.set_grad_enabled(taught):
            made = start - level * _in_float32(match.student, start, batch.at(level), batch.shown)
        fixed, noise = made.detach(), torch.randn_like(made)
        times = torch.from_numpy(batch.rng.uniform(_LOWEST, _HIGHEST, len(made))).to(made)
        share = times[:, None, None, None]
        noisy = (1 - share) * fixed + share * noise
        velocity = _in_float32(match.fake, noisy, times, batch.shown)
        followed = (velocity - (noise - fixed)).square().mean()
        real = (1 - share) * batch.clean + share * noise
        with torch.no_grad():
            of_real = _in_float32(match.fake, real, times, batch.shown)
        told = F.softplus(-self._told(real, times, of_real, batch)).mean()
        told = told + F.softplus(self._told(noisy, times, velocity.detach(), batch)).mean()
        parts = {"fake": followed, "head": told}
        if taught:
            away = self._away(batch, fixed, noisy, times, velocity.detach())
            fooled = self._fooled(batch, fixed, noise, times)
            # The gradient of this product by the picture is the factor itself.
            parts["student"] = (made * (away + _ADVERSARIAL * fooled)).mean()
        return torch.stack([*parts.values()]).sum(), {name: float(part.detach()) for name, part in parts.items()}

    @torch.no_grad()
    def _arrived(self, batch: _Batch, index: int) -> Tensor:
        """Return the latents at which a step of the student begins, as they are when it runs: by its own steps."""
        levels, student = Levels(self.lesson.levels.levels[: index + 1], fresh=True), cast("_Match", self.model).student
        start = started(torch.randn_like(batch.clean), batch.shown.picture, student.settings)
        with torch.autocast(start.device.type, enabled=start.device.type != "cpu"):
            return sampled(student, start, levels, batch.shown)

    @torch.no_grad()
    def _away(self, batch: _Batch, made: Tensor, noisy: Tensor, times: Tensor, followed: Tensor) -> Tensor:
        """Return the way from what the teacher makes of noisy pictures to what the following network does.

        Divided by how far the teacher's is from the student's, as in DMD, so that all levels weigh alike.
        """
        share = times[:, None, None, None]
        right = noisy - share * self.lesson.teacher.velocity(noisy, times, batch.shown).float()
        fake = noisy - share * followed
        return (fake - right) / (made - right).abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-4)

    def _fooled(self, batch: _Batch, made: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return the gradient, by each number of the picture, of how badly the head is fooled; of deviation 1."""
        match, share = cast("_Match", self.model), times[:, None, None, None]
        with torch.enable_grad():
            picture = made.requires_grad_()
            noisy = (1 - share) * picture + share * noise
            velocity = _in_float32(match.fake, noisy, times, batch.shown)
            lost = F.softplus(-self._told(noisy, times, velocity, batch)).mean()
            gradient: Tensor = torch.autograd.grad(lost, picture)[0]
        return gradient / gradient.std().clamp(min=1e-12)

    def _told(self, noisy: Tensor, times: Tensor, velocity: Tensor, batch: _Batch) -> Tensor:
        match = cast("_Match", self.model)
        out: Tensor = match.head(noisy, times, velocity, scaled(batch.shown.picture, match.student.settings.latents))
        return out


def _in_float32(network: FlowArtist, latents: Tensor, level: Tensor, shown: Shown) -> Tensor:
    """Return a velocity; bfloat16 is slower than float32 for convolutions of few channels, on CPUs that do either."""
    with torch.autocast(latents.device.type, enabled=latents.device.type != "cpu"):
        made: Tensor = network(latents, level, shown)
    return made.float()


def make_task(
    method: Method, make: Callable[[], FlowArtist], lesson: Lesson, trajectories: Callable[[], FlowTrajectories]
) -> Task:
    """Return how a method trains a student.

    Parameters
    ----------
    method
        Which one.
    make
        Makes the student; DMD2 takes one more, which follows it.
    lesson
        What it is taught by.
    trajectories
        Makes or opens the teacher's states, where the method follows them.
    """
    if method is Method.TRAJECTORY:
        return TrajectoryTask(make(), lesson, trajectories())
    if method is Method.LCM:
        return ConsistencyTask(make(), lesson)
    return DistributionTask(make(), make(), lesson)


def student_of(model: nn.Module) -> FlowArtist:
    """Return the student in what a task has trained.

    Parameters
    ----------
    model
        The task's.
    """
    return cast("FlowArtist", model.student if isinstance(model, _Match) else model)
