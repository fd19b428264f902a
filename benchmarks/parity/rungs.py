"""Rungs 1 and 2 of one network: what the build recorded, and what of it can be run again from the bundle alone."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import onnx

from pocketcrafter.benchmarks.parity.results import NetworkParity
from pocketcrafter.export.backend import TorchBackend
from pocketcrafter.export.lower.measure import compare
from pocketcrafter.export.lower.onnx.lowering import SIMULATED, simulate
from pocketcrafter.quantize.onnx.matmul_nbits import decoded
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.registry import usable_backend, why_unusable
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.manifest import ComponentEntry
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity, Rung
from pocketcrafter.runtime.bundle.verify import golden_fidelity
from pocketcrafter.runtime.targets import ONNX, TargetKind

Tensors = dict[str, FloatArray]
Simulate = Callable[[Path, ComponentEntry, list[Tensors]], list[Tensors]]
"""Runs the fake-quantized network that an artifact holds on samples."""


def network_parity(
    bundle: Bundle, entry: ComponentEntry, target: str, weights: Path | None, threads: int
) -> NetworkParity:
    """Run a component's goldens on one target, and rungs 1 and 2 again where the artifact holds what they compare.

    Parameters
    ----------
    bundle, entry, target
        The network.
    weights
        Its full-precision weights; none where its family cannot make the network of them, and rungs 1 and 2 are not
        run again.
    threads
        Threads to compute with.

    Notes
    -----
    Fake-quantized weights can be read back from an ONNX artifact. The other toolchains simulate what they do not ship:
    there the goldens, in which both rungs come together, are what can be run again.

    Raises
    ------
    BackendError
        If a network fails.
    BundleError
        If a golden is damaged.
    """
    artifact, kind = entry.artifacts[target], bundle.manifest.targets[target].kind
    recorded = tuple(r for r in artifact.rungs if r.rung in {1, 2})
    facts = {
        "component": entry.spec.name,
        "target": target,
        "precision": artifact.precision,
        "recorded": recorded,
        "golden_gate": artifact.golden_gate,
    }
    backend = bundle.manifest.targets[target].backend
    if reason := why_unusable(backend):
        return NetworkParity.model_validate(facts | {"not_run": reason})
    path = bundle.artifact(entry, target)
    session = usable_backend(backend).open(path, entry.spec, threads)
    samples = [read_tensors(bundle.file(golden.inputs), entry.spec.inputs) for golden in entry.goldens_of(None)]
    expected = [read_tensors(bundle.file(golden.outputs), entry.spec.outputs) for golden in entry.goldens_of(None)]
    actual = [session.run(sample) for sample in samples]
    again: tuple[Rung, ...] = ()
    if weights is not None and kind in SIMULATIONS and artifact.precision.quantized:
        student = TorchBackend().student(bundle.manifest.family, weights, entry.spec, threads)
        simulated = SIMULATIONS[kind](path, entry, samples)
        again = (
            _judged(recorded, 1, compare([student.run(s) for s in samples], simulated, entry.spec), _AGAIN[0]),
            _judged(recorded, 2, compare(simulated, actual, entry.spec), _AGAIN[1]),
        )
    goldens = (
        *compare(expected, actual, entry.spec),
        *golden_fidelity(bundle, entry, target, threads, entry.functions[1:]),
    )
    return NetworkParity.model_validate(facts | {"again": again, "goldens": goldens})


def _simulate_onnx(path: Path, entry: ComponentEntry, samples: list[Tensors]) -> list[Tensors]:
    with tempfile.TemporaryDirectory(prefix="pocketcrafter-parity-") as folder:
        plain = Path(folder) / "decoded.onnx"
        onnx.save(decoded(onnx.load(path)), plain)
        return simulate(plain, samples, entry.spec)


SIMULATIONS: Final[Mapping[TargetKind, Simulate]] = {ONNX: _simulate_onnx}
"""Targets whose artifacts hold their own simulation."""

_AGAIN: Final = (
    f"On the goldens: {SIMULATED} against eager torch in full precision",
    f"On the goldens: the artifact on this machine against {SIMULATED}",
)


def _judged(recorded: tuple[Rung, ...], number: int, fidelity: tuple[Fidelity, ...], how: str) -> Rung:
    gates = next((r.gates for r in recorded if r.rung == number), ())
    return Rung.judged(number, how, gates, fidelity=fidelity)
