"""The root command: finds subcommands by name and imports each one only when it is asked for."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points, version
from typing import ClassVar, Final

import click

ENTRY_POINTS: Final = "pocketcrafter.commands"
"""Entry-point group through which upper layers add commands; an entry's extras name what must be installed for it."""

_BUILT_IN: Final[Mapping[str, str]] = {
    "enhance": "pocketcrafter.runtime.cli.enhance:enhance_command",
    "critique": "pocketcrafter.runtime.cli.critique:critique_command",
    "inspect": "pocketcrafter.runtime.cli.bundle:inspect_command",
    "split": "pocketcrafter.runtime.cli.bundle:split_command",
    "verify": "pocketcrafter.runtime.cli.bundle:verify_command",
    "doctor": "pocketcrafter.runtime.cli.bundle:doctor_command",
}


class LazyGroup(click.Group):
    """A group that imports a command only when it is run or its help is shown."""

    lazy: ClassVar[Mapping[str, str]]
    """``module:object`` of each command by name, in the order of the help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        del ctx
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; one whose packages are missing becomes a command that says how to install them."""
        if cmd_name not in self.lazy:
            return None
        return _loaded(ctx, EntryPoint(cmd_name, self.lazy[cmd_name], ENTRY_POINTS))


class _Root(LazyGroup):
    """The commands of the runtime, and those that other packages registered."""

    lazy = _BUILT_IN

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(set(_registered()) - set(self.lazy))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if command := super().get_command(ctx, cmd_name):
            return command
        entry = _registered().get(cmd_name)
        return _loaded(ctx, entry) if entry else None


@click.command("pocketcrafter", cls=_Root, epilog="Example: pocketcrafter enhance holiday/*.jpg --sheet sheet.jpg")
@click.version_option(version("pocketcrafter"), prog_name="pocketcrafter")
def root() -> None:
    """Critique and enhance photos on the device, and build, prove and run the bundles that do it."""


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _loaded(ctx: click.Context, entry: EntryPoint) -> click.Command:
    try:
        loaded = entry.load()
    except ImportError as error:
        return _uninstalled(f"{ctx.command_path} {entry.name}", entry, error)
    if not isinstance(loaded, click.Command):
        raise click.ClickException(f"'{entry.name}' is registered as a command but is a {type(loaded).__name__}.")
    return _with_paragraphs(loaded)


def _with_paragraphs(command: click.Command) -> click.Command:
    """Turn a written-out backslash b, as raw docstrings have it, into click's mark for unwrapped paragraphs."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    # Those of a lazy group have their turn when they are imported.
    for nested in command.commands.values() if isinstance(command, click.Group) else ():
        _with_paragraphs(nested)
    return command


def _uninstalled(path: str, entry: EntryPoint, error: ImportError) -> click.Command:
    extra = ",".join(entry.extras) or "build"
    install = f"pip install 'pocketcrafter[{extra}]'"

    @click.command(
        entry.name,
        help=f"Not installed: {install}",
        short_help=f"(needs {install})",
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        del arguments
        usage = click.UsageError(f"`{path}` needs packages that are not installed ({error}). {install}")
        raise usage

    return command
