"""Quantization-aware distillation: the student is the network itself, rounded; the teacher is what it was.

The rounded network follows the answers of full precision (LLM-QAT: Liu et al., ACL 2024 Findings; for restoration and
tone the outputs themselves), so that no truth is needed and nothing is learned but to bear the rounding.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.export.models.llama import ProseLlama
from pocketcrafter.export.train.decoder import encode
from pocketcrafter.export.train.fit import FitSettings
from pocketcrafter.export.train.prose.sampling import Judged, draw_subject
from pocketcrafter.quantize.torch.qat import SwitchedStudent

Batches = Callable[[int], tuple[Tensor, ...]]
"""From a step to the inputs of its batch, always of one shape."""


class QuantizedNetworkTask:
    """A network of one output learns to say rounded what it says in full precision.

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
    """A decoder learns to expect the same words with rounded weights.

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
