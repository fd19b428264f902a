"""The teachers that are known: where a release keeps its networks, how it samples, and what its licence says.

A further system is a row here, and an adapter beside this module. Nothing of torch is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class SystemName(StrEnum):
    """Systems that have a row."""

    SMART_PHOTO_CRAFTER = "smart-photo-crafter"
    AESFORMER = "aesformer"
    PERTOUCH = "pertouch"
    DREAMLITE = "dreamlite"
    VERA_RETOUCH = "vera-retouch"
    PAIR = "pair"
    GENERIC = "generic"


class Part(StrEnum):
    """What a network does in a teacher."""

    CRITIC = "critic"
    ARTIST = "artist"
    AUTOENCODER = "autoencoder"
    CONTROL = "control"
    TEXT = "text"
    HEAD = "head"
    """Replaces a layer of another network."""


@dataclass(frozen=True)
class Place:
    """Where a release keeps one network.

    Attributes
    ----------
    name
        What reports call it.
    part
        What it does.
    paths
        A folder, or a safetensors file without configuration, below the teacher's folder; the first that exists counts.
    classes
        Classes that its configuration may name; for a file alone, the one that it is of.
    adapter
        Folder of the LoRA that the release loads into it.
    scale
        The adapter's factor in the release where its code fixes one, whatever ``adapter_config.json`` says.
    words
        Words that the release added to the tokenizer.
    """

    name: str
    part: Part
    paths: tuple[str, ...]
    classes: tuple[str, ...]
    adapter: str | None = None
    scale: float | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How a release runs, as far as time and memory depend on it.

    Attributes
    ----------
    steps
        Of the artist.
    passes
        Runs of its network a step: two with classifier-free guidance.
    side
        The picture has as many pixels as a square of this side.
    answer
        Most words of the critic's answer.
    value_bytes
        Bytes of a number in memory.
    guidance
        Factor of classifier-free guidance; 1 without any.
    seed
        Of the noise.
    """

    steps: int
    passes: int
    side: int
    answer: int
    value_bytes: int = 2
    guidance: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class System:
    """One teacher.

    Attributes
    ----------
    title
        As its authors write it.
    license
        SPDX identifier of the release; `None` where it differs from checkpoint to checkpoint.
    marks
        Files and folders of which any one tells the system.
    pipelines
        Classes of pipelines, in ``model_index.json``, that tell it.
    places
        Its networks; those of a pipeline come from its ``model_index.json``, a pair's from its folder.
    sampling
        How the release runs; a pair's ``pair.yaml`` says so itself.
    adapter
        ``module:class`` of its :class:`~pocketcrafter.export.teachers.teacher.Teacher`; `None` where it can be
        inspected alone.
    not_run
        Why there is no adapter.
    note
        What its networks compute beside their configurations; it has to be said wherever they go without the adapter.
    prompt
        Whether it reads a fixed prompt that only its release has: `PROMPT_FILE` must hold it.
    """

    title: str
    license: str | None
    sampling: Sampling
    adapter: str | None
    marks: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    not_run: str = ""
    note: str = ""
    prompt: bool = False


PROMPT_FILE: Final = "prompt.txt"
"""The fixed prompt of a release's code, UTF-8; it is not ours to ship."""

PAIR_MARKS: Final = ("critic", "artist", "pair.yaml")
"""As `pocketcrafter.export.families.latent.pair` has them."""

_HERE: Final = "pocketcrafter.export.teachers"
_AES_GROUPS: Final = ("Ratio", "Composition", "Camera", "Position", "Pose", "Focus", "Color")
_SD: Final = ("stable-diffusion-2-1-base", "stable-diffusion-2-1")

