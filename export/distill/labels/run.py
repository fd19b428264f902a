"""Teaches the default pair by labels: inferred plans, then critic, tone, restoration and decoder, and their recipe."""

import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml
from pydantic import Field
from tokenizers import Tokenizer
from tqdm import tqdm

from pocketcrafter.export.distill.labels.frames import RESIDUALS, LabelFrames, LabelPatches, build_label_frames
from pocketcrafter.export.labels.store import LabelStore
from pocketcrafter.export.models import (
    critic_network,
    decoder_network,
    load_component,
    restore_network,
    save_component,
)
from pocketcrafter.export.models.critic import Judge, Judgement
from pocketcrafter.export.models.llama import as_llama
from pocketcrafter.export.models.plan_judge import PlanJudge
from pocketcrafter.export.models.restore import Restore, equalizable_pairs
from pocketcrafter.export.names import CRITIC_SHA256, TOKENIZER, TOKENIZER_SHA256
from pocketcrafter.export.recipe import resolve
from pocketcrafter.export.shipped import DEFAULT_RECIPE
from pocketcrafter.export.train.critic import CriticTask, judge_store
from pocketcrafter.export.train.decoder import DecoderTask, as_step
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.judge import JudgeTask
from pocketcrafter.export.train.judge_frames import JudgeConfig, build_judge_store
from pocketcrafter.export.train.options import TrainOptions, folder_beside, train_network
from pocketcrafter.export.train.prose.facts import measure_facts
from pocketcrafter.export.train.prose.sampling import Judged
from pocketcrafter.export.train.restore import Patches, RestoreTask
from pocketcrafter.export.train.tone import ToneTask
from pocketcrafter.quantize.algorithms.equalization import equalized
from pocketcrafter.runtime.bundle.integrity import sha256_of
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import write_text
from pocketcrafter.runtime.pocket import Pocket

RECIPE_FILE: Final = "recipe.yaml"
_RATE: Final = 3e-4
"""What networks that have been trained already take."""
_STEPS: Final = 400
_CRITIC_BATCH: Final = 64
_BATCH: Final = 16
_DECODER_BATCH: Final = 8
_JUDGE_BATCH: Final = 96
LEAST_RESTORED: Final = 32
"""Photos that restoration learns from, or stays as it is: by three of them it learnt those three, and INT8 lost it."""
_EQUALIZED_ON: Final = 32
"""Patches that channels' ranges are seen on."""


class Taught(Config):
    """What a pair was taught by labels."""

    weights: str = Field(description="Folder of the pair's weights, with a recipe.")
    photos: int
    texts: int = Field(description="Labels whose text tells edits and a score; of the others the picture does.")
    pictures: int = Field(description="Labels with a picture.")
    restored: int = Field(description="Photos of which the teacher removed noise, blur or blocks.")
    residuals: Mapping[str, float] = Field(
        description="Mean PSNR to the teacher's pictures, dB: of the photos as they are, with the inferred plan's "
        "tones, and with a grid on top."
    )
    losses: Mapping[str, Mapping[str, float]] = Field(description="The last ones of each network.")


