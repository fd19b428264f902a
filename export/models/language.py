"""Decoder-only language models with their caches outside: one module that reads a chunk of positions or a single one.

It computes what transformers' Llama and Qwen2.5-VL text models do, on their own layers, for the runtimes of phones:
caches come in and what a position adds to them goes out, and nothing depends on how many positions a call has but the
shapes. Prefill and step are therefore one network at two shapes, and an artifact keeps its weights once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pocketcrafter.runtime.components import ComponentSpec, FunctionSpec, Role, TensorSpec
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.language import MASKED, PREFILL

_JOINED: Final = 5
_FAMILIES: Final = ("llama", "qwen2_5_vl_text", "qwen3_vl_text")
"""Text models, by ``model_type``, whose layers are those of `_Layer`."""
_INTERLEAVED: Final = frozenset({"qwen3_vl_text"})
"""Text models whose positions' axes take turns, frequency by frequency."""
_FIXED_ROTATIONS: Final = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embeddings whose frequencies do not depend on how long a text is."""


class Language(nn.Module):
    """A language model over embeddings of N positions and the caches of those before them.

    Parameters
    ----------
    text
        transformers' text model (``LlamaModel``, ``Qwen2_5_VLTextModel``); its layers are used, not copied.
    head
        Maps hidden states to logits, without bias.
    deep
        How many of the first layers have something added to what they give (DeepStack): it stands behind the
        embeddings, one width for each; zeros for words.

    Raises
    ------
    ConfigError
        If the text model is of another kind, or its rotations depend on the length of the text.
    """

    frequencies: Tensor
    repeats: Tensor

    def __init__(self, text: nn.Module, head: nn.Linear, deep: int = 0) -> None:
        super().__init__()
        self.deep = deep
        config: Any = text.config
        _check(config, text)
        layers = text.get_submodule("layers").children()
        self.layers = nn.ModuleList(_Layer(layer, config, index) for index, layer in enumerate(layers))
        self.norm = _RmsNorm(text.get_submodule("norm"), config)
        self.head = head
        rotary: Any = text.get_submodule("rotary_emb")
        self.register_buffer("frequencies", rotary.inv_freq.clone(), persistent=False)
        self.rotation_scale = float(rotary.attention_scaling)
        """What cosines and sines are multiplied by."""
        self.sections = tuple((config.rope_scaling or {}).get("mrope_section", ()))
        """Frequencies of each axis of a position, where positions have several (M-RoPE)."""
        self.interleaved = bool((config.rope_scaling or {}).get("mrope_interleaved", config.model_type in _INTERLEAVED))
        """Whether the axes take turns."""
        self.width, self.vocabulary = int(config.hidden_size), head.out_features
        self.heads, self.head_width = int(config.num_key_value_heads), int(2 * rotary.inv_freq.shape[0])
        self.groups = int(config.num_attention_heads) // self.heads
        self.register_buffer("repeats", torch.zeros(1, self.groups, 1, 1), persistent=False)
        self.requires_grad_(requires_grad=False).eval()

    def forward(
        self,
        embeddings: Tensor,
        cosines: Tensor,
        sines: Tensor,
        mask: Tensor,
        keys: Tensor,
        values: Tensor,
        pick: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read N positions.

        Parameters
        ----------
        embeddings
            Vectors of the positions, ``(N, width)``.
        cosines, sines
            Their rotations, ``(N, head width)``.
        mask
            Added to scores, ``(N, cached + N)``: 0 where a position is seen.
        keys, values
            Caches, ``(layers, heads, cached, head width)``.
        pick
            One-hot, ``(1, N)``: the position whose logits are wanted.

        Returns
        -------
        tuple
            Logits ``(1, vocabulary)``, hidden states ``(N, width)``, and the keys and values of the new positions.
        """
        # Slices, not a split, which XNNPACK leaves outside.
        starts = range(0, self.width * (1 + self.deep), self.width)
        parts = [embeddings[:, start : start + self.width] for start in starts] if self.deep else [embeddings]
        x, turn = parts[0], (cosines.reshape(-1, 1, self.head_width), sines.reshape(-1, 1, self.head_width))
        # Query heads that share a key head are rows of one product, and each needs the rows of the mask. A sum repeats
        # them: XNNPACK does not join a tensor with itself.
        seen = (mask.reshape(1, 1, -1, mask.shape[1]) + self.repeats).reshape(1, -1, mask.shape[1])
        context = Context(cosines, sines, mask, keys, values, turn, seen)
        new_keys, new_values = [], []
        for index, layer in enumerate(self.layers):
            x, key, value = layer(x, context)
            if index < self.deep:
                x = x + parts[index + 1]
            new_keys.append(key.reshape(1, self.heads, -1, self.head_width))
            new_values.append(value.reshape(1, self.heads, -1, self.head_width))
        hidden = self.norm(x)
        # bmm, not mm, of which XNNPACK takes constant weights alone.
        picked = torch.bmm(pick.reshape(1, 1, -1), hidden.reshape(1, -1, self.width)).reshape(1, self.width)
        return self.head(picked), hidden, _joined(new_keys), _joined(new_values)

    prefill = forward
    """The same over a chunk of positions."""

    def normalized(self) -> dict[str, tuple[str, ...]]:
        """Return for each normalization the linear layers that alone read what it gives, by qualified names."""
        readers = {"norm_attention": ("query", "key", "value"), "norm_hidden": ("gate", "up")}
        return {
            f"layers.{index}.{norm}": tuple(f"layers.{index}.{name}.product" for name in names)
            for index in range(len(self.layers))
            for norm, names in readers.items()
        }


