"""The decoder as it is trained, transformers' Llama over whole critiques, and its conversion to single steps."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from pocketcrafter.export.models.decoder import HEAD_DIM, HEADS, HIDDEN, NORM_EPSILON, ROPE_BASE, WIDTH, Decoder
from pocketcrafter.runtime.plan import Attribute
from pocketcrafter.runtime.pocket import PROSE_LAYERS, PROSE_LENGTH, PROSE_WORDS, TOKEN_DIM
from pocketcrafter.runtime.prose.prompt import LADDERS, plan_word
from pocketcrafter.runtime.prose.tokenizer import SPECIAL_WORDS
from pocketcrafter.runtime.prose.wording import strength_of

_LAYER_NAMES: Final[Mapping[str, str]] = {
    "norm_attention": "input_layernorm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "norm_hidden": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


class ProseLlama(nn.Module):
    """A Llama that reads the critic's plan tokens before any word.

    The words of a plan share what they have in common, attribute, amount, sign and strength: their embeddings are sums
    of a part for each beside their own. What is learned of 0.35 holds for every attribute; `as_decoder` adds it all up.
    """

    shares: Tensor

    def __init__(self) -> None:
        super().__init__()
        config = LlamaConfig(  # type: ignore[no-untyped-call] # as the whole of transformers
            vocab_size=PROSE_WORDS,
            hidden_size=WIDTH,
            intermediate_size=HIDDEN,
            num_hidden_layers=PROSE_LAYERS,
            num_attention_heads=HEADS,
            head_dim=HEAD_DIM,
            max_position_embeddings=PROSE_LENGTH,
            rms_norm_eps=NORM_EPSILON,
            rope_theta=ROPE_BASE,
            tie_word_embeddings=False,
            use_cache=False,
        )
        self.llama = LlamaForCausalLM(config)  # type: ignore[no-untyped-call] # likewise
        self.soft = nn.Linear(TOKEN_DIM, WIDTH, bias=False)
        nn.init.normal_(self.soft.weight, std=0.02)
        shares = shared_parts()
        self.register_buffer("shares", shares, persistent=False)
        self.parts = nn.Parameter(torch.randn(shares.shape[1], WIDTH) * 0.02)

    def forward(self, tokens: Tensor, words: Tensor) -> Tensor:
        """Return the logits of the word after each word.

        Parameters
        ----------
        tokens
            The critic's plan tokens, ``(B, TOKENS, TOKEN_DIM)``.
        words
            Ids, ``(B, T)``, int64.

        Returns
        -------
        Tensor
            ``(B, T, PROSE_WORDS)``.
        """
        embedded = torch.cat([self.soft(tokens), F.embedding(words, self.embeddings())], 1)
        logits: Tensor = self.llama(inputs_embeds=embedded).logits
        return logits[:, tokens.shape[1] :]

    def embeddings(self) -> Tensor:
        """Return every word's embedding, ``(PROSE_WORDS, WIDTH)``."""
        own: Tensor = self.llama.model.embed_tokens.weight
        return own + self.shares @ self.parts


def shared_parts() -> Tensor:
    """Return which parts each word's embedding has: 0 or 1, ``(PROSE_WORDS, parts)``; none for words of the text."""
    parts: dict[str, int] = {}
    places = []
    for attribute in Attribute:
        for amount in (None, *LADDERS[attribute]):
            names = [attribute.value, "amount ?" if amount is None else f"amount {abs(amount):g}"]
            if amount:
                names += [f"sign {amount > 0}", f"strength {strength_of(attribute, amount)}"]
            row = SPECIAL_WORDS.index(plan_word(attribute, amount))
            places += [(row, parts.setdefault(name, len(parts))) for name in names]
    shares = torch.zeros(PROSE_WORDS, len(parts))
    for row, column in places:
        shares[row, column] = 1
    return shares


def as_decoder(trained: ProseLlama) -> Decoder:
    """Return the step module that computes what a trained model does."""
    model = trained.llama.model
    state = {
        "word.weight": trained.embeddings().T,
        "soft.weight": trained.soft.weight,
        "norm.weight": model.norm.weight,
        "logits.weight": trained.llama.lm_head.weight,
    }
    for index, layer in enumerate(model.layers):
        state |= {f"blocks.{index}.{o}.weight": layer.get_submodule(t).weight for o, t in _LAYER_NAMES.items()}
    decoder = Decoder()
    decoder.load_state_dict({name: tensor.detach() for name, tensor in state.items()})
    return decoder.eval()


def as_llama(decoder: Decoder) -> ProseLlama:
    """Return the model over whole critiques that computes what a step module does."""
    trained = ProseLlama()
    state = decoder.state_dict()
    model = trained.llama.model
    pairs: list[tuple[Tensor, Tensor]] = [
        (model.embed_tokens.weight, state["word.weight"].T),
        (trained.soft.weight, state["soft.weight"]),
        (model.norm.weight, state["norm.weight"]),
        (trained.llama.lm_head.weight, state["logits.weight"]),
    ]
    for index, layer in enumerate(model.layers):
        pairs += [
            (layer.get_submodule(theirs).weight, state[f"blocks.{index}.{ours}.weight"])
            for ours, theirs in _LAYER_NAMES.items()
        ]
    with torch.no_grad():
        trained.parts.zero_()
        for parameter, value in pairs:
            parameter.copy_(value)
    return trained.eval()
