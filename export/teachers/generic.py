"""Any image-to-image pipeline of diffusers, or image-text-to-text model of transformers, as a teacher.

A pipeline is run by its own class, and its scheduler's steps are kept.
"""

import importlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from PIL import Image

from pocketcrafter.export.families.networks.architecture import read_json
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.teachers.critic import PillowProcessor, VisionLanguageCritic
from pocketcrafter.export.teachers.layout import Layout
from pocketcrafter.export.teachers.loading import load_network
from pocketcrafter.export.teachers.systems import PROMPT_FILE, Part, Sampling
from pocketcrafter.export.teachers.teacher import NOTHING, Critique, Teacher, Trajectory, Wish
from pocketcrafter.runtime.errors import BackendError

_PROCESSOR: Final = "processor"


class PipelineTeacher(Teacher):
    """A pipeline in its folder; the parameters are those of :class:`Teacher`."""

    root: ClassVar[str] = "."
    """The pipeline's folder, below the teacher's."""

    def __init__(
        self, layout: Layout, device: str, dtype: torch.dtype | None = None, sampling: Sampling | None = None
    ) -> None:
        super().__init__(layout, device, dtype, sampling)
        folder = layout.folder / self.root
        self.pipeline = self._load(folder)

    def trajectory(self, photo: Image.Image, wish: Wish = NOTHING) -> Trajectory:
        """See :meth:`Teacher.trajectory`; a pipeline is told what to do, by an instruction or by a critique's text."""
        photo = photo.convert("RGB")
        seed = self.sampling.seed if wish.seed is None else wish.seed
        asked = {
            "image": photo,
            "num_inference_steps": self.sampling.steps,
            # On the CPU, as releases draw it: other devices draw other noise from the same seed.
            "generator": torch.Generator("cpu").manual_seed(seed),
            "output_type": "pil",
            **self.arguments(photo, wish),
        }
        with _recorded(self.pipeline.scheduler) as steps:
            made = self.pipeline(**{name: value for name, value in asked.items() if name in self._taken()})
        picture: Image.Image = made.images[0]
        return Trajectory(
            latents=np.concatenate([*(before for _, before, _ in steps), steps[-1][2]]),
            times=np.array([time for time, _, _ in steps], np.float32),
            picture=picture,
            photo=photo if photo.size == picture.size else photo.resize(picture.size, Image.Resampling.LANCZOS),
        )

    def arguments(self, photo: Image.Image, wish: Wish) -> dict[str, Any]:
        """Return what the pipeline is told beside photo, seed and steps.

        Parameters
        ----------
        photo, wish
            As for :meth:`Teacher.trajectory`.

        Raises
        ------
        BackendError
            If nothing says what to do.
        """
        del photo
        told = wish.instruction if wish.instruction is not None or wish.critique is None else wish.critique.text
        if told is None:
            raise BackendError(f"{self.layout.folder}: {self.layout.system.title} edits by an instruction; give one.")
        return {"prompt": told}

    def _taken(self) -> set[str]:
        return set(inspect.signature(self.pipeline.__call__).parameters)

    def _load(self, folder: Path) -> Any:  # noqa: ANN401 - diffusers is untyped
        index = read_json(folder / "model_index.json", "download it again")
        own = {
            found.place.name: load_network(found, self.dtype, self.device)
            for found in self.layout.networks
            if found.place.part is not Part.CRITIC
        }
        if index.get(_PROCESSOR):
            own[_PROCESSOR] = None
        load: Any = importlib.import_module("diffusers").DiffusionPipeline.from_pretrained
        try:
            pipeline = load(folder, local_files_only=True, use_safetensors=True, torch_dtype=self.dtype, **own)
        except Exception as error:  # diffusers raises whatever it meets
            raise CheckpointError(f"{folder}: {index.get('_class_name')} cannot be loaded: {error}") from error
        if index.get(_PROCESSOR):
            words = folder / "tokenizer"
            pipeline.processor = PillowProcessor(words if words.is_dir() else folder / _PROCESSOR, folder / _PROCESSOR)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


class CriticTeacher(Teacher):
    """A vision-language model alone; the parameters are those of :class:`Teacher`."""

    def __init__(
        self, layout: Layout, device: str, dtype: torch.dtype | None = None, sampling: Sampling | None = None
    ) -> None:
        super().__init__(layout, device, dtype, sampling)
        prompt = layout.folder / PROMPT_FILE
        if not prompt.is_file():
            raise CheckpointError(f"{prompt}: missing; write into it what the model is to be asked of a photo.")
        self._critic = VisionLanguageCritic(layout.network("critic"), self.dtype, device)
        self._prompt = prompt.read_text(encoding="utf-8")

    def critiques(self, photos: Sequence[Image.Image]) -> list[Critique]:
        """See :meth:`Teacher.critiques`."""
        return self._critic.answers([photo.convert("RGB") for photo in photos], self._prompt, self.sampling.answer)

    def trajectory(self, photo: Image.Image, wish: Wish = NOTHING) -> Trajectory:
        """Refuse: a critic edits nothing.

        Parameters
        ----------
        photo, wish
            As for :meth:`Teacher.edit`; not read.

        Raises
        ------
        BackendError
            Always.
        """
        del photo, wish
        raise BackendError(f"{self.layout.folder}: a critic alone; it edits nothing.")


def generic_teacher(
    layout: Layout, device: str, dtype: torch.dtype | None = None, sampling: Sampling | None = None
) -> Teacher:
    """Return the teacher of a folder that is a pipeline or a model; as :class:`Teacher`.

    Parameters
    ----------
    layout, device, dtype, sampling
        As for :class:`Teacher`.
    """
    kind = PipelineTeacher if layout.pipeline else CriticTeacher
    return kind(layout, device, dtype, sampling)


@contextmanager
def _recorded(scheduler: Any) -> Iterator[list[tuple[float, Any, Any]]]:  # noqa: ANN401 - diffusers is untyped
    """Keep each step of a scheduler: its time, and the latents before and after it."""
    kept: list[tuple[float, Any, Any]] = []
    own = scheduler.step

    def step(predicted: Any, time: Any, sample: Any, *further: Any, **named: Any) -> Any:  # noqa: ANN401
        made = own(predicted, time, sample, *further, **named)
        after = made[0] if isinstance(made, tuple) else made.prev_sample
        kept.append((float(time), *(value.float().cpu().numpy() for value in (sample, after))))
        return made

    scheduler.step = step
    try:
        yield kept
    finally:
        del scheduler.step
