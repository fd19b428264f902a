"""Torch modules by their qualified names, as recipes name them, and the outputs of a forward pass as a tuple."""

from typing import Any

from torch import Tensor, nn

from pocketcrafter.runtime.errors import ConfigError


def is_within(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a qualified name is one of the modules, or lies below one of them."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def check_modules(model: nn.Module, names: tuple[str, ...], key: str = "keep_fp32") -> None:
    """Refuse names that a model has no module of.

    Parameters
    ----------
    model
        Whose modules are looked through.
    names
        Qualified names.
    key
        The recipe's key that states them, for the message.

    Raises
    ------
    ConfigError
        With those names.
    """
    known = {name for name, _ in model.named_modules()} - {""}
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{key} names no module of {type(model).__name__}: {', '.join(unknown)}.")


def outputs_of(result: Any) -> tuple[Tensor, ...]:  # noqa: ANN401 - whatever a forward returns
    """Return a forward's result, a tensor or a (named) tuple or list of tensors, as a tuple."""
    return (result,) if isinstance(result, Tensor) else tuple(result)
