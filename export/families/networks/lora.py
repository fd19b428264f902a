"""Adapters of low rank (LoRA), of PEFT, diffusers and kohya's scripts: read by their headers, merged tensor by tensor.

A layer's weight becomes ``W + scale·up·down``. The scale is the adapter's alpha divided by its rank (by its root, for
rank-stabilized ones); readers that leave the alpha out merge another network. :func:`merge` changes
a loaded network one weight after the other: there is no second copy of it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from torch import Tensor, nn

from pocketcrafter.export.families.networks.architecture import read_json
from pocketcrafter.export.families.networks.checkpoint import SUFFIX, CheckpointError, StoredTensor, read_header
from pocketcrafter.runtime.config import parse_json
from pocketcrafter.runtime.validation import check

FOLDER: Final = "lora"
"""Beside a network: each safetensors file in it is an adapter; they are merged in the order of their names."""
_CONFIG: Final = "adapter_config.json"
_METADATA: Final = "lora_adapter_metadata"
"""In a file's header, diffusers' own record of PEFT's configuration, each key behind the network's name."""
_DOWN: Final = ("lora_A.weight", "lora_A.default.weight", "lora_down.weight", "lora.down.weight")
_UP: Final = ("lora_B.weight", "lora_B.default.weight", "lora_up.weight", "lora.up.weight")
_ALPHA: Final = ("alpha",)
_PEFT_PREFIX: Final = "base_model.model."
_PREFIXES: Final = (_PEFT_PREFIX, "unet.", "transformer.", "lora_unet_", "lora_transformer_")
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt")
_MOST_TOLD: Final = 5


class _PeftConfig(BaseModel):
    """What of PEFT's configuration decides on the merged weights; it has many further keys."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    peft_type: str = "LORA"
    r: int | None = Field(None, ge=1)
    lora_alpha: float | None = None
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    alpha_pattern: dict[str, float] = Field(default_factory=dict)
    rank_pattern: dict[str, int] = Field(default_factory=dict)

    def alpha(self, module: str) -> float | None:
        """Return the alpha of a module, by its own pattern where there is one."""
        return next((a for pattern, a in self.alpha_pattern.items() if _is_of(module, pattern)), self.lora_alpha)

    def rank(self, module: str) -> int | None:
        """Return the rank of a module; likewise."""
        return next((r for pattern, r in self.rank_pattern.items() if _is_of(module, pattern)), self.r)


def _is_of(module: str, pattern: str) -> bool:
    return module == pattern or module.endswith(f".{pattern}")


class Dialect(StrEnum):
    """Who wrote an adapter's file."""

    PEFT = "peft"
    DIFFUSERS = "diffusers"
    KOHYA = "kohya"


_DIALECTS: Final[Mapping[str, Dialect]] = {"lora_down": Dialect.KOHYA, "lora.down": Dialect.DIFFUSERS}


@dataclass(frozen=True)
class Change:
    """What an adapter adds to one layer's weight: ``scale·up·down``."""

    down: StoredTensor
    up: StoredTensor
    alpha: StoredTensor | float
    """A tensor of one number where kohya's scripts wrote it."""
    by_root: bool

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return self.down.shape[0]

    def stored_scale(self) -> float:
        """Return the factor that the file and its configuration ask for; of a stored alpha, its one number is read.

        Raises
        ------
        CheckpointError
            If the alpha is 0, with which the adapter changes nothing, or not finite.
        """
        alpha = _number(self.alpha) if isinstance(self.alpha, StoredTensor) else self.alpha
        if not math.isfinite(alpha) or alpha == 0:
            raise CheckpointError(
                f"{self.down.file}: the alpha of `{self.down.name}` is {alpha:g}, with which nothing can be merged; "
                "download the adapter and its configuration again."
            )
        return alpha / (math.sqrt(self.rank) if self.by_root else self.rank)


@dataclass(frozen=True)
class Adapter:
    """One adapter: its file, all that is read of it, and its changes by the module's name as the file has it."""

    file: Path
    files: tuple[Path, ...]
    changes: Mapping[str, Change]

    @property
    def dialect(self) -> Dialect:
        """Whose names its tensors have."""
        key, change = next(iter(self.changes.items()))
        written = change.down.name.removeprefix(f"{key}.")
        known = next((d for begin, d in _DIALECTS.items() if written.startswith(begin)), None)
        return known or (Dialect.PEFT if key.startswith(_PEFT_PREFIX) else Dialect.DIFFUSERS)

    def scaled(self, factor: float) -> "Adapter":
        """Return the adapter with one factor in place of what its file and configuration ask for.

        Parameters
        ----------
        factor
            What every layer's product is multiplied by.
        """
        changes = {
            key: replace(change, alpha=factor * change.rank, by_root=False) for key, change in self.changes.items()
        }
        return replace(self, changes=changes)


