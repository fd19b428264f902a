"""Networks that are trained through their rounding bear it better, and come back as networks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from pocketcrafter.export.distill.qat import decoder_task, network_task, weight_scheme
from pocketcrafter.export.models import decoder_network, weights_facts
from pocketcrafter.export.models.critic import Judgement
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.export.models.llama import as_llama
from pocketcrafter.export.models.restore import Restore, RestoreConfig
from pocketcrafter.export.names import CRITIC_SHA256, TOKENIZER
from pocketcrafter.export.shipped import WEIGHTS
from pocketcrafter.export.train.evidence import EvidenceStore
from pocketcrafter.export.train.fit import FitSettings, fit
from pocketcrafter.export.train.prose.facts import measure_facts
from pocketcrafter.export.train.prose.sampling import Judged
from pocketcrafter.quantize.algorithms.blocks import IntegerFormat, round_to_nearest
from pocketcrafter.quantize.algorithms.rounding import round_linears
from pocketcrafter.quantize.config import WeightOnly
from pocketcrafter.quantize.torch.qat import round_while_training, settled
from pocketcrafter.runtime.errors import ConfigError

_MIXED = WeightOnly(bits=2, module_bits={"word": 4, "blocks.1.down": 8})


def test_a_network_learns_to_bear_int8(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Restore(RestoreConfig(widths=(8, 16), blocks=(1, 1))).eval().requires_grad_(requires_grad=False)
    nn.init.normal_(network.tail.weight, std=0.05)
    with torch.no_grad():
        # One channel that reaches far beyond the others leaves those few of 256 levels: something to learn.
        network.head.weight[0] *= 16
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def batch(step: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(step)
        return torch.rand(2, 3, 32, 32, generator=generator), torch.rand(2, 3, generator=generator)

    settings = FitSettings(steps=200, batch=2, learning_rate=1e-3, warmup=5, ema=0.8)
    task, convert = network_task(network, batch)
    first = np.mean([float(task.loss(1000 + i)[0].detach()) for i in range(5)])
    trained = fit(task, settings, tmp_path)
    assert np.mean([float(task.loss(1000 + i)[0].detach()) for i in range(5)]) < 0.95 * first
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()), "the teacher moved"
    made = convert(trained)
    assert isinstance(made, Restore)
    assert not torch.equal(made.head.weight, before["head.weight"])


def test_a_decoder_learns_to_bear_two_bits(store: EvidenceStore, judged: Judgement, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(WEIGHTS / TOKENIZER))
    teacher = as_llama(decoder_network(WEIGHTS / "decoder.safetensors"))
    frames = Judged.of(judged, store.plans, measure_facts(np.array(store.views)))
    settings = FitSettings(steps=20, batch=2, learning_rate=3e-4, warmup=2, ema=0.8)
    task, convert = decoder_task(teacher, frames, tokenizer, settings, _MIXED)
    first = np.mean([task.loss(1000 + i)[1]["divergence"] for i in range(3)])
    trained = fit(task, settings, tmp_path)
    assert np.mean([task.loss(1000 + i)[1]["divergence"] for i in range(3)]) < 0.9 * first
    made = convert(trained)
    assert isinstance(made, Decoder)
    ours, theirs = made.logits.weight, decoder_network(WEIGHTS / "decoder.safetensors").logits.weight
    assert 0 < float((ours - theirs).abs().mean()) < 0.05
    built = round_linears(made, _MIXED, bfloat16_scales=True)
    assert {name: blocks.bits for name, blocks in built.items() if blocks.bits != 2} == _MIXED.module_bits
    for name, blocks in built.items():
        assert torch.equal(blocks.weight(), made.get_submodule(name).weight), f"{name} was rounded a second time"
    assert sum(blocks.size for blocks in built.values()) < 0.35 * sum(b.levels.numel() * 9 / 8 for b in built.values())


def test_rounding_in_training_is_the_rounding_that_is_built() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 5), nn.Embedding(64, 8))
    plain = [m.weight.detach().clone() for m in model]
    assert round_while_training(model, 4, module_bits={"2": 8}) == ["0", "2"]
    model.eval()
    torch.testing.assert_close(
        model[0].weight, round_to_nearest(plain[0], IntegerFormat(4, bfloat16_scales=True)).weight()
    )
    torch.testing.assert_close(
        model[2].weight, round_to_nearest(plain[2].T, IntegerFormat(8, bfloat16_scales=True)).weight().T
    )
    model[0](torch.ones(1, 64)).sum().backward()
    assert (model[0].parametrizations.weight.original.grad == 1).all()
    settled(model)
    torch.testing.assert_close(
        model[0].weight, round_to_nearest(plain[0], IntegerFormat(4, bfloat16_scales=True)).weight()
    )
    assert torch.equal(
        round_to_nearest(model[0].weight, IntegerFormat(4, bfloat16_scales=True)).weight(), model[0].weight
    )


def test_a_recipe_says_what_is_trained(tmp_path: Path) -> None:
    recipe = tmp_path / "few.yaml"
    recipe.write_text(
        "extends: default.yaml\ntargets: [onnx]\ncomponents:\n  decoder:\n    precision: {onnx: w4}\n"
        "    weight_bits: {blocks: 2}\n"
    )
    assert weight_scheme(recipe) == WeightOnly(bits=4, module_bits={"blocks": 2})
    recipe.write_text("extends: default.yaml\ncomponents:\n  decoder:\n    precision: {onnx: fp32}\n")
    with pytest.raises(ConfigError, match="neither w8 nor w4"):
        weight_scheme(recipe)


def test_facts_of_weights_go_on(tmp_path: Path) -> None:
    assert CRITIC_SHA256 in weights_facts(WEIGHTS / "decoder.safetensors")
    with pytest.raises(ConfigError, match="not weights"):
        weights_facts(tmp_path / "none.safetensors")
