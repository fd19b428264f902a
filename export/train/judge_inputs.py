"""The frames that a judge of proposals is trained and measured on, by split, and the judge that was trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
from torch import nn
from tqdm import tqdm

from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.models import critic_network, load_component, weights_facts
from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.names import CRITIC_SHA256
from pocketcrafter.export.train.critic import judge_store
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.gate_frames import JudgedFrames
from pocketcrafter.export.train.judge_frames import JudgeConfig, JudgeStore, build_judge_store
from pocketcrafter.export.train.options import TrainOptions, sources_of, stored_frames
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.plan_judge import PROPOSALS
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.validation import nearest


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


def proposed_frames(options: TrainOptions, split: Split, seen: Sequence[str] = ()) -> Proposed:
    """Build or open a split's proposals of the critic in ``options.weights``.

    Parameters
    ----------
    options
        The command line's.
    split
        Which photos.
    seen
        Sources whose photos are left out.

    Raises
    ------
    ConfigError
        If a source is unknown, no other is left, or the critic is missing or damaged.
    """
    path = options.weights / "critic.safetensors"
    trained, sources = critic_network(path), sources_of(options, split)
    if unknown := sorted(set(seen) - set(sources)):
        raise ConfigError(
            f"--seen {unknown[0]}: no such source; {nearest(unknown[0], sorted(set(sources)), 'sources')}"
        )
    if set(sources) == set(seen):
        raise ConfigError("--seen names every source there is: the judge needs photos that the critic has not seen.")
    evidence = stored_frames(options, split)
    said, digest = judge_store(trained.judge, evidence), sha256_of(path)
    unseen = np.array([source not in seen for source in sources])
    rows = np.flatnonzero(unseen[evidence.photos])
    places = np.concatenate([rows, np.asarray(evidence.photos, dtype=np.int64)])
    config = JudgeConfig(critic_sha256=digest, frames_sha256=sha256(places.tobytes()).hexdigest())
    folder = options.run / "proposals" / f"{split.value}-{digest[:8]}"
    with tqdm(total=len(rows), desc="proposals", unit="frame") as bar:
        judged = build_judge_store(folder, evidence, said, rows, config, bar.update)
    return Proposed(evidence, said, sources, judged, digest)


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
