"""The command line: ``pocketcrafter``."""

import sys
from collections.abc import Callable

import click

from pocketcrafter.runtime.cli.group import root
from pocketcrafter.runtime.cli.libraries import divert
from pocketcrafter.runtime.cli.streams import OutputError, ReaderLeftError, open_streams, silence
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

    Parameters
    ----------
    arguments
        Words of the command line.
    divert_libraries
        Called before a command runs, unless it is told to be verbose; it changes this process for good.
    """
    code = _code_of(
        lambda: root.main(args=arguments, prog_name="pocketcrafter", standalone_mode=False, obj=divert_libraries)
    )
    # What was printed is part of the result, and may not fit where it goes.
    printed = _code_of(sys.stdout.flush)
    return code or printed


def _code_of(command: Callable[[], object]) -> int:
    try:
        code = command()
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ReaderLeftError:
        silence()
        return READER_LEFT
    except (PocketCrafterError, OSError) as error:
        return _told(error)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return code if isinstance(code, int) else 0


def _told(error: PocketCrafterError | OSError) -> int:
    if isinstance(error, OSError):
        if str(error.strerror).startswith(_NO_TEMPORARY_FOLDER):
            return _told(StorageError(f"{error.strerror}: make room in one of them, or set TMPDIR to one that has it."))
        if error.errno not in FAILURES:
            raise error
        error = storage_error(str(error.filename or "a file"), error)
    if isinstance(error, OutputError):
        silence()
    click.echo(f"error: {error}", err=True)
    return error.exit_code
