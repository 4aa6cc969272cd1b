"""The Typer application, built from the definition: usage errors, and all that the fast parser declines.

Typer splits the words; options.resolve() turns them into values, for both parsers. Help comes from help_pages.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NoReturn

import typer
import typer.core
import typer.main

from mk.cli import definition, help_pages
from mk.cli.definition import Command, Parameter
from mk.cli.options import Options, resolve, see_help
from mk.errors import UsageError
from mk.near_names import did_you_mean

# Typer 0.26 carries its own copy of Click, older ones import it: the base class is reached through a public name.
_ClickUsageError: Any = typer.BadParameter.__mro__[1]


class _Command(typer.core.TyperCommand):
    """A command whose usage errors know where they happened."""

    def parse_args(self, ctx: Any, args: "list[str]") -> "list[str]":
        try:
            return super().parse_args(ctx, args)
        except _ClickUsageError as error:
            error.ctx = error.ctx or ctx
            raise


class _Group(typer.core.TyperGroup):
    """A group that does so too, and names the nearest command when there is none such."""

    def parse_args(self, ctx: Any, args: "list[str]") -> "list[str]":
        try:
            return super().parse_args(ctx, args)
        except _ClickUsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def resolve_command(self, ctx: Any, args: "list[str]") -> Any:
        if args[0] not in self.commands:
            default = definition.command_of_words(tuple(ctx.command_path.split()[1:]))
            if default is not None:
                return super().resolve_command(ctx, [default.path[-1], *args])
            raise UsageError(
                f"there is no command {args[0]}",
                fix=did_you_mean(args[0], self.commands) or f"it is {_one_of(self.commands)}",
            )
        return super().resolve_command(ctx, args)


class Application:
    """The Typer application; parses any number of command lines."""

    def __init__(self) -> None:
        self._path: tuple[str, ...] = ()
        self._given: dict[str, list[str]] = {}
        self._command = self._build()

    def parse(self, arguments: Sequence[str], environ: Mapping[str, str]) -> "Options | int":
        """Return the Options that `arguments` ask for, or an exit status when all is done (help, version).

        Raises:
            UsageError: there is no such command or option, or a value is not what it should be.
        """
        if not arguments:
            print(help_pages.page(definition.ROOT), end="", file=sys.stderr)
            return UsageError.exit_status
        self._path = ()
        self._given = {}
        try:
            with self._command.make_context("mk", list(arguments)) as context:
                self._command.invoke(context)
        except typer.Exit as done:
            return done.exit_code
        except _ClickUsageError as error:
            _raise_usage_error(error)
        group = definition.group_at(self._path)
        command = definition.command_at((*self._path, group.default) if group else self._path)
        if command is None:
            raise UsageError(f"`{' '.join(('mk', *self._path))}` needs a command", fix=see_help(self._path))
        known = {parameter.name for parameter in command.parameters}
        for parameter in definition.GLOBAL_OPTIONS:
            if parameter.name in self._given and parameter.name not in known:
                raise UsageError(
                    f"{parameter.flags[-1]} means nothing to `mk {' '.join(command.path)}`", fix=see_help(command.path)
                )
        return resolve(command, self._given, environ)

    def _build(self) -> Any:
        root = self._group(definition.ROOT)
        levels = definition.commands()
        groups = {level.path: self._group(level) for level in levels if not level.run}
        for path, group in groups.items():
            root.add_typer(group, name=path[-1])
        for command in levels:
            if not command.run:
                continue
            parent = groups.get(command.path[:-1], root)
            parent.command(command.path[-1], cls=_Command, add_help_option=False)(self._callback(command))
        return typer.main.get_command(root)

    def _group(self, group: Command) -> typer.Typer:
        application = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        application.callback(cls=_Group, invoke_without_command=True, add_help_option=False)(self._callback(group))
        return application

    def _callback(self, level: Command) -> "Callable[..., None]":
        """Make the function that Typer reads the parameters of `level` from."""

        def callback(**values: Any) -> None:
            self._take(level, values)

        # A group leaves the arguments to its default: to Typer, what stands there is the name of a command.
        mine = [parameter for parameter in level.parameters if parameter.flags or level.run]
        signature = [_signature_parameter(parameter) for parameter in mine]
        signature.append(_help_parameter(level, "--help", help_pages.page))
        signature.append(_help_parameter(level, "-h", help_pages.short_page))
        if level is definition.ROOT:
            signature.append(_version_parameter())
        callback.__name__ = level.path[-1] if level.path else "mk"
        callback.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        return callback

    def _take(self, level: Command, values: Mapping[str, Any]) -> None:
        """Note the words that one level of the command line gave; called from the outermost to the innermost."""
        self._path = level.path
        for parameter in level.parameters:
            value = values.get(parameter.name)
            if parameter.kind == definition.FLAG:
                if value:
                    self._given[parameter.name] = []
            elif parameter.multiple:
                if value:
                    # What stood before the command counts too, in front.
                    self._given.setdefault(parameter.name, []).extend(value)
            elif value is not None:
                self._given[parameter.name] = [value]


def _signature_parameter(parameter: Parameter) -> inspect.Parameter:
    kind: Any = bool if parameter.kind == definition.FLAG else str
    default: Any = False if parameter.kind == definition.FLAG else None
    if parameter.multiple:
        kind = list[str]
    if parameter.flags:
        info = typer.Option(*parameter.flags, hidden=parameter.hidden, help=parameter.help)
    else:
        info = typer.Argument(metavar=parameter.metavar, help=parameter.help)
    return _keyword(parameter.name, Annotated[kind, info], default)


def _help_parameter(level: Command, flag: str, page: "Callable[[Command], str]") -> inspect.Parameter:
    def show(value: bool) -> None:
        if value:
            print(page(level), end="")
            raise typer.Exit

    info = typer.Option(flag, callback=show, is_eager=True, expose_value=False)
    return _keyword(flag.strip("-"), Annotated[bool, info], False)


def _version_parameter() -> inspect.Parameter:
    def show(value: bool) -> None:
        if value:
            print(help_pages.version())
            raise typer.Exit

    info = typer.Option("--version", callback=show, is_eager=True, expose_value=False)
    return _keyword("version", Annotated[bool, info], False)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _raise_usage_error(error: Any) -> NoReturn:
    """Say in our words what Click found wrong, with the nearest option that would have been right."""
    path = tuple(error.ctx.command_path.split()[1:]) if error.ctx else ()
    option = getattr(error, "option_name", "")
    where = " ".join(("mk", *path))
    if type(error).__name__ == "NoSuchOption":
        level = definition.command_at(path) or definition.group_at(path) or definition.ROOT
        flags = [flag for parameter in level.parameters for flag in parameter.flags if not parameter.hidden]
        flags += ["--help", *(["--version"] if level is definition.ROOT else [])]
        raise UsageError(
            f"`{where}` has no option {option}",
            fix=f"{did_you_mean(option, flags)} {see_help(path)}".strip(),
            option=option,
        )
    if type(error).__name__ == "BadOptionUsage" and "requires" in error.message:
        raise UsageError(f"{option} needs a value", fix=see_help(path), option=option)
    message = error.format_message().rstrip(".")
    if message.startswith("Got unexpected extra argument"):
        raise UsageError(f"too many arguments: {message.partition(' (')[2][:-1]}", fix=see_help(path))
    raise UsageError(message[:1].lower() + message[1:], fix=see_help(path))


def _one_of(words: Iterable[str]) -> str:
    return "one of " + ", ".join(sorted(words))
