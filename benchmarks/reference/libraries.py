"""Runs a pair by transformers and diffusers alone, in full precision: what every bundle of it is held against.

Of our own code there is what the pair's folder says, and the noise, which a bundle draws from the same generator.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from pocketcrafter.benchmarks.common.reference_record import (
    RecordedArtist,
    RecordedCritic,
    RecordedName,
    RecordedPhoto,
    RecordManifest,
    Shapes,
)
from pocketcrafter.export.builder.stage import tool_versions
from pocketcrafter.export.content import content_hash
from pocketcrafter.export.families.latent.artist_folder import Artist
from pocketcrafter.export.families.latent.artists.kinds import Layout
from pocketcrafter.export.families.latent.pair import PROJECTION, Pair
from pocketcrafter.export.families.latent.parts import geometry_of
from pocketcrafter.export.families.latent.prompt import critic_of, tokenizer_of
from pocketcrafter.export.families.networks.architecture import read_config
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.latent.sampler import Noise

_RECORDED: Final = "UNet2DConditionModel"


@dataclass(frozen=True)
class _CriticClass:
    """How a class of critics is asked."""

    processor: Callable[[Pair], Any]
    """Makes the processor of a pair's critic."""
    connector: str
    """The module whose output is the picture's tokens."""


def _idefics(pair: Pair) -> Any:  # noqa: ANN401 - transformers is untyped
    transformers = importlib.import_module("transformers")
    words = tokenizer_of(pair)
    pictures = transformers.AutoImageProcessor.from_pretrained(
        critic_of(pair).folder, local_files_only=True, use_fast=False
    )
    pictures.do_image_splitting = False
    return transformers.Idefics3Processor(
        pictures, words, image_seq_len=geometry_of(pair).rows ** 2, chat_template=words.chat_template
    )


_IDEFICS: Final = _CriticClass(_idefics, "model.connector")
_CRITICS: Final[Mapping[str, _CriticClass]] = {
    "Idefics3ForConditionalGeneration": _IDEFICS,
    "SmolVLMForConditionalGeneration": _IDEFICS,
}


class LibraryCritic:
    """The critic by transformers.

    Parameters
    ----------
    pair
        Whose.
    device
        As torch names it.
    """

    def __init__(self, pair: Pair, device: str) -> None:
        self._pair, self._device = pair, device
        folder = critic_of(pair).folder
        self.name = str(read_config(folder)["architectures"][0])
        if self.name not in _CRITICS:
            raise BackendError(f"{folder}: references are recorded of {', '.join(_CRITICS)}; {self.name} is not yet.")
        self._class = _CRITICS[self.name]
        self._processor = self._class.processor(pair)
        model: Any = importlib.import_module("transformers").AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
        self._model = model.eval().requires_grad_(False).to(device)

    def answer(self, photo: Image.Image) -> RecordedCritic:
        """Let it answer."""
        said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self._pair.config.prompt}]}]
        text = self._processor.apply_chat_template(said, add_generation_prompt=True)
        begins = self._processor.tokenizer.bos_token
        inputs = self._processor(
            text=text,
            images=[photo],
            return_tensors="pt",
            add_special_tokens=begins is None or not text.startswith(begins),
        ).to(self._device)
        seen: list[Tensor] = []
        hook = self._model.get_submodule(self._class.connector).register_forward_hook(
            lambda _module, _given, made: seen.append(made)
        )
        with torch.inference_mode(), _removed(hook):
            made = self._model.generate(
                **inputs,
                max_new_tokens=self._pair.config.longest_answer,
                do_sample=False,
                num_beams=1,
                output_hidden_states=True,
                return_dict_in_generate=True,
            )
        prompt = inputs["input_ids"][0]
        return RecordedCritic(
            prompt=prompt.int().cpu().numpy(),
            ids=made.sequences[0, len(prompt) :].int().cpu().numpy(),
            tokens=_array(seen[0].reshape(-1, seen[0].shape[-1])),
            hidden=_array(torch.cat([states[-1][0] for states in made.hidden_states])),
        )


