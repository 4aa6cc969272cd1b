"""The manual pages of the commands, mdoc(7), made from the definition.

`python -m mk.cli.manual DIRECTORY` writes them. The pages on the format, the guarantees, Kafka and the recipes are written by hand.
"""

import sys
import textwrap
from pathlib import Path

from mk.cli import definition, help_pages, help_topics
from mk.cli.definition import Command, Parameter
from mk.cli.definitions.check import CHECK
from mk.cli.definitions.consume import CONSUME
from mk.cli.definitions.groups import GROUPS
from mk.cli.definitions.produce import PRODUCE
from mk.cli.definitions.replicate import REPLICATE
from mk.cli.definitions.serve import SERVE
from mk.cli.definitions.top import TOP
from mk.cli.definitions.topics import TOPICS
from mk.cli.definitions.wait import WAIT
from mk.cli.exit_statuses import exit_statuses
from mk.consumer import offset_spellings
from mk.formats import format_spellings

# The date of the pages, for the header that mdoc wants; by hand, so that they come out the same on every day.
_DATE = "November 23, 2026"

_ENVIRONMENT = {
    "MK_DIR": "the log directory, unless -d names one",
    "MK_TOPIC": "the topic, when the command line names none",
    "MK_ACKS": "the level of --acks",
    "MK_GROUP": "the group of mk consume, when there is no -g",
    "MK_FORMAT": "the format of -f, when it is not given",
    "MK_LOCK_WAIT": "the time of --lock-wait",
    "MK_RSH": "the command that reaches another host, in place of ssh, with its options",
    "MK_REMOTE_PATH": "what is run there in place of mk, as the shell there takes it",
    "XDG_DATA_HOME": "where the log directory mk is, when neither -d nor MK_DIR names one",
    "NO_COLOR": "no colors on a terminal",
    "COLUMNS": "the width of tables and help texts",
}
_PAGES = (definition.ROOT, PRODUCE, CONSUME, TOPICS, GROUPS, REPLICATE, SERVE, WAIT, CHECK, TOP)


def files() -> "dict[str, str]":
    """Return the manual pages: file name and content."""
    return {f"{_page_name(level)}.1": _page(level) for level in _PAGES}


def _page_name(level: Command) -> str:
    return "-".join(("mk", *level.path))


def _page(level: Command) -> str:
    name = _page_name(level)
    children = help_pages.subcommands(level)
    lines = [
        '.\\" Made from the definition of the commands by mk.cli.manual; changes here are lost.',
        f".Dd {_DATE}",
        f".Dt {name.upper()} 1",
        ".Os",
        ".Sh NAME",
        f".Nm {name}",
        f".Nd {_text(level.summary)}",
        ".Sh SYNOPSIS",
    ]
    for one in [level, *children] if children and level is not definition.ROOT else [level]:
        lines += _synopsis(one)
    lines += [".Sh DESCRIPTION", *_paragraphs(level)]
    if level is definition.ROOT:
        lines += _commands(children)
    elif children:
        for child in children:
            lines += [f".Ss mk {' '.join(child.path)}", *_paragraphs(child), *_options(child)]
    if level is CONSUME:
        lines += [".Ss Commands", *_literal(help_topics.exec_help())]
    if level is definition.ROOT or not children:
        lines += [".Sh OPTIONS", *_options(level)]
    if level is CONSUME:
        lines += [*_offsets(), *_formats()]
    if level is PRODUCE:
        lines += _input_formats()
    if level is CHECK:
        lines += _thresholds()
    lines += [".Sh ENVIRONMENT", *_environment([level, *children])]
    lines += [".Sh EXIT STATUS", *_exit_status(level, children)]
    lines += [".Sh EXAMPLES", *_examples([level, *children] if level is not definition.ROOT else [level])]
    lines += [".Sh SEE ALSO", *_see_also(level)]
    return "\n".join(lines) + "\n"


def _synopsis(level: Command) -> "list[str]":
    lines = [f".Nm {'mk' if not level.path else 'mk ' + ' '.join(level.path)}"]
    for parameter in level.parameters:
        if parameter.flags and not parameter.hidden:
            macro = "" if parameter.required else "Op "
            lines.append(f".{macro}{_flag(parameter.flags[0])}{_value(parameter)}")
    for parameter in level.parameters:
        if not parameter.flags:
            optional = help_pages.synopsis_of_argument(parameter).startswith("[")
            dots = " ..." if parameter.multiple else ""
            lines.append(f".{'Op ' if optional else ''}Ar {parameter.metavar}{dots}")
    if level is definition.ROOT:
        lines.append(".Ar command ...")
    return lines


