"""What the latent studio's artist learns from, computed once: latents of frames, and hidden states of the critic."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from pocketcrafter.export.models.latent_studio import (
    END,
    LATENT_CHANNELS,
    LATENT_SIDE,
    LONGEST_ANSWER,
    PAD,
    SIDE_PX,
    WIDTH,
    load_autoencoder,
    load_critic,
)
from pocketcrafter.export.train.evidence import EvidenceStore, to_batch
from pocketcrafter.export.train.latent.critic import critics_pictures, hidden_states, read_ids
from pocketcrafter.export.train.latent.texts import answer_ids, critique_text, padded, prompt_ids
from pocketcrafter.export.train.memmap_store import Layout, StoredArrays, open_progress, weights_digest
from pocketcrafter.runtime.config import Config

_BATCH: Final = 32
_VERSION: Final = 1
"""Raised when the same weights and frames would give other latents or states."""


class LatentFramesConfig(Config):
    """What identifies a store of latent frames; another one needs another folder."""

    version: int
    frames: int
    prompt: int
    autoencoder_sha256: str
    critic_sha256: str


@dataclass(frozen=True)
class LatentFrames(StoredArrays):
    """Memory-mapped arrays, one row a frame.

    Attributes
    ----------
    photos, cleans
        Latents of the degraded and the clean frame: float16, ``(N, channels, side, side)``.
    own, true
        Hidden states of the prompt with the critic's own answer, and with that of the true plan: float16,
        ``(N, positions, WIDTH)``.
    own_counts, true_counts
        How many of those positions were read, ``(N,)``; the rest is padding.
    """

    photos: npt.NDArray[np.float16]
    cleans: npt.NDArray[np.float16]
    own: npt.NDArray[np.float16]
    true: npt.NDArray[np.float16]
    own_counts: npt.NDArray[np.int32]
    true_counts: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.photos)


class Networks:
    """The trained autoencoder and critic of a pair's folder."""

    def __init__(self, pair: Path, device: torch.device) -> None:
        self.device = device
        self.autoencoder: Any = load_autoencoder(pair).to(device)
        critic, self._tokenizer = load_critic(pair)
        self.critic: Any = critic.to(device)
        self._prompt = prompt_ids(self._tokenizer)
        self._end, self._pad = (self._tokenizer.token_to_id(word) for word in (END, PAD))

    @property
    def tokenizer(self) -> Tokenizer:
        """The critic's."""
        return self._tokenizer

    @property
    def prompt(self) -> int:
        """Positions of the prompt."""
        return len(self._prompt)

    @property
    def positions(self) -> int:
        """Hidden states that the artist reads at most."""
        return self.prompt + LONGEST_ANSWER - 1

    @torch.no_grad()
    def latents(self, pictures: npt.NDArray[np.uint8]) -> Tensor:
        """Return latents of views ``(N, 256, 256, 3)``, seen at the artist's size."""
        small = np.stack([cv2.resize(p, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for p in pictures])
        out: Tensor = self.autoencoder.encoder(to_batch(small.astype(np.uint8)).to(self.device) * 2 - 1)
        return out

    @torch.no_grad()
    def own_answers(self, views: npt.NDArray[np.uint8]) -> list[list[int]]:
        """Return what the critic itself writes of views, greedily, its end included."""
        pictures = critics_pictures(views).to(self.device)
        ids = torch.tensor([self._prompt] * len(views), device=self.device)
        made = self.critic.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=pictures[:, None],
            max_new_tokens=LONGEST_ANSWER,
            do_sample=False,
            eos_token_id=self._end,
            pad_token_id=self._pad,
        )
        return [_ended(row, self._end) for row in made[:, len(self._prompt) :].tolist()]

    def true_answers(self, store: EvidenceStore, rows: range) -> list[list[int]]:
        """Return what it should write of stored frames."""
        texts = [critique_text(store.plans[row], float(store.scores[row])) for row in rows]
        return [answer_ids(self._tokenizer, text) for text in texts]

    @torch.no_grad()
    def states(self, views: npt.NDArray[np.uint8], answers: list[list[int]]) -> tuple[Tensor, list[int]]:
        """Return hidden states ``(N, positions, WIDTH)``, padded, and how many were read: all but the last word's."""
        ids = read_ids(self._prompt, padded(answers, self._pad))
        hidden = hidden_states(self.critic, critics_pictures(views).to(self.device), ids.to(self.device))
        out = torch.zeros(len(views), self.positions, WIDTH, device=self.device)
        out[:, : hidden.shape[1] - 1] = hidden[:, :-1]
        counts = [len(self._prompt) + len(answer) - 1 for answer in answers]
        for row, count in zip(out, counts, strict=True):
            row[count:] = 0
        return out, counts


def build_latent_frames(
    folder: Path,
    store: EvidenceStore,
    networks: Networks,
    frames: int,
    on_progress: Callable[[int], object] = lambda _done: None,
) -> LatentFrames:
    """Make latents and states of the first stored frames, or what is missing of them, and open them.

    Parameters
    ----------
    folder
        Where they are kept; a build that was broken off goes on from what it holds.
    store
        The frames, with plans and scores.
    networks
        The autoencoder and the critic that make them.
    frames
        How many of the stored frames, from the first on.
    on_progress
        Called after each batch with the number of frames in it.

    Raises
    ------
    ConfigError
        If the folder holds those of other weights.
    """
    config = LatentFramesConfig(
        version=_VERSION,
        frames=frames,
        prompt=networks.prompt,
        autoencoder_sha256=weights_digest(networks.autoencoder.state_dict()),
        critic_sha256=weights_digest(networks.critic.state_dict()),
    )
    latents = (np.float16, (LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE))
    states = (np.float16, (networks.positions, WIDTH))
    layout: Layout = {
        "photos": latents,
        "cleans": latents,
        "own": states,
        "true": states,
        "own_counts": (np.int32, ()),
        "true_counts": (np.int32, ()),
    }
    done = open_progress(folder, config, layout, frames, -(-frames // _BATCH))
    made = LatentFrames.open(folder, "r+")
    for unit in range(len(done)):
        rows = range(unit * _BATCH, min((unit + 1) * _BATCH, frames))
        if not done[unit]:
            _fill(made, store, networks, rows)
            done[unit] = True
            done.flush()
        on_progress(len(rows))
    return LatentFrames.open(folder)


def _fill(made: LatentFrames, store: EvidenceStore, networks: Networks, rows: range) -> None:
    some = slice(rows.start, rows.stop)
    views = np.array(store.views[some])
    made.photos[some] = networks.latents(views).cpu().numpy()
    made.cleans[some] = networks.latents(np.array(store.cleans[some])).cpu().numpy()
    for states, counts, answers in (
        (made.own, made.own_counts, networks.own_answers(views)),
        (made.true, made.true_counts, networks.true_answers(store, rows)),
    ):
        hidden, read = networks.states(views, answers)
        states[some] = hidden.cpu().numpy()
        counts[some] = read


def _ended(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids
