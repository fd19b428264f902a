"""The operators by idea; importing this registers them."""

from pocketcrafter.export.lower.mil_interpreter.ops import (  # noqa: F401 - each registers its operators
    convolution,
    elementwise,
    layout,
    reduction,
    values,
)
