"""Groups of commands: each command is imported only when it is asked for, and imports what it works with when it runs.

``--help`` of a group imports all its commands for their summaries, so modules of commands must be light: what takes
longer than click and pydantic is imported inside functions.
"""

import difflib
import importlib.util
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, ClassVar, Final

import click

from pocketcrafter.runtime.cli.streams import show

ENTRY_POINTS: Final = "pocketcrafter.commands"
"""Entry-point group through which upper layers add commands; an entry's extras name what must be installed for it."""

_BUILT_IN: Final[Mapping[str, str]] = {
    "enhance": "pocketcrafter.runtime.cli.enhance:enhance_command",
    "critique": "pocketcrafter.runtime.cli.critique:critique_command",
    "inspect": "pocketcrafter.runtime.cli.bundle:inspect_command",
    "split": "pocketcrafter.runtime.cli.bundle:split_command",
    "export-vectors": "pocketcrafter.runtime.cli.apps:vectors_command",
    "shippable": "pocketcrafter.runtime.cli.apps:shippable_command",
    "verify": "pocketcrafter.runtime.cli.bundle:verify_command",
    "doctor": "pocketcrafter.runtime.cli.bundle:doctor_command",
}
_SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Use a bundle": ("enhance", "critique", "inspect", "verify", "split", "shippable", "export-vectors", "doctor"),
    "Build one": ("build", "quantize"),
    "Measure it": ("bench", "bisect", "reference", "report", "device"),
    "Train networks": ("data", "teacher", "train", "distill"),
}
_OTHERS: Final = "Others"
_WIDTH: Final = 110
_HEAVY: Final = "torch"
"""Whoever has it has installed more than the runtime."""


class LazyGroup(click.Group):
    """A group that imports a command only when it is run or its help is shown."""

    lazy: ClassVar[Mapping[str, str]]
    """``module:object`` of each command by name, in the order of the help."""
    extra: ClassVar[str] = "build"
    """The extra with what the commands need."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        del ctx
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; one whose packages are missing becomes a command that says how to install them."""
        entry = self.entry(cmd_name)
        return None if entry is None else _loaded(ctx, entry)

    def entry(self, name: str) -> EntryPoint | None:
        """Return where a command is, and what must be installed for it."""
        return EntryPoint(name, f"{self.lazy[name]} [{self.extra}]", ENTRY_POINTS) if name in self.lazy else None

    def sections(self, ctx: click.Context) -> Mapping[str, Iterable[str]]:
        """Return the commands' names by heading of the help."""
        return {"Commands": self.list_commands(ctx)}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with its whole summary; click would cut it off."""
        width = max(map(len, self.list_commands(ctx)))
        for heading, names in self.sections(ctx).items():
            commands = {name: self.get_command(ctx, name) for name in names}
            rows = [(f"{name:<{width}}", _summary(command)) for name, command in commands.items() if command]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called for; of an unknown one, tell the nearest.

        Raises
        ------
        click.UsageError
            If there is none of that name.
        """
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise click.UsageError(f"No such command '{name}'.{_did_you_mean(name, self.list_commands(ctx))}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's
        """Run the command that was called for; where a package is missing, tell how to install it.

        Raises
        ------
        click.NoSuchOption
            If an option is not known; one that other commands have for what is an argument here gets a hint.
        click.UsageError
            If a package is missing that the command needs.
        """
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise _led_to_argument(error) from error
        except ModuleNotFoundError as error:
            if (error.name or "pocketcrafter").startswith("pocketcrafter"):
                raise
            called = ctx.invoked_subcommand or ""
            raise _not_installed(f"{ctx.command_path} {called}", self.entry(called), error) from error


class _Root(LazyGroup):
    """The commands of the runtime, and those that other packages registered."""

    lazy = _BUILT_IN

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(set(_registered()) - set(self.lazy))]

    def entry(self, name: str) -> EntryPoint | None:
        return super().entry(name) or _registered().get(name)

    def sections(self, ctx: click.Context) -> Mapping[str, Iterable[str]]:
        here = self.list_commands(ctx)
        sections = {heading: [n for n in names if n in here] for heading, names in _SECTIONS.items()}
        placed = {name for names in sections.values() for name in names}
        return _with_installs(sections) | {_OTHERS: [name for name in here if name not in placed]}


