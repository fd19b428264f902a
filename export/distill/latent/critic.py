"""A latent pair's critic learns to say what a teacher's says, and to think what the teacher's artist reads.

Words are learnt by cross-entropy, those of edit and answer with more weight than the thoughts; hidden states through
the bridge, as conditions of the artist; score and edits, where the teacher's text can be parsed, off the last hidden
state of the prompt, by a linear layer that is thrown away.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.content import content_hash
from pocketcrafter.export.distill.latent.frames import FrameSource, as_tensor
from pocketcrafter.export.families.latent.critics import CRITIC_CLASSES
from pocketcrafter.export.families.latent.networks import TorchPair
from pocketcrafter.export.families.latent.pair import Pair
from pocketcrafter.export.families.latent.parts import geometry_of, load_part
from pocketcrafter.export.families.latent.prompt import critic_of, render_prompt, tokenizer_of
from pocketcrafter.export.families.networks import vision_language
from pocketcrafter.export.families.networks.architecture import architecture_of, read_json
from pocketcrafter.export.families.networks.folder import load_checked
from pocketcrafter.export.families.networks.lora import merge
from pocketcrafter.export.teachers.told import told_by
from pocketcrafter.export.train.evidence import FRAME_PX
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.memmap_store import Layout, StoredArrays, open_progress
from pocketcrafter.export.train.workers import ALONE, Workers, rows_of_step
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.latent.picture import critics_picture
from pocketcrafter.runtime.latent.settings import Latent
from pocketcrafter.runtime.photo import Photo
from pocketcrafter.runtime.plan import Attribute

_THOUGHT_WEIGHT: Final = 0.3
"""Of a word of the thoughts beside one of edit and answer."""
_CONDITIONS_WEIGHT: Final = 1.0
_TOLD_WEIGHT: Final = 1.0
_THOUGHTS: Final = ("<think>", "</think>")
_VERSION: Final = 1
_IGNORED: Final = -100


def _whole(pictures: Tensor, _vision: Any) -> dict[str, Tensor]:  # noqa: ANN401 - transformers is untyped
    return {"pixel_values": pictures[:, None]}


def _in_patches(pictures: Tensor, vision: Any) -> dict[str, Tensor]:  # noqa: ANN401 - likewise
    """Return patches as Qwen's processor leaves them: neighbours that become one token beside each other."""
    size, merge, frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
    count = pictures.shape[-1] // size
    # A picture is a film of equal frames.
    film = pictures[:, None].expand(-1, frames, -1, -1, -1)
    cells = (count // merge, merge, size)
    parts = film.reshape(*film.shape[:3], *cells, *cells)
    patches = parts.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(len(pictures) * count**2, -1)
    grid = torch.tensor([[1, count, count]], device=pictures.device).expand(len(pictures), -1)
    return {"pixel_values": patches, "image_grid_thw": grid}


LEARNERS: Final[Mapping[str, Callable[[Tensor, Any], dict[str, Tensor]]]] = {
    "Idefics3ForConditionalGeneration": _whole,
    "SmolVLMForConditionalGeneration": _whole,
    "Qwen2_5_VLForConditionalGeneration": _in_patches,
    "Qwen3VLForConditionalGeneration": _in_patches,
}
"""Classes of students, and how each is given square pictures, ``(N, 3, side, side)``; the vision configuration too."""


class CriticLessonsConfig(Config):
    """What identifies stored lessons; others need another folder."""

    version: int
    frames: int
    seed: int
    photos: tuple[str, ...]
    teacher_sha256: str
    student_sha256: str


@dataclass(frozen=True)
class CriticLessons(StoredArrays):
    """Memory-mapped arrays, one row a frame.

    Attributes
    ----------
    pictures
        What the student's vision encoder reads, normalized: float16, ``(N, 3, side, side)``.
    ids, weights
        The teacher's answer, and what each word weighs; 0 for what fills up: ``(N, words)``.
    conditions, counts
        What the teacher's artist reads of the teacher's hidden states, padded: float16, ``(N, positions, width)``.
    told
        Edits in plan-vector units and the score in [0, 1], not a number where the text does not say: ``(N, 12)``.
    """

    pictures: npt.NDArray[np.float16]
    ids: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    conditions: npt.NDArray[np.float16]
    counts: npt.NDArray[np.int32]
    told: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


def lessons_config(teacher: Pair, student: Pair, photos: Sequence[Path], frames: int, seed: int) -> CriticLessonsConfig:
    """Return what identifies lessons; see :func:`build_lessons`.

    Parameters
    ----------
    teacher, student, photos, frames, seed
        As there.
    """
    return CriticLessonsConfig(
        version=_VERSION,
        frames=frames,
        seed=seed,
        photos=tuple(path.name for path in photos),
        teacher_sha256=content_hash(teacher.files),
        student_sha256=content_hash(student.files),
    )


def build_lessons(
    folder: Path,
    teacher: Pair,
    student: Pair,
    photos: Sequence[Path],
    data: Path,
    config: CriticLessonsConfig,
    on_progress: Callable[[int], object] = lambda _done: None,
) -> CriticLessons:
    """Let a teacher criticize degraded photos, as far as that is not done yet, and open what it says.

    Parameters
    ----------
    folder
        Where the arrays are kept.
    teacher, student
        Pairs with a critic and an artist that reads it.
    photos, data
        Prepared photos and the folder that `data prepare` made.
    config
        What identifies the lessons.
    on_progress
        Called with the number of frames that were there already, then with 1 for each made.

    Raises
    ------
    ConfigError
        If the folder holds lessons of another configuration, or one of the pairs is no whole one.
    """
    shown = TorchPair(teacher)
    critic, artist, settings = shown.critic, shown.artist, shown.settings.critic
    if critic is None or settings is None or artist is None or not artist.reads_critic:
        raise ConfigError(f"{teacher.folder}: a teacher has a critic and an artist that reads its hidden states.")
    words, picture = tokenizer_of(teacher), _picture_of(student)
    if words.get_vocab() != tokenizer_of(student).get_vocab():
        raise ConfigError(
            f"{student.folder}: its tokenizer is not that of {teacher.folder}; hidden states are matched word by word: "
            "give the student the teacher's tokenizer."
        )

    def decode(ids: Sequence[int]) -> str:
        return str(words.decode(list(ids), skip_special_tokens=True))

    positions, width = next(t.shape[1:] for t in artist.denoise.spec.inputs if t.name == "text")
    longest = student.config.longest_answer
    layout: Layout = {
        "pictures": (np.float16, (3, picture.side, picture.side)),
        "ids": (np.int32, (longest,)),
        "weights": (np.float32, (longest,)),
        "conditions": (np.float16, (positions, width)),
        "counts": (np.int32, ()),
        "told": (np.float32, (len(Attribute) + 1,)),
    }
    done = open_progress(folder, config, layout, config.frames, config.frames)
    on_progress(int(done.sum()))
    store, source = CriticLessons.open(folder, "r+"), FrameSource(photos, data, FRAME_PX)
    for row in np.flatnonzero(~done):
        photo = Photo(source.draw(np.random.default_rng([config.seed, row])).degraded)
        answer = critic.answer(critics_picture(photo, settings.picture))
        ids, text = answer.ids[:longest], decode(answer.ids)
        store.pictures[row] = critics_picture(photo, picture)[0]
        store.ids[row, : len(ids)], store.weights[row, : len(ids)] = ids, word_weights(ids, decode)
        store.conditions[row] = artist.conditions(answer.hidden)["text"][0]
        store.counts[row] = min(len(answer.hidden), positions)
        store.told[row] = told_by(text)
        done[row] = True
        done.flush()
        on_progress(1)
    return CriticLessons.open(folder)


def _picture_of(pair: Pair) -> Any:  # noqa: ANN401 - of the critic's kind
    critic = critic_of(pair)
    path = critic.folder / "preprocessor_config.json"
    return critic.kind.picture(path, read_json(path, "save the processor again"), geometry_of(pair).side)


def word_weights(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[float]:
    """Return what each word of an answer weighs: those of the thoughts less than those of edit and answer.

    Parameters
    ----------
    ids
        The answer's.
    decode
        From ids to text.
    """
    begin, end = (decode(ids).find(mark) for mark in _THOUGHTS)
    places = [len(decode(ids[:count])) for count in range(len(ids))]
    return [_THOUGHT_WEIGHT if begin <= place < end else 1.0 for place in places]


class Learner(nn.Module):
    """A critic, its bridge, and what reads score and edits off it while it is trained.

    Parameters
    ----------
    pair
        Whose critic learns.
    checkpointing
        Whether activations are computed again in place of being kept.

    Raises
    ------
    ConfigError
        If its class is none of `LEARNERS`.
    """

    def __init__(self, pair: Pair, *, checkpointing: bool = False) -> None:
        super().__init__()
        critic = critic_of(pair)
        architecture = architecture_of(critic.folder, CRITIC_CLASSES)
        if architecture.name not in LEARNERS:
            raise ConfigError(f"{critic.folder}: {architecture.name} cannot learn yet; students are {[*LEARNERS]}.")
        self._given = LEARNERS[architecture.name]
        loaded = load_checked(critic.folder, architecture, vision_language.load)
        merge(loaded, critic.adapters)
        self.critic: Any = loaded
        self.bridge = None if pair.bridge is None else cast("nn.Module", load_part(pair, Latent.BRIDGE).network)
        if self._given is _whole:
            # The picture's tokens go among the words' vectors, which stay in float32 where layers compute in bfloat16.
            connector = loaded.get_submodule("model.connector")
            connector.register_forward_hook(lambda _module, _inputs, tokens: tokens.float())
        self.told = nn.Linear(critic.width, len(Attribute) + 1)
        self.prompt = render_prompt(pair, geometry_of(pair).rows ** 2)
        self.requires_grad_(requires_grad=True)
        if checkpointing:
            cast("Any", loaded).gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    @property
    def blocks(self) -> list[nn.Module]:
        """Layers of the critic, of which there are many alike."""
        return [block for found in self.critic.modules() if isinstance(found, nn.ModuleList) for block in found]

    def forward(self, pictures: Tensor, answers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of the answer's words, conditions of all that was read before its last, and edits with score.

        Parameters
        ----------
        pictures
            ``(N, 3, side, side)``.
        answers
            Ids, ``(N, words)``.
        """
        hidden, logits = self.read(pictures, answers)
        read, bridge = hidden[:, :-1], self.bridge
        if bridge is not None:
            read = torch.func.vmap(lambda row: bridge(row[None])[0][0])(read)
        return logits, read, self.told(hidden[:, len(self.prompt) - 1])

    def given(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return what the critic's class is given of pictures.

        Parameters
        ----------
        pictures
            ``(N, 3, side, side)``, normalized.
        """
        return self._given(pictures, self.critic.config.vision_config)

    def read(self, pictures: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden states of prompt and answer, ``(N, positions, width)``, and logits of the answer's words.

        Parameters
        ----------
        pictures, answers
            As for :meth:`forward`.
        """
        prompt = torch.tensor(self.prompt, device=answers.device).expand(len(answers), -1)
        ids = torch.cat([prompt, answers], 1)
        # Without a mask, transformers' Qwen3-VL takes the equal positions of a picture's tokens for sequences apart.
        hidden = self.critic.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), **self.given(pictures), use_cache=False
        ).last_hidden_state.float()
        return hidden, self.critic.lm_head(hidden[:, len(self.prompt) - 1 : -1]).float()


class CriticDistillTask:
    """A student critic learns a teacher's words, conditions, edits and score.

    Parameters
    ----------
    learner
        The student.
    lessons
        What the teacher said.
    settings, device
        Steps, whole batch, learning rate, seed, and where to train.
    workers
        Those that share each batch.
    """

    def __init__(
        self,
        learner: Learner,
        lessons: CriticLessons,
        settings: FitSettings,
        device: torch.device,
        workers: Workers = ALONE,
    ) -> None:
        self.model: nn.Module = learner.to(device)
        workers.shard(self.model, learner.blocks)
        self.lessons, self.settings, self.device, self.workers = lessons, settings, device, workers
        self._scale = float(lessons.conditions[: min(64, len(lessons))].astype(np.float32).std()) or 1.0

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return this process's share of the loss of a step's whole batch, times the number of processes.

        What each word and each condition weighs depends on the whole batch, so that the mean over processes is the loss
        of one process alone.
        """
        lessons = self.lessons
        whole = rows_of_step(self.settings.seed, step, self.settings.batch, len(lessons))
        rows = self.workers.share(whole)
        ids = torch.from_numpy(lessons.ids[rows].astype(np.int64)).to(self.device)
        # bfloat16 is slower than float32 on CPUs without matrix units.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type != "cpu"):
            logits, conditions, told = self.model(as_tensor(lessons.pictures[rows], self.device), ids)
        weights = as_tensor(lessons.weights[rows], self.device)
        wrong = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view_as(weights)
        words = (wrong * weights).sum() / float(lessons.weights[whole].sum())
        parts = {
            "words": words,
            "conditions": _CONDITIONS_WEIGHT * self._conditions(conditions, rows, whole),
            "told": _TOLD_WEIGHT * self._told(told, rows, whole),
        }
        total = torch.stack([*parts.values()]).sum() * self.workers.count
        return total, {name: float(part.detach()) * self.workers.count for name, part in parts.items()}

    def _conditions(self, made: Tensor, rows: npt.NDArray[np.intp], whole: npt.NDArray[np.intp]) -> Tensor:
        """Return how far conditions are from the teacher's, counted from the last one that either reads.

        Teacher and student may see pictures of another number of tokens; prompt and answer behind it are the same.
        """
        lessons, prompt = self.lessons, len(cast("Learner", self.model).prompt)
        # All that a student reads: prompt and answer but for the last word.
        own = prompt + (lessons.weights > 0).sum(1) - 1
        behind = np.minimum(lessons.counts, own)
        lost = made.new_zeros(())
        for row, (count, last, length) in enumerate(zip(lessons.counts[rows], own[rows], behind[rows], strict=True)):
            right = as_tensor(lessons.conditions[rows[row], count - length : count], self.device)
            lost = lost + ((made[row, last - length : last] - right) / self._scale).square().sum()
        return lost / float(behind[whole].sum() * made.shape[2])

    def _told(self, made: Tensor, rows: npt.NDArray[np.intp], whole: npt.NDArray[np.intp]) -> Tensor:
        right = as_tensor(self.lessons.told[rows], self.device)
        known = ~right.isnan()
        every = max(1, int((~np.isnan(self.lessons.told[whole])).sum()))
        return ((made - right.nan_to_num()) * known).square().sum() / every
