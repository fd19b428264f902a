"""A latent critic learns from rewards: group-relative policy optimization (GRPO: Shao et al., 2024).

To each frame the critic writes a group of answers, and the artist edits the photo by each. An answer whose reward is
above its group's mean becomes more likely, one below it less. Each group serves one update, so that the ratio of
policies which GRPO clips is 1.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pocketcrafter.export.distill.latent.critic import Learner
from pocketcrafter.export.distill.latent.frames import FrameSource, as_tensor
from pocketcrafter.export.distill.latent.pair_judge import PairJudge
from pocketcrafter.export.distill.latent.rewards import Judged, Reward, Shot, advantages, rewards_of, total
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.runtime.latent.critic import Answer
from pocketcrafter.runtime.latent.settings import CriticSettings

GROUP: Final = 8
"""Answers to each frame."""
_KL: Final = 0.04
"""Weight of the divergence from the supervised critic; GRPO's."""
_HIDDEN: Final = 1.0
"""Weight of the distance from its hidden states: the artist reads them, and the words alone would not hold them."""


class CriticAlignmentTask:
    """A critic comes to write answers of more reward, near to the supervised critic's.

    Parameters
    ----------
    learner
        The critic; a copy of it stays as it is.
    judge
        Judges answers; its artist is not trained.
    source
        Draws frames.
    weights
        Of the rewards.
    settings, device
        Steps, frames a step, learning rate, seed, and where to train.
    """

    def __init__(
        self,
        learner: Learner,
        judge: PairJudge,
        source: FrameSource,
        weights: Mapping[Reward, float],
        settings: FitSettings,
        device: torch.device,
    ) -> None:
        self._supervised = copy.deepcopy(learner).to(device).eval().requires_grad_(requires_grad=False)
        self._learner, self._judge = learner.to(device), judge
        self._source, self._weights, self._settings, self._device = source, weights, settings, device

    @property
    def model(self) -> nn.Module:
        """The critic."""
        return self._learner

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train the critic; the bridge that reads it stays as it is."""
        return [(1.0, list(self._learner.critic.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a step's groups, and for the log its rewards."""
        # bfloat16 is slower than float32 on CPUs without matrix units; there the judge's networks run in any case.
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type != "cpu"):
            return self._loss(step)

    def _loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        rng, asked = np.random.default_rng([self._settings.seed, step]), self._judge.settings
        shots = [Shot.of(self._source.draw(rng)) for _ in range(self._settings.batch)]
        seen = np.concatenate([self._judge.seen(shot) for shot in shots])
        pictures = as_tensor(np.repeat(seen, GROUP, 0), self._device)
        answers = sampled_answers(self._learner, pictures, asked)
        hidden, logits = self._learner.read(pictures, answers)
        with torch.no_grad():
            right_hidden, right_logits = self._supervised.read(pictures, answers)
        real = until_stop(answers, asked.stops)
        said, right = (_chosen(each, answers)[real] for each in (logits, right_logits))
        rewards = self._rewards(shots, answers, real, hidden.detach())
        advantage = advantages(total(rewards, self._weights), self._device)[:, None].expand_as(real)[real]
        # Hidden states are those of the prompt and of each word but the last, which nothing has read.
        read = torch.cat([real.new_ones(len(real), len(self._learner.prompt)), real[:, 1:]], 1)
        parts = {
            # The ratio of two policies that are still equal has the gradient of the logarithm.
            "policy": -(advantage * (said - said.detach()).exp()).mean(),
            "kl": _KL * ((right - said).exp() - (right - said) - 1).mean(),
            "hidden": _HIDDEN * (hidden - right_hidden)[:, :-1][read].square().mean() / right_hidden.var(),
        }
        told = {name.value: float(rewards[name].mean()) for name in self._weights}
        return torch.stack([*parts.values()]).sum(), {**told, "kl": float(parts["kl"].detach()) / _KL}

    def _rewards(
        self, shots: Sequence[Shot], answers: Tensor, real: Tensor, hidden: Tensor
    ) -> dict[Reward, npt.NDArray[np.float64]]:
        counts, prompt = real.sum(1).tolist(), len(self._learner.prompt)
        groups: list[list[Judged]] = []
        for place, shot in enumerate(shots):
            # Many answers of a group are the same, and the artist is what costs time.
            known: dict[tuple[int, ...], Judged] = {}
            groups.append([])
            for row in range(place * GROUP, (place + 1) * GROUP):
                ids = tuple(answers[row, : counts[row]].tolist())
                if ids not in known:
                    states = hidden[row, : prompt + len(ids) - 1].cpu().numpy()
                    known[ids] = self._judge.said(shot, Answer(ids, states))
                groups[-1].append(known[ids])
        return rewards_of(groups, shots)


@torch.no_grad()
def sampled_answers(learner: Learner, pictures: Tensor, settings: CriticSettings) -> Tensor:
    """Return an answer to each picture, drawn from the critic's own distribution: ids, ``(N, words)``.

    Parameters
    ----------
    learner
        The critic.
    pictures
        As it reads them, ``(N, 3, side, side)``.
    settings
        Longest answer and the words that end one; what stands behind the first of these has no meaning.
    """
    prompt = torch.tensor(learner.prompt, device=pictures.device).expand(len(pictures), -1)
    written: Tensor = learner.critic.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        **learner.given(pictures),
        max_new_tokens=settings.longest_answer,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        # In an answer, the word that stands for a picture could not be read back.
        suppress_tokens=[settings.picture_token],
        eos_token_id=list(settings.stops),
        pad_token_id=settings.stops[0],
    )
    return written[:, prompt.shape[1] :]


def until_stop(answers: Tensor, stops: Sequence[int]) -> Tensor:
    """Return which words belong to answers: those up to the first stop, and the stop; bool, ``(N, words)``.

    Parameters
    ----------
    answers
        Ids, ``(N, words)``.
    stops
        Words that end an answer.
    """
    stopped = torch.isin(answers, torch.tensor(list(stops), device=answers.device)).long()
    return stopped.cumsum(1) - stopped == 0


def _chosen(logits: Tensor, answers: Tensor) -> Tensor:
    """Return the logarithm of each word's probability, ``(N, words)``."""
    return logits.log_softmax(2).gather(2, answers[:, :, None])[:, :, 0]
