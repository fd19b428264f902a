"""The frames that a judge of proposals is trained and measured on, by split, and the judge that was trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from tqdm import tqdm

from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.models import critic_network, load_component, weights_facts
from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.names import CRITIC_SHA256
from pocketcrafter.export.train.critic import cross_judge, judge_store
from pocketcrafter.export.train.estimates import critic_frames, unseen_frames
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.folds import FOLDS, folds_of
from pocketcrafter.export.train.gate_frames import JudgedFrames, balanced_rows
from pocketcrafter.export.train.judge_frames import JudgeConfig, JudgeStore, build_judge_store
from pocketcrafter.export.train.options import (
    CRITIC_BATCH,
    CRITIC_STEPS,
    TrainOptions,
    photographers_of,
    sources_of,
)
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan_judge import PROPOSALS
from pocketcrafter.runtime.pocket import Pocket

_TRAIN_FRAMES: Final = 8
"""Of each photo and kind: more frames of the same photos teach nothing."""


@dataclass(frozen=True)
class Proposed:
    """A split's frames, what a critic says of them, and its proposals.

    Attributes
    ----------
    evidence, said
        The stored frames, and the critic's judgement of every one of them.
    sources
        Of each photo.
    judged
        The frames that count, with proposals.
    critic_sha256
        Of the critic's weights.
    """

    evidence: EvidenceStore
    said: Judgement
    sources: Sequence[str]
    judged: JudgeStore
    critic_sha256: str

    def frames(self) -> JudgedFrames:
        """Return the frames that count, as gates are measured on them."""
        return JudgedFrames.of(self.evidence, self.said, self.sources, np.array(self.judged.rows))

    def outcomes(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return gains and likeness of the proposals alone, each ``(N, PROPOSALS)``."""
        gains, likeness = (np.array(a[:, :PROPOSALS]) for a in (self.judged.gains, self.judged.likeness))
        return gains, likeness


def unseen_judgement(options: TrainOptions, evidence: EvidenceStore, tokens: Tensor) -> Judgement:
    """Judge every stored training frame by a sibling of the critic that never saw its photographer.

    A critic knows the amounts of the photos that it was trained on; siblings err on theirs as it errs on a user's.
    They say it in the critic's own plan tokens, which theirs are held to.

    Parameters
    ----------
    options
        The command line's; the siblings' steps and batch are the critic's own recipe's, halved.
    evidence
        What `unseen_frames` gives.
    tokens
        The critic's, of every frame of it: ``(N, TOKENS, TOKEN_DIM)``.
    """
    settings = replace(options, steps=None).fit_settings(CRITIC_STEPS // 2, CRITIC_BATCH)
    folds = folds_of(sources_of(options, Split.TRAIN), photographers_of(options, Split.TRAIN))
    # Named by what they are held to: checkpoints of another critic's siblings must not be resumed.
    folder = options.run / f"siblings-{sha256(tokens.numpy().tobytes()).hexdigest()[:8]}"
    with tqdm(total=FOLDS * settings.steps, desc="cross-fitting", unit="step") as bar:
        return cross_judge(evidence, folds, settings, folder, options.torch_device(), bar.update, tokens)


def proposed_frames(options: TrainOptions, split: Split) -> Proposed:
    """Build or open a split's proposals of the critic in ``options.weights``.

    On training photos, which it was trained on, those of its siblings stand in for them, as `unseen_judgement` has it.

    Parameters
    ----------
    options
        The command line's.
    split
        Which photos.

    Raises
    ------
    ConfigError
        If the critic is missing or damaged.
    """
    path = options.weights / "critic.safetensors"
    trained = critic_network(path)
    training = split is Split.TRAIN
    evidence = unseen_frames(options) if training else critic_frames(options, split, trained.evidence)
    said, digest = judge_store(trained.judge, evidence), sha256_of(path)
    rows = np.arange(len(evidence))
    if training:
        said, rows = unseen_judgement(options, evidence, said.tokens), balanced_rows(evidence, _TRAIN_FRAMES)
    places = np.concatenate([rows, np.asarray(evidence.photos, dtype=np.int64)])
    config = JudgeConfig(critic_sha256=digest, frames_sha256=sha256(places.tobytes()).hexdigest())
    folder = options.run / "proposals" / f"{split.value}-{digest[:8]}"
    with tqdm(total=len(rows), desc="proposals", unit="frame") as bar:
        judged = build_judge_store(folder, evidence, said, rows, config, bar.update)
    return Proposed(evidence, said, sources_of(options, split), judged, digest)


def load_judge(options: TrainOptions) -> nn.Module:
    """Load the judge in ``options.weights``.

    Raises
    ------
    ConfigError
        If it is missing or damaged, or was trained for another critic than the one in ``options.weights``.
    """
    path, critic = (options.weights / f"{name}.safetensors" for name in (Pocket.JUDGE, Pocket.CRITIC))
    if not path.exists():
        raise ConfigError(f"{path}: no judge; train one with `pocketcrafter train judge`.")
    model = load_component(Pocket.JUDGE, path)
    if weights_facts(path).get(CRITIC_SHA256) != sha256_of(critic):
        raise ConfigError(f"{path}: trained for another critic than {critic}; train it again, or name --weights.")
    return model