def teach(options: TrainOptions, labels: Path, photos: Path, out: Path) -> Taught:
    """Teach the default pair by labels, and write its weights and a recipe of them.

    Parameters
    ----------
    options
        The command line's; ``weights`` is what training begins with.
    labels
        Made by `data label`.
    photos
        The folder that was labelled.
    out
        Where the student's weights go.

    Raises
    ------
    ConfigError
        If there are no labels, the photos are others, or ``out`` is the folder that training begins with.
    """
    out = folder_beside(out, options.weights)
    store = LabelStore.open(labels)
    critic = critic_network(options.weights / "critic.safetensors").requires_grad_(requires_grad=True)
    if not isinstance(critic.judge, Judge):
        raise ConfigError(f"{options.weights}: an ensemble cannot be lowered, so it is no student.")
    name = sha256(f"{store.settings.model_dump_json()}{sha256_of(options.weights / 'critic.safetensors')}".encode())
    run = options.run / f"labels-{name.hexdigest()[:12]}"
    with tqdm(desc="inferred plans", unit="label") as bar:
        frames = build_label_frames(run / "frames", store, photos, critic.evidence, bar.update)
    out.mkdir(parents=True, exist_ok=True)
    lesson = _Lesson(options, frames, run, out, {"teacher_license": store.settings.license})
    losses = {
        Pocket.CRITIC.value: lesson.critic(critic, critic.judge),
        Pocket.JUDGE.value: lesson.judge(judged := judge_store(critic.judge, frames)),
        Pocket.TONE.value: lesson.tone(judged),
        Pocket.RESTORE.value: lesson.restore(),
        Pocket.DECODER.value: lesson.decoder(judged),
    }
    _write_recipe(options.weights, out, store)
    seen = ~np.isnan(frames.residuals[:, 0])
    means = frames.residuals[seen].mean(0) if seen.any() else [np.nan] * len(RESIDUALS)
    return Taught(
        weights=str(out),
        photos=len(frames),
        texts=int((~np.isnan(frames.told[:, -1])).sum()),
        pictures=int(seen.sum()),
        restored=len(LabelPatches(frames)),
        residuals={name: round(float(value), 2) for name, value in zip(RESIDUALS, means, strict=True)},
        losses=losses,
    )


class _Lesson:
    """The trainings, each of which goes on from the student's start."""

    def __init__(
        self, options: TrainOptions, frames: LabelFrames, run: Path, out: Path, facts: Mapping[str, str]
    ) -> None:
        self._options, self._frames, self._run, self._out, self._facts = options, frames, run, out, dict(facts)
        self._device = options.torch_device()

    def critic(self, critic: Any, judge: Judge) -> Mapping[str, float]:  # noqa: ANN401 - a module
        # Networks that read its plan tokens were trained with many frames; labels may be few.
        kept = judge_store(judge, self._frames).tokens
        center, spread = judge.center.clone(), judge.spread.clone()
        settings = self._settings(_CRITIC_BATCH)
        task = CriticTask(judge, self._frames, settings, self._device, kept=kept)
        judge.center.copy_(center)
        judge.spread.copy_(spread)
        _, losses = train_network(Pocket.CRITIC, task, settings, self._run / Pocket.CRITIC)
        save_component(critic, self._path(Pocket.CRITIC), self._facts)
        return losses

    def judge(self, judged: Judgement) -> Mapping[str, float]:
        """Learn what parts of the student's own plans bring photos nearer to the teacher's pictures."""
        digest, rows = sha256_of(self._path(Pocket.CRITIC)), np.arange(len(self._frames))
        config = JudgeConfig(critic_sha256=digest, frames_sha256=sha256(rows.tobytes()).hexdigest())
        proposed = build_judge_store(self._run / f"proposals-{digest[:8]}", self._frames, judged, rows, config)
        model = PlanJudge()
        model.load_state_dict(load_component(Pocket.JUDGE, self._begun(Pocket.JUDGE)).state_dict())
        settings = self._settings(_JUDGE_BATCH)
        task = JudgeTask(model, proposed, np.full(len(rows), 1 / len(rows)), settings, self._device)
        made, losses = train_network(Pocket.JUDGE, task, settings, self._run / Pocket.JUDGE)
        save_component(made, self._path(Pocket.JUDGE), {**self._facts, CRITIC_SHA256: digest})
        return losses

    def tone(self, judged: Judgement) -> Mapping[str, float]:
        model = load_component(Pocket.TONE, self._begun(Pocket.TONE)).requires_grad_(requires_grad=True)
        settings = self._settings(_BATCH)
        task = ToneTask(model, self._frames, judged, settings, self._device)
        made, losses = train_network(Pocket.TONE, task, settings, self._run / Pocket.TONE)
        save_component(made, self._path(Pocket.TONE), self._facts)
        return losses

    def restore(self) -> Mapping[str, float]:
        patches = LabelPatches(self._frames)
        if len(patches) < LEAST_RESTORED:
            shutil.copy(self._begun(Pocket.RESTORE), self._path(Pocket.RESTORE))
            return {}
        settings = self._options.fit_settings(_STEPS, _BATCH).model_copy(update={"learning_rate": _RATE})
        start, folder = restore_network(self._begun(Pocket.RESTORE)), self._run / Pocket.RESTORE
        made, losses = taught_restoration(start, patches, settings, folder, self._device)
        save_component(made, self._path(Pocket.RESTORE), self._facts)
        return losses

    def decoder(self, judged: Judgement) -> Mapping[str, float]:
        words = self._out / TOKENIZER
        shutil.copy(self._options.weights / TOKENIZER, words)
        frames, settings = self._frames, self._settings(_DECODER_BATCH)
        told = Judged.of(judged, frames.stated, measure_facts(frames.views))
        model = as_llama(decoder_network(self._begun(Pocket.DECODER)))
        task = DecoderTask(model, told, Tokenizer.from_file(str(words)), settings, self._device)
        made, losses = train_network(Pocket.DECODER, task, settings, self._run / Pocket.DECODER)
        read = {CRITIC_SHA256: sha256_of(self._path(Pocket.CRITIC)), TOKENIZER_SHA256: sha256_of(words)}
        save_component(as_step(made), self._path(Pocket.DECODER), {**self._facts, **read})
        return losses

    def _settings(self, batch: int) -> FitSettings:
        made = self._options.fit_settings(_STEPS, min(batch, len(self._frames)))
        return made.model_copy(update={"learning_rate": _RATE})

    def _begun(self, component: Pocket) -> Path:
        return self._options.weights / f"{component}.safetensors"

    def _path(self, component: Pocket) -> Path:
        return self._out / f"{component}.safetensors"


