"""Parse a plain command line straight from the definition, within the start-up budget.

It understands what the Typer application understands, in the same way, or declines: errors, help and everything
unusual are the other parser's. A property test holds the two together.
"""

from mk.cli import definition
from mk.cli.definition import Command, Parameter
from mk.cli.options import Options, resolve
from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def parse(arguments: "Sequence[str]", environ: "Mapping[str, str]") -> "Options | None":
    """Return the Options that `arguments` ask for, or None to leave them to the Typer application."""
    given: dict[str, list[str]] = {}
    positional: list[str] = []
    path: tuple[str, ...] = ()
    command = None
    flags = _flags(definition.ROOT)
    words = iter(arguments)
    for word in words:
        if word == "--":
            if command is None:
                return None
            positional.extend(words)
        elif len(word) > 1 and word[0] == "-":
            if not _take_option(word, words, flags, given):
                return None
        elif command is not None:
            positional.append(word)
        else:
            command = definition.command_at((*path, word))
            level = command or definition.group_at((*path, word))
            if level is not None:
                path += (word,)
            else:
                level = command = definition.command_of_words(path)
                positional.append(word)
            if level is None:
                return None
            flags = _flags(level)
    if command is None:
        group = definition.group_at(path)
        command = group and definition.command_at((*path, group.default))
        if command is None:
            return None
    if not _take_positional(command, positional, given):
        return None
    names = {parameter.name for parameter in command.parameters}
    if not names.issuperset(given):
        return None
    try:
        return resolve(command, given, environ)
    except UsageError:
        return None


def _flags(level: Command) -> "dict[str, Parameter]":
    return {flag: parameter for parameter in level.parameters for flag in parameter.flags}


def _take_option(
    word: str, words: "Iterator[str]", flags: "dict[str, Parameter]", given: "dict[str, list[str]]"
) -> bool:
    """Take `word`, and its value from `words` if it has one; False to decline."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        parameter = flags.get(name)
        if parameter is None or (equals and parameter.kind == definition.FLAG):
            return False
        return _give(parameter, value if equals else None, words, given)
    letters = word[1:]
    for index, letter in enumerate(letters):
        parameter = flags.get("-" + letter)
        if parameter is None:
            return False
        if parameter.kind != definition.FLAG:
            return _give(parameter, letters[index + 1 :] or None, words, given)
        given[parameter.name] = []
    return True


def _give(parameter: Parameter, value: "str | None", words: "Iterator[str]", given: "dict[str, list[str]]") -> bool:
    if parameter.kind == definition.FLAG:
        given[parameter.name] = []
        return True
    if value is None:
        value = next(words, None)
        if value is None:
            return False
    if parameter.multiple and parameter.name in given:
        given[parameter.name].append(value)
    else:
        given[parameter.name] = [value]
    return True


def _take_positional(command: Command, positional: "list[str]", given: "dict[str, list[str]]") -> bool:
    for parameter in command.parameters:
        if not parameter.flags and positional:
            taken = len(positional) if parameter.multiple else 1
            given[parameter.name] = positional[:taken]
            del positional[:taken]
    return not positional
