"""Proposals for stored frames and what each does to the picture: what a plan judge is trained and measured on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from pocketcrafter.export.models.critic import FORESEEABLE, Judgement
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.train.evidence import SMALL_PX, EvidenceStore, to_batch
from pocketcrafter.export.train.memmap_store import Layout, StoredArrays, open_progress
from pocketcrafter.export.train.plan_proposals import SHIPPED
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import TONAL, UNITS, Attribute, attribute_limits
from pocketcrafter.runtime.plan_judge import Proposal, propose

_VERSION: Final = 2
"""Raised when the same arguments would give other candidates or other outcomes."""
_BLOCK: Final = 64
_FAULTS: Final = 2
_FAULT_SIZE: Final = 0.6
_JITTER: Final = 0.1
CANDIDATES: Final = len(SHIPPED) + 1 + _FAULTS
"""Proposals first; then the truth, shaken, and random plans, which clip, cast or gray the picture."""


class JudgeConfig(Config):
    """What identifies judged frames; another configuration needs another folder."""

    version: int = _VERSION
    critic_sha256: str
    proposals: tuple[Proposal, ...] = SHIPPED
    frames_sha256: str = Field(description="Of the rows that are taken and the photo of every stored frame.")


@dataclass(frozen=True)
class JudgeStore(StoredArrays):
    """Memory-mapped arrays, one row a frame.

    Attributes
    ----------
    views
        The degraded frame: uint8, ``(N, 32, 32, 3)``.
    candidates
        Plans in plan-vector units: float32, ``(N, CANDIDATES, len(Attribute))``.
    gains
        By how much each brings the frame's mean CIEDE2000 nearer to the clean one, negative where it is further:
        float32, ``(N, CANDIDATES)``.
    likeness
        PSNR in dB between the frame after and before, 100 where they are equal: float32, ``(N, CANDIDATES)``.
    tokens
        The critic's: float32, ``(N, TOKENS, TOKEN_DIM)``.
    rows
        Where the frame lies in the stored frames: int64, ``(N,)``.
    """

    views: npt.NDArray[np.uint8]
    candidates: npt.NDArray[np.float32]
    gains: npt.NDArray[np.float32]
    likeness: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def build_judge_store(
    folder: Path,
    store: EvidenceStore,
    said: Judgement,
    rows: npt.NDArray[np.int64],
    config: JudgeConfig,
    on_progress: Callable[[int], object] = lambda _: None,
) -> JudgeStore:
    """Make proposals for frames and measure each, as far as that is not done, and open the result.

    Parameters
    ----------
    folder
        Where the arrays are kept.
    store, said
        Stored frames, and what the critic says of every one of them.
    rows
        The frames that are taken, ``(N,)``.
    config
        What identifies the result.
    on_progress
        Called with the number of frames that were there already, then with that of each block made.

    Raises
    ------
    ConfigError
        If the folder holds frames of another configuration.
    """
    layout: Layout = {
        "views": (np.uint8, (SMALL_PX, SMALL_PX, 3)),
        "candidates": (np.float32, (CANDIDATES, len(Attribute))),
        "gains": (np.float32, (CANDIDATES,)),
        "likeness": (np.float32, (CANDIDATES,)),
        "tokens": (np.float32, tuple(said.tokens.shape[1:])),
        "rows": (np.int64, ()),
    }
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    done = open_progress(folder, config, layout, len(rows), len(blocks))
    on_progress(sum(len(block) for block, there in zip(blocks, done, strict=True) if there))
    judged = JudgeStore.open(folder, "r+")
    for number in np.flatnonzero(~done):
        block = blocks[number]
        place = slice(number * _BLOCK, number * _BLOCK + len(block))
        of_block = torch.from_numpy(block)
        truth = torch.from_numpy(store.plans[block])
        candidates = _candidates(said.plan[of_block], truth, block)
        gains, likeness = outcomes(candidates, store.small_views[block], store.small_cleans[block])
        judged.views[place] = store.small_views[block]
        judged.candidates[place], judged.tokens[place] = candidates.numpy(), said.tokens[of_block].numpy()
        judged.gains[place], judged.likeness[place], judged.rows[place] = gains, likeness, block
        done[number] = True
        on_progress(len(block))
    return JudgeStore.open(folder)


def outcomes(
    plans: Tensor, views: npt.NDArray[np.uint8], cleans: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what plans do to pictures: gains in CIEDE2000 and likeness to what they were.

    Parameters
    ----------
    plans
        ``(N, K, len(Attribute))`` in plan-vector units.
    views, cleans
        Degraded and clean: ``(N, H, W, 3)``.

    Returns
    -------
    tuple
        As `JudgeStore.gains` and `JudgeStore.likeness`, each ``(N, K)``.
    """
    # Proposals are often equal: parts of a plan that holds little are the whole of it, or nothing.
    numbered = torch.cat([torch.arange(len(plans))[:, None, None].expand(-1, plans.shape[1], 1), plans], 2)
    different, place = torch.unique(numbered.flatten(0, 1), dim=0, return_inverse=True)
    frame = different[:, 0].long()
    before, clean = to_batch(np.ascontiguousarray(views)), to_batch(np.ascontiguousarray(cleans))
    after = render(different[:, 1:], before[frame])
    error = (after - before[frame]).square().mean((1, 2, 3)).clamp(min=1e-10).numpy()
    labs = [rgb2lab(p.permute(0, 2, 3, 1).contiguous().numpy()) for p in (before, clean, after)]
    was, now = (deltaE_ciede2000(p, labs[1][i]).mean((1, 2)) for p, i in ((labs[0], ...), (labs[2], frame.numpy())))
    gains, likeness = was[frame.numpy()] - now, -10 * np.log10(error)
    index = place.reshape(plans.shape[:2]).numpy()
    return gains[index].astype(np.float32), likeness[index].astype(np.float32)


def _candidates(plan: Tensor, truth: Tensor, rows: npt.NDArray[np.int64]) -> Tensor:
    """Return proposals, the truth shaken, and random plans; what is random depends on the row alone."""
    draws = [np.random.default_rng([_VERSION, int(row)]) for row in rows]
    normal = torch.from_numpy(np.stack([d.normal(0, 1, (1 + _FAULTS, len(Attribute))) for d in draws])).float()
    few = torch.from_numpy(np.stack([d.random((_FAULTS, len(Attribute))) < 0.3 for d in draws]))
    tonal = torch.tensor([a in TONAL and a in FORESEEABLE for a in Attribute])
    true = (truth + _JITTER * normal[:, :1].squeeze(1) * (truth != 0)) * tonal
    faults = _FAULT_SIZE * normal[:, 1:] * few * tonal
    low, high = (torch.from_numpy(limit / UNITS).float() for limit in attribute_limits())
    others = torch.clamp(torch.cat([true[:, None], faults], 1), low, high)
    return torch.cat([torch.from_numpy(propose(plan.numpy(), SHIPPED)), others], 1)
