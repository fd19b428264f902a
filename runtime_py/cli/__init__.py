"""The command line: ``pocketcrafter``."""

import json
import sys
from collections.abc import Callable

import click

from pocketcrafter.runtime.cli.group import root
from pocketcrafter.runtime.cli.options import JSON
from pocketcrafter.runtime.cli.report import error_document
from pocketcrafter.runtime.cli.streams import (
    OutputError,
    ReaderLeftError,
    divert,
    open_streams,
    silence,
    watched_output,
)
from pocketcrafter.runtime.errors import PocketCrafterError, StorageError
from pocketcrafter.runtime.files import FAILURES, storage_error

INTERRUPTED = 130
READER_LEFT = 141
"""What a shell reports of a program that ends because its output was closed."""
_NO_TEMPORARY_FOLDER = "No usable temporary directory"
"""What `tempfile` says, as a `FileNotFoundError`, when it can write into none of the folders that it tries."""


def main() -> None:
    """Run the command line and exit: 0 ok, 1 a gate failed, 2 bad input or usage, 130 interrupted."""
    open_streams()
    sys.exit(run(sys.argv[1:], divert))


def run(arguments: list[str], divert_libraries: Callable[[], None] | None = None) -> int:
    """Run one command and return its exit code; errors meant for people go to stderr without a traceback.

    Programs that ask for JSON get one document on stdout whatever happens: the command's own, or, where it ended before
    it printed any, that of the error.

    Parameters
    ----------
    arguments
        Words of the command line.
    divert_libraries
        Called before a command runs, unless it is told to be verbose; it changes this process for good.
    """
    with watched_output() as output:
        code, error = _outcome(
            lambda: root.main(args=arguments, prog_name="pocketcrafter", standalone_mode=False, obj=divert_libraries)
        )
        if error is not None and JSON in arguments and not output.written:
            _outcome(lambda: click.echo(json.dumps(error_document(error), indent=1)))
        # What was printed is part of the result, and may not fit where it goes.
        printed, _ = _outcome(sys.stdout.flush)
    return code or printed


def _outcome(command: Callable[[], object]) -> tuple[int, Exception | None]:
    """Return a command's exit code, and the error that it ended with, which has been told on stderr."""
    try:
        code = command()
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED, click.Abort("interrupted")
    except click.ClickException as error:
        error.show()
        return error.exit_code, error
    except ReaderLeftError:
        silence()
        return READER_LEFT, None
    except (PocketCrafterError, OSError) as error:
        typed = _typed(error)
        if isinstance(typed, OutputError):
            silence()
        click.echo(f"error: {typed}", err=True)
        return typed.exit_code, typed
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code)), None
    return code if isinstance(code, int) else 0, None


def _typed(error: PocketCrafterError | OSError) -> PocketCrafterError:
    """Return a failure to write as one of our own; other errors of the system are defects, and raised."""
    if isinstance(error, PocketCrafterError):
        return error
    if str(error.strerror).startswith(_NO_TEMPORARY_FOLDER):
        return StorageError(f"{error.strerror}: make room in one of them, or set TMPDIR to one that has it.")
    if error.errno not in FAILURES:
        raise error
    return storage_error(str(error.filename or "a file"), error)