def language_spec(model: Language, length: int, chunk: int, name: str = "language") -> ComponentSpec:
    """Return the contract of a language model: a step by default, and `prefill` beside it.

    Parameters
    ----------
    model
        Whose sizes are told.
    length
        Positions that the caches hold.
    chunk
        Positions that `prefill` reads at once.
    name
        The component's name.
    """
    inputs, outputs = _tensors(model, length, 1)
    more, made = _tensors(model, length, chunk)
    prefill = FunctionSpec(name=PREFILL, inputs=more, outputs=made)
    return ComponentSpec(name=name, role=Role.LANGUAGE, inputs=inputs, outputs=outputs, functions=(prefill,))


def _tensors(model: Language, length: int, count: int) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    per_layer = (len(model.layers), model.heads)
    cache, new = (*per_layer, length, model.head_width), (*per_layer, count, model.head_width)
    turn, states = (count, model.head_width), (count, model.width)
    given = (count, model.width * (1 + model.deep))
    before = "of the positions read before, rotated; rows beyond those are masked and may hold any finite numbers"
    inputs = (
        _tensor("embeddings", given, "Vectors of the positions to read: of words, or tokens of a picture."),
        _tensor("cosines", turn, "Cosine of each position's rotation, both halves of a head alike.", -2.0, 2.0),
        _tensor("sines", turn, "Sine of each position's rotation, both halves of a head alike.", -2.0, 2.0),
        _tensor(
            "mask",
            (count, length + count),
            f"What is added to scores: 0 where a position sees a cached or a new one, {MASKED:.0f} elsewhere.",
            MASKED,
            0.0,
        ),
        _tensor("keys", cache, f"Keys {before}."),
        _tensor("values", cache, "Values of the positions read before; rows beyond those may hold any finite numbers."),
        _tensor("pick", (1, count), "One-hot: the position whose logits are wanted.", 0.0, 1.0),
    )
    outputs = (
        _tensor("logits", (1, model.vocabulary), "Of the word that follows the picked position."),
        _tensor("hidden", states, "Hidden states of the new positions after the last normalization."),
        _tensor("new_keys", new, "Keys that the new positions add to the cache."),
        _tensor("new_values", new, "Values that the new positions add to the cache."),
    )
    return inputs, outputs


def _tensor(
    name: str, shape: tuple[int, ...], semantics: str, low: float | None = None, high: float | None = None
) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, minimum=low, maximum=high, semantics=semantics)


@dataclass(frozen=True)
class Context:
    """What the attention of every layer reads beside its own queries, keys and values: the inputs of :class:`Language`.

    Attributes
    ----------
    cosines, sines, mask, keys, values
        As :meth:`Language.forward` takes them.
    turn
        The rotations as they are multiplied by heads, ``(N, 1, head width)`` each.
    seen
        The mask for the query heads of one key head, ``(1, query heads · N, cached + N)``.
    """

    cosines: Tensor
    sines: Tensor
    mask: Tensor
    keys: Tensor
    values: Tensor
    turn: tuple[Tensor, Tensor]
    seen: Tensor