def _options(level: Command) -> "list[str]":
    lines = []
    for parameter in level.parameters:
        if parameter.flags and not parameter.hidden:
            flags = " , ".join(_flag(flag) for flag in parameter.flags)
            lines += [f".It {flags}{_value(parameter)}", *_sentence(parameter.help)]
            if parameter.environment:
                lines += ["Environment:", f".Ev {parameter.environment} ."]
    if level is definition.ROOT:
        lines += [".It Fl -version", "Print the version and exit."]
    lines += [".It Fl h", "Print a short help text and exit.", ".It Fl -help", "Print all of it and exit."]
    return [".Bl -tag -width Ds", *lines, ".El"]


def _commands(children: "list[Command]") -> "list[str]":
    lines = [".Pp", "The commands are:", ".Bl -tag -width completion"]
    for child in children:
        lines.append(f".It Cm {child.path[-1]}")
        if child in _PAGES:
            lines += [*_sentence(child.summary), "See", f".Xr {_page_name(child)} 1 ."]
        else:
            lines += _paragraphs(child)
    lines += [
        ".El",
        ".Pp",
        "The options below may stand before or after the command,",
        "as far as the command has them.",
    ]
    return lines


def _offsets() -> "list[str]":
    """Return the sections on offsets and times: each spelling with an example and what it reads."""
    lines = [".Sh OFFSETS", *_lines(offset_spellings.EXAMPLE_TOPIC)]
    for title, rows in offset_spellings.sections():
        if rows is offset_spellings.TIMES:
            lines += [".Pp", *_lines(" ".join(offset_spellings.CLOSING)), ".Sh TIMES OF RECORDS"]
        else:
            lines.append(f".Ss {title}")
        lines.append(".Bl -tag -width Ds")
        for row in rows:
            reads = ["reads", f".Ql {_argument(row.reads)} ."] if row.reads else ["depends on the clock."]
            lines += [
                f".It {_argument(row.spelling)}",
                *_sentence(row.meaning),
                f".Ql {_argument(row.example)}",
                *reads,
            ]
        lines.append(".El")
    return lines


def _formats() -> "list[str]":
    """Return the section on formats: each spelling with an example and what it prints."""
    lines = [".Sh FORMATS", *_lines(format_spellings.LANGUAGE), ".Pp", *_lines(format_spellings.ENDS)]
    lines += [".Pp", *_lines(format_spellings.EXAMPLE_TOPIC)]
    for title, rows in format_spellings.sections():
        lines += [f".Ss {title} of a format", ".Bl -tag -width Ds"]
        for row in rows:
            lines += [f".It {_argument(row.spelling)}", *_sentence(row.meaning)]
            lines += [f".Ql {_argument(row.example)}", "prints", f".Ql {_argument(row.prints)} ."]
        lines.append(".El")
    lines += [".Ss JSON and framed", *_lines(format_spellings.JSON_OBJECT), ".Pp", *_lines(format_spellings.FRAMES)]
    return [*lines, ".Pp", "What", ".Xr mk-produce 1", "reads is told there."]


def _input_formats() -> "list[str]":
    """Return the section on formats of input: each spelling with an example, what it reads and what is stored."""
    lines = [".Sh FORMATS", "The language is that of", ".Xr mk-consume 1 ."]
    for paragraph in (format_spellings.READING, format_spellings.ROUTES, format_spellings.BAD_INPUT):
        lines += [*_lines(paragraph), ".Pp"]
    lines += [
        "Each of these has an example, what that reads, and what is stored: the key",
        "and the value in brackets, the headers, and the time if the input says one.",
        ".Bl -tag -width Ds",
    ]
    for row in format_spellings.INPUT:
        lines += [f".It {_argument(row.spelling)}", *_sentence(row.meaning), f".Ql {_argument(row.example)}", "reads"]
        lines += [f".Ql {_argument(row.reads)}", "and stores", f".Ql {_argument(row.stores)} ."]
    return [*lines, ".El"]


def _thresholds() -> "list[str]":
    """Return the section on thresholds: what each is about, and its limits by default."""
    lines = [".Sh THRESHOLDS", *_lines(help_topics.ABOUT_THRESHOLDS), ".Bl -tag -width Ds"]
    for name, text in help_topics.threshold_rows():
        lines += [f".It Cm {name}", *_sentence(text)]
    return [*lines, ".El"]