@click.command(
    "pocketcrafter",
    cls=_Root,
    epilog="Example: pocketcrafter enhance holiday/*.jpg --sheet sheet.jpg",
    context_settings={"max_content_width": _WIDTH},
)
@click.version_option(version("pocketcrafter"), prog_name="pocketcrafter")
def root() -> None:
    """Critique and enhance photos on the device, and build, prove and run the bundles that do it."""


def _registered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


def _with_installs(sections: Mapping[str, Iterable[str]]) -> dict[str, Iterable[str]]:
    if importlib.util.find_spec(_HEAVY) is not None:
        return dict(sections)
    use, *others = sections
    return {use: sections[use], **{f"{o} (pip install 'pocketcrafter[build]')": sections[o] for o in others}}


def _loaded(ctx: click.Context, entry: EntryPoint) -> click.Command:
    try:
        loaded = entry.load()
    except ImportError as error:
        return _uninstalled(f"{ctx.command_path} {entry.name}", entry, error)
    if not isinstance(loaded, click.Command):
        raise click.ClickException(f"'{entry.name}' is registered as a command but is a {type(loaded).__name__}.")
    return _prepared(loaded)


def _prepared(command: click.Command) -> click.Command:
    """Give a command what all have: ``--verbose``, ``-o`` where there is ``--out``, suggestions for choices, and help.

    Help keeps its own line breaks.
    """
    # Raw docstrings have click's mark for unwrapped paragraphs written out.
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    if isinstance(command, click.Group):
        # Those of a lazy group have their turn when they are imported.
        for nested in command.commands.values():
            _prepared(nested)
        return command
    for parameter in command.params:
        if type(parameter.type) is click.Choice:
            parameter.type = _Choice(parameter.type.choices, parameter.type.case_sensitive)
        if parameter.opts == [OUT]:
            parameter.opts = [SHORT_OUT, OUT]
    if all(parameter.name != "verbose" for parameter in command.params):
        command.params.append(_verbose())
    return command


OUT: Final = "--out"
SHORT_OUT: Final = "-o"


class _Choice(click.Choice[Any]):
    """A choice that suggests the nearest one."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:  # noqa: ANN401 - click's
        """See :class:`click.Choice`."""
        return super().get_invalid_choice_message(value, ctx) + _did_you_mean(str(value), map(str, self.choices))


def _verbose() -> click.Option:
    return click.Option(
        ["--verbose"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_hear_libraries,
        help="Show what libraries log; else it goes into the file that `doctor` names.",
    )


def _hear_libraries(ctx: click.Context, param: click.Parameter, verbose: bool) -> None:
    del param
    if verbose:
        show()
    elif (divert := ctx.find_root().obj) is not None:
        divert()


def _summary(command: click.Command) -> str:
    return command.get_short_help_str(limit=1000)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _led_to_argument(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return the error that leads from an option to the argument of that name, where the command has one."""
    if (context := error.ctx) is not None:
        for parameter in context.command.params:
            if isinstance(parameter, click.Argument) and f"--{parameter.name}" == error.option_name:
                usage = f"{context.command_path} {parameter.make_metavar(context)}"
                told = f"No such option '{error.option_name}': give the path alone, {usage}"
                return click.NoSuchOption(error.option_name, told, ctx=context)
    return error


def _not_installed(path: str, entry: EntryPoint | None, error: ImportError) -> click.UsageError:
    return click.UsageError(f"`{path}` needs packages that are not installed ({error}). {_install(entry)}")


def _install(entry: EntryPoint | None) -> str:
    return f"pip install 'pocketcrafter[{','.join(entry.extras if entry else ()) or 'build'}]'"


def _uninstalled(path: str, entry: EntryPoint, error: ImportError) -> click.Command:
    @click.command(
        entry.name,
        help=f"Not installed: {_install(entry)}",
        short_help=f"(needs {_install(entry)})",
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        del arguments
        raise _not_installed(path, entry, error)

    return command