def taught_restoration(
    start: Restore, patches: Patches, settings: FitSettings, folder: Path, device: torch.device
) -> tuple[Restore, Mapping[str, float]]:
    """Train a restoration network, and bring its channels to ranges of one size again, for INT8's sake.

    Parameters
    ----------
    start
        What training begins with.
    patches
        Draws what it learns from.
    settings, folder, device
        As in `fit`.

    Returns
    -------
    tuple
        The network, and the last losses.
    """
    task = RestoreTask(start.requires_grad_(requires_grad=True), patches, settings, device)
    _, losses = train_network(Pocket.RESTORE, task, settings, folder)
    made = task.model.cpu()
    degraded, _, amounts = patches.draw(_EQUALIZED_ON, np.random.default_rng(settings.seed))
    return equalized(made, equalizable_pairs(made), [(degraded, amounts)]), losses


def _write_recipe(begun: Path, out: Path, store: LabelStore) -> None:
    """Write the default recipe over the student's weights: what the teacher's licence forbids, it forbids."""
    for name in ("gate.json", f"{Pocket.COMPOSITION}.safetensors"):
        shutil.copy(begun / name, out)
    recipe = yaml.safe_load(DEFAULT_RECIPE.read_text(encoding="utf-8"))
    for component, said in recipe["components"].items():
        said["weights"] = f"{component}.safetensors"
        del said["card"]
        if "tokenizer" in said:
            said["tokenizer"] = TOKENIZER
    recipe["name"] = "taught"
    recipe["settings"] = {"gate": "gate.json"}
    recipe["calibration"]["photos"] = str(resolve(DEFAULT_RECIPE, recipe["calibration"]["photos"]))
    for text in recipe["licenses"]:
        text["path"] = str(resolve(DEFAULT_RECIPE, text["path"]))
    recipe["training_data"] = {
        "summary": "The default pair, taught by a teacher's labels.",
        "sources": [{"name": f"labels by {store.settings.teacher}", "license": store.settings.license}],
    }
    write_text(out / RECIPE_FILE, yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
