"""Networks that are not ours, at small random configurations: how near quantization leaves them to themselves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from pocketcrafter.benchmarks.common.markdown import markdown, plain
from pocketcrafter.benchmarks.common.names import Architecture
from pocketcrafter.quantize.algorithms.hessians import HessianCollector
from pocketcrafter.quantize.api import quantize
from pocketcrafter.quantize.calibration import Calibration
from pocketcrafter.quantize.config import Gptq, Nearest, WeightOnly
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.fidelity import cosine, sqnr_db
from pocketcrafter.runtime.progress import Progress

_CALIBRATION: Final = 8
_MEASURED: Final = 4


_SCHEMES: Final[Mapping[str, WeightOnly]] = {
    "W8": WeightOnly(bits=8, rounding=Nearest()),
    "W4": WeightOnly(bits=4, rounding=Nearest()),
    "W4 GPTQ": WeightOnly(bits=4, rounding=Gptq()),
}


class OutsideRow(Config):
    """One architecture by one scheme."""

    model: str
    parameters: int
    scheme: str
    sqnr_db: float
    cosine: float = Field(ge=-1, le=1)


class _Called(nn.Module):
    """A model as a function of tensors to a tensor."""

    def __init__(self, model: nn.Module, call: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.call(self.model, *inputs)


Sampler = Callable[[torch.Generator], tuple[Tensor, ...]]


def _unet() -> tuple[nn.Module, Sampler]:
    from diffusers import UNet2DConditionModel  # noqa: PLC0415 - seconds to import

    model: Any = UNet2DConditionModel(  # type: ignore[no-untyped-call] # as the whole of diffusers
        sample_size=16, block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=64, norm_num_groups=8,
        attention_head_dim=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    called = _Called(model, lambda m, x, text: m(x, 1, text, return_dict=False)[0])
    return called, lambda g: (torch.randn(1, 4, 16, 16, generator=g), torch.randn(1, 8, 64, generator=g))


def _autoencoder() -> tuple[nn.Module, Sampler]:
    from diffusers import AutoencoderTiny  # noqa: PLC0415 - likewise

    widths = (16, 16, 16, 16)
    model: Any = AutoencoderTiny(  # type: ignore[no-untyped-call] # likewise
        encoder_block_out_channels=widths, decoder_block_out_channels=widths
    )
    called = _Called(model, lambda m, x: m.decode(m.encode(x, return_dict=False)[0], return_dict=False)[0])
    return called, lambda g: (torch.rand(1, 3, 64, 64, generator=g),)


def _vlm(part: Callable[..., Tensor], sampler: Sampler) -> tuple[nn.Module, Sampler]:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration  # noqa: PLC0415 - likewise

    config = SmolVLMConfig(  # type: ignore[no-untyped-call] # as the whole of transformers
        vision_config={
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": 64, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh",
        },
        text_config={
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256, "pad_token_id": 0,
        },
        scale_factor=2, image_token_id=255, pad_token_id=0,
    )  # fmt: skip
    model: Any = SmolVLMForConditionalGeneration(config)  # type: ignore[no-untyped-call] # likewise
    return _Called(model, part), sampler


def _vision(model: Any, pixels: Tensor) -> Tensor:  # noqa: ANN401 - transformers' own
    seen: Tensor = model.model.vision_model(pixel_values=pixels).last_hidden_state
    return seen


def _text(model: Any, embedded: Tensor) -> Tensor:  # noqa: ANN401 - likewise
    logits: Tensor = model.lm_head(model.model.text_model(inputs_embeds=embedded, use_cache=False).last_hidden_state)
    return logits


OUTSIDE: Final[Mapping[Architecture, Callable[[], tuple[nn.Module, Sampler]]]] = {
    Architecture.UNET: _unet,
    Architecture.AUTOENCODER: _autoencoder,
    Architecture.VISION: lambda: _vlm(_vision, lambda g: (torch.rand(1, 3, 64, 64, generator=g),)),
    Architecture.TEXT: lambda: _vlm(_text, lambda g: (torch.randn(1, 12, 64, generator=g),)),
}
"""Architectures by name: a network with random weights, and what draws its inputs."""


def measure_outside(progress: Progress, names: Sequence[Architecture]) -> list[OutsideRow]:
    """Quantize each architecture by each scheme that it has layers for."""
    rows: list[OutsideRow] = []
    for done, name in enumerate(names):
        progress(done, len(names))
        torch.manual_seed(0)
        model, sampler = OUTSIDE[name]()
        model = model.eval().requires_grad_(requires_grad=False)
        generator = torch.Generator().manual_seed(1)
        drawn = [sampler(generator) for _ in range(_CALIBRATION + _MEASURED)]
        calibration, held = drawn[:_CALIBRATION], drawn[_CALIBRATION:]
        with torch.no_grad():
            right = torch.stack([model(*inputs) for inputs in held]).numpy()
            for scheme, quantized in _schemes(model, calibration).items():
                said = torch.stack([quantized(*inputs) for inputs in held]).numpy()
                rows.append(
                    OutsideRow(
                        model=name,
                        parameters=sum(p.numel() for p in model.parameters()),
                        scheme=scheme,
                        sqnr_db=sqnr_db(right, said),
                        cosine=cosine(right, said),
                    )
                )
    progress(len(names), len(names))
    return rows


def outside_table(rows: list[OutsideRow]) -> str:
    """Return the rows as a Markdown table."""
    cells = [(r.model, f"{r.parameters / 1e3:.0f} k", r.scheme, plain(r.sqnr_db, 1), f"{r.cosine:.5f}") for r in rows]
    return markdown(("random weights", "parameters", "scheme", "SQNR dB", "cosine"), cells)


def _schemes(model: nn.Module, calibration: list[tuple[Tensor, ...]]) -> dict[str, Callable[..., Tensor]]:
    board = FakeQuantSwitches(model, calibration)
    found: dict[str, Callable[..., Tensor]] = {"INT8 static": lambda *inputs: board.run(inputs)[0]}
    collector = HessianCollector()
    with collector.attached(model):
        for inputs in calibration:
            model(*inputs)
    if not any(isinstance(m, nn.Linear) and m.in_features % 32 == 0 for m in model.modules()):
        return found
    calibrated = Calibration(hessians=collector.hessians())
    for name, scheme in _SCHEMES.items():
        found[name] = quantize(model, scheme, calibrated)
    return found