class LibraryArtist:
    """The artist by diffusers.

    Parameters
    ----------
    pair
        Whose.
    artist
        Its artist.
    device
        As torch names it.
    """

    def __init__(self, pair: Pair, artist: Artist, device: str) -> None:
        more = artist.network.pooled or artist.control or artist.adapters or artist.network.layout is Layout.INPAINT
        if artist.config["_class_name"] != _RECORDED or more or pair.fixed:
            raise BackendError(
                f"{artist.folder}: references are recorded of {_RECORDED} with text conditions alone, without adapters."
            )
        self._pair, self._artist, self._device = pair, artist, device
        self._unet, self._vae = (self._loaded(artist.folder / name) for name in ("unet", "vae"))
        kind = getattr(importlib.import_module("diffusers"), artist.scheduler)
        self._scheduler: Any = kind.from_pretrained(artist.folder / "scheduler", local_files_only=True)
        self._bridge = load_file(pair.bridge.file, device=device) if pair.bridge else None
        self.names = {"denoise": type(self._unet).__name__, "autoencoder": type(self._vae).__name__}
        self.names["scheduler"] = artist.scheduler

    def _loaded(self, folder: Path) -> Any:  # noqa: ANN401 - diffusers is untyped
        kind = getattr(importlib.import_module("diffusers"), str(read_config(folder)["_class_name"]))
        model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32)
        return model.eval().requires_grad_(False).to(self._device)

    def edit(self, photo: Image.Image, hidden: FloatArray) -> RecordedArtist:
        """Let it edit a photo as it understands the critic's hidden states."""
        with torch.inference_mode():
            text = torch.from_numpy(hidden).to(self._device)
            if self._bridge is not None:
                text = F.linear(
                    text, self._bridge[f"{PROJECTION}.weight"].float(), _floats(self._bridge.get(f"{PROJECTION}.bias"))
                )
            return self._edited(photo, text)

    def _edited(self, photo: Image.Image, text: Tensor) -> RecordedArtist:
        vae, side = self._vae, self._artist.side
        factor = self._artist.factor
        pictures = importlib.import_module("diffusers.image_processor").VaeImageProcessor(vae_scale_factor=factor)
        said: Any = vae.encode(pictures.preprocess(photo, side, side).to(self._device))
        encoded = said.latents if hasattr(said, "latents") else said.latent_dist.mode()
        scale, shift = vae.config.get("scaling_factor") or 1.0, vae.config.get("shift_factor") or 0.0
        scaled = (encoded - shift) * scale
        shown = encoded if self._artist.shows_unscaled else scaled
        noise = Noise(self._pair.config.seed)
        times, latents = self._started(scaled, noise)
        kept, predictions = [latents], []
        with _drawing_from(noise, self._scheduler, self._device):
            for time in times:
                given = self._scheduler.scale_model_input(latents, time) if _scales(self._scheduler) else latents
                given = torch.cat([given, shown], 1) if self._artist.shows_photo else given
                predictions.append(self._unet(given, time, encoder_hidden_states=text[None]).sample)
                latents = self._scheduler.step(predictions[-1], time, latents).prev_sample
                kept.append(latents)
        picture = pictures.postprocess(vae.decode(latents / scale + shift).sample, output_type="np")[0]
        return RecordedArtist(
            text=_array(text),
            encoded=_array(encoded[0]),
            latents=_array(torch.cat(kept)),
            predictions=_array(torch.cat(predictions)),
            picture=np.ascontiguousarray(picture, np.float32),
        )

    def _started(self, scaled: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return the timesteps and where they begin, as diffusers' own pipelines do."""
        scheduler, steps = self._scheduler, self._pair.config.steps
        if scheduler.config.get("use_dynamic_shifting"):
            own = importlib.import_module("diffusers.pipelines.qwenimage.pipeline_qwenimage")
            said, positions = scheduler.config, scaled.shape[-2] * scaled.shape[-1] // 4
            bounds = (said.base_image_seq_len, said.max_image_seq_len, said.base_shift, said.max_shift)
            shift = own.calculate_shift(positions, *bounds)
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps).tolist(), mu=shift)
        else:
            scheduler.set_timesteps(steps)
        drawn = torch.from_numpy(noise.draw(scaled.shape)).to(self._device)
        times = scheduler.timesteps
        if self._artist.shows_photo:
            return times, drawn * getattr(scheduler, "init_noise_sigma", 1.0)
        times = times[steps - max(1, min(int(steps * self._pair.config.strength), steps)) :]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(steps - len(times))
        if hasattr(scheduler, "scale_noise"):
            return times, scheduler.scale_noise(scaled, times[:1], drawn)
        return times, scheduler.add_noise(scaled, drawn, times[:1])


