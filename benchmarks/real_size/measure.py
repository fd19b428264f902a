"""Checkpoints of a published configuration with random weights, and what lowering their language model takes."""

import importlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from pocketcrafter.export.calibration.language import language_samples
from pocketcrafter.export.families.networks.positions import CHUNK
from pocketcrafter.export.lower.fx_patches import patch_fx
from pocketcrafter.export.lower.lowerings import lower
from pocketcrafter.export.lower.request import LoweringRequest
from pocketcrafter.export.models.language import Language, language_spec
from pocketcrafter.export.names import HEAD
from pocketcrafter.quantize.torch.embedding import quantize_embedding
from pocketcrafter.runtime.bundle.results import Fidelity, Precision
from pocketcrafter.runtime.language import PREFILL
from pocketcrafter.runtime.memory import resident_mib
from pocketcrafter.runtime.targets import TARGETS, TargetKind

_SAMPLES: Final = 4
_SEED: Final = 0

_SMOLVLM_256M: Final[Mapping[str, Any]] = {
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 512,
        "patch_size": 16,
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49280,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "max_position_embeddings": 8192,
        "pad_token_id": 2,
        "tie_word_embeddings": False,
    },
    "scale_factor": 4,
    "image_token_id": 49190,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
"""SmolVLM-256M-Instruct as published: 256 million parameters, the output layer apart from the table of words."""


def write_checkpoint(out: Path, layers: int | None = None) -> int:
    """Write SmolVLM-256M with random weights, in Hugging Face's layout.

    Parameters
    ----------
    out
        The folder that the checkpoint goes to.
    layers
        Layers of the language model; as published when not given.

    Returns
    -------
    int
        How many parameters it has.
    """
    transformers = importlib.import_module("transformers")
    raw = {**_SMOLVLM_256M, "text_config": dict(_SMOLVLM_256M["text_config"])}
    if layers is not None:
        raw["text_config"]["num_hidden_layers"] = layers
    torch.manual_seed(_SEED)
    network = transformers.Idefics3ForConditionalGeneration(transformers.Idefics3Config(**raw))
    network.save_pretrained(out)
    return sum(p.numel() for p in network.parameters())


def lower_language(folder: Path, target: TargetKind, precision: Precision, length: int, out: Path) -> dict[str, Any]:
    """Lower a checkpoint's language model, both functions on one set of weights, and write its embedding table.

    Parameters
    ----------
    folder
        The checkpoint.
    target, precision
        What it is lowered for, and to; the output layer has 8 bits where weights are quantized.
    length
        Positions of the caches.
    out
        The folder that the files go to.

    Returns
    -------
    dict
        Bytes, seconds, peak memory of this process in MiB, the coverage, and both rungs in dB by output.
    """
    patch_fx()
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter(), time.process_time()
    text, head, table = _load(folder)
    model = Language(text, head)
    spec = language_spec(model, length, CHUNK)
    embedding = out / "embedding.safetensors"
    quantize_embedding(table, embedding)
    samples = language_samples(model, table, spec, _SAMPLES, _SEED)
    path = out / f"language{TARGETS[target].suffix}"
    request = LoweringRequest(
        model,
        spec,
        samples[None],
        precision,
        {target: path},
        weight_bits={HEAD: 8} if precision.quantized else {},
        functions={PREFILL: samples[PREFILL][-1:]},
    )
    made = lower(request)[target]
    return {
        "target": target,
        "precision": precision,
        "bytes": path.stat().st_size,
        "embedding_bytes": embedding.stat().st_size,
        "wall_s": round(time.perf_counter() - started[0], 1),
        "cpu_s": round(time.process_time() - started[1], 1),
        "peak_mib": round(resident_mib()[1]),
        "rung1_db": _ratios(made.rung1),
        "rung2_db": _ratios(made.rung2),
        "coverage": made.coverage.share,
        "left_outside": [f"{f.op} ×{f.count}" for f in made.coverage.fallbacks if not f.allowed],
    }


def _load(folder: Path) -> tuple[nn.Module, nn.Linear, torch.Tensor]:
    """Return a checkpoint's text model, output layer and table of words; the rest is freed."""
    load: Callable[..., Any] = importlib.import_module("transformers").AutoModelForImageTextToText.from_pretrained
    network = load(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32).eval()
    inner = network.get_submodule("model")
    name = "text_model" if hasattr(inner, "text_model") else "language_model"
    text = inner.get_submodule(name)
    return text, network.get_submodule("lm_head"), text.get_submodule("embed_tokens").weight


def _ratios(fidelity: tuple[Fidelity, ...]) -> dict[str, float | None]:
    return {f.output: None if f.sqnr_db is None else round(f.sqnr_db, 1) for f in fidelity}
