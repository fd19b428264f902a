"""Reads an ``.mlpackage`` into a :class:`Program` as it lies on disk: coremltools infers no value and no shape here.

Its weight file is a 64-byte header, then for each tensor a 64-byte record (sentinel, type, bytes, offset, padding bits)
and its data; a program names the record's offset. Elements smaller than a byte lie in one little-endian stream of bits.
"""

import importlib
import json
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.program import (
    Constant,
    DType,
    Function,
    Kind,
    MilError,
    Name,
    Op,
    Port,
    Program,
    TensorType,
    dtype_of,
)

_RECORD: Final = struct.Struct("<IIQQQ")
_SENTINEL: Final = 0xDEADBEEF
_DATA: Final = "Data"
_MODEL_PATH: Final = "@model_path/"
_IN_BYTES: Final = frozenset({"fp16", "int8", "uint8", "uint32", "int4", "uint4", "uint6", "uint3", "uint2", "uint1"})
"""Element types whose immediate values are raw bytes."""


def read_blob(path: Path, offset: int, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """Read one tensor.

    Parameters
    ----------
    path
        The weight file.
    offset
        Where its record begins, in bytes.
    dtype, shape
        What the program declares.

    Returns
    -------
    torch.Tensor
        float32, int64 or bool, of ``shape``.

    Raises
    ------
    MilError
        If the file has no such record, or the record's size is not the declared one.
    """
    data = np.memmap(path, np.uint8, "r")
    if offset < 0 or offset + _RECORD.size > len(data):
        raise MilError(f"{path}: no tensor begins at byte {offset}: the file has {len(data)} bytes.")
    sentinel, _, size, start, _ = _RECORD.unpack(data[offset : offset + _RECORD.size].tobytes())
    if sentinel != _SENTINEL:
        raise MilError(f"{path}: no tensor begins at byte {offset}.")
    elements = int(np.prod(shape, dtype=np.int64))
    if size < (elements * dtype.bits + 7) // 8 or start + size > len(data):
        raise MilError(f"{path}: the tensor at byte {offset} has {size} bytes; {elements} × {dtype.name} need more.")
    return decode(data[start : start + size], dtype, elements).reshape(shape)


def decode(raw: np.ndarray[tuple[int], np.dtype[np.uint8]], dtype: DType, elements: int) -> Tensor:
    """Return the first ``elements`` values of raw bytes, as float32, int64 or bool.

    Parameters
    ----------
    raw
        Bytes of the blob.
    dtype
        Declared type of the elements.
    elements
        Number of elements.
    """
    if dtype.bits < 8:
        return torch.from_numpy(_unpacked(raw, dtype, elements))
    letter = {Kind.FLOAT: "f", Kind.BOOL: "u", Kind.INTEGER: "i" if dtype.signed else "u"}[dtype.kind]
    width = dtype.bits // 8
    values = np.frombuffer(raw[: elements * width].tobytes(), f"<{letter}{width}")
    if dtype.kind is Kind.FLOAT:
        return torch.from_numpy(values.astype(np.float32))
    return torch.from_numpy(values.astype(np.bool_ if dtype.kind is Kind.BOOL else np.int64))


def _unpacked(
    raw: np.ndarray[tuple[int], np.dtype[np.uint8]], dtype: DType, elements: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    bits = np.unpackbits(raw, bitorder="little")[: elements * dtype.bits].reshape(elements, dtype.bits)
    weights = 1 << np.arange(dtype.bits, dtype=np.int64)
    if dtype.signed:
        weights[-1] *= -1
    return bits.astype(np.int64) @ weights


def read_package(path: Path) -> Program:
    """Read a package.

    Parameters
    ----------
    path
        An ``.mlpackage`` folder that holds an ML Program.

    Raises
    ------
    MilError
        If it is no such package, is damaged, names a file outside itself, or coremltools, which has the file format's
        schema, is not installed.
    """
    file = _model_file(path)
    model = _schema().Model()
    try:
        model.ParseFromString(file.read_bytes())
    except Exception as error:  # protobuf's implementations share no error class
        raise MilError(f"{file}: not a Core ML model: {error}") from error
    if model.WhichOneof("Type") != "mlProgram":
        raise MilError(f"{path}: holds a {model.WhichOneof('Type')}, not an ML Program: convert to `mlprogram`.")
    reader = _Reader(file.parent)
    functions = {name: reader.function(name, proto) for name, proto in model.mlProgram.functions.items()}
    return Program(functions=functions, default=model.description.defaultFunctionName or "main")


def _schema() -> Any:  # noqa: ANN401 - generated module
    try:
        return importlib.import_module("coremltools.proto.Model_pb2")
    except ImportError as error:
        raise MilError("Reading .mlpackage needs coremltools: pip install 'pocketcrafter[coreml]'") from error


def _model_file(path: Path) -> Path:
    try:
        manifest = json.loads((path / "Manifest.json").read_text(encoding="utf-8"))
        item = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MilError(f"{path}: not an .mlpackage: its Manifest.json names no model ({error!r}).") from error
    return _inside(path / _DATA, str(item))


def _inside(folder: Path, named: str) -> Path:
    file = (folder / named).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise MilError(f"{folder}: the package names `{named}`, which is no file inside it.")
    return file


class _Reader:
    """Turns protobuf messages into plain data; ``folder`` holds the model file and its weights."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._blobs: dict[tuple[Path, int, TensorType], Tensor] = {}
        """Functions of one package read the same weights: each is held once."""

    def function(self, name: str, proto: Any) -> Function:  # noqa: ANN401 - protobuf
        block = proto.block_specializations[proto.opset]
        return Function(
            name=name,
            inputs=tuple(_port(i) for i in proto.inputs if i.type.WhichOneof("type") != "stateType"),
            states=tuple(_port(i) for i in proto.inputs if i.type.WhichOneof("type") == "stateType"),
            ops=tuple(self._op(op) for op in block.operations),
            outputs=tuple(block.outputs),
        )

    def _op(self, proto: Any) -> Op:  # noqa: ANN401 - protobuf
        outputs = tuple(_port(o) for o in proto.outputs)
        if proto.blocks:
            raise MilError(f"`{outputs[0].name}` ({proto.type}): operators with nested blocks cannot be interpreted.")
        # Old compression operators keep their parameters as attributes, all others as inputs.
        attributes = {key: (self._value(v),) for key, v in proto.attributes.items() if key != "name"}
        inputs = {key: tuple(self._binding(b) for b in v.arguments) for key, v in proto.inputs.items()}
        return Op(kind=proto.type, inputs={**attributes, **inputs}, outputs=outputs)

    def _binding(self, proto: Any) -> Name | Constant:  # noqa: ANN401 - protobuf
        return Name(proto.name) if proto.WhichOneof("binding") == "name" else self._value(proto.value)

    def _value(self, proto: Any) -> Constant:  # noqa: ANN401 - protobuf
        if proto.WhichOneof("value") == "blobFileValue":
            return self._blob(proto)
        immediate = proto.immediateValue
        if immediate.WhichOneof("value") == "list":
            return tuple(self._value(v) for v in immediate.list.values)
        declared = _tensor_type(proto.type)
        if declared is None or immediate.WhichOneof("value") != "tensor":
            raise MilError(f"The program has a constant of kind {immediate.WhichOneof('value')}: not known.")
        return _immediate(immediate.tensor, declared)

    def _blob(self, proto: Any) -> Tensor:  # noqa: ANN401 - protobuf
        blob, declared = proto.blobFileValue, _tensor_type(proto.type)
        if not blob.fileName.startswith(_MODEL_PATH) or declared is None:
            raise MilError(f"The program keeps a constant in `{blob.fileName}`, which is no file of the package.")
        file = _inside(self._folder, blob.fileName.removeprefix(_MODEL_PATH))
        place = file, int(blob.offset), declared
        if place not in self._blobs:
            self._blobs[place] = read_blob(file, blob.offset, declared.dtype, _static(declared))
        return self._blobs[place]


def _immediate(tensor: Any, declared: TensorType) -> Tensor | str:  # noqa: ANN401 - protobuf
    shape, field = _static(declared), tensor.WhichOneof("value")
    values = getattr(tensor, field).values if field else []
    if declared.dtype.kind is Kind.STRING:
        return str(values[0])
    if declared.dtype.name in _IN_BYTES and isinstance(values, bytes):
        raw = np.frombuffer(values, np.uint8)
        return decode(raw, declared.dtype, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    held = {Kind.FLOAT: torch.float32, Kind.INTEGER: torch.int64, Kind.BOOL: torch.bool}[declared.dtype.kind]
    return torch.tensor(list(values), dtype=held).reshape(shape)


def _static(declared: TensorType) -> tuple[int, ...]:
    if declared.shape is None or None in declared.shape:
        raise MilError(f"The program has a constant of unknown shape {declared}.")
    return tuple(n for n in declared.shape if n is not None)


def _port(proto: Any) -> Port:  # noqa: ANN401 - protobuf
    return Port(proto.name, _tensor_type(proto.type))


def _tensor_type(proto: Any) -> TensorType | None:  # noqa: ANN401 - protobuf
    if proto.WhichOneof("type") == "stateType":
        return _tensor_type(proto.stateType.wrappedType)
    if proto.WhichOneof("type") != "tensorType":
        return None
    tensor = proto.tensorType
    axes = tuple(int(d.constant.size) if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions)
    return TensorType(dtype_of(tensor.dataType), axes if tensor.rank >= 0 else None)