def _environment(levels: "list[Command]") -> "list[str]":
    parameters = [parameter for level in levels for parameter in level.parameters]
    names = [parameter.environment for parameter in parameters if parameter.environment]
    names += ["XDG_DATA_HOME", "COLUMNS"]
    if levels[0] in (PRODUCE, CONSUME, WAIT):
        names += ["MK_RSH", "MK_REMOTE_PATH"]
    if any(parameter is definition.NO_COLOR_OPTION for parameter in parameters):
        names.append("NO_COLOR")
    lines = [".Bl -tag -width XDG_DATA_HOME"]
    for name in sorted(set(names)):
        lines += [f".It Ev {name}", *_sentence(_ENVIRONMENT[name])]
    return [*lines, ".El"]


def _exit_status(level: Command, children: "list[Command]") -> "list[str]":
    lines = _lines(level.exit_status) if level.exit_status else []
    if level is not definition.ROOT:
        told = [child for child in children if child.exit_status]
        for child in told:
            lines += [f".It mk {' '.join(child.path)}", *_lines(child.exit_status)]
        if told:
            lines = [".Bl -tag -width Ds", *lines, ".El", ".Pp"]
        return [*lines, "The other statuses are listed in", ".Xr mk 1 ."]
    lines += [".Bl -tag -width 100"]
    for status, meaning in exit_statuses():
        lines += [f".It {status}", *_sentence(meaning)]
    return [*lines, ".El", ".Pp", *_lines(help_topics.OTHER_STATUSES)]


def _literal(text: str) -> "list[str]":
    return [".Bd -literal", *(_text(line) for line in text.rstrip().splitlines()), ".Ed"]


def _examples(levels: "list[Command]") -> "list[str]":
    lines = []
    seen = set()
    for level in levels:
        for command_line, effect in level.examples:
            if command_line not in seen:
                seen.add(command_line)
                lines += [*_sentence(effect), f".Dl {_argument(command_line)}", ".Pp"]
    return lines[:-1]


def _see_also(level: Command) -> "list[str]":
    pages = [(_page_name(other), 1) for other in _PAGES if other is not level]
    pages += [("mk-python", 3), ("mk-format", 5), ("mk-guarantees", 7), ("mk-kafka", 7), ("mk-recipes", 7)]
    pages.sort(key=lambda page: (page[1], page[0]))
    return [f".Xr {name} {section}{' ,' if (name, section) != pages[-1] else ''}" for name, section in pages]


def _paragraphs(level: Command) -> "list[str]":
    lines: list[str] = []
    for paragraph in level.description:
        lines += [*([".Pp"] if lines else []), *_lines(paragraph)]
    return lines


def _sentence(text: str) -> "list[str]":
    """Return `text` as a sentence: with a capital, unless it begins with something to be typed, and a full stop."""
    first = text.split(maxsplit=1)[0].rstrip(",;:")
    capital = text[0].upper() + text[1:] if first.isalpha() else text
    return _lines(capital if capital.endswith((".", "?")) else capital + ".")


def _lines(text: str) -> "list[str]":
    """Return `text` in roff: short lines, each sentence on its own, as mdoc likes it."""
    sentences = text.replace(". ", ".\n").splitlines()
    return [_text(line) for sentence in sentences for line in textwrap.wrap(sentence, 68, break_on_hyphens=False)]


def _text(text: str) -> str:
    """Return `text` so that roff prints it as it is."""
    text = (
        text.replace("\\", "\\e").replace("`", "\\(ga").replace("'", "\\(aq").replace("-", "\\-").replace("~", "\\(ti")
    )
    return "\\&" + text if text.startswith(".") else text


def _argument(text: str) -> str:
    """Return `text` as the argument of a macro: quoted, so that no word in it is taken for a macro, nor a colon that
    ends it for punctuation."""
    # Quotes do not keep %T, %V and %R, which are macros of mdoc(7), from being called: the line would have no text.
    begin = "\\&" if text.startswith("%") else ""
    end = "\\&" if text.endswith(":") else ""
    return '"' + begin + _text(text).replace('"', '""') + end + '"'


def _flag(flag: str) -> str:
    return f"Fl {flag[1:]}"


def _value(parameter: Parameter) -> str:
    return f" Ar {_text(parameter.metavar)}" if parameter.metavar else ""


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(exist_ok=True)
    for name, content in files().items():
        (directory / name).write_text(content)
