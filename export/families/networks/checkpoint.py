"""What a checkpoint folder holds, by the headers of its safetensors alone: checked before anything believes them.

Weights that are not numbers are found in the files themselves, a few megabytes at a time.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from pocketcrafter.runtime.config import parse_json
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.words import counted

SUFFIX: Final = ".safetensors"
_INDEX: Final = f"{SUFFIX}.index"
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 100_000_000
"""The format's own limit."""
_MAX_INDEX_BYTES: Final = 64 << 20
_MAX_SIZE: Final = 1 << 48
_LFS: Final = b"version https://git-lfs"
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_METADATA: Final = "__metadata__"

_BITS: Final[Mapping[str, int]] = MappingProxyType(
    {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
    | dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8)
    | dict.fromkeys(("U16", "I16", "F16", "BF16"), 16)
    | dict.fromkeys(("U32", "I32", "F32"), 32)
    | dict.fromkeys(("U64", "I64", "F64", "C64"), 64)
)
"""Bits of a value, by the format's names of types."""

_ADAPTERS: Final = frozenset(
    {"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"}
    | {f"pytorch_lora_weights{suffix}" for suffix in (SUFFIX, ".bin")}
)
_ADAPTER_TENSOR: Final = re.compile(
    r"^lora_(unet|te\d?|transformer|prior)_|(^|[._])(lora_(A|B|up|down|mid|embedding_A|embedding_B|magnitude_vector)"
    r"|lora\.(up|down)|hada_w[12]_[ab]|lokr_w[12](_[ab])?|dora_scale)([._]|$)"
)
"""Tensors of PEFT, diffusers and kohya's scripts (LoRA, DoRA, LoHa, LoKr)."""
_CHUNK_BYTES: Final = 1 << 24
_EXPONENTS: Final[Mapping[str, tuple[type[np.unsignedinteger], int]]] = {
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""Bits of the exponent, by the format's names of types: all of them are set in infinities and in what is no number."""
_MOST_TOLD: Final = 5


class CheckpointError(ConfigError):
    """A folder does not hold a network that can be taken."""


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file."""

    name: str
    dtype: str
    """As the format has it: ``F32``, ``BF16``, ``I64``, …"""
    shape: tuple[int, ...]
    file: Path
    start: int
    """First byte of its values, from the start of the file."""
    size: int
    """Bytes of its values."""


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one network, by name, and the files that hold them."""

    tensors: Mapping[str, StoredTensor]
    files: tuple[Path, ...]
    variant: str | None
    """``fp16`` where the only weights are ``<stem>.fp16.safetensors``; the loaders want it named."""


def read_checkpoint(folder: Path, stem: str) -> Checkpoint:
    """Read which tensors a folder's weights consist of; of their values nothing is read.

    Parameters
    ----------
    folder
        As ``save_pretrained`` leaves it.
    stem
        What the library calls its weights: ``model`` (transformers), ``diffusion_pytorch_model`` (diffusers).

    Raises
    ------
    CheckpointError
        If there are none, or only pickles; a file is truncated, damaged or named by an index and absent; it is unclear
        which weights are meant; or an adapter (a LoRA) lies beside them, which no loader would take.
    """
    plain, index, variant = _weights(folder, stem)
    found = Checkpoint(read_header(plain), (plain,), variant) if index is None else _sharded(folder, index, variant)
    # Other variants and forms of the same weights may lie beside them; anything else is looked into.
    others = [p for p in sorted(folder.glob(f"*{SUFFIX}")) if not p.name.startswith((f"{stem}.", f"{stem}-"))]
    for tensors in (found.tensors, *map(read_header, others)):
        for tensor in tensors.values():
            if _ADAPTER_TENSOR.search(tensor.name):
                raise CheckpointError(adapter_beside(tensor.file, f"`{tensor.name}`"))
    return found


def refuse_adapters(folder: Path) -> None:
    """Refuse a folder with files of a LoRA, known by the names that PEFT and diffusers give them.

    Raises
    ------
    CheckpointError
        If there is such a file; the message says how to merge it.
    """
    if here := sorted(name for name in _ADAPTERS if (folder / name).exists()):
        raise CheckpointError(adapter_beside(folder / here[0], here[0]))


def adapter_beside(file: Path, what: str) -> str:
    """Return why a network is not built beside an adapter, and what to do.

    Parameters
    ----------
    file
        Where the adapter is.
    what
        What of it was seen.
    """
    return (
        f"{file}: {what} belongs to an adapter (LoRA), which changes a base network; a build of the base would leave "
        "it out. Merge it and build what comes out: with PEFT `PeftModel.from_pretrained(base, "
        f"{str(file.parent)!r}).merge_and_unload().save_pretrained(OUT)`, with diffusers "
        "`pipeline.load_lora_weights(…)`, `pipeline.fuse_lora()`, `pipeline.unload_lora_weights()` and "
        "`pipeline.unet.save_pretrained(OUT)`. In a pair, move it to `lora/` in the folder of critic or artist: it is "
        "merged. Or move it out of the folder, to build the base alone."
    )


def _weights(folder: Path, stem: str) -> tuple[Path, Path | None, str | None]:
    """Return the file of all weights, or else the index of the files of parts, and the variant that they are of."""
    plain, index = folder / f"{stem}{SUFFIX}", folder / f"{stem}{_INDEX}.json"
    if plain.is_file() and index.is_file():
        raise CheckpointError(
            f"{folder}: {plain.name} and {index.name} both say what the weights are, and loaders differ in which they "
            "take; move one away."
        )
    if plain.is_file() or index.is_file():
        return plain, index if index.is_file() else None, None
    named = re.compile(rf"{re.escape(stem)}(?:\.(\w+){re.escape(SUFFIX)}|{re.escape(_INDEX)}\.(\w+)\.json)")
    variants = {m[1] or m[2]: p for p in sorted(folder.iterdir()) if (m := named.fullmatch(p.name))}
    if len(variants) == 1:
        variant, path = next(iter(variants.items()))
        return path, path if path.suffix == ".json" else None, variant
    if variants:
        names = ", ".join(path.name for path in variants.values())
        raise CheckpointError(f"{folder}: the weights come as variants alone ({names}); leave one of them there.")
    others = sorted(p.name for p in folder.iterdir() if p.suffix == SUFFIX)
    if others:
        raise CheckpointError(
            f"{folder}: the weights must be called {plain.name}, or be named by {index.name}; there is "
            f"{', '.join(others[:5])}, which this network's loader does not look for. Download the missing file, or "
            "rename the one that is meant."
        )
    pickled = [p.name for p in sorted(folder.iterdir()) if p.suffix in _PICKLES]
    if pickled:
        raise CheckpointError(
            f"{folder}: needs weights as safetensors; there is only {', '.join(pickled)}, which can run code when they "
            "are read. Where you trust them, load them and write them again: model.save_pretrained(OUT, "
            "safe_serialization=True)."
        )
    raise CheckpointError(f"{folder}: needs weights as safetensors; there is none: {plain.name} is missing.")


def _sharded(folder: Path, index: Path, variant: str | None) -> Checkpoint:
    """Read all the files that an index names, and hold them against it."""
    if index.stat().st_size > _MAX_INDEX_BYTES:
        raise CheckpointError(f"{index}: larger than any index ({_MAX_INDEX_BYTES} bytes).")
    try:
        places = parse_json(index.read_bytes())["weight_map"]
        files = {name: folder / file for name, file in places.items()}
        strange = sorted({f for f in places.values() if Path(f).name != f or Path(f).suffix != SUFFIX})
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: not an index of weights ({error!r}); download it again.") from error
    if strange or not files:
        raise CheckpointError(f"{index}: names {strange[:3] or 'no file'}; an index names safetensors beside it.")
    shards = sorted(set(files.values()))
    if absent := [shard.name for shard in shards if not shard.is_file()]:
        raise CheckpointError(
            f"{index}: names {counted(len(shards), 'file')}, of which {', '.join(absent)} "
            f"{'is' if len(absent) == 1 else 'are'} not there; download what is missing."
        )
    tensors: dict[str, StoredTensor] = {}
    for shard in shards:
        inside = read_header(shard)
        said = {name for name, file in files.items() if file == shard}
        if said != inside.keys():
            differs = ", ".join(sorted(said ^ inside.keys())[:5])
            raise CheckpointError(
                f"{shard}: holds other tensors than {index.name} says ({differs}): they are not of one download; "
                "download both again."
            )
        tensors |= inside
    return Checkpoint(tensors, tuple(shards), variant)


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Read a safetensors file's header, and hold it against the file's size.

    Returns
    -------
    dict
        Its tensors by name. Every one lies inside the file, none overlaps another, and nothing lies between them.

    Raises
    ------
    CheckpointError
        If it cannot be read, is truncated or is not such a file.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
            if size < _LENGTH_BYTES or length > min(size - _LENGTH_BYTES, _MAX_HEADER_BYTES):
                raise CheckpointError(_no_header(file, size, length))
            header = dict(parse_json(opened.read(length)))
        header.pop(_METADATA, None)
        base = _LENGTH_BYTES + length
        tensors = {name: _tensor(file, name, said, base) for name, said in header.items()}
        _check_places(tensors, base)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{file}: its header is not that of safetensors: {error}. Download it again.") from error
    end = max((t.start + t.size for t in tensors.values()), default=base)
    if end != size:
        found = f"{size} bytes, and its header tells of {end}"
        what = "is truncated" if size < end else "has more behind its last tensor than belongs to it"
        raise CheckpointError(f"{file}: {what} ({found}). Download it again.")
    return tensors


def _no_header(file: Path, size: int, length: int) -> str:
    with file.open("rb") as opened:
        if opened.read(len(_LFS)) == _LFS:
            return f"{file}: a pointer of Git LFS, not the weights: run `git lfs pull` in its repository."
    return (
        f"{file}: truncated or no safetensors: {size} bytes, of which a header would take {length}. Download it again."
    )


def _tensor(file: Path, name: str, said: Any, base: int) -> StoredTensor:  # noqa: ANN401 - parsed JSON
    dtype, shape, (start, end) = said["dtype"], said["shape"], said["data_offsets"]
    if dtype not in _BITS:
        raise ValueError(f"`{name}` is of the unknown type {dtype!r}")
    numbers = [*shape, start, end]
    # JSON's true is Python's int, too.
    if any(type(n) is not int or not 0 <= n <= _MAX_SIZE for n in numbers) or not isinstance(shape, list):
        raise ValueError(f"`{name}` has the shape {shape!r} at {start!r} to {end!r}")
    if prod(shape) * _BITS[dtype] != 8 * (end - start):
        raise ValueError(f"`{name}` is {dtype} {shape}, and has {end - start} bytes")
    return StoredTensor(name, dtype, tuple(shape), file, base + start, end - start)


def _check_places(tensors: Mapping[str, StoredTensor], base: int) -> None:
    """Raise `ValueError` where tensors overlap, or leave room in which anything could lie."""
    at = base
    for tensor in sorted(tensors.values(), key=lambda t: (t.start, t.size)):
        if tensor.start != at:
            raise ValueError(f"`{tensor.name}` begins at byte {tensor.start}, and the one before it ends at {at}")
        at += tensor.size


def check_finite(tensors: Iterable[StoredTensor]) -> None:
    """Read weights and refuse those with infinite values, or some that are no numbers; other types are not looked at.

    Parameters
    ----------
    tensors
        As the headers of their files have them.

    Raises
    ------
    CheckpointError
        If there are such values; it names the tensors and their file.
    """
    faulty = [tensor for tensor in sorted(tensors, key=lambda t: (t.file, t.start)) if not _is_finite(tensor)]
    if not faulty:
        return
    names = ", ".join(f"`{tensor.name}`" for tensor in faulty[:_MOST_TOLD])
    more = f" and {len(faulty) - _MOST_TOLD} more" if len(faulty) > _MOST_TOLD else ""
    raise CheckpointError(
        f"{faulty[0].file}: {names}{more}: values that are not finite (NaN or infinite). Download the checkpoint "
        "again; where it was trained so, take an earlier one."
    )


def _is_finite(tensor: StoredTensor) -> bool:
    if tensor.dtype not in _EXPONENTS:
        return True
    kind, exponent = _EXPONENTS[tensor.dtype]
    with tensor.file.open("rb") as opened:
        opened.seek(tensor.start)
        for start in range(0, tensor.size, _CHUNK_BYTES):
            bits = np.frombuffer(opened.read(min(_CHUNK_BYTES, tensor.size - start)), kind)
            if bool((bits & kind(exponent) == exponent).any()):
                return False
    return True
