"""Runs DiffSynth-Studio's own Qwen-Image pipeline, as SmartPhotoCrafter's release does, on a twin's weights.

A process of its own: it stands in for torchvision, modelscope, peft and accelerate, which diffsynth imports and this
run never calls.
Arguments: the teacher's folder; an npz with the photo, the critic's hidden states and the settings; the npz written.
"""

import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

# Before anything stands in for torchvision: transformers looks for it when these are imported.
from transformers import DINOv3ViTModel, Qwen2_5_VLForConditionalGeneration, Siglip2ImageProcessor  # noqa: F401
from transformers.models.siglip.modeling_siglip import SiglipVisionTransformer  # noqa: F401

sys.path.append(str(Path(sys.prefix) / "reference"))


def _stand_in(name: str) -> None:
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    module.__getattr__ = lambda wanted: types.SimpleNamespace(__name__=wanted)  # type: ignore[method-assign]
    sys.modules[name] = module


for absent in (
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "modelscope",
    "peft",
    "accelerate",
):
    if absent not in sys.modules:
        _stand_in(absent)

from diffsynth.core.data.operators import ImageCropAndResize  # noqa: E402
from diffsynth.diffusion.base_pipeline import PipelineUnit  # noqa: E402
from diffsynth.models import qwen_image_dit as dit_module  # noqa: E402
from diffsynth.models.qwen_image_vae import QwenImageVAE  # noqa: E402
from diffsynth.pipelines.qwen_image import QwenImagePipeline, QwenImageUnit_EditImageEmbedder  # noqa: E402

SCALE = 64 / 32
"""Alpha over rank of the adapter that the release builds."""


class _Dit(dit_module.QwenImageDiT):  # type: ignore[misc]
    """The same modules, narrower: diffsynth's own has its widths written into it."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        torch.nn.Module.__init__(self)
        inner, taken = tensors["img_in.weight"].shape
        joint, head = tensors["txt_in.weight"].shape[1], tensors["transformer_blocks.0.attn.norm_q.weight"].shape[0]
        count = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("transformer_blocks."))
        self.pos_embed = dit_module.QwenEmbedRope(theta=10000, axes_dim=[16, 56, 56], scale_rope=True)
        self.time_text_embed = dit_module.TimestepEmbeddings(
            256, inner, diffusers_compatible_format=True, scale=1000, align_dtype_to_timestep=False
        )
        self.txt_norm = dit_module.RMSNorm(joint, eps=1e-6)
        self.img_in, self.txt_in = torch.nn.Linear(taken, inner), torch.nn.Linear(joint, inner)
        self.transformer_blocks = torch.nn.ModuleList(
            dit_module.QwenImageTransformerBlock(dim=inner, num_attention_heads=inner // head, attention_head_dim=head)
            for _ in range(count)
        )
        self.norm_out = dit_module.AdaLayerNorm(inner, single=True)
        self.proj_out = torch.nn.Linear(inner, taken)
        self.load_state_dict(tensors)


class _Conditions(PipelineUnit):  # type: ignore[misc]
    """In place of the text encoder: the critic's hidden states, as they are."""

    def __init__(self, hidden: Any) -> None:
        super().__init__(seperate_cfg=True, input_params_posi={}, input_params_nega={}, output_params=("prompt_emb",))
        self._hidden = hidden

    def process(self, _pipe: Any, **_given: Any) -> dict[str, Any]:
        return {"prompt_emb": self._hidden, "prompt_emb_mask": torch.ones(self._hidden.shape[:2], dtype=torch.long)}


def main(folder: Path, given: Any) -> dict[str, Any]:
    pipe = QwenImagePipeline(device="cpu", torch_dtype=torch.float32)
    pipe.dit = _Dit(load_file(folder / "dit.safetensors")).eval()
    pipe.vae = QwenImageVAE(base_dim=8, num_res_blocks=1).eval()
    pipe.vae.load_state_dict(load_file(folder / "vae/diffusion_pytorch_model.safetensors"))
    lora = load_file(folder / "dit_lora/adapter_model.safetensors")
    lora = {name.removeprefix("base_model.model."): value for name, value in lora.items()}
    pipe.load_lora(pipe.dit, state_dict=lora, alpha=SCALE)
    units = [type(unit).__name__ for unit in pipe.units]
    pipe.units[units.index("QwenImageUnit_PromptEmbedder")] = _Conditions(torch.from_numpy(given["hidden"])[None])
    kept: list[Any] = []
    own = pipe.step

    def step(scheduler: Any, latents: Any, **more: Any) -> Any:
        kept.append(latents)
        return own(scheduler, latents=latents, **more)

    pipe.step = step
    decode = pipe.vae.decode

    def decoded(latents: Any, **more: Any) -> Any:
        kept.append(latents)
        return decode(latents, **more)

    pipe.vae.decode = decoded
    width, height = map(int, given["size"])
    shown = Image.fromarray(given["shown"])
    picture = pipe(
        prompt="", cfg_scale=1.0, height=height, width=width, seed=int(given["seed"]), edit_image=shown,
        edit_image_auto_resize=False, num_inference_steps=int(given["steps"]), progress_bar_cmd=lambda steps: steps,
    )  # fmt: skip
    photo = Image.fromarray(given["photo"])
    first = ImageCropAndResize(max_pixels=1024 * 1024, height_division_factor=16, width_division_factor=16)
    second = QwenImageUnit_EditImageEmbedder().edit_image_auto_resize(Image.fromarray(given["first"]))
    return {
        "latents": torch.cat(kept).numpy(),
        "times": pipe.scheduler.timesteps.numpy(),
        "picture": np.asarray(picture),
        "first_size": np.array(first.get_height_width(photo)),
        "second": np.asarray(second),
    }


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), dict(np.load(sys.argv[2])))
    np.savez(sys.argv[3], **found)
