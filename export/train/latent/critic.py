"""Training the latent studio's critic: a picture and a fixed prompt in, the short critique of the true plan out."""

from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.latent_studio import PAD, VIEW_PX, WIDTH
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.latent.texts import TOLD, answer_ids, critique_text, padded, prompt_ids
from pocketcrafter.runtime.plan import Attribute

_IGNORED: Final = -100
_PLAN_WEIGHT: Final = 2.0
"""Of the plan read off the hidden states: most words of a critique are the same in all, and say little of the photo."""


class Told(nn.Module):
    """A critic, and while it is trained a linear layer that reads the plan off its last hidden state of the prompt."""

    def __init__(self, critic: Any) -> None:  # noqa: ANN401 - transformers is untyped
        super().__init__()
        self.critic = critic
        self.plan = nn.Linear(WIDTH, len(TOLD))


class CriticTask:
    """Learns to write critiques; each frame is seen mirrored half of the times.

    Parameters
    ----------
    model
        The critic with its plan.
    store
        Stored frames.
    tokenizer
        Of its words.
    settings
        Steps, batch, learning rate, seed.
    device
        Where to train.
    """

    def __init__(
        self, model: Told, store: EvidenceStore, tokenizer: Tokenizer, settings: FitSettings, device: torch.device
    ) -> None:
        self.store, self.settings, self.device = store, settings, device
        self.model: nn.Module = model.to(device)
        self._tokenizer, self._prompt = tokenizer, prompt_ids(tokenizer)
        self._told = [[*Attribute].index(a) for a in TOLD]

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the loss of a batch: of the answers' words, and of the plan."""
        rng = np.random.default_rng([self.settings.seed, step])
        rows = rng.integers(0, len(self.store), self.settings.batch)
        pictures = critics_pictures(np.stack([self.store.views[row] for row in rows]))
        mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5)[:, None, None, None]
        pictures = torch.where(mirrored, pictures.flip(3), pictures)
        plans = torch.from_numpy(self.store.plans[rows][:, self._told])
        texts = [critique_text(self.store.plans[row], float(self.store.scores[row])) for row in rows]
        answers = padded([answer_ids(self._tokenizer, text) for text in texts], _IGNORED)
        # transformers puts the picture's tokens among the words' vectors: both must be of one type.
        with torch.autocast(self.device.type, enabled=False):
            words, plan = self._losses(pictures.to(self.device), answers, plans.to(self.device))
        loss = words + _PLAN_WEIGHT * plan
        return loss, {"words": float(words.detach()), "plan": float(plan.detach())}

    def _losses(self, pictures: Tensor, answers: npt.NDArray[np.int64], plans: Tensor) -> tuple[Tensor, Tensor]:
        told = cast("Told", self.model)
        ids = read_ids(self._prompt, np.where(answers == _IGNORED, self._tokenizer.token_to_id(PAD), answers))
        hidden = hidden_states(told.critic, pictures, ids.to(self.device))
        first = len(self._prompt) - 1
        logits = told.critic.lm_head(hidden[:, first:-1])
        wanted = torch.from_numpy(answers).to(self.device)
        words = F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), ignore_index=_IGNORED)
        return words, (told.plan(hidden[:, first]).float() - plans).square().mean()


def critics_pictures(views: npt.NDArray[np.uint8]) -> Tensor:
    """Return views as the critic's processor makes them: ``(N, 3, VIEW_PX, VIEW_PX)`` in [-1, 1].

    Parameters
    ----------
    views
        sRGB, ``(N, 256, 256, 3)``: the size that the processor first scales to.
    """
    small = [np.asarray(Image.fromarray(v).resize((VIEW_PX, VIEW_PX), Image.Resampling.LANCZOS)) for v in views]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1


def read_ids(prompt: list[int], answers: npt.NDArray[np.int64]) -> Tensor:
    """Return the ids of prompt and answers, ``(N, prompt + answer)``."""
    return torch.from_numpy(np.concatenate([np.tile(prompt, (len(answers), 1)), answers], 1))


def hidden_states(critic: Any, pictures: Tensor, ids: Tensor) -> Tensor:  # noqa: ANN401 - transformers is untyped
    """Return the critic's last hidden states, ``(N, positions, WIDTH)``.

    Later positions do not change earlier ones, so that what fills up the shorter answers needs no mask.

    Parameters
    ----------
    critic
        A `SmolVLMForConditionalGeneration`.
    pictures
        float32 ``(N, 3, VIEW_PX, VIEW_PX)`` in [−1, 1]; see `critics_pictures`.
    ids
        int64 ``(N, positions)`` of prompt and answer; see `read_ids`.
    """
    hidden: Tensor = critic.model(input_ids=ids, pixel_values=pictures[:, None], use_cache=False).last_hidden_state
    return hidden
