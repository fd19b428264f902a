"""How far quantized artifacts move when their inputs move by a rounding of float32: the floor of their rung 2."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from pydantic import Field

from pocketcrafter.benchmarks.common.markdown import NOT_MEASURED, markdown, plain
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.fidelity import sqnr_db

MOVED: Final = 1e-7
"""Standard deviation of the disturbance, as a share of an input's own: less than one step of float32."""
_SEED: Final = 0


class StabilityRow(Config):
    """One function of an artifact."""

    component: str
    target: str
    function: str | None = Field(description="Null for the default one.")
    precision: Precision
    itself_db: float | None = Field(description="The artifact against itself, inputs moved; null where equal.")
    rung2_db: float | None = Field(description="The artifact against its simulation, as recorded; worst output.")


def measure_stability(bundle: Bundle, targets: Sequence[str], threads: int) -> list[StabilityRow]:
    """Run the goldens of every artifact as they are, and with inputs moved by `MOVED` of their spread.

    Where rung 2 is no lower than what an artifact is from itself, the kernels are not to blame for it: any difference
    in the last bit of a sum, as between two orders of summation, costs as much.

    Parameters
    ----------
    bundle
        Nothing is written into it.
    targets
        By name; all of them when empty.
    threads
        Threads to compute with.

    Raises
    ------
    ConfigError
        If the bundle lacks a target that was asked for.
    BackendError
        If an artifact cannot be run here.
    """
    return [row for target in bundle.chosen_targets(targets) for row in _rows(bundle, target, threads)]


def stability_table(rows: Sequence[StabilityRow]) -> str:
    """Return the rows as a Markdown table."""
    head = ("component", "function", "target", "precision", "from itself dB", "rung 2 dB")
    cells = [
        (r.component, r.function or NOT_MEASURED, r.target, r.precision, plain(r.itself_db, 1), plain(r.rung2_db, 1))
        for r in rows
    ]
    return markdown(head, cells)


def _rows(bundle: Bundle, target: str, threads: int) -> Iterator[StabilityRow]:
    for entry in bundle.manifest.components:
        artifact, generator = entry.artifacts[target], np.random.default_rng(_SEED)
        for function in entry.functions:
            spec, itself = entry.spec.of(function), list[float]()
            session = bundle.target_session(entry.spec.name, threads, target, function)
            for golden in entry.goldens_of(function):
                inputs = read_tensors(bundle.file(golden.inputs), spec.inputs)
                first = session.run(inputs)
                moved = session.run({name: _moved(array, generator) for name, array in inputs.items()})
                itself += [sqnr_db(first[output.name], moved[output.name]) for output in spec.outputs]
            recorded = [
                fidelity.sqnr_db
                for fidelity in artifact.rungs[2].fidelity
                if fidelity.sqnr_db is not None and _function_of(fidelity.output) == function
            ]
            worst = min(itself)
            yield StabilityRow(
                component=entry.spec.name,
                target=target,
                function=function,
                precision=artifact.precision,
                itself_db=worst if np.isfinite(worst) else None,
                rung2_db=min(recorded, default=None),
            )


def _function_of(output: str) -> str | None:
    return output.rpartition(".")[0] or None


def _moved(array: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Disturb an array but where it is a mask or one-hot, whose values are exact."""
    if len(np.unique(array[..., :64])) <= 2:
        return array
    noise = generator.standard_normal(array.shape, np.float32)
    return np.asarray(array + np.float32(MOVED) * array.std() * noise, np.float32)