class CachedAttention(nn.Module):
    """Rotates queries and keys of new positions, and attends over cached and new ones; it has no weights.

    Parameters
    ----------
    layer
        Which of the caches' layers is its own.
    heads
        Of keys and values.
    groups
        Query heads that share one of these.
    width
        Of a head.
    scale
        Factor on scores.
    """

    def __init__(self, layer: int, heads: int, groups: int, width: int, scale: float) -> None:
        super().__init__()
        self.layer, self.heads, self.groups, self.width, self.scale = layer, heads, groups, width, scale

    def forward(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Return what new positions see, ``(N, query heads · width)``, and their rotated keys and values.

        Parameters
        ----------
        query
            Of the new positions, ``(N, query heads · width)``.
        key, value
            Likewise, ``(N, heads · width)``; they are returned as ``(heads, N, width)``.
        context
            Caches, mask and rotations.
        """
        # Slices, not an index, which XNNPACK leaves outside.
        keys, values = (
            c[self.layer : self.layer + 1].reshape(self.heads, c.shape[2], self.width)
            for c in (context.keys, context.values)
        )
        query = _rotated(query.reshape(-1, self.heads * self.groups, self.width), context.turn) * self.scale
        query = query.reshape(-1, self.heads, self.groups, self.width).permute(1, 2, 0, 3)
        query = query.reshape(self.heads, -1, self.width)
        key = _rotated(key.reshape(-1, self.heads, self.width), context.turn).transpose(0, 1)
        value = value.reshape(-1, self.heads, self.width).transpose(0, 1)
        # Only scores are joined: joined caches would be copied in every layer.
        scores = torch.cat([torch.bmm(query, k.transpose(1, 2)) for k in (keys, key)], 2)
        shares = F.softmax(scores + context.seen, 2)
        length = keys.shape[1]
        mixed = torch.bmm(shares[:, :, :length], values) + torch.bmm(shares[:, :, length:], value)
        mixed = mixed.reshape(self.heads, self.groups, -1, self.width).permute(2, 0, 1, 3)
        return mixed.reshape(-1, self.heads * self.groups * self.width), key, value


class _Layer(nn.Module):
    """One layer: attention over cached and new positions, and a gated feed-forward network."""

    def __init__(self, layer: nn.Module, config: Any, index: int) -> None:  # noqa: ANN401 - transformers is untyped
        super().__init__()
        attention: Any = layer.get_submodule("self_attn")
        self.norm_attention = _RmsNorm(layer.get_submodule("input_layernorm"), config)
        self.query, self.key, self.value, self.output = (
            _Linear(attention.get_submodule(f"{name}_proj")) for name in "qkvo"
        )
        self.norm_hidden = _RmsNorm(layer.get_submodule("post_attention_layernorm"), config)
        self.gate, self.up, self.down = (
            _Linear(layer.get_submodule(f"mlp.{name}_proj")) for name in ("gate", "up", "down")
        )
        self.norm_query, self.norm_key = (
            _RmsNorm(attention.get_submodule(f"{name}_norm"), config) if hasattr(attention, f"{name}_norm") else None
            for name in "qk"
        )
        heads = int(config.num_key_value_heads)
        groups = int(config.num_attention_heads) // heads
        self.attention = CachedAttention(index, heads, groups, int(attention.head_dim), float(attention.scaling))

    def forward(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``(N, width)`` to itself; return the new keys and values, ``(heads, N, head width)``, beside it."""
        y = self.norm_attention(x)
        query, key = _normed(self.query(y), self.norm_query), _normed(self.key(y), self.norm_key)
        mixed, key, value = self.attention(query, key, self.value(y), context)
        x = x + self.output(mixed)
        y = self.norm_hidden(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), key, value


class _Linear(nn.Module):
    """A linear layer whose bias is added apart: layers of few bits have none in every toolchain."""

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        weight, bias = source.get_parameter("weight"), dict(source.named_parameters()).get("bias")
        with torch.device("meta"):
            self.product = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        self.product.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.product(x)
        return y if self.bias is None else y + self.bias


class _RmsNorm(nn.Module):
    """Divides by the root of the mean square; the mean is a product, which every accelerator takes."""

    shares: Tensor

    def __init__(self, norm: nn.Module, config: Any) -> None:  # noqa: ANN401 - transformers is untyped
        super().__init__()
        self.weight, self.epsilon = norm.get_parameter("weight"), float(config.rms_norm_eps)
        width = self.weight.shape[0]
        self.register_buffer("shares", torch.full((width, 1), 1 / width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        # The epsilon goes in before: coremltools 9.0 takes a scalar behind a product for a bias, and breaks.
        return x / torch.mm(x * x + self.epsilon, self.shares).sqrt() * self.weight


def _normed(x: Tensor, norm: _RmsNorm | None) -> Tensor:
    """Return heads side by side, ``(N, heads · width)``, each normalized by itself where the model does so."""
    if norm is None:
        return x
    out: Tensor = norm(x.reshape(-1, norm.weight.shape[0])).reshape(-1, x.shape[1])
    return out


def _rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate ``(N, heads, width)`` by cosines and sines ``(N, 1, width)``."""
    half = x.shape[2] // 2
    first, second = x[:, :, :half], x[:, :, half:]
    return x * turn[0] + torch.cat([-second, first], 2) * turn[1]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Join along the first axis, a few at a time: XNNPACK takes five at most, and none alone."""
    while len(parts) > 1:
        parts = [
            torch.cat(list(group)) if len(group) > 1 else group[0]
            for group in (parts[start : start + _JOINED] for start in range(0, len(parts), _JOINED))
        ]
    return parts[0]


def _check(config: Any, text: nn.Module) -> None:  # noqa: ANN401 - transformers is untyped
    rotary: Any = text.get_submodule("rotary_emb")
    if config.model_type not in _FAMILIES or config.hidden_act != "silu":
        raise ConfigError(
            f"The language model is of type {config.model_type} with {config.hidden_act}; known are "
            f"{', '.join(_FAMILIES)} with silu."
        )
    if rotary.rope_type not in _FIXED_ROTATIONS:
        raise ConfigError(
            f"The language model's rotary embedding is of type {rotary.rope_type}, whose frequencies change with the "
            f"length of the text; known are {', '.join(_FIXED_ROTATIONS)}."
        )
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        raise ConfigError("The language model has layers that see a sliding window alone: these are not known.")
