"""The operators by idea; importing this registers them.

Operators are reached by `registry.call` alone: the function of each is private to its module, and what follows is the
contract of all of them (`registry.Operator`), beside the sentence that each has.

Parameters
----------
x, y, values, ...
    The operator's own parameters, by keyword, with the names, meanings and defaults of coremltools' reference of MIL
    operators (`mil_ops`). Tensors arrive as float32, int64 or bool on the CPU, scalars and lists of numbers too, as
    tensors; strings arrive as `str`, lists of tensors as tuples, a state as `values.State`. What an operator leaves out
    in its program is not passed.
axis, axes, begin, end, ...
    Axes and places count from the end where negative.
output_dtype, output_indices_dtype, validate_indices
    Change nothing: the interpreter holds every output to the type that the program declares for it, and indices are not
    examined before they are used.

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
