"""SmartPhotoCrafter: Qwen2.5-VL judges, and its hidden states steer Qwen-Image's transformer.

What differs from diffusers' own pipelines, and is the release's: the photo is scaled twice; the conditions are all
hidden states of the critic; the transformer's GELU is x·σ(1.702 x); noise is drawn on the CPU in the release's
precision; the photo's latents are the mode of the autoencoder's distribution; steps stay in that precision.
"""

import importlib
from collections.abc import Sequence
from math import prod, sqrt
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pocketcrafter.export.teachers.critic import VisionLanguageCritic
from pocketcrafter.export.teachers.layout import Layout
from pocketcrafter.export.teachers.loading import load_network
from pocketcrafter.export.teachers.systems import PROMPT_FILE, Sampling
from pocketcrafter.export.teachers.teacher import NOTHING, Critique, Teacher, Trajectory, Wish
from pocketcrafter.runtime.arrays import FloatArray

_FIRST_MULTIPLE: Final = 16
_SECOND_MULTIPLE: Final = 32
_PATCH: Final = 2
_SCHEDULER: Final = {
    "use_dynamic_shifting": True,
    "time_shift_type": "exponential",
    "base_shift": 0.5,
    "max_shift": 0.9,
    "base_image_seq_len": 256,
    "max_image_seq_len": 8192,
    "shift_terminal": 0.02,
}
"""Qwen-Image's, which the release has in its code and not in a file."""


