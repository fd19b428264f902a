"""Writes ``.tflite`` with litert-torch. A script, run by the Python of the environment that litert-torch is in.

That environment has torch and Google's packages and not this one, so nothing of pocketcrafter is imported here. What is
to be done lies in ``job.json`` of the folder that is its argument; see `pocketcrafter.export.lower.litert.convert`.
"""

import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
import torchao.quantization.pt2e  # noqa: F401 - registers the operators of quantized programs
from ai_edge_quantizer import qtyping, quantizer, recipe
from litert_torch.quantize import pt2e_quantizer, quant_config
from torch import Tensor, nn

FLOAT16 = "float16"
"""The recipe that stores weights in 16 bits; every other name is one of AI Edge Quantizer's own."""
_SIGNATURE = "serving_default"
_FAILURE_CHARS = 2000
_FAILED = 2
"""Exit code; 1 would say that a gate was missed."""


class Named(nn.Module):
    """A network whose inputs and outputs have names, which the converter gives to the model's signature."""

    def __init__(self, network: nn.Module, inputs: list[str], outputs: list[str]) -> None:
        super().__init__()
        self.network, self.inputs, self.outputs = network, inputs, outputs
        self.training = False

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        """Run the network; arguments by the names of its inputs."""
        made = self.network(*(given[name] for name in self.inputs))
        return dict(zip(self.outputs, (made,) if isinstance(made, Tensor) else made, strict=True))


def work(folder: Path) -> None:
    """Do the job that lies in a folder."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    if job["program"]:
        convert(Path(job["program"]), job["inputs"], job["outputs"], Path(job["model"]), integers=job["integers"])
    if job["recipe"]:
        samples = Path(job["samples"]) if job["samples"] else None
        quantize(Path(job["model"]), job["recipe"], samples, Path(job["quantized"]))


def convert(program: Path, inputs: Mapping[str, list[int]], outputs: list[str], out: Path, *, integers: bool) -> None:
    """Convert an exported program to LiteRT's format.

    Parameters
    ----------
    program
        A ``.pt2`` of `torch.export.save`.
    inputs
        Shapes of its float32 inputs by name, in calling order; the model's signature takes these names.
    outputs
        Names of what it returns, in its order.
    out
        The ``.tflite`` to write.
    integers
        Whether the program's pairs of quantization and dequantization become integer operators.
    """
    config = None
    if integers:
        static = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
        # The converter reads off it that the pairs are static; it quantizes nothing by itself.
        config = quant_config.QuantConfig(pt2e_quantizer=pt2e_quantizer.PT2EQuantizer().set_global(static))
    network = Named(torch.export.load(program).module(), list(inputs), outputs)
    samples = {name: torch.full(shape, 0.5) for name, shape in inputs.items()}
    litert_torch.convert(network, sample_kwargs=samples, quant_config=config).export(str(out))


def quantize(model: Path, name: str, samples: Path | None, out: Path) -> None:
    """Quantize a model by a recipe of this file or of AI Edge Quantizer.

    Parameters
    ----------
    model
        A ``.tflite`` in float32.
    name
        `FLOAT16`, or the name of a function in `ai_edge_quantizer.recipe`.
    samples
        An ``.npz`` of one float32 array for each input, in calling order, whose first axis counts the samples; `None`
        where the recipe needs no ranges of activations.
    out
        The ``.tflite`` to write; one that is there is replaced.
    """
    quantizing = quantizer.Quantizer(str(model))
    if name == FLOAT16:
        everything = qtyping.TFLOperationName.ALL_SUPPORTED
        quantizing.add_weight_only_config(".*", everything, num_bits=16, algorithm_key="float_casting")
    else:
        quantizing.load_quantization_recipe(getattr(recipe, name)())
    ranges = None
    if samples is not None:
        ranges = quantizing.calibrate({_SIGNATURE: _rows(samples)}, num_threads=1)
    quantizing.quantize(ranges).export_model(str(out), overwrite=True)


def _rows(path: Path) -> list[dict[str, Any]]:
    with np.load(path, allow_pickle=False) as stacked:
        arrays = dict(stacked)
    return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def main() -> int:
    """Do the job of the folder that is named on the command line; return an exit code."""
    folder = Path(sys.argv[1])
    try:
        work(folder)
    except Exception as error:  # the converter's exceptions share no base class
        traceback.print_exc()
        (folder / "failure.txt").write_text(f"{type(error).__name__}: {error}"[:_FAILURE_CHARS], encoding="utf-8")
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
