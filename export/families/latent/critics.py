"""Classes that critics are made of, and how a photo is put to each; nothing of torch is imported.

A further class is a row here, and one of `pocketcrafter.export.families.latent.parts.CRITIC_PARTS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pocketcrafter.export.families.latent.config import PairConfig
from pocketcrafter.export.families.networks.architecture import Architecture
from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.runtime.components import Role
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.latent.settings import PictureSettings, Resampling

_FILTERS: Final = {
    0: Resampling.NEAREST, 1: Resampling.LANCZOS, 2: Resampling.BILINEAR, 3: Resampling.BICUBIC,
}  # fmt: skip
"""Pillow's numbers of filters, which processors write into their configuration."""
_SIDE: Final = 448
"""Pixels of the picture that a critic of any size sees, where pair.yaml says none."""
_CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_CLIP_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Geometry:
    """The square picture that a critic sees.

    Attributes
    ----------
    side
        In pixels.
    rows
        Tokens along its side, after neighbours were merged.
    """

    side: int
    rows: int


@dataclass(frozen=True)
class CriticKind:
    """A class of vision-language models.

    Attributes
    ----------
    word
        What stands in a prompt for a token of the picture.
    before, after
        What its processor puts around the tokens of a whole picture, beside what the chat template has.
    cuts
        Whether its processor may cut a photo into several pictures.
    in_rows
        Whether the positions of a picture's tokens are rows and columns (M-RoPE), not one after the other.
    geometry
        Tells of transformers' configuration of the model, and of ``pair.yaml``, how large the picture is.
    picture
        Tells of the preprocessor's file, what it says, and the picture's side, how a photo is prepared.
    """

    word: str
    before: str
    after: str
    cuts: bool
    in_rows: bool
    geometry: Callable[[Path, Any, PairConfig], Geometry]
    picture: Callable[[Path, Mapping[str, Any], int], PictureSettings]


def _idefics_geometry(_folder: Path, said: Any, _config: PairConfig) -> Geometry:  # noqa: ANN401 - untyped
    side = said.vision_config.image_size
    return Geometry(side, side // said.vision_config.patch_size // said.scale_factor)


def _qwen_geometry(folder: Path, said: Any, config: PairConfig) -> Geometry:  # noqa: ANN401 - untyped
    vision, side = said.vision_config, config.critic_side or _SIDE
    if side % vision.window_size:
        raise CheckpointError(
            f"{folder.parent / 'pair.yaml'}: critic_side is {side}; it must be a multiple of the vision "
            f"encoder's windows, {vision.window_size} px."
        )
    return Geometry(side, side // vision.patch_size // vision.spatial_merge_size)


def _qwen3_geometry(folder: Path, said: Any, config: PairConfig) -> Geometry:  # noqa: ANN401 - untyped
    vision, side = said.vision_config, config.critic_side or _SIDE
    token = vision.patch_size * vision.spatial_merge_size
    if side % token:
        raise CheckpointError(
            f"{folder.parent / 'pair.yaml'}: critic_side is {side}; it must be a multiple of what a token "
            f"covers, {token} px."
        )
    return Geometry(side, side // token)


def _idefics_picture(path: Path, said: Mapping[str, Any], side: int) -> PictureSettings:
    square = said.get("max_image_size", {}).get("longest_edge", side)
    size = said.get("size", {"longest_edge": 4 * side})
    _refuse(path, said, side, {"max_image_size": square != side, "size": set(size) != {"longest_edge"}})
    half = (0.5, 0.5, 0.5)
    return PictureSettings(
        longest_edge=size["longest_edge"] if said.get("do_resize", True) else None,
        side=side,
        resampling=_FILTERS[said.get("resample", 1)],
        mean=tuple(said.get("image_mean", half)),
        deviation=tuple(said.get("image_std", half)),
    )


def _qwen_picture(path: Path, said: Mapping[str, Any], side: int) -> PictureSettings:
    size = said.get("size") or {}
    least = said.get("min_pixels") or size.get("shortest_edge") or 0
    most = said.get("max_pixels") or size.get("longest_edge") or side**2
    limits = "size" if size else "max_pixels"
    _refuse(path, said, side, {limits: not least <= side**2 <= most, "do_resize": not said.get("do_resize", True)})
    return PictureSettings(
        longest_edge=None,
        side=side,
        resampling=_FILTERS[said.get("resample", 3)],
        mean=tuple(said.get("image_mean", _CLIP_MEAN)),
        deviation=tuple(said.get("image_std", _CLIP_DEVIATION)),
    )


def _refuse(path: Path, said: Mapping[str, Any], side: int, own: Mapping[str, bool]) -> None:
    strange = {
        **own,
        "resample": said.get("resample", 1) not in _FILTERS,
        "rescale_factor": abs(said.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6,
        **{name: not said.get(name, True) for name in ("do_convert_rgb", "do_rescale", "do_normalize")},
    }
    if wrong := [name for name, is_wrong in strange.items() if is_wrong]:
        told = ", ".join(f"{name}: {said.get(name)}" for name in wrong)
        raise CheckpointError(
            f"{path}: {told}; the vision encoder reads squares of {side} px, rescaled and normalized."
        )


_IDEFICS: Final = CriticKind(
    word="<image>",
    before="<fake_token_around_image><global-img>",
    after="<fake_token_around_image>",
    cuts=True,
    in_rows=False,
    geometry=_idefics_geometry,
    picture=_idefics_picture,
)
_QWEN: Final = CriticKind(
    word="<|image_pad|>",
    before="",
    after="",
    cuts=False,
    in_rows=True,
    geometry=_qwen_geometry,
    picture=_qwen_picture,
)

CRITICS: Final[Mapping[str, CriticKind]] = {
    "Idefics3ForConditionalGeneration": _IDEFICS,
    "SmolVLMForConditionalGeneration": _IDEFICS,
    "Qwen2_5_VLForConditionalGeneration": _QWEN,
    "Qwen3VLForConditionalGeneration": replace(_QWEN, geometry=_qwen3_geometry),
}
"""By the class that a configuration names."""

CRITIC_CLASSES: Final[Mapping[str, Architecture]] = {
    name: Architecture(name, "model", {"vision": Role.VISION, "language": Role.LANGUAGE}, {"language": (PREFILL,)})
    for name in CRITICS
}
"""All classes of transformers that a critic's folder may hold."""