def read_adapters(network: Path) -> tuple[Adapter, ...]:
    """Read the adapters beside a network, of whose values nothing is read.

    Parameters
    ----------
    network
        A folder that may hold one called `FOLDER`.

    Raises
    ------
    CheckpointError
        If a file is damaged, is a pickle, or holds tensors that are not those of a LoRA over linear layers and
        convolutions.
    """
    folder = network / FOLDER
    return adapters_in(folder, agreeing=True) if folder.is_dir() else ()


def adapters_in(folder: Path, *, agreeing: bool = False) -> tuple[Adapter, ...]:
    """Read the adapters in a folder; the rest as :func:`read_adapters`.

    Parameters
    ----------
    folder
        Of safetensors, with ``adapter_config.json`` beside them where PEFT wrote them.
    agreeing
        Whether a rank in the configuration that is not the tensors' is refused; a release's code may never read it.

    Raises
    ------
    CheckpointError
        As :func:`read_adapters`.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    if not paths:
        pickled = [path.name for path in sorted(folder.iterdir()) if path.suffix in _PICKLES]
        what = f"{', '.join(pickled)} can run code when it is read" if pickled else "it is empty"
        raise CheckpointError(
            f"{folder}: an adapter is a safetensors file; {what}. Save it again, or remove the folder."
        )
    return tuple(_adapter(path, folder / _CONFIG, agreeing=agreeing) for path in paths)


def placed(adapter: Adapter, shapes: Mapping[str, Sequence[int]]) -> dict[str, Change]:
    """Return an adapter's changes by the name of the weight that they change.

    Parameters
    ----------
    adapter
        What is merged.
    shapes
        Shape of each tensor of the network, by name.

    Raises
    ------
    CheckpointError
        If it changes a layer that the network has not, or one of another shape; it names them.
    """
    weights = {name.removesuffix(".weight"): name for name in shapes if name.endswith(".weight")}
    flat = {module.replace(".", "_"): name for module, name in weights.items()}
    found: dict[str, Change] = {}
    unknown, strange = [], []
    for key, change in adapter.changes.items():
        module = next((key.removeprefix(prefix) for prefix in _PREFIXES if key.startswith(prefix)), key)
        name = weights.get(module) or flat.get(module) or weights.get(key)
        if name is None:
            unknown.append(key)
            continue
        shape = tuple(shapes[name])
        if (change.up.shape[0], *change.down.shape[1:]) != shape:
            strange.append(f"{key} {change.up.shape}·{change.down.shape} for {list(shape)}")
        found[name] = change
    if unknown or strange:
        told = [*(f"{key}: the network has no such layer" for key in unknown), *strange]
        more = f"\n  … and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        raise CheckpointError(
            f"{adapter.file}: is no adapter of this network:\n  "
            + "\n  ".join(told[:_MOST_TOLD])
            + f"{more}\nTake the adapter that was trained for these weights, or remove it."
        )
    return found


def _adapter(file: Path, config: Path, *, agreeing: bool) -> Adapter:
    tensors = read_header(file)
    beside = config.is_file()
    said = _config(file, config)
    if said.peft_type != "LORA" or said.use_dora or said.fan_in_fan_out:
        raise CheckpointError(
            f"{config}: is of type {said.peft_type}, or use_dora or fan_in_fan_out is on; merge such an adapter with "
            "PEFT itself."
        )
    if said.lora_alpha is None and any(name.startswith(_PEFT_PREFIX) for name in tensors):
        raise CheckpointError(
            f"{file}: PEFT wrote it, and no {_CONFIG} beside it tells lora_alpha, which decides on the scale; download "
            "that file too."
        )
    parts: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        kind, module = _split(name)
        if kind is None:
            raise CheckpointError(
                f"{file}: `{name}` is no tensor of a LoRA (lora_A and lora_B, or lora_down, lora_up and alpha); "
                "adapters of other kinds are merged by their own tools."
            )
        parts.setdefault(module, {})[kind] = tensor
    changes = {module: _change(file, module, found, said) for module, found in parts.items()}
    for module, change in changes.items():
        if agreeing and said.rank(module) not in {None, change.rank}:
            raise CheckpointError(
                f"{file}: `{module}` has rank {change.rank}, and its configuration says {said.rank(module)}: they are "
                "not of one training. Download both again."
            )
    return Adapter(file, (file, *((config,) if beside else ())), changes)


def _split(name: str) -> tuple[str | None, str]:
    for kind, endings in (("down", _DOWN), ("up", _UP), ("alpha", _ALPHA)):
        for ending in endings:
            if name.endswith(f".{ending}"):
                return kind, name.removesuffix(f".{ending}")
    return None, name


def _change(file: Path, module: str, found: Mapping[str, StoredTensor], said: _PeftConfig) -> Change:
    if "down" not in found or "up" not in found:
        raise CheckpointError(f"{file}: of `{module}` there is {' and '.join(found)} alone. Download it again.")
    down, up = found["down"], found["up"]
    if len(down.shape) != len(up.shape) or len(down.shape) not in {2, 4} or up.shape[1] != down.shape[0]:
        raise CheckpointError(f"{file}: `{module}` has {list(up.shape)} and {list(down.shape)}, which have no product.")
    if len(up.shape) == 4 and up.shape[2:] != (1, 1):
        raise CheckpointError(f"{file}: `{module}` goes up by a convolution over {list(up.shape[2:])} pixels, not one.")
    given = said.alpha(module)
    alpha = found.get("alpha", float(down.shape[0]) if given is None else given)
    return Change(down, up, alpha, said.use_rslora)


def _config(file: Path, config: Path) -> _PeftConfig:
    if config.is_file():
        return check(_PeftConfig, read_json(config, "save the adapter again"), f"{config}: no configuration of PEFT")
    header = _header_metadata(file).get(_METADATA)
    if header is None:
        return _PeftConfig()
    try:
        raw = {key.partition(".")[2]: value for key, value in dict(json.loads(header)).items()}
    except ValueError as error:
        raise CheckpointError(
            f"{file}: `{_METADATA}` in its header is not readable ({error}). Save it again."
        ) from error
    return check(_PeftConfig, raw, f"{file}: `{_METADATA}` is no configuration of PEFT")


def _number(stored: StoredTensor) -> float:
    """Read a stored tensor of one number."""
    kinds = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "BF16": np.uint16}
    if stored.dtype not in kinds or math.prod(stored.shape) != 1:
        raise CheckpointError(
            f"{stored.file}: `{stored.name}` is {stored.dtype} {list(stored.shape)}; an alpha is one number."
        )
    with stored.file.open("rb") as opened:
        opened.seek(stored.start)
        value = np.frombuffer(opened.read(stored.size), kinds[stored.dtype])
    if stored.dtype == "BF16":
        value = (value.astype(np.uint32) << 16).view(np.float32)
    return float(value[0])


def _header_metadata(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        header = parse_json(opened.read(int.from_bytes(opened.read(8), "little")))
    return dict(header.get("__metadata__") or {})


def merge(network: nn.Module, adapters: Sequence[Adapter]) -> None:
    """Add to a network's weights what adapters change, in place.

    Parameters
    ----------
    network
        In float32.
    adapters
        In the order in which they are merged.

    Raises
    ------
    CheckpointError
        If an adapter changes layers that the network has not, or has values that are not finite.
    """
    state = network.state_dict()  # the very tensors, not copies
    for adapter in adapters:
        changes = placed(adapter, {name: tensor.shape for name, tensor in state.items()})
        with safe_open(adapter.file, "pt") as opened:
            for name, change in changes.items():
                state[name].add_(_delta(change, opened).reshape(state[name].shape))


def _delta(change: Change, opened: Any) -> Tensor:  # noqa: ANN401 - safetensors is untyped
    down, up = (_finite(opened, tensor) for tensor in (change.down, change.up))
    # Of a convolution, the way up is one of single pixels: the product is that of matrices, too.
    product: Tensor = torch.mm(up.flatten(1), down.flatten(1))
    return product * change.stored_scale()


def _finite(opened: Any, stored: StoredTensor) -> Tensor:  # noqa: ANN401 - likewise
    value: Tensor = opened.get_tensor(stored.name).float()
    if not torch.isfinite(value).all():
        raise CheckpointError(f"{stored.file}: `{stored.name}` has values that are not finite; download it again.")
    return value
