"""What a bundle's targets weigh beside the weights that their networks were made from."""

import math
from collections.abc import Iterator

from safetensors import safe_open

from pocketcrafter.benchmarks.latency.competitors import weights_of
from pocketcrafter.benchmarks.latency.results import TargetSize
from pocketcrafter.runtime.bundle.reader import Bundle

_FLOAT_BYTES = 4


def target_sizes(bundle: Bundle) -> Iterator[TargetSize]:
    """Yield the size of every target's artifacts and that of the same networks' weights in float32.

    Raises
    ------
    BackendError
        If the weights are not installed, or are not those that the bundle was built from.
    """
    entries = bundle.manifest.components
    weights = 0
    for entry in entries:
        with safe_open(weights_of(bundle, entry), "np") as stored:
            weights += sum(_FLOAT_BYTES * math.prod(stored.get_slice(key).get_shape()) for key in stored.keys())  # noqa: SIM118
    for target in bundle.manifest.targets:
        yield TargetSize(
            target=target,
            artifact_bytes=sum(bundle.manifest.artifact_bytes(entry.artifacts[target]) for entry in entries),
            float32_bytes=weights,
        )
