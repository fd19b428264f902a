"""Runs a measurement in a process of its own, so that peak memory is the measurement's alone."""

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any


class EndedError(Exception):
    """A process ended without an answer."""

    def __init__(self, exitcode: int | None) -> None:
        super().__init__(f"the process ended with exit code {exitcode}")
        self.exitcode = exitcode


def in_fresh_process(measurement: Callable[..., None], *arguments: object) -> Any:  # noqa: ANN401 - what it sends
    """Return what a measurement sends into the `multiprocessing.connection.Connection` that it gets last.

    Parameters
    ----------
    measurement
        A function of a module, as the process is spawned.
    arguments
        What it gets before the connection; they are pickled.

    Raises
    ------
    EndedError
        If the process ends without sending anything.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=measurement, args=(*arguments, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError as error:
        process.join()
        raise EndedError(process.exitcode) from error
    finally:
        process.join()
