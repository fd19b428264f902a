"""PerTouch: Stable Diffusion 2.1 under a ControlNet that reads levels aimed at and the photo's latents.

The release's own classes differ from diffusers' in two places. What embeds the ControlNet's condition has a further
convolution for the photo's latents and joins both before its last one; and the U-Net's last convolution is another.
"""

import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.families.networks.architecture import read_json
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.families.networks.folder import check_loaded
from pocketcrafter.export.teachers.layout import Found, Layout
from pocketcrafter.export.teachers.loading import load_network
from pocketcrafter.export.teachers.systems import Sampling
from pocketcrafter.export.teachers.teacher import NOTHING, Teacher, Trajectory, Wish
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError

LEVELS: Final = ("colorfulness", "contrast", "temperature", "brightness")
"""What the channels of the maps are, in this order."""
_WIDTHS: Final = "conditioning_embedding_out_channels"


class MapsAndPhoto(nn.Module):
    """Embeds a ControlNet's condition: maps at the picture's size, and the photo's latents.

    Parameters
    ----------
    maps
        diffusers' own embedding of the maps, whose last convolution is replaced.
    width
        Channels of its last but one.
    latents
        Channels of the photo's latents.
    """

    def __init__(self, maps: Any, width: int, latents: int) -> None:  # noqa: ANN401 - diffusers is untyped
        super().__init__()
        self.conv_in, self.blocks = maps.conv_in, maps.blocks
        self.conv_img = nn.Conv2d(latents, width, 3, padding=1)
        self.conv_out = nn.Conv2d(2 * width, maps.conv_out.out_channels, 3, padding=1)

    def forward(self, given: tuple[Tensor, Tensor]) -> Tensor:
        """Return what is added to the ControlNet's first features.

        Parameters
        ----------
        given
            Maps and latents: diffusers hands its ``controlnet_cond`` on as it is.
        """
        maps, photo = given
        made = F.silu(self.conv_in(maps))
        for block in self.blocks:
            made = F.silu(block(made))
        # The photo comes first, and without an activation.
        joined: Tensor = self.conv_out(torch.cat([self.conv_img(photo), made], 1))
        return joined


