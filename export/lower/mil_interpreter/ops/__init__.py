"""The operators by family; importing this registers them."""

from pocketcrafter.export.lower.mil_interpreter.ops import (  # noqa: F401 - each registers its operators
    activation,
    arithmetic,
    attention,
    compressed,
    constant,
    convolution,
    gathering,
    layout,
    normalization,
    pooling,
    reduction,
    resizing,
    slicing,
    state,
)
