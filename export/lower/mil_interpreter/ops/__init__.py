"""The operators by idea; importing this registers them.

Every function here is a MIL operator, and this is its contract beside its own sentence.

Parameters
----------
x, y, values, ...
    The operator's own parameters, by MIL's names, with MIL's meaning and defaults (`mil_ops` of coremltools'
    reference). Tensors arrive as float32, int64 or bool on the CPU, scalars and lists of numbers too, as tensors;
    strings arrive as `str`, lists of tensors as tuples. What an operator leaves out in its program is not passed.

Returns
-------
torch.Tensor or tuple of torch.Tensor
    In float32, int64 or bool, of the shape that the operator defines; a tuple where it has several outputs, in MIL's
    order. No argument is changed but a `State`.

Raises
------
MilError
    If the arguments contradict each other, or ask for a mode that is not interpreted.
DeclaredTypeError
    If a state is written with another shape than it has.
RuntimeError, ValueError, IndexError, TypeError
    If torch cannot compute it; `registry.call` tells these as a `MilError` that names the layer.
"""

from pocketcrafter.export.lower.mil_interpreter.ops import (  # noqa: F401 - each registers its operators
    convolution,
    elementwise,
    layout,
    reduction,
    values,
)
