"""Where a bundle's artifacts depart from the network: the first layer, on targets whose layers can be seen."""

import math
from collections.abc import Callable
from typing import Final

from pydantic import Field

from pocketcrafter.runtime.backends.base import LayerwiseBackend
from pocketcrafter.runtime.backends.names import BackendName
from pocketcrafter.runtime.backends.registry import usable_backend
from pocketcrafter.runtime.bundle.goldens import read_tensors
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Fidelity
from pocketcrafter.runtime.components import ComponentName
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.errors import BackendError, ConfigError

_SEEN: Final = frozenset({BackendName.MIL_INTERPRETER})


class DivergenceReport(Config):
    """What one artifact makes of its first golden."""

    target: str
    component: ComponentName
    unrounded: tuple[Fidelity, ...] = Field(
        description="Run without rounding, against the student: what is far off was converted wrongly. Weights that "
        "were quantized count, and so does the golden's float16."
    )
    layer: str | None = Field(description="The first layer whose declared type cannot hold its values; null for none.")
    operator: str | None
    sqnr_db: float | None = Field(description="Of that layer's output; null where it is not finite.")


def first_divergences(
    bundle: Bundle, progress: Callable[[str, int, int], None] = lambda *_: None
) -> tuple[DivergenceReport, ...]:
    """Look into every artifact of the targets whose backend sees layers.

    Raises
    ------
    ConfigError
        If the bundle has no such target.
    BackendError
        If the backend cannot run here.
    """
    targets = {name: entry.backend for name, entry in bundle.manifest.targets.items()}
    backends = {name: usable_backend(backend) for name, backend in targets.items() if backend in _SEEN}
    jobs = [(entry, name) for name in backends for entry in bundle.manifest.components]
    if not jobs:
        raise ConfigError(
            f"{bundle.path}: no target whose layers can be seen; coreml:<ios> and executorch-coreml are such. "
            f"The bundle has {', '.join(targets)}."
        )
    reports = []
    for done, (entry, name) in enumerate(jobs):
        progress(f"{entry.spec.name} on {name}", done, len(jobs))
        backend, golden = backends[name], entry.goldens[0]
        if not isinstance(backend, LayerwiseBackend):
            raise BackendError(f"The backend {targets[name]} sees no layers; update the package that provides it.")
        inputs = read_tensors(bundle.file(golden.inputs), entry.spec.inputs)
        student = read_tensors(bundle.file(golden.outputs), entry.spec.outputs)
        exact, found = backend.first_divergence(bundle.artifact(entry, name), entry.spec, inputs)
        reports.append(
            DivergenceReport(
                target=name,
                component=entry.spec.name,
                unrounded=tuple(Fidelity.between(output, student[output], exact[output]) for output in student),
                layer=found.layer if found else None,
                operator=found.kind if found else None,
                sqnr_db=found.sqnr_db if found and math.isfinite(found.sqnr_db) else None,
            )
        )
    progress("layers", len(jobs), len(jobs))
    return tuple(reports)
