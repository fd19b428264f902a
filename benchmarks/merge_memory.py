"""What merging an adapter into Qwen-Image's transformer takes: memory, and what an interrupted merge keeps.

The transformer is a file of its published size without a block on the disk: all its weights are zeros.
"""

import json
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import torch
from pydantic import Field
from safetensors.torch import save_file

from pocketcrafter.benchmarks.common.fresh_process import EndedError, in_fresh_process
from pocketcrafter.export.teachers.layout import read_layout
from pocketcrafter.export.teachers.merging import merge_to
from pocketcrafter.export.teachers.systems import SystemName
from pocketcrafter.export.teachers.tensors import qwen_image_shapes
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError
from pocketcrafter.runtime.memory import resident_mib

_WIDTH: Final = 3072
_RANK: Final = 32
_BAR_MIB: Final = 4096
_PROJECTIONS: Final = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


class MergeMemory(Config):
    """One merge, interrupted in the middle and taken up again."""

    checkpoint_gb: float = Field(description="Size of the transformer's file, GB.")
    tensors: int
    changed: int = Field(description="Weights that the adapter changes.")
    shards: int
    kept: int = Field(description="Shards that the interrupted merge had finished, and the second one held good.")
    peak_mib: float = Field(description="Highest resident memory of the process, its libraries included.")
    bar_mib: float = _BAR_MIB
    seconds: float
    disk_mb: float = Field(description="What the merged checkpoint takes on the disk: zeros take nothing.")


class _StoppedError(Exception): ...


def measure_merge(blocks: int, adapted: int, folder: Path | None = None) -> MergeMemory:
    """Write transformer and adapter, merge them in a process of its own, and return what that took.

    Parameters
    ----------
    blocks
        Of the transformer; 60 are published.
    adapted
        Blocks that the adapter changes, spread over them: each takes 150 MB of disk.
    folder
        Where the temporary files go; the system's when `None`.

    Raises
    ------
    BackendError
        If the process fails.
    """
    with tempfile.TemporaryDirectory(dir=folder) as room:
        teacher, out = Path(room) / "teacher", Path(room) / "merged"
        size, tensors = _write_teacher(teacher, blocks, adapted)
        started = time.perf_counter()
        try:
            changed, shards, kept, peak = in_fresh_process(_merge, teacher, out)
        except EndedError as error:
            raise BackendError(f"Merging {size / 1e9:.0f} GB failed; is there room in {room}?") from error
        return MergeMemory(
            checkpoint_gb=size / 1e9,
            tensors=tensors,
            changed=changed,
            shards=shards,
            kept=kept,
            peak_mib=peak,
            seconds=time.perf_counter() - started,
            disk_mb=sum(file.stat().st_blocks for file in out.iterdir()) * 512 / 1e6,
        )


def merge_memory_text(row: MergeMemory) -> str:
    """Return the figures in words.

    Parameters
    ----------
    row
        What was measured.
    """
    return (
        f"{row.checkpoint_gb:.1f} GB in {row.tensors} tensors, {row.changed} of them changed: {row.seconds:.0f} s, "
        f"peak {row.peak_mib:.0f} MiB (bar {row.bar_mib:.0f})\n"
        f"interrupted in the middle: {row.kept} of {row.shards} shards were kept; {row.disk_mb:.0f} MB on the disk"
    )


def _merge(teacher: Path, out: Path, answer: Connection) -> None:
    found = read_layout(teacher, SystemName.SMART_PHOTO_CRAFTER).network("dit")

    def stop(done: int, total: int) -> None:
        if 2 * done > total:
            raise _StoppedError

    try:
        merge_to(found, out, stop)
    except _StoppedError:
        made = merge_to(found, out)
        answer.send((made.changed, len(made.files), made.kept, resident_mib()[1]))


def _write_teacher(folder: Path, blocks: int, adapted: int) -> tuple[int, int]:
    """Write a transformer of zeros that takes no room, and an adapter; return its bytes and how many tensors it has."""
    config = {
        "patch_size": 2, "in_channels": 64, "out_channels": 16, "num_layers": blocks, "attention_head_dim": 128,
        "num_attention_heads": _WIDTH // 128, "joint_attention_dim": 3584,
    }  # fmt: skip
    header, at = {}, 0
    shapes = qwen_image_shapes(config)
    for name, shape in shapes.items():
        size = 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    encoded = json.dumps(header).encode()
    folder.mkdir()
    with (folder / "dit.safetensors").open("wb") as stream:
        stream.write(len(encoded).to_bytes(8, "little") + encoded)
        stream.truncate(8 + len(encoded) + at)
    lora = folder / "dit_lora"
    lora.mkdir()
    drawn = torch.Generator().manual_seed(0)
    tensors = {}
    for number in sorted({round(n * (blocks - 1) / max(1, adapted - 1)) for n in range(adapted)}):
        for name in _PROJECTIONS:
            key = f"base_model.model.transformer_blocks.{number}.attn.{name}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(_RANK, _WIDTH, generator=drawn) / _WIDTH**0.5
            tensors[f"{key}.lora_B.weight"] = torch.randn(_WIDTH, _RANK, generator=drawn) / 4
    save_file(tensors, lora / "adapter_model.safetensors")
    (lora / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": _RANK, "lora_alpha": 2 * _RANK}))
    return at, len(shapes)
