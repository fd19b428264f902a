"""AesFormer: Qwen3-VL plans in words of its own, and Qwen-Image-Edit-2511 with a LoRA carries the plan out."""

from collections.abc import Sequence
from math import sqrt
from typing import Any, ClassVar, Final

import torch
from PIL import Image

from pocketcrafter.export.families.networks.checkpoint import CheckpointError
from pocketcrafter.export.teachers.critic import VisionLanguageCritic
from pocketcrafter.export.teachers.generic import PipelineTeacher
from pocketcrafter.export.teachers.layout import Layout
from pocketcrafter.export.teachers.systems import PROMPT_FILE, Sampling
from pocketcrafter.export.teachers.teacher import Critique, Wish

_NO_WISH: Final = " "
"""The negative prompt; an empty one would be another."""
_MULTIPLE: Final = 32


class AesFormer(PipelineTeacher):
    """The release's planner and editor; the parameters are those of :class:`Teacher`."""

    root: ClassVar[str] = "Qwen-Image-Edit-2511"

    def __init__(
        self, layout: Layout, device: str, dtype: torch.dtype | None = None, sampling: Sampling | None = None
    ) -> None:
        editor = layout.network("transformer")
        if not editor.config.get("zero_cond_t"):
            raise CheckpointError(
                f"{editor.path}: zero_cond_t is not set: this is Qwen-Image-Edit of before 2511, for which the LoRA "
                "was not trained. Download Qwen-Image-Edit-2511."
            )
        super().__init__(layout, device, dtype, sampling)
        # Its plan is marked by words that were added to the tokenizer as special ones.
        self._planner = VisionLanguageCritic(layout.network("planner"), self.dtype, device, special=True)
        self._prompt = (layout.folder / PROMPT_FILE).read_text(encoding="utf-8")

    def critiques(self, photos: Sequence[Image.Image]) -> list[Critique]:
        """See :meth:`Teacher.critiques`; the text is the plan, its marks kept."""
        return self._planner.answers([photo.convert("RGB") for photo in photos], self._prompt, self.sampling.answer)

    def arguments(self, photo: Image.Image, wish: Wish) -> dict[str, Any]:
        """See :meth:`PipelineTeacher.arguments`; without a wish, the planner is asked."""
        if wish.instruction is None and wish.critique is None:
            wish = Wish(critique=self.critique(photo), seed=wish.seed)
        wide = sqrt(self.sampling.side**2 * photo.width / photo.height)
        width, height = (round(s / _MULTIPLE) * _MULTIPLE for s in (wide, wide * photo.height / photo.width))
        return {
            **super().arguments(photo, wish),
            "image": [photo],
            "negative_prompt": _NO_WISH,
            "true_cfg_scale": self.sampling.guidance,
            "width": width,
            "height": height,
        }