class Libraries:
    """A whole pair by its own libraries.

    Parameters
    ----------
    pair
        Its folder, checked.
    device
        ``cpu`` or ``cuda``.

    Raises
    ------
    BackendError
        If there is no such device.
    """

    def __init__(self, pair: Pair, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise BackendError("--device cuda: torch finds no GPU here; say --device cpu.")
        # Products of float32 numbers, not of TF32's 10 bits.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self._pair, self._device = pair, device
        self._critic = LibraryCritic(pair, device)
        self._artist = None if pair.artist is None else LibraryArtist(pair, pair.artist, device)

    def record(self, photo: Image.Image) -> RecordedPhoto:
        """Return what the pair makes of an sRGB photo."""
        answer = self._critic.answer(photo)
        made = None if self._artist is None else self._artist.edit(photo, answer.hidden)
        return RecordedPhoto(np.asarray(photo, np.uint8), answer, made)

    def manifest(self, photos: Sequence[tuple[str, RecordedPhoto]], tools: tuple[str, ...]) -> RecordManifest:
        """Return the manifest of a record of photos, by name; ``tools`` are distributions whose versions it tells."""
        named = tuple(
            RecordedName(
                name=name,
                shapes=Shapes(
                    photo=(one.photo.shape[0], one.photo.shape[1]),
                    prompt=len(one.critic.prompt),
                    answer=len(one.critic.ids),
                ),
            )
            for name, one in photos
        )
        first = photos[0][1]
        return RecordManifest(
            pair=self._pair.folder.resolve().name,
            sha256=content_hash(self._pair.files),
            classes={"critic": self._critic.name, **(self._artist.names if self._artist else {})},
            tools=tool_versions(tools),
            device=torch.cuda.get_device_name() if self._device == "cuda" else "cpu",
            width=first.critic.hidden.shape[1],
            steps=0 if first.artist is None else len(first.artist.predictions),
            photos=named,
        )


@contextmanager
def _removed(hook: Any) -> Iterator[None]:  # noqa: ANN401 - torch's handle
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _drawing_from(noise: Noise, scheduler: Any, device: str) -> Iterator[None]:  # noqa: ANN401 - diffusers is untyped
    """Let a scheduler that adds noise draw a bundle's, in place of torch's."""
    module: Any = importlib.import_module(type(scheduler).__module__)
    own = getattr(module, "randn_tensor", None)
    module.randn_tensor = lambda shape, **_: torch.from_numpy(noise.draw(shape)).to(device)
    try:
        yield
    finally:
        if own is None:
            del module.randn_tensor
        else:
            module.randn_tensor = own


def _scales(scheduler: Any) -> bool:  # noqa: ANN401 - likewise
    return hasattr(scheduler, "scale_model_input")


def _floats(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()


def _array(tensor: Tensor) -> FloatArray:
    return np.ascontiguousarray(tensor.float().cpu().numpy())
