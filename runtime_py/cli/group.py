"""The root command: finds subcommands by name and imports each one only when it is asked for."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import Final

import click

ENTRY_POINTS: Final = "pocketcrafter.commands"
"""Entry-point group through which upper layers add commands; an entry's extras name what must be installed for it."""

_BUILT_IN: Final[Mapping[str, str]] = {
    "enhance": "pocketcrafter.runtime.cli.enhance:enhance_command",
    "critique": "pocketcrafter.runtime.cli.critique:critique_command",
    "inspect": "pocketcrafter.runtime.cli.bundle:inspect_command",
    "verify": "pocketcrafter.runtime.cli.bundle:verify_command",
    "doctor": "pocketcrafter.runtime.cli.bundle:doctor_command",
}


class LazyGroup(click.Group):
    """A group whose commands are built in or registered by other packages, and imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the runtime's own commands first, then those of the other packages in order of name."""
        del ctx
        return [*_BUILT_IN, *sorted(set(_registered()) - set(_BUILT_IN))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; one whose packages are missing becomes a command that says how to install them."""
        del ctx
        if cmd_name in _BUILT_IN:
            module, _, name = _BUILT_IN[cmd_name].partition(":")
            return _as_command(getattr(import_module(module), name), cmd_name)
        entry = _registered().get(cmd_name)
        if entry is None:
            return None
        try:
            return _as_command(entry.load(), cmd_name)
        except ImportError as error:
            return _uninstalled(cmd_name, entry, error)


@click.command("pocketcrafter", cls=LazyGroup, epilog="Example: pocketcrafter enhance holiday/*.jpg --sheet sheet.jpg")
@click.version_option(version("pocketcrafter"), prog_name="pocketcrafter")
def root() -> None:
    """Critique and enhance photos on the device, and build, prove and run the bundles that do it."""


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _as_command(loaded: object, name: str) -> click.Command:
    if not isinstance(loaded, click.Command):
        raise click.ClickException(f"'{name}' is registered as a command but is a {type(loaded).__name__}.")
    return _with_paragraphs(loaded)


def _with_paragraphs(command: click.Command) -> click.Command:
    """Turn a written-out backslash b, as raw docstrings have it, into click's mark for unwrapped paragraphs."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    for nested in command.commands.values() if isinstance(command, click.Group) else ():
        _with_paragraphs(nested)
    return command


def _uninstalled(name: str, entry: EntryPoint, error: ImportError) -> click.Command:
    extra = ",".join(entry.extras) or "build"
    install = f"pip install 'pocketcrafter[{extra}]'"

    @click.command(
        name,
        help=f"Not installed: {install}",
        short_help=f"(needs {install})",
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        del arguments
        usage = click.UsageError(f"`pocketcrafter {name}` needs packages that are not installed ({error}). {install}")
        raise usage

    return command