SYSTEMS: Final[Mapping[SystemName, System]] = {
    SystemName.SMART_PHOTO_CRAFTER: System(
        title="SmartPhotoCrafter",
        license="CC-BY-NC-SA-4.0",
        sampling=Sampling(steps=20, passes=1, side=1024, answer=1280),
        adapter=f"{_HERE}.smart_photo_crafter:SmartPhotoCrafter",
        marks=("dit.safetensors", "dit_lora", "vlm_lora"),
        places=(
            Place("vlm", Part.CRITIC, ("vlm",), ("Qwen2_5_VLForConditionalGeneration",), adapter="vlm_lora"),
            # The release builds its own adapter (rank 32, alpha 64) and loads the weights alone into it.
            Place(
                "dit",
                Part.ARTIST,
                ("dit.safetensors",),
                ("QwenImageTransformer2DModel",),
                adapter="dit_lora",
                scale=2.0,
            ),
            Place(
                "vae",
                Part.AUTOENCODER,
                ("vae", "Qwen-Image-Edit-2509/vae", "../Qwen-Image-Edit-2509/vae"),
                ("AutoencoderKLQwenImage",),
            ),
        ),
        note="its transformer was trained with the GELU x·σ(1.702 x), and diffusers' class computes the tanh form",
        prompt=True,
    ),
    SystemName.AESFORMER: System(
        title="AesFormer",
        license=None,
        sampling=Sampling(steps=40, passes=2, side=1024, answer=500, guidance=4.0, seed=1234),
        adapter=f"{_HERE}.aesformer:AesFormer",
        marks=("planner", "Qwen-Image-Edit-2511"),
        places=(
            Place(
                "planner",
                Part.CRITIC,
                ("planner",),
                ("Qwen3VLForConditionalGeneration",),
                words=tuple(f"<{slash}{group}>" for group in _AES_GROUPS for slash in ("", "/")),
            ),
            Place(
                "transformer",
                Part.ARTIST,
                ("Qwen-Image-Edit-2511/transformer",),
                ("QwenImageTransformer2DModel",),
                adapter="lora",
            ),
            Place(
                "text_encoder",
                Part.TEXT,
                ("Qwen-Image-Edit-2511/text_encoder",),
                ("Qwen2_5_VLForConditionalGeneration",),
            ),
            Place("vae", Part.AUTOENCODER, ("Qwen-Image-Edit-2511/vae",), ("AutoencoderKLQwenImage",)),
        ),
        prompt=True,
    ),
    SystemName.PERTOUCH: System(
        title="PerTouch",
        license=None,
        sampling=Sampling(steps=50, passes=1, side=512, answer=0, value_bytes=4, guidance=0.0, seed=42),
        adapter=f"{_HERE}.pertouch:PerTouch",
        marks=("model/ckpt/controlnet", "model/ckpt/unet_conv_out.pth", "model/ckpt/unet_conv_out.safetensors"),
        places=(
            Place("unet", Part.ARTIST, tuple(f"{base}/unet" for base in _SD), ("UNet2DConditionModel",)),
            Place("conv_out", Part.HEAD, ("model/ckpt/unet_conv_out.safetensors",), ("Conv2d",)),
            Place("controlnet", Part.CONTROL, ("model/ckpt/controlnet",), ("ControlNetModel",)),
            Place("text_encoder", Part.TEXT, tuple(f"{base}/text_encoder" for base in _SD), ("CLIPTextModel",)),
            Place("vae", Part.AUTOENCODER, tuple(f"{base}/vae" for base in _SD), ("AutoencoderKL",)),
        ),
    ),
    SystemName.DREAMLITE: System(
        title="DreamLite",
        license=None,
        sampling=Sampling(steps=4, passes=1, side=1024, answer=0),
        adapter=f"{_HERE}.generic:PipelineTeacher",
        pipelines=("DreamLiteMobilePipeline", "DreamLitePipeline"),
    ),
    SystemName.VERA_RETOUCH: System(
        title="VeraRetouch",
        license=None,
        sampling=Sampling(steps=0, passes=0, side=1024, answer=512),
        adapter=None,
        not_run="no release of transformers has its class, LlavaQwen2ForCausalLM",
        marks=("configs/infer_config.yaml",),
        places=(Place("critic", Part.CRITIC, (".",), ("LlavaQwen2ForCausalLM",)),),
    ),
    SystemName.PAIR: System(
        title="a latent pair",
        license=None,
        # `pair.yaml` says the rest.
        sampling=Sampling(steps=4, passes=1, side=512, answer=0, value_bytes=4),
        adapter=f"{_HERE}.pair:LatentPairTeacher",
        marks=PAIR_MARKS,
    ),
    SystemName.GENERIC: System(
        title="a pipeline of diffusers, or an image-text-to-text model of transformers",
        license=None,
        sampling=Sampling(steps=50, passes=2, side=1024, answer=512),
        adapter=f"{_HERE}.generic:generic_teacher",
        marks=("model_index.json", "config.json"),
    ),
}
"""By name, in the order in which a folder is held against their marks."""

RELEASED: Final[Mapping[str, str]] = {
    "0319a1cb19835fb510907dd3367c95ff": "Qwen-Image's transformer (20.4 B parameters)",
    "ed4ea5824d55ec3107b09815e318123a": "Qwen-Image's autoencoder (126.9 M parameters)",
    "8004730443f55db63092006dd9f7110e": "Qwen2.5-VL 7B",
}
"""Fingerprints of published layouts; `fingerprint` of `pocketcrafter.export.teachers.tensors` makes them."""
