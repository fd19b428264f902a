"""Quantization-aware distillation: a network with fake-quantized weights learns its own full-precision outputs.

For the decoder the loss is the divergence of next-word distributions (LLM-QAT: Liu et al., ACL 2024 Findings), for
restoration and tone the difference of outputs. No labels are needed: training only compensates for rounding.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.data.manifest import Split
from pocketcrafter.export.lower.precisions import scheme_of
from pocketcrafter.export.models import decoder_network, load_component, restore_network
from pocketcrafter.export.models.decoder import Decoder
from pocketcrafter.export.models.llama import ProseLlama, as_decoder, as_llama
from pocketcrafter.export.models.renderer import render
from pocketcrafter.export.names import TOKENIZER
from pocketcrafter.export.recipe import load_recipe
from pocketcrafter.export.train.decoder import encode
from pocketcrafter.export.train.estimates import judged_frames
from pocketcrafter.export.train.evidence import to_batch
from pocketcrafter.export.train.fit import FitSettings, Task
from pocketcrafter.export.train.options import TrainOptions, photos_of
from pocketcrafter.export.train.prose.facts import measure_facts
from pocketcrafter.export.train.prose.sampling import Judged, draw_subject
from pocketcrafter.export.train.restore import Patches
from pocketcrafter.quantize.algorithms.rounding import bits_for
from pocketcrafter.quantize.config import DEFAULTS, WeightOnly
from pocketcrafter.quantize.modules import check_modules
from pocketcrafter.quantize.torch.fake_quant_switches import FakeQuantSwitches
from pocketcrafter.quantize.torch.qat import SwitchedStudent, round_while_training, settled
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.pocket import Pocket
from pocketcrafter.runtime.targets import ONNX

Batches = Callable[[int], tuple[Tensor, ...]]
"""From a step to the inputs of its batch, always of one shape."""
Convert = Callable[[nn.Module], nn.Module]
_CALIBRATION_BATCHES: Final = 8
_CALIBRATION_STEP: Final = 1_000_000_000
"""Steps from here on draw the batches that ranges are read from: training never gets so far."""


class QuantizedNetworkTask:
    """A network of one output, fake-quantized, learns to give its full-precision output.

    Parameters
    ----------
    teacher
        In evaluation mode; left as it is.
    student
        The same, rounded.
    batches
        What goes in.
    """

    def __init__(self, teacher: nn.Module, student: SwitchedStudent, batches: Batches) -> None:
        self.teacher, self.model, self.batches = teacher, student, batches

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything alike."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the mean absolute difference, in units of the teacher's spread, and for the log its ratio in dB."""
        inputs = self.batches(step)
        with torch.no_grad():
            right = self.teacher(*inputs)
        said = self.model(*inputs).float()
        spread = right.std().clamp(min=1e-6)
        ratio = 10 * torch.log10(right.square().mean() / (said.detach() - right).square().mean().clamp(min=1e-20))
        return F.l1_loss(said, right) / spread, {"sqnr_db": float(ratio)}


class QuantizedDecoderTask:
    """A decoder with rounded weights learns the next-word distribution of its full-precision weights.

    Parameters
    ----------
    teacher
        In full precision; left as it is.
    student
        The same weights, through their rounding.
    judged, tokenizer, settings
        As in `pocketcrafter.export.train.decoder.DecoderTask`.
    """

    def __init__(
        self, teacher: ProseLlama, student: ProseLlama, judged: Judged, tokenizer: Tokenizer, settings: FitSettings
    ) -> None:
        self.teacher, self.model = teacher.eval().requires_grad_(False), student
        self.judged, self.tokenizer, self.settings = judged, tokenizer, settings

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Train everything but the shares of embeddings, which the lowered decoder has added up."""
        return [(1.0, [p for name, p in self.model.named_parameters() if name != "parts"])]

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, float]]:
        """Return the divergence from the teacher's distribution over next words, and how often both choose alike."""
        rng = np.random.default_rng([self.settings.seed, step])
        rows = rng.integers(len(self.judged), size=self.settings.batch)
        texts = [encode(self.tokenizer, draw_subject(self.judged, int(row), rng)) for row in rows]
        words = torch.zeros((len(texts), max(map(len, texts))), dtype=torch.int64)
        real = torch.zeros_like(words, dtype=torch.bool)
        for index, ids in enumerate(texts):
            words[index, : len(ids)] = torch.tensor(ids)
            real[index, : len(ids)] = True
        tokens = torch.from_numpy(self.judged.tokens[rows])
        with torch.no_grad():
            right = self.teacher(tokens, words)[real].float()
        said = self.model(tokens, words)[real].float()
        loss = F.kl_div(F.log_softmax(said, -1), F.log_softmax(right, -1), log_target=True, reduction="batchmean")
        same = (said.detach().argmax(-1) == right.argmax(-1)).float().mean()
        return loss, {"divergence": float(loss.detach()), "same": float(same)}


