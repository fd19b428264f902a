"""Merges a teacher's adapters into its weights on the disk: shard by shard, a few megabytes in memory, resumable.

What comes out is a folder that diffusers or transformers loads. Shards that an interrupted run finished are kept.
"""

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final

import torch
from safetensors import safe_open
from torch import Tensor

from pocketcrafter.export.content import content_hash
from pocketcrafter.export.families.networks.checkpoint import SUFFIX, CheckpointError, StoredTensor, read_header
from pocketcrafter.export.families.networks.lora import Change
from pocketcrafter.export.teachers.layout import Found
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.files import replacing, write_text

_RECORD: Final = "merge.json"
_SHARD_BYTES: Final = 4 << 30
_CHUNK_BYTES: Final = 1 << 24
_SAMPLES: Final = 16
"""Tensors of a shard that are read again."""
_DTYPES: Final[Mapping[str, torch.dtype]] = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Merged:
    """What was written.

    Attributes
    ----------
    files
        The shards.
    changed
        Tensors that an adapter changed.
    kept
        Shards that an earlier run had finished.
    """

    files: tuple[Path, ...]
    changed: int
    kept: int


def merge_to(
    found: Found, out: Path, progress: Callable[[int, int], None] = lambda *_: None, shard_bytes: int = _SHARD_BYTES
) -> Merged:
    """Write a network with its adapters merged.

    Weights are added to in float32 and rounded once to the type that they are stored in. Each shard is written under a
    temporary name; then its header is held against what it must be, and samples of its rows are computed again, as are
    those of shards that an earlier run finished.

    Parameters
    ----------
    found
        The network and its adapters, with the factors that the release applies.
    out
        Folder; new, or of the same merge, interrupted.
    progress
        Called with bytes done and bytes in all.
    shard_bytes
        Most bytes of a file, unless one tensor has more.

    Raises
    ------
    CheckpointError
        If an adapter does not fit, values are not finite, or what was written is not what it must be.
    ConfigError
        If the folder holds anything else.
    StorageError
        If a file cannot be written.
    """
    changes: dict[str, list[Change]] = {}
    for adapter in found.adapters:
        for name, change in found.placed(adapter).items():
            changes.setdefault(name, []).append(change)
    if not changes:
        raise ConfigError(f"{found.path}: has no adapter to merge.")
    _begin(found, out)
    shards = list(_shards(found.stored.tensors, shard_bytes))
    stem = "diffusion_pytorch_model" if found.is_file or "_class_name" in found.config else "model"
    names = [f"{stem}-{n + 1:05}-of-{len(shards):05}{SUFFIX}" for n in range(len(shards))]
    files = [out / name for name in (names if len(shards) > 1 else [f"{stem}{SUFFIX}"])]
    total, done, kept = sum(t.size for t in found.stored.tensors.values()), 0, 0
    for shard, file in zip(shards, files, strict=True):
        if file.is_file() and _same_header(file, shard):
            _verify(file, shard, changes)
            kept += 1
        else:
            with replacing(file) as temporary:
                _write(temporary, shard, changes, partial(_tell, progress, done, total))
                _verify(temporary, shard, changes)
        done += sum(tensor.size for tensor in shard)
        progress(done, total)
    if len(shards) > 1:
        places = {tensor.name: file.name for shard, file in zip(shards, files, strict=True) for tensor in shard}
        index = {"metadata": {"total_size": total}, "weight_map": places}
        write_text(out / f"{stem}{SUFFIX}.index.json", json.dumps(index, indent=1, sort_keys=True))
    _copy_rest(found, out)
    return Merged(tuple(files), len(changes), kept)


def _tell(progress: Callable[[int, int], None], before: int, total: int, size: int) -> None:
    progress(before + size, total)


def _begin(found: Found, out: Path) -> None:
    """Note what is merged here, or see that an earlier run noted the same."""
    about = {
        "network": str(found.path.resolve()),
        "files": {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in found.stored.files},
        "adapters": {
            adapter.file.name: {
                "sha256": content_hash(adapter.file),
                "scales": sorted({change.stored_scale() for change in adapter.changes.values()}),
            }
            for adapter in found.adapters
        },
    }
    told = json.dumps(about, indent=1, sort_keys=True)
    record = out / _RECORD
    if record.is_file():
        if record.read_text(encoding="utf-8") != told:
            raise ConfigError(f"{out}: holds another merge ({_RECORD}); take another folder, or remove this one.")
    elif out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out}: holds other files; take a new folder.")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_text(record, told)


def _shards(tensors: Mapping[str, StoredTensor], most: int) -> Iterator[list[StoredTensor]]:
    shard: list[StoredTensor] = []
    for tensor in sorted(tensors.values(), key=lambda t: (t.file, t.start)):
        if shard and sum(t.size for t in shard) + tensor.size > most:
            yield shard
            shard = []
        shard.append(tensor)
    yield shard


