"""Help texts of commands, made from the definition."""

import re
import shutil
import textwrap

from mk import __version__
from mk.cli import definition
from mk.cli.definition import Command, Parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_EFFECT = " " * 6
_SHORT_EXAMPLES = 3


def version() -> str:
    """Return what `mk --version` prints."""
    return f"mk {__version__}"


def page(level: Command) -> str:
    """Return the help of a command or a group of commands."""
    more = [f"mk help {subject}" for subject in _subjects(level)]
    return _page(level, level.description, _explained, level.examples, more)


def short_page(level: Command) -> str:
    """Return what -h prints of it: what it is for, a clause on each option, and some examples."""
    more = [" ".join(("mk", *level.path, "--help"))]
    return _page(level, level.description[:1], _first_clause, level.examples[:_SHORT_EXAMPLES], more)


def _page(
    level: Command,
    description: "tuple[str, ...]",
    explained: "Callable[[Parameter], str]",
    examples: "tuple[tuple[str, str], ...]",
    more: "list[str]",
) -> str:
    width = min(shutil.get_terminal_size().columns, 100)
    lines = [f"Usage: {usage(level)}", ""]
    for paragraph in description:
        lines += [*textwrap.wrap(paragraph, width), ""]
    children = subcommands(level)
    left = max((len(child.path[-1]) for child in children), default=0)
    for title in dict.fromkeys(child.panel for child in children):
        rows = [(child.path[-1].ljust(left), child.summary) for child in children if child.panel == title]
        lines += [f"{title}:", *_two_columns(rows, width), ""]
    for title, parameters in panels(level).items():
        lines += [f"{title}:", *_two_columns([(_flags(one), explained(one)) for one in parameters], width), ""]
    if examples:
        lines.append("Examples:")
        for command_line, effect in examples:
            wrapped = textwrap.wrap(effect, width, initial_indent=_EFFECT, subsequent_indent=_EFFECT)
            lines += [f"  {command_line}", *wrapped]
        lines.append("")
    if more:
        lines += ["More:", *(f"  {line}" for line in more), ""]
    return "\n".join(lines).rstrip() + "\n"


def _subjects(level: Command) -> "list[str]":
    """Return what the help of `level` says that there is more of in `mk help SUBJECT`, in the order in which it says so."""
    said = " ".join([*level.description, *(one.help for one in level.parameters if not one.hidden)])
    return list(dict.fromkeys(re.findall(r"`mk help ([a-z-]+)`", said)))


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
    return _with_environment(parameter, parameter.help)


def _first_clause(parameter: Parameter) -> str:
    return _with_environment(parameter, re.split(r"[;.] ", parameter.help)[0])


def _with_environment(parameter: Parameter, text: str) -> str:
    return f"{text} [${parameter.environment}]" if parameter.environment else text


def _two_columns(rows: "list[tuple[str, str]]", width: int) -> "list[str]":
    left = max(len(name) for name, _ in rows) + 4
    lines = []
    for name, text in rows:
        first, *rest = textwrap.wrap(text, max(width - left, 20)) or [""]
        lines.append(f"  {name}".ljust(left) + first)
        lines += [" " * left + line for line in rest]
    return lines