def weight_scheme(recipe: Path) -> WeightOnly:
    """Return how a recipe quantizes the decoder's weights on ``onnx``, the target with the most bit widths.

    Raises
    ------
    ConfigError
        If the recipe is not valid, or quantizes something else than the weights there.
    """
    decoder = load_recipe(recipe).components.get(Pocket.DECODER)
    scheme = None
    if decoder is not None and ONNX in decoder.precision:
        precision = decoder.precision[ONNX]
        weight_bits = decoder.bits(precision)
        scheme = scheme_of(ONNX, precision, decoder.quantization.get(ONNX, DEFAULTS), weight_bits)
    if not isinstance(scheme, WeightOnly):
        raise ConfigError(f"{recipe}: the decoder's precision for onnx is neither w8 nor w4.")
    return scheme


def network_task(
    network: nn.Module, batches: Batches, calibration_batches: int = _CALIBRATION_BATCHES
) -> tuple[Task, Convert]:
    """Return the training of a network through INT8, and what turns its result into the network again.

    Parameters
    ----------
    network
        In evaluation mode.
    batches
        What goes in.
    calibration_batches
        How many of them ranges of activations are read from.

    Raises
    ------
    TypeError
        If that is given something else than its training made; by the returned function.
    """
    calibration = [batches(_CALIBRATION_STEP + index) for index in range(calibration_batches)]
    student = SwitchedStudent(FakeQuantSwitches(network, calibration))

    def convert(trained: nn.Module) -> nn.Module:
        if not isinstance(trained, SwitchedStudent):
            raise TypeError(type(trained))
        network.load_state_dict(trained.weights(), strict=False)
        return network

    return QuantizedNetworkTask(copy.deepcopy(network), student, batches), convert


def decoder_task(
    teacher: ProseLlama, judged: Judged, tokenizer: Tokenizer, settings: FitSettings, scheme: WeightOnly
) -> tuple[Task, Convert]:
    """Return the training of a decoder through weights of few bits, and what makes single steps of its result.

    The result's weights lie on the levels that it was trained with: building it rounds nothing any more.

    Parameters
    ----------
    teacher
        The trained decoder over whole critiques.
    judged
        Frames as the critic sees them.
    tokenizer
        Of the decoder.
    settings
        Steps, batch, learning rate, seed.
    scheme
        Bits of the weights, by module.

    Raises
    ------
    ConfigError
        If the scheme names no module of the decoder.
    TypeError
        If what makes single steps is given something else than the training made; by the returned function.
    """
    student = as_llama(as_decoder(teacher)).requires_grad_(requires_grad=True)
    check_modules(Decoder(), tuple(scheme.module_bits), "weight_bits")
    bits = {t: bits_for(ours, scheme.bits, scheme.module_bits) for ours, t in _trained_names().items()}
    round_while_training(student, scheme.bits, module_bits=bits)

    def convert(trained: nn.Module) -> nn.Module:
        rounded = settled(trained)
        if not isinstance(rounded, ProseLlama):
            raise TypeError(type(rounded))
        return as_decoder(rounded)

    return QuantizedDecoderTask(teacher, student, judged, tokenizer, settings), convert


def _trained_names() -> dict[str, str]:
    """Map the decoder's linear layers to those of the model that is trained, by sending a number through each."""
    marked = Decoder()
    names = [name for name, module in marked.named_modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for number, name in enumerate(names, start=1):
            marked.get_submodule(name).get_parameter("weight").fill_(number)
        modules = as_llama(marked).named_modules()
        found = {int(m.weight[0, 0]): name for name, m in modules if isinstance(m, (nn.Linear, nn.Embedding))}
    return {name: found[number] for number, name in enumerate(names, start=1)}


def _restore(options: TrainOptions, settings: FitSettings, _scheme: WeightOnly) -> tuple[Task, Convert]:
    patches = Patches(photos_of(options, Split.TRAIN), options.data)

    def batch(step: int) -> tuple[Tensor, ...]:
        degraded, _, amounts = patches.draw(settings.batch, np.random.default_rng([settings.seed, step]))
        return degraded.contiguous(), amounts

    return network_task(restore_network(options.weights / "restore.safetensors"), batch)


def _tone(options: TrainOptions, settings: FitSettings, _scheme: WeightOnly) -> tuple[Task, Convert]:
    store, judged = judged_frames(options)

    def batch(step: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([settings.seed, step])
        rows = np.sort(rng.choice(len(store), settings.batch, replace=False))
        view = to_batch(store.views[rows]).contiguous()
        plan = judged.plan[rows] * (judged.presence[rows] > 0.5)
        with torch.no_grad():
            return view, render(plan, view).contiguous(), plan, judged.tokens[rows]

    return network_task(load_component(Pocket.TONE, options.weights / "tone.safetensors"), batch)


def _decoder(options: TrainOptions, settings: FitSettings, scheme: WeightOnly) -> tuple[Task, Convert]:
    store, judged = judged_frames(options)
    tokenizer = Tokenizer.from_file(str(options.weights / TOKENIZER))
    subjects = Judged.of(judged, store.plans, measure_facts(store.views))
    teacher = as_llama(decoder_network(options.weights / "decoder.safetensors"))
    return decoder_task(teacher, subjects, tokenizer, settings, scheme)


QAT_TASKS: Final[Mapping[str, Callable[[TrainOptions, FitSettings, WeightOnly], tuple[Task, Convert]]]] = {
    Pocket.TONE: _tone,
    Pocket.RESTORE: _restore,
    Pocket.DECODER: _decoder,
}
"""From the command's options to the training of each component that can be trained through its rounding."""
