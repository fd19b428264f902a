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
from pocketcrafter.benchmarks.reference.adapters import add_adapters
from pocketcrafter.benchmarks.reference.networks import PREDICTIONS, Autoencoder, Told
from pocketcrafter.export.builder.stage import tool_versions
from pocketcrafter.export.content import content_hash
from pocketcrafter.export.families.latent.artist_folder import POOLED, PROMPT, Artist
from pocketcrafter.export.families.latent.artists.kinds import Layout
from pocketcrafter.export.families.latent.critics import CRITIC_CLASSES
from pocketcrafter.export.families.latent.pair import PROJECTION, SUMMARY, Pair
from pocketcrafter.export.families.latent.parts import geometry_of
from pocketcrafter.export.families.latent.prompt import critic_of, tokenizer_of
from pocketcrafter.export.families.networks.architecture import architecture_of, read_config
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.latent.sampler import Noise


@dataclass(frozen=True)
class _CriticClass:
    """How a class of critics is asked."""

    processor: Callable[[Pair], Any]
    """Makes the processor of a pair's critic."""
    connector: str
    """The module whose output is the picture's tokens."""
    square: bool = False
    """Whether it is shown a square of the pair's size, where the processor would keep the photo's aspect."""
    normalization: str | None = None
    """The module that hidden states still have to go through; `None` where transformers tells of those behind it."""


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


class _QwenProcessor:
    """What Qwen's own processors do with one picture and a text: those want torchvision too, for videos."""

    def __init__(self, pair: Pair) -> None:
        self._word, self._kinds = critic_of(pair).kind.word, importlib.import_module("transformers")
        self.tokenizer = tokenizer_of(pair)
        self.image_processor = self._kinds.AutoImageProcessor.from_pretrained(
            critic_of(pair).folder, local_files_only=True, use_fast=False
        )

    def apply_chat_template(self, said: Sequence[Mapping[str, Any]], **more: bool) -> str:
        """Return a prompt with one word for the picture."""
        text: str = self.tokenizer.apply_chat_template(said, tokenize=False, **more)
        return text

    def __call__(self, text: str, images: Sequence[Image.Image], return_tensors: str, **more: bool) -> Any:  # noqa: ANN401 - transformers is untyped
        """Return ids, with a word for each token of the picture, and pixels."""
        seen = self.image_processor(images=images, return_tensors=return_tensors)
        places = int(seen["image_grid_thw"].prod()) // self.image_processor.merge_size**2
        words = self.tokenizer(text.replace(self._word, self._word * places), return_tensors=return_tensors, **more)
        return self._kinds.BatchFeature({**words, **seen})


