"""States: memory that outlives a run, such as a key-value cache."""

from dataclasses import dataclass

from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.errors import DeclaredTypeError
from pocketcrafter.export.lower.mil_interpreter.registry import op


@dataclass
class State:
    """What one state holds now."""

    value: Tensor


@op("read_state")
def read_state(input: State) -> Tensor:  # noqa: A002 - MIL's own parameter name
    """Give what the state holds."""
    return input.value.clone()


@op("write_state")
def write_state(input: State, data: Tensor) -> tuple[()]:  # noqa: A002 - MIL's own parameter name
    """Replace what the state holds."""
    if data.shape != input.value.shape:
        raise DeclaredTypeError(f"a state of shape {list(input.value.shape)} is written with {list(data.shape)}")
    input.value = data.clone()
    return ()
