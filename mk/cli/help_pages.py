"""Help texts of commands, made from the definition."""

import shutil
import textwrap

from mk import __version__
from mk.cli import definition
from mk.cli.definition import Command, Parameter


def version() -> str:
    """Return what `mk --version` prints."""
    return f"mk {__version__}"


def page(level: Command) -> str:
    """Return the help of a command or a group of commands."""
    width = min(shutil.get_terminal_size().columns, 100)
    lines = [f"Usage: {usage(level)}", ""]
    for paragraph in level.description:
        lines += [*textwrap.wrap(paragraph, width), ""]
    children = subcommands(level)
    if children:
        lines += ["Commands:", *_two_columns([(child.path[-1], child.summary) for child in children], width), ""]
    for title, parameters in panels(level).items():
        lines += [f"{title}:", *_two_columns([(_flags(one), _explained(one)) for one in parameters], width), ""]
    if level.examples:
        lines.append("Examples:")
        for command_line, effect in level.examples:
            lines += [f"  {command_line}", f"      {effect}"]
    return "\n".join(lines).rstrip() + "\n"


def usage(level: Command) -> str:
    """Return the line that shows how `level` is called."""
    words = ["mk", *level.path, "[OPTION...]"]
    if subcommands(level) and definition.command_of_words(level.path) is None:
        words.append("[COMMAND]" if level.default else "COMMAND")
    for parameter in level.parameters:
        if not parameter.flags:
            words.append(synopsis_of_argument(parameter))
    return " ".join(words)


def synopsis_of_argument(parameter: Parameter) -> str:
    """Return how an argument stands in a usage line."""
    word = parameter.metavar + ("..." if parameter.multiple else "")
    return word if parameter.required and not parameter.environment else f"[{word}]"


def subcommands(level: Command) -> "list[Command]":
    """Return the commands and groups right below `level`."""
    depth = len(level.path)
    if definition.group_at(level.path) is not level:
        return []
    return [
        child for child in definition.commands() if len(child.path) == depth + 1 and child.path[:depth] == level.path
    ]


def panels(level: Command) -> "dict[str, list[Parameter]]":
    """Return the visible options of `level` by panel, in the order of the definition."""
    by_panel: dict[str, list[Parameter]] = {}
    for parameter in level.parameters:
        if parameter.flags and not parameter.hidden:
            by_panel.setdefault(parameter.panel, []).append(parameter)
    return by_panel


def _flags(parameter: Parameter) -> str:
    flags = ", ".join(parameter.flags)
    if parameter.flags[0].startswith("--"):
        flags = "    " + flags
    return f"{flags} {parameter.metavar}".rstrip()


def _explained(parameter: Parameter) -> str:
    return f"{parameter.help} [${parameter.environment}]" if parameter.environment else parameter.help


def _two_columns(rows: "list[tuple[str, str]]", width: int) -> "list[str]":
    left = max(len(name) for name, _ in rows) + 4
    lines = []
    for name, text in rows:
        first, *rest = textwrap.wrap(text, max(width - left, 20)) or [""]
        lines.append(f"  {name}".ljust(left) + first)
        lines += [" " * left + line for line in rest]
    return lines
