"""Fuzz targets: what a build reads, which has torch imported."""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from pocketcrafter.benchmarks.common.names import Format
from pocketcrafter.benchmarks.fuzz.target import Target, hold, on_disk
from pocketcrafter.export.families.networks.checkpoint import read_header
from pocketcrafter.export.recipe import load_recipe

_RECIPE: Final = b"""name: small
targets: [onnx]
components:
  restore: &made
    weights: w.safetensors
    precision: {onnx: fp32, 'coreml:*': fp16}
licenses: [{spdx: MIT, path: LICENSE, covers: all}]
gates: {coverage: 0.5}
"""


def _recipe(content: bytes) -> None:
    recipe = load_recipe(on_disk(content, "recipe.yaml"))
    hold(type(recipe).model_validate_json(recipe.model_dump_json()) == recipe, "a recipe survives JSON")


def _safetensors(content: bytes) -> None:
    tensors = read_header(on_disk(content, "model.safetensors"))
    hold(all(t.start + t.size <= len(content) for t in tensors.values()), "tensors lie within the file")


def _checkpoints() -> Sequence[bytes]:
    header = {
        "__metadata__": {"format": "pt"},
        "weight": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "bias": {"dtype": "BF16", "shape": [], "data_offsets": [8, 10]},
    }
    return tuple(
        len(text).to_bytes(8, "little") + text + bytes(size)
        for text, size in ((json.dumps(header).encode(), 10), (b"{}", 0))
    )


TARGETS: Final[Mapping[Format, Target]] = {
    Format.RECIPE: Target(_recipe, lambda: [_RECIPE, b"extends: int4.yaml\nname: other\n"]),
    Format.SAFETENSORS: Target(_safetensors, _checkpoints),
}