class PerTouch(Teacher):
    """The release's ControlNet over its base model; the parameters are those of :class:`Teacher`."""

    def __init__(
        self, layout: Layout, device: str, dtype: torch.dtype | None = None, sampling: Sampling | None = None
    ) -> None:
        super().__init__(layout, device, dtype, sampling)
        self._unet, self._vae, text = (
            load_network(layout.network(n), self.dtype, device) for n in ("unet", "vae", "text_encoder")
        )
        _replace_last(self._unet, layout.network("conv_out"))
        self._control = _control(layout.network("controlnet"), self._unet.config.in_channels, self.dtype, device)
        base = layout.network("unet").path.parent
        self._scheduler = _scheduler(base)
        self._said = _nothing_said(base, text)

    def trajectory(self, photo: Image.Image, wish: Wish = NOTHING) -> Trajectory:
        """See :meth:`Teacher.trajectory`.

        Raises
        ------
        BackendError
            If there are no maps, or not such as it reads.
        """
        photo = photo.convert("RGB")
        side = self.sampling.side
        shown = photo.resize((side, side), Image.Resampling.BICUBIC)
        seed = self.sampling.seed if wish.seed is None else wish.seed
        with torch.inference_mode():
            return self._run(photo, shown, self._maps(wish.maps), torch.Generator("cpu").manual_seed(seed))

    def _run(self, photo: Image.Image, shown: Image.Image, maps: Tensor, generator: torch.Generator) -> Trajectory:
        vae, scheduler = self._vae, self._scheduler
        pixels = torch.from_numpy(np.asarray(shown, np.float32).copy()).permute(2, 0, 1)[None]
        # The release draws a sample of the distribution here, without a seed: its own two runs differ.
        edited = vae.encode((pixels / 127.5 - 1).to(self.device, self.dtype)).latent_dist.mode()
        edited = edited * vae.config.scaling_factor
        scheduler.set_timesteps(self.sampling.steps, device=self.device)
        latents = torch.randn(edited.shape, generator=generator, dtype=self.dtype).to(self.device)
        latents = latents * scheduler.init_noise_sigma
        kept = [latents]
        for time in scheduler.timesteps:
            noisy = scheduler.scale_model_input(latents, time)
            down, middle = self._control(
                noisy, time, encoder_hidden_states=self._said, controlnet_cond=(maps, edited), return_dict=False
            )
            predicted = self._unet(
                noisy,
                time,
                encoder_hidden_states=self._said,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                return_dict=False,
            )[0]
            latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
            kept.append(latents)
        made = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0][0]
        levels = ((made / 2 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).cpu().to(torch.uint8)
        return Trajectory(
            latents=np.ascontiguousarray(torch.cat(kept).float().cpu().numpy()),
            times=scheduler.timesteps.float().cpu().numpy(),
            # Squashed to a square before, and back to its own size after.
            picture=Image.fromarray(levels.numpy()).resize(photo.size, Image.Resampling.LANCZOS),
            photo=photo,
        )

    def _maps(self, maps: FloatArray | None) -> Tensor:
        shape = (len(LEVELS), self.sampling.side, self.sampling.side)
        if maps is None:
            raise BackendError(
                f"{self.layout.folder}: PerTouch edits by maps of the levels that are aimed at ({', '.join(LEVELS)}); "
                f"give some, {shape} in [-1, 1]: 0 is the median of its training photos, not what a photo has."
            )
        if maps.shape != shape or not np.abs(maps).max() <= 1:
            raise BackendError(f"Maps are {maps.shape}, up to {np.abs(maps).max()}; PerTouch reads {shape} in [-1, 1].")
        return torch.from_numpy(np.asarray(maps, np.float32)).to(self.device, self.dtype)[None]


def read_maps(file: Path) -> FloatArray:
    """Return the maps of a file of the release (``*_parameter_map_norm.npz``), ``(4, height, width)``, float32.

    Parameters
    ----------
    file
        Its array ``data`` is ``(height, width, 4)``, float16.

    Raises
    ------
    CheckpointError
        If it holds anything else.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            maps = stored["data"]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{file}: holds no maps of PerTouch ({error}).") from error
    if maps.ndim != 3 or maps.shape[2] != len(LEVELS):
        raise CheckpointError(f"{file}: `data` is {maps.shape}; maps are (height, width, {len(LEVELS)}).")
    return np.ascontiguousarray(maps.transpose(2, 0, 1), np.float32)


def _control(found: Found, latents: int, dtype: torch.dtype, device: str) -> Any:  # noqa: ANN401 - diffusers is untyped
    kind: Any = importlib.import_module("diffusers").ControlNetModel
    if found.config.get("controlnet_conditioning_channel_order", "rgb") != "rgb":
        raise CheckpointError(f"{found.path}: turns the maps' channels around, which the release does not.")
    # Its configuration tells another count of channels than the release's code, which sets it when it loads.
    model = kind.from_config({**found.config, "conditioning_channels": len(LEVELS)})
    model.controlnet_cond_embedding = MapsAndPhoto(model.controlnet_cond_embedding, model.config[_WIDTHS][-1], latents)
    tensors = {name: value for file in found.stored.files for name, value in load_file(file).items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{found.path}: is no ControlNet of PerTouch's: {error}") from error
    model = model.to(dtype).eval().requires_grad_(requires_grad=False)
    check_loaded(model, found.stored)
    return model.to(device)


def _replace_last(unet: Any, found: Found) -> None:  # noqa: ANN401 - as above
    last = unet.conv_out
    shapes = {name: tuple(value.shape) for name, value in last.state_dict().items()}
    if shapes != found.shapes:
        raise CheckpointError(f"{found.path}: is {found.shapes}, and the U-Net's last convolution {shapes}.")
    last.load_state_dict(load_file(found.path))


def _scheduler(base: Path) -> Any:  # noqa: ANN401 - as above
    config = read_json(base / "scheduler/scheduler_config.json", "download it again")
    name = str(config.get("_class_name"))
    kind: Any = getattr(importlib.import_module("diffusers"), name, None)
    if kind is None:
        raise CheckpointError(f"{base}: its scheduler, {name}, is no class of diffusers here.")
    return kind.from_config(config)


def _nothing_said(base: Path, text: Any) -> Tensor:  # noqa: ANN401 - as above
    """Return the text encoder's states of the empty prompt, padded to its full length."""
    load: Any = importlib.import_module("transformers").CLIPTokenizer.from_pretrained
    words = load(base / "tokenizer", local_files_only=True)
    given = words("", padding="max_length", max_length=words.model_max_length, return_tensors="pt")
    mask = given["attention_mask"].to(text.device) if getattr(text.config, "use_attention_mask", False) else None
    with torch.inference_mode():
        states: Tensor = text(given["input_ids"].to(text.device), attention_mask=mask)[0]
    return states
