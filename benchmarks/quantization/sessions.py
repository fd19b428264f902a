"""Networks of the pipeline in torch: full precision remembers its answers, a trial counts how far it is from them."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pocketcrafter.benchmarks.names import PICTURES
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.quantize.modules import outputs_of
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.base import Session
from pocketcrafter.runtime.backends.tensors import checked_inputs, named_outputs
from pocketcrafter.runtime.gate import GateSettings
from pocketcrafter.runtime.pocket import POCKET_SPECS

Arrays = Mapping[str, FloatArray]


class RememberedSession:
    """A network in full precision that is run once for each input."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said: dict[bytes, dict[str, FloatArray]] = {}

    def run(self, inputs: Arrays) -> dict[str, FloatArray]:
        """Run, or remember; see `pocketcrafter.runtime.backends.base.Session`."""
        digest = hashlib.blake2b(digest_size=16)
        for name, array in inputs.items():
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        key = digest.digest()
        if key not in self._said:
            self._said[key] = self._session.run(inputs)
        return self._said[key]


class TriedSession:
    """A quantized network beside its reference.

    Parameters
    ----------
    network
        From the inputs in calling order to the outputs.
    component
        Whose contract it keeps.
    reference
        The same in full precision.
    """

    def __init__(self, network: Callable[[tuple[Tensor, ...]], object], component: str, reference: Session) -> None:
        self._network, self._reference = network, reference
        self._spec = POCKET_SPECS[component]
        self._signal = {t.name: 0.0 for t in self._spec.outputs}
        self._noise = dict(self._signal)

    def run(self, inputs: Arrays) -> dict[str, FloatArray]:
        """Run, and note the distance; see `pocketcrafter.runtime.backends.base.Session`."""
        tensors = tuple(torch.from_numpy(np.array(a)) for a in checked_inputs(inputs, self._spec).values())
        with torch.no_grad():
            said = named_outputs([o.numpy() for o in outputs_of(self._network(tensors))], self._spec)
        for name, right in self._reference.run(inputs).items():
            self._signal[name] += float(np.square(right, dtype=np.float64).sum())
            self._noise[name] += float(np.square(right.astype(np.float64) - said[name]).sum())
        return said

    @property
    def sqnr_db(self) -> float | None:
        """Lowest ratio of its outputs over all runs; `None` where all are identical."""
        ratios = [10 * np.log10(max(self._signal[name], 1e-30) / noise) for name, noise in self._noise.items() if noise]
        return float(min(ratios)) if ratios else None


@dataclass(frozen=True)
class Networks:
    """What a pipeline is made of."""

    sessions: Mapping[str, Session]
    gate: GateSettings

    def has(self, component: str) -> bool:
        """Whether the component is there."""
        return component in self.sessions

    def session(self, component: str) -> Session:
        """Return a component."""
        return self.sessions[component]

    def with_tried(self, tried: Mapping[str, Session]) -> "Networks":
        """Return the same pipeline with other networks in their components' place."""
        return Networks({**self.sessions, **tried}, self.gate)


def full_precision(weights: Path, gate: GateSettings, threads: int) -> Networks:
    """Open the networks that a picture goes through.

    Parameters
    ----------
    weights
        Folder of their weights.
    gate
        Which attributes of a plan are carried out.
    threads
        Threads to compute with.
    """
    backend = TorchBackend()
    return Networks(
        {c: RememberedSession(backend.open(weights / f"{c}.safetensors", POCKET_SPECS[c], threads)) for c in PICTURES},
        gate,
    )
