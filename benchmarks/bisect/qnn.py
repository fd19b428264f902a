"""Looks into what QNN compiled: the same graph with its layers as outputs, compiled and run on the HTP emulator."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pocketcrafter.benchmarks.bisect.faults import Planted
from pocketcrafter.benchmarks.bisect.onnx_models import Exposed, expose, planted_in
from pocketcrafter.benchmarks.bisect.reference import Reference, Seen, Values
from pocketcrafter.export.lower.onnx.functions import fix_shapes
from pocketcrafter.runtime.arrays import FloatArray
from pocketcrafter.runtime.backends.qnn import QnnEmulatorBackend, run_qnn
from pocketcrafter.runtime.components import ComponentSpec
from pocketcrafter.runtime.errors import BackendError, NotRunHereError
from pocketcrafter.runtime.fidelity import sqnr_db
from pocketcrafter.runtime.targets import HTP_ARCHITECTURES, SOC_IDS, Soc

_SAME_DB: Final = 40.0
"""The HTP rounds a layer otherwise where it is not fused with the next; another graph gives another answer."""


class CompiledGraph:
    """The graph that a context binary was compiled from.

    Parameters
    ----------
    graph
        An ONNX model, with QDQ pairs where it is quantized.
    socs
        What it was compiled for; the first one's HTP is emulated.
    """

    def __init__(self, graph: Path, socs: Sequence[Soc]) -> None:
        self._graph, self._socs = graph, socs
        self._emulated = {SOC_IDS[socs[0]]: HTP_ARCHITECTURES[socs[0]]}

    def observe(
        self, artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference
    ) -> Values:
        """Compile the graph with its layers as outputs and run it on the emulator.

        Parameters
        ----------
        artifact
            The context binary, whose answers the graph must give.
        spec, inputs, reference
            As for :data:`pocketcrafter.benchmarks.bisect.runtimes.Observe`.

        Raises
        ------
        BackendError
            If QNN cannot compile or run it, or it does not answer as the artifact does.
        """
        made = self._observed(self._of(spec), spec, inputs, reference)
        alone = self._answer(artifact, spec, inputs)
        for name, value in alone.items():
            if (ratio := sqnr_db(value, made[name].value)) < _SAME_DB:
                raise BackendError(
                    f"{spec.name}: {self._graph} is not what {artifact.name} was compiled from: with its layers as "
                    f"outputs, `{name}` is {ratio:.1f} dB from the artifact's. Give the graph of the same build."
                )
        return made

    def _answer(self, artifact: Path, spec: ComponentSpec, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        # The emulator runs no file for several systems-on-chip, and none of several functions that share their weights:
        # the graph is compiled for one.
        with suppress(NotRunHereError):
            if len(self._socs) == 1:
                return QnnEmulatorBackend().open(artifact, spec, 1).run(inputs)
        return self._run(self._of(spec), spec, inputs)

    def plant(
        self, artifact: Path, spec: ComponentSpec, reference: Reference, inputs: Mapping[str, FloatArray]
    ) -> Iterator[Planted]:
        """Yield every fault that can be planted in the graph before it is compiled.

        Parameters
        ----------
        artifact
            Not read: a context binary cannot be changed.
        spec, reference, inputs
            Its contract, the network that it was made of, and what it is run on.
        """
        del artifact
        model = self._of(spec)
        return planted_in(model, reference, lambda changed: self._observed(changed, spec, inputs, reference))

    def _of(self, spec: ComponentSpec) -> onnx.ModelProto:
        """Return the graph; one of free axes, for several functions, with the shapes of the default one."""
        model = onnx.load(self._graph)
        if spec.functions:
            fix_shapes(model, spec)
        return model

    def _run(
        self, model: onnx.ModelProto, spec: ComponentSpec, inputs: Mapping[str, FloatArray]
    ) -> dict[str, FloatArray]:
        feeds = {tensor.name: inputs[tensor.name] for tensor in spec.inputs}
        with tempfile.TemporaryDirectory(prefix="pocketcrafter-bisect-") as folder:
            path = Path(folder) / "graph.onnx"
            onnx.save(model, path)
            return run_qnn(path, [feeds], socs=self._emulated)[1][0]

    def _observed(
        self, model: onnx.ModelProto, spec: ComponentSpec, inputs: Mapping[str, FloatArray], reference: Reference
    ) -> Values:
        shown = expose(model, reference)
        quantized = any(value.scale for value in shown.values())
        if quantized:
            # Floats between the pairs are within one integer operator of the HTP, which showing them would break up.
            shown = {name: value for name, value in shown.items() if value.scale}
        outputs = {output.name for output in model.graph.output}
        wanted = {value.name for value in shown.values()} - outputs
        model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted)
        made = self._run(onnx.shape_inference.infer_shapes(model), spec, inputs)
        held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        answer = {tensor.name: Seen(made[tensor.name]) for tensor in spec.outputs}
        return {**answer, **{name: _seen(made[value.name], value, held) for name, value in shown.items()}}


def _seen(made: FloatArray, value: Exposed, held: Mapping[str, np.ndarray]) -> Seen:
    scale = held.get(value.scale or "")
    return Seen(made, 0.0 if scale is None else float(scale.max()))
