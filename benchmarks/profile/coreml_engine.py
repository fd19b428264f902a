"""A census of a Core ML package: what it computes, layer by layer, where nothing here can run it as a phone does."""

from pocketcrafter.benchmarks.profile.engine import Profiled, Subject
from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.results import OpProfile
from pocketcrafter.export.lower.coreml.coverage import macs_of_op
from pocketcrafter.export.lower.coreml.lint import computing, types_of
from pocketcrafter.export.lower.mil_interpreter import read_package


def profile_coreml(subject: Subject) -> Profiled:
    """Count a package's operators.

    Raises
    ------
    BackendError
        If the package cannot be read.
    """
    function = read_package(subject.artifact).function()
    types = types_of(function)
    ops = []
    for op in computing(function):
        halves = [types[port.name].dtype.name == "fp16" for port in op.outputs if port.name in types]
        macs = macs_of_op(op, types)
        ops.append(
            OpProfile(
                op=op.kind,
                layer=op.layer,
                exact=True,
                kind=LayerKind.CONVOLUTION if "conv" in op.kind else LayerKind.LINEAR if macs else LayerKind.OTHER,
                macs=macs,
                ms=None,
                inside=all(halves),
            )
        )
    return Profiled(ops=tuple(ops), total_ms=None, engine="census of the MIL program, nothing was timed", runs=0)
