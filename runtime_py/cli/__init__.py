"""The command line: ``pocketcrafter``."""

import os
import sys

import click

from pocketcrafter.runtime.cli.group import root
from pocketcrafter.runtime.errors import PocketCrafterError

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit: 0 ok, 1 a gate failed, 2 bad input or usage, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors meant for people go to stderr without a traceback."""
    try:
        code = root.main(args=arguments, prog_name="pocketcrafter", standalone_mode=False)
    except click.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PocketCrafterError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return code if isinstance(code, int) else 0
