"""Reads texts with a language component: keeps its caches, masks and rotations, chunk by chunk and step by step."""

import math
import mmap
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import ConfigError, ShapeMismatchError

PREFILL: Final = "prefill"
"""The function that reads a chunk of positions; the component's default one reads a single one."""
MASKED: Final = -256.0
"""Nothing remains of a score so much lower, and 16-bit integers still have fine steps for the others."""


@dataclass(frozen=True)
class Rotary:
    """Rotary position embeddings of a language model.

    Attributes
    ----------
    frequencies
        Radians for each step of a position, ``(head width / 2,)``, float32.
    scale
        What cosines and sines are multiplied by.
    sections
        How many frequencies each axis of a position turns, where positions have several axes (M-RoPE: time, row and
        column of a picture); empty where they have one.
    interleaved
        Whether the axes take turns, frequency by frequency, as long as they have some left (Qwen3-VL); each has its own
        stretch of frequencies otherwise.
    """

    frequencies: FloatArray
    scale: float = 1.0
    sections: tuple[int, ...] = ()
    interleaved: bool = False

    def at(self, positions: npt.NDArray[np.integer]) -> tuple[FloatArray, FloatArray]:
        """Return cosines and sines, ``(N, head width)``, of positions ``(N,)`` or ``(axes, N)``.

        The angle is a product of float32 numbers, as where models are trained: at position 1000 a product in float64
        would be 10⁻⁴ rad away.

        Raises
        ------
        ShapeMismatchError
            If the positions do not have the model's axes; a text's may come as one axis.
        """
        axes = max(1, len(self.sections))
        rows = np.broadcast_to(positions, (axes, positions.shape[-1])) if positions.ndim == 1 else positions
        if rows.ndim != 2 or rows.shape[0] != axes:
            raise ShapeMismatchError(f"Positions have {axes} axes here; they came as {positions.shape}.")
        axis = self._axes()
        angles = rows[axis].astype(np.float32).T * self.frequencies.astype(np.float32)
        both = np.concatenate([angles, angles], 1)
        scale = np.float32(self.scale)
        return np.cos(both) * scale, np.sin(both) * scale

    def _axes(self) -> npt.NDArray[np.integer]:
        """Return which axis of a position turns each frequency."""
        count = len(self.frequencies)
        if not self.interleaved:
            return np.repeat(np.arange(max(1, len(self.sections))), self.sections or (count,))
        turn = np.arange(count) % len(self.sections)
        has_some = np.arange(count) < len(self.sections) * np.array(self.sections)[turn]
        return np.where(has_some, turn, 0)


@dataclass(frozen=True)
class Read:
    """What reading some positions gave."""

    logits: FloatArray
    """Of the word that follows the last of them, ``(vocabulary,)``."""
    hidden: FloatArray
    """Hidden states of each, ``(positions, width)``."""


class Text:
    """One text in a language model: the caches of what was read of it.

    Parameters
    ----------
    step, prefill
        The opened component, and its function `PREFILL`.
    spec
        Its contract.
    rotary
        Its rotations.
    """

    def __init__(self, step: Session, prefill: Session, spec: ComponentSpec, rotary: Rotary) -> None:
        self._step, self._prefill = step, prefill
        self._chunk = _count(spec.of(PREFILL))
        self._rotary = rotary
        shapes = {t.name: t.shape for t in spec.inputs}
        self._keys, self._values = (_zeros(shapes[name]) for name in ("keys", "values"))
        self._length = shapes["keys"][2]
        self.count = 0
        """Positions that were read."""

    def read(self, embeddings: FloatArray, positions: npt.NDArray[np.integer] | None = None) -> Read:
        """Read further positions.

        Parameters
        ----------
        embeddings
            Vectors of one or more positions, ``(N, width)``.
        positions
            Where they are, as `Rotary.at` takes it; one after the other without.

        Raises
        ------
        ConfigError
            If there is no position, or the caches have no room for so many.
        """
        total = len(embeddings)
        if not 0 < total <= self._length - self.count:
            raise ConfigError(
                f"{total} positions to read; the language model has read {self.count} and holds {self._length}: "
                "shorten the text, or build it with longer caches."
            )
        where = np.arange(self.count, self.count + total) if positions is None else positions
        cosines, sines = self._rotary.at(where)
        hidden: list[FloatArray] = []
        logits = np.empty(0, np.float32)
        size = 1 if total == 1 else self._chunk
        for start in range(0, total, size):
            part = slice(start, min(start + size, total))
            logits, states = self._read_chunk(embeddings[part], cosines[part], sines[part], size)
            hidden.append(states)
        return Read(logits, np.concatenate(hidden))

    def _read_chunk(
        self, embeddings: FloatArray, cosines: FloatArray, sines: FloatArray, size: int
    ) -> tuple[FloatArray, FloatArray]:
        count = len(embeddings)
        inputs = self.inputs(embeddings, cosines, sines, size)
        outputs = (self._step if size == 1 else self._prefill).run(inputs)
        new = slice(self.count, self.count + count)
        self._keys[:, :, new] = outputs["new_keys"][:, :, :count]
        self._values[:, :, new] = outputs["new_values"][:, :, :count]
        self.count += count
        return outputs["logits"][0], outputs["hidden"][:count]

    def inputs(
        self, embeddings: FloatArray, cosines: FloatArray, sines: FloatArray, size: int
    ) -> dict[str, FloatArray]:
        """Return what a function of ``size`` positions takes for at most as many; further rows are padding.

        Parameters
        ----------
        embeddings
            Vectors of the positions, ``(N, width)`` with N ≤ ``size``.
        cosines, sines
            Their rotations, ``(N, head width)``.
        size
            Positions that the function reads.
        """
        count = len(embeddings)
        mask = np.full((size, self._length + size), MASKED, np.float32)
        mask[:, : self.count] = 0
        mask[:, self._length :][np.tri(size, dtype=bool)] = 0
        pick = np.zeros((1, size), np.float32)
        pick[0, count - 1] = 1
        rows = {"embeddings": embeddings, "cosines": cosines, "sines": sines}
        padded = {name: _padded(array, size) for name, array in rows.items()}
        return {**padded, "mask": mask, "keys": self._keys, "values": self._values, "pick": pick}


def _padded(array: FloatArray, rows: int) -> FloatArray:
    """Return so many rows, zeros behind those that there are."""
    made = np.zeros((rows, array.shape[1]), np.float32)
    made[: len(array)] = array
    return made


def _zeros(shape: tuple[int, ...]) -> FloatArray:
    """Return zeros whose pages take memory as they are written: caches are mostly longer than a text."""
    pages = mmap.mmap(-1, math.prod(shape) * np.dtype(np.float32).itemsize)
    return np.frombuffer(pages, np.float32).reshape(shape)


def _count(spec: ComponentSpec) -> int:
    return next(t.shape[0] for t in spec.inputs if t.name == "embeddings")