def _header(shard: Sequence[StoredTensor]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in shard:
        places = [at, at + tensor.size]
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": places}
        at += tensor.size
    encoded = json.dumps(header).encode()
    return encoded + b" " * (-len(encoded) % 8)


def _same_header(file: Path, shard: Sequence[StoredTensor]) -> bool:
    wanted = {tensor.name: (tensor.dtype, tensor.shape) for tensor in shard}
    return {name: (t.dtype, t.shape) for name, t in read_header(file).items()} == wanted


def _write(
    file: Path, shard: Sequence[StoredTensor], changes: Mapping[str, Sequence[Change]], tell: Callable[[int], None]
) -> None:
    header, done = _header(shard), 0
    with file.open("wb") as stream, ExitStack() as stack:
        sources = {f: stack.enter_context(f.open("rb")) for f in {tensor.file for tensor in shard}}
        stream.write(len(header).to_bytes(8, "little") + header)
        for tensor in shard:
            source = sources[tensor.file]
            products = [_Product(change) for change in changes.get(tensor.name, ())]
            for start, size in _chunks(tensor):
                chunk = _read(source, tensor, start, size)
                if products:
                    chunk = _added(tensor, chunk, start, products)
                # What is zero stays a hole in the file where it was one.
                if chunk == bytes(len(chunk)):
                    stream.seek(len(chunk), 1)
                else:
                    stream.write(chunk)
                done += size
                tell(done)
        stream.truncate(len(header) + 8 + done)


def _chunks(tensor: StoredTensor) -> Iterator[tuple[int, int]]:
    """Yield where pieces of a tensor begin, and how long they are, in bytes: whole rows."""
    row = tensor.size // max(1, tensor.shape[0] if tensor.shape else 1)
    step = max(1, _CHUNK_BYTES // max(1, row)) * max(1, row)
    for start in range(0, tensor.size, step):
        yield start, min(step, tensor.size - start)


def _read(source: IO[bytes], tensor: StoredTensor, start: int, size: int) -> bytes:
    source.seek(tensor.start + start)
    return source.read(size)


class _Product:
    """What an adapter adds to rows of a weight."""

    def __init__(self, change: Change) -> None:
        with safe_open(change.down.file, "pt") as opened:
            self._down, self._up = (opened.get_tensor(t.name).float().flatten(1) for t in (change.down, change.up))
        if not (torch.isfinite(self._down).all() and torch.isfinite(self._up).all()):
            raise CheckpointError(f"{change.down.file}: `{change.down.name}` or its other half is not finite.")
        self._scale = change.stored_scale()

    def rows(self, first: int, count: int) -> Tensor:
        """Return some rows, in float32."""
        return torch.mm(self._up[first : first + count], self._down) * self._scale

    def row(self, number: int) -> Tensor:
        """Return one row, in float64."""
        made: Tensor = self._up[number].double() @ self._down.double() * self._scale
        return made


def _added(tensor: StoredTensor, chunk: bytes, start: int, products: Sequence[_Product]) -> bytes:
    if tensor.dtype not in _DTYPES:
        raise CheckpointError(f"{tensor.file}: `{tensor.name}` is {tensor.dtype}; adapters are merged into floats.")
    values = torch.frombuffer(bytearray(chunk), dtype=_DTYPES[tensor.dtype])
    row = tensor.size // tensor.shape[0]
    rows = values.float().view(len(chunk) // row, -1)
    for product in products:
        rows += product.rows(start // row, len(rows))
    if not torch.isfinite(rows).all():
        raise CheckpointError(f"{tensor.file}: `{tensor.name}` has values that are not finite; download it again.")
    merged: bytes = rows.to(values.dtype).contiguous().view(torch.uint8).numpy().tobytes()
    return merged


def _verify(file: Path, shard: Sequence[StoredTensor], changes: Mapping[str, Sequence[Change]]) -> None:
    """Hold a shard's header against what it must be, and compute samples of its rows again."""
    if not _same_header(file, shard):
        raise CheckpointError(f"{file}: was not written as it was meant to be; is the disk whole?")
    written = read_header(file)
    changed = [tensor for tensor in shard if tensor.name in changes]
    draw = random.Random(0)  # noqa: S311 - which rows are looked at is no secret
    for tensor in [*draw.sample(changed, min(_SAMPLES, len(changed))), *draw.sample(shard, min(_SAMPLES, len(shard)))]:
        row = tensor.size // max(1, tensor.shape[0] if tensor.shape else 1)
        if not row:
            continue
        start = row * draw.randrange(tensor.size // row)
        with tensor.file.open("rb") as source, file.open("rb") as opened:
            expected = _read(source, tensor, start, row)
            found = _read(opened, written[tensor.name], start, row)
        products = [_Product(change) for change in changes.get(tensor.name, ())]
        if not (_is_sum(tensor, found, expected, start // row, products) if products else found == expected):
            raise CheckpointError(f"{file}: `{tensor.name}` is not what was written; is the disk whole?")


def _is_sum(tensor: StoredTensor, found: bytes, before: bytes, row: int, products: Sequence[_Product]) -> bool:
    """Whether a merged row is what it is in float64, to one unit in the last place of the type that it is stored in."""
    kind = _DTYPES[tensor.dtype]
    merged, base = (torch.frombuffer(bytearray(raw), dtype=kind).double() for raw in (found, before))
    expected = base + sum(product.row(row) for product in products)
    # Sums in float32 lose what terms that cancel each other had.
    lost = 1e-5 * float(expected.abs().max())
    return torch.allclose(merged, expected, rtol=torch.finfo(kind).eps, atol=lost)


def _copy_rest(found: Found, out: Path) -> None:
    """Write the configuration, and what else of a loader's files lies beside the weights."""
    if found.is_file:
        said = {"_class_name": found.kind, "_diffusers_version": version("diffusers"), **found.config}
        write_text(out / "config.json", json.dumps(said, indent=2))
        return
    for path in found.path.iterdir():
        weights = path.suffix == SUFFIX or path.name.endswith(f"{SUFFIX}.index.json")
        if path.is_file() and not weights and path.name != _RECORD:
            shutil.copyfile(path, out / path.name)