class SmartPhotoCrafter(Teacher):
    """The release's pair of critic and artist; the parameters are those of :class:`Teacher`."""

    def __init__(
        self, layout: Layout, device: str, dtype: torch.dtype | None = None, sampling: Sampling | None = None
    ) -> None:
        super().__init__(layout, device, dtype, sampling)
        self._dit, self._vae = (load_network(layout.network(n), self.dtype, device) for n in ("dit", "vae"))
        use_sigmoid_gelu(self._dit)
        self._critic = VisionLanguageCritic(layout.network("vlm"), self.dtype, device)
        self._prompt = (layout.folder / PROMPT_FILE).read_text(encoding="utf-8")

    def critiques(self, photos: Sequence[Image.Image]) -> list[Critique]:
        """See :meth:`Teacher.critiques`; the critic sees a photo as the autoencoder does."""
        shown = [prepared(photo, self.sampling.side)[1] for photo in photos]
        return self._critic.answers(shown, self._prompt, self.sampling.answer)

    def trajectory(self, photo: Image.Image, wish: Wish = NOTHING) -> Trajectory:
        """See :meth:`Teacher.trajectory`; the picture is as large as the photo after its first scaling."""
        critique = wish.critique or self.critique(photo)
        first, second = prepared(photo, self.sampling.side)
        with torch.inference_mode():
            return self._run(first, second, critique.hidden, self.sampling.seed if wish.seed is None else wish.seed)

    def _run(self, photo: Image.Image, shown: Image.Image, hidden: FloatArray, seed: int) -> Trajectory:
        vae, dit = self._vae, self._dit
        width, height = photo.size
        factor = 2 ** len(vae.temperal_downsample)
        text = torch.from_numpy(hidden).to(self.device, self.dtype)[None]
        edited = self._encoded(shown)
        shape = (1, vae.config.z_dim, height // factor, width // factor)
        generator = torch.Generator("cpu").manual_seed(seed)
        latents = torch.randn(shape, generator=generator, dtype=self.dtype).to(self.device)
        frames = [[(1, t.shape[-2] // _PATCH, t.shape[-1] // _PATCH) for t in (latents, edited)]]
        sigmas, times = schedule(self.sampling.steps, prod(frames[0][0]))
        kept = [latents]
        for number, time in enumerate(times):
            tokens = torch.cat([_packed(latents), _packed(edited)], 1)
            predicted = dit(
                hidden_states=tokens,
                timestep=time.to(self.device, self.dtype)[None] / 1000,
                encoder_hidden_states=text,
                img_shapes=frames,
                return_dict=False,
            )[0][:, : prod(frames[0][0])]
            # diffusers' scheduler computes in float32: in bfloat16 that is 0.4 % from the release.
            latents = latents + _unpacked(predicted, latents.shape) * (sigmas[number + 1] - sigmas[number])
            kept.append(latents)
        return Trajectory(
            latents=np.ascontiguousarray(torch.cat(kept).float().cpu().numpy()),
            times=times.numpy(),
            picture=self._decoded(latents),
            photo=photo,
            conditions=hidden,
        )

    def _encoded(self, shown: Image.Image) -> Tensor:
        pixels = torch.from_numpy(np.asarray(shown, np.float32).copy()).to(self.device, self.dtype)
        pixels = (pixels * (2 / 255) - 1).permute(2, 0, 1)[None, :, None]
        # `sample()` of the distribution would draw noise that no seed of the release reaches.
        found = self._vae.encode(pixels).latent_dist.mode()
        mean, deviation = self._statistics(found)
        normalized: Tensor = ((found - mean) * (1 / deviation))[:, :, 0]
        return normalized

    def _decoded(self, latents: Tensor) -> Image.Image:
        mean, deviation = self._statistics(latents[:, :, None])
        pixels = self._vae.decode(latents[:, :, None] * deviation + mean, return_dict=False)[0][0, :, 0]
        # The release cuts fractions off.
        levels = ((pixels + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).cpu().to(torch.uint8)
        return Image.fromarray(levels.numpy())

    def _statistics(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        config = self._vae.config
        mean, deviation = (
            torch.tensor(v).to(latents).view(1, -1, 1, 1, 1) for v in (config.latents_mean, config.latents_std)
        )
        return mean, deviation


def use_sigmoid_gelu(transformer: Any) -> None:  # noqa: ANN401 - diffusers is untyped
    """Give a ``QwenImageTransformer2DModel`` the GELU that DiffSynth-Studio's releases were trained with.

    x·σ(1.702 x) in place of diffusers' tanh form: without it, latents are 0.2 % off after four steps.

    Parameters
    ----------
    transformer
        Changed in place; its weights stay.
    """
    activations = importlib.import_module("diffusers.models.activations")
    for block in transformer.transformer_blocks:
        for feed_forward in (block.img_mlp, block.txt_mlp):
            made = activations.ApproximateGELU(1, 1)
            made.proj = feed_forward.net[0].proj
            feed_forward.net[0] = made


def prepared(photo: Image.Image, side: int) -> tuple[Image.Image, Image.Image]:
    """Return a photo after the first and after the second scaling of the release.

    Parameters
    ----------
    photo
        sRGB.
    side
        Both have about as many pixels as a square of this side, 1,024 in the release: the first one at most so many,
        on multiples of 16, cut in the middle; the second one exactly so many, as far as multiples of 32 allow.
    """
    photo = photo.convert("RGB")
    width, height = photo.size
    if width * height > side**2:
        over = sqrt(width * height / side**2)
        width, height = int(width / over), int(height / over)
    width, height = (size // _FIRST_MULTIPLE * _FIRST_MULTIPLE for size in (width, height))
    scale = max(width / photo.width, height / photo.height)
    scaled = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BILINEAR)
    left, top = round((scaled.width - width) / 2), round((scaled.height - height) / 2)
    first = scaled.crop((left, top, left + width, top + height))
    ratio = width / height
    wide = sqrt(side**2 * ratio)
    second = tuple(round(size / _SECOND_MULTIPLE) * _SECOND_MULTIPLE for size in (wide, wide / ratio))
    return first, first.resize((second[0], second[1]))


def schedule(steps: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Return the sigmas of the steps, with a last one of 0, and the times that the network is told.

    Parameters
    ----------
    steps
        At least three: of two, the sigmas are 1 and 0.02 whatever the picture's size.
    tokens
        Of the picture: a sixteenth of its height by a sixteenth of its width.
    """
    scheduler = importlib.import_module("diffusers").FlowMatchEulerDiscreteScheduler(**_SCHEDULER)
    pipeline = importlib.import_module("diffusers.pipelines.qwenimage.pipeline_qwenimage")
    bounds = (_SCHEDULER[name] for name in ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift"))
    shift = pipeline.calculate_shift(tokens, *bounds)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist(), mu=shift)
    return scheduler.sigmas.cpu(), scheduler.timesteps.cpu()


def _packed(latents: Tensor) -> Tensor:
    """Return latents as tokens, each of 2×2 neighbours, ``(1, tokens, 4·channels)``."""
    count, channels, height, width = latents.shape
    split = latents.view(count, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels * _PATCH**2)


def _unpacked(tokens: Tensor, shape: torch.Size) -> Tensor:
    count, channels, height, width = shape
    split = tokens.view(count, height // _PATCH, width // _PATCH, channels, _PATCH, _PATCH)
    return split.permute(0, 3, 1, 4, 2, 5).reshape(shape)
