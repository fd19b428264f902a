"""Callbacks by which long work reports how far it is: libraries call them, command lines draw bars."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""

NamedProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done and how much there is."""