_IDEFICS: Final = _CriticClass(_idefics, "model.connector")
_CRITICS: Final[Mapping[str, _CriticClass]] = {
    "Idefics3ForConditionalGeneration": _IDEFICS,
    "SmolVLMForConditionalGeneration": _IDEFICS,
    "Qwen2_5_VLForConditionalGeneration": _CriticClass(_QwenProcessor, "model.visual", square=True),
    "Qwen3VLForConditionalGeneration": _CriticClass(
        _QwenProcessor, "model.visual", square=True, normalization="model.language_model.norm"
    ),
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
        self.name = architecture_of(folder, CRITIC_CLASSES).name
        self._class = _CRITICS[self.name]
        self._processor = self._class.processor(pair)
        model: Any = importlib.import_module("transformers").AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
        self._model = model.eval().requires_grad_(False).to(device)
        add_adapters(self._model, critic_of(pair).adapters)

    def answer(self, photo: Image.Image) -> RecordedCritic:
        """Let it answer."""
        said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self._pair.config.prompt}]}]
        text = self._processor.apply_chat_template(said, add_generation_prompt=True)
        if self._class.square:
            side = geometry_of(self._pair).side
            photo = photo.resize((side, side), Image.Resampling(self._processor.image_processor.resample))
        begins = self._processor.tokenizer.bos_token
        inputs = self._processor(
            text=text,
            images=[photo],
            return_tensors="pt",
            add_special_tokens=begins is None or not text.startswith(begins),
        ).to(self._device)
        seen: list[Tensor] = []
        hook = self._model.get_submodule(self._class.connector).register_forward_hook(
            lambda _module, _given, made: seen.append(_tokens(made))
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
        hidden = torch.cat([states[-1][0] for states in made.hidden_states])
        if self._class.normalization is not None:
            with torch.inference_mode():
                hidden = self._model.get_submodule(self._class.normalization)(hidden)
        return RecordedCritic(
            prompt=prompt.int().cpu().numpy(),
            ids=made.sequences[0, len(prompt) :].int().cpu().numpy(),
            tokens=_array(seen[0].reshape(-1, seen[0].shape[-1])),
            hidden=_array(hidden),
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
        if pair.bridge and PROJECTION not in pair.bridge.widths:
            raise BackendError(f"{artist.folder}: references are recorded of bridges that have `{PROJECTION}`.")
        self._pair, self._artist, self._device = pair, artist, device
        self._network, vae = self._loaded(artist.denoiser), self._loaded(artist.folder / "vae")
        add_adapters(self._network, artist.adapters)
        self._control = None if artist.control is None else self._loaded(artist.control)
        self._predict, self._vae = PREDICTIONS[artist.config["_class_name"]], Autoencoder(vae)
        kind = getattr(importlib.import_module("diffusers"), artist.scheduler)
        self._scheduler: Any = kind.from_pretrained(artist.folder / "scheduler", local_files_only=True)
        self._bridge, self._fixed = (
            {} if said is None else load_file(said.file, device=device) for said in (pair.bridge, pair.fixed)
        )
        self.names = {"denoise": type(self._network).__name__, "autoencoder": type(vae).__name__}
        self.names["scheduler"] = artist.scheduler

    def _loaded(self, folder: Path) -> Any:  # noqa: ANN401 - diffusers is untyped
        kind = getattr(importlib.import_module("diffusers"), str(read_config(folder)["_class_name"]))
        model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, torch_dtype=torch.float32)
        return model.eval().requires_grad_(False).to(self._device)

    def edit(self, photo: Image.Image, hidden: FloatArray | None) -> RecordedArtist:
        """Let it edit a photo as it understands the critic's hidden states; by fixed conditions alone without one."""
        with torch.inference_mode():
            states = None if hidden is None else torch.from_numpy(hidden).to(self._device)
            pooled = None
            if self._artist.network.pooled:
                mean = None if states is None else states.mean(0, keepdim=True)
                pooled = self._fixed[POOLED][None].float() if POOLED in self._fixed else self._mapped(mean, SUMMARY)
            text = self._fixed[PROMPT].float() if PROMPT in self._fixed else self._mapped(states, PROJECTION)
            return self._edited(photo, text, pooled)

    def _mapped(self, states: Tensor | None, name: str) -> Tensor:
        """Return hidden states behind a layer of the bridge, as they are where it has none."""
        if states is None:
            raise BackendError(f"{self._artist.folder}: its conditions come of a critic, and the pair has none.")
        if f"{name}.weight" not in self._bridge:
            return states
        return F.linear(states, self._bridge[f"{name}.weight"].float(), _floats(self._bridge.get(f"{name}.bias")))

    def _edited(self, photo: Image.Image, text: Tensor, pooled: Tensor | None) -> RecordedArtist:
        artist, vae, side = self._artist, self._vae, self._artist.side
        pictures = importlib.import_module("diffusers.image_processor").VaeImageProcessor(
            vae_scale_factor=artist.factor
        )
        image = pictures.preprocess(photo, side, side).to(self._device)
        encoded = vae.encode(image)
        scaled = vae.scaled(encoded)
        shown = encoded if artist.shows_unscaled else scaled
        told = Told(
            side=side,
            text=text[None],
            pooled=pooled,
            beside=self._beside(image, shown),
            shown=shown if artist.shows_photo else None,
            photo=image / 2 + 0.5,
            control=self._control,
        )
        noise = Noise(self._pair.config.seed)
        times, latents = self._started(scaled, noise)
        kept, predictions = [latents], []
        with _drawing_from(noise, self._scheduler, self._device):
            for time in times:
                given = self._scheduler.scale_model_input(latents, time) if _scales(self._scheduler) else latents
                predictions.append(self._predict(self._network, given, time, told))
                latents = self._scheduler.step(predictions[-1], time, latents).prev_sample
                kept.append(latents)
        picture = pictures.postprocess(vae.decode(latents), output_type="np")[0]
        return RecordedArtist(
            text=_array(text),
            encoded=_array(encoded[0]),
            latents=_array(torch.cat(kept)),
            predictions=_array(torch.cat(predictions)),
            picture=np.ascontiguousarray(picture, np.float32),
        )

    def _beside(self, image: Tensor, shown: Tensor) -> tuple[Tensor, ...]:
        """Return the channels behind the noisy latents."""
        artist, layout = self._artist, self._artist.network.layout
        if layout is Layout.CHANNELS:
            return (shown,)
        if layout is not Layout.INPAINT:
            return ()
        masked = shown if artist.shows_photo else self._vae.scaled(self._vae.encode(torch.zeros_like(image)))
        return torch.full_like(shown[:, :1], artist.mask), masked

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
        if not self._artist.begins_at_photo:
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
        self._critic = None if pair.critic is None else LibraryCritic(pair, device)
        self._artist = None if pair.artist is None else LibraryArtist(pair, pair.artist, device)

    def record(self, photo: Image.Image) -> RecordedPhoto:
        """Return what the pair makes of an sRGB photo."""
        answer = None if self._critic is None else self._critic.answer(photo)
        made = None if self._artist is None else self._artist.edit(photo, None if answer is None else answer.hidden)
        return RecordedPhoto(np.asarray(photo, np.uint8), answer, made)

    def manifest(self, photos: Sequence[tuple[str, RecordedPhoto]], tools: tuple[str, ...]) -> RecordManifest:
        """Return the manifest of a record of photos, by name; ``tools`` are distributions whose versions it tells."""
        named = tuple(
            RecordedName(
                name=name,
                shapes=Shapes(
                    photo=(one.photo.shape[0], one.photo.shape[1]),
                    prompt=0 if one.critic is None else len(one.critic.prompt),
                    answer=0 if one.critic is None else len(one.critic.ids),
                ),
            )
            for name, one in photos
        )
        first = photos[0][1]
        return RecordManifest(
            pair=self._pair.folder.resolve().name,
            sha256=content_hash(self._pair.files),
            classes={
                **({"critic": self._critic.name} if self._critic else {}),
                **(self._artist.names if self._artist else {}),
            },
            tools=tool_versions(tools),
            device=torch.cuda.get_device_name() if self._device == "cuda" else "cpu",
            width=0 if first.critic is None else first.critic.hidden.shape[1],
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


def _tokens(made: Any) -> Tensor:  # noqa: ANN401 - likewise
    """Return a picture's tokens; those of Qwen3-VL go on with what its deeper layers add to the language model's."""
    return torch.cat([made[0], *made[1]], -1) if isinstance(made, tuple) else made


def _floats(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()


def _array(tensor: Tensor) -> FloatArray:
    return np.ascontiguousarray(tensor.float().cpu().numpy())
