"""Options: what a command is told. Both parsers hand over the same words; here they become values.

Flag before environment before default. On the start-up path: builtins only.
"""

import os

from mk.cli import definition
from mk.cli.definition import Command, Parameter
from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from mk.consumer.offset_spec import OffsetRange, OffsetSpec
    from mk.formats.record_filter import Selector

_UNITS_MS = {"": 1000, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PAIRS = (definition.SETTING, definition.LIMIT)
"""Kinds of which all words become one dict."""

_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0"}
_DELIMITER_FORM = r"one character or more; the escapes are \n \t \r \0 \\ \xNN"


class Options:
    """The values of one command line: an attribute for each parameter of `command`, by its name."""

    def __init__(self, command: Command, values: "dict[str, object]") -> None:
        self.command = command
        self.__dict__.update(values)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items() if name != "command")
        return f"Options({' '.join(self.command.path)}: {values})"


def resolve(command: Command, given: "Mapping[str, list[str]]", environ: "Mapping[str, str]") -> Options:
    """Turn the words given for each parameter (none for a flag) into Options.

    An empty environment variable counts as absent.

    Raises:
        UsageError: a word is not what its parameter takes, or a required argument is missing.
    """
    values: dict[str, object] = {}
    given = _left_to_the_required(command, given)
    for parameter in command.parameters:
        words = given.get(parameter.name)
        source = parameter.flags[-1] if parameter.flags else parameter.metavar
        is_replaced = parameter.unless in given
        if words is None and parameter.environment and environ.get(parameter.environment) and not is_replaced:
            source = parameter.environment
            words = [environ[source]]
        if words is None:
            if parameter.required and not is_replaced:
                raise UsageError(f"{parameter.metavar} is missing", fix=_see(command), parameter=parameter.name)
            values[parameter.name] = {} if parameter.kind in _PAIRS else parameter.default
        elif parameter.kind == definition.FLAG:
            values[parameter.name] = True
        else:
            values[parameter.name] = _value(command, parameter, words, source)
    for parameter in command.parameters:
        if parameter.implies is not None and values[parameter.name]:
            name, value = parameter.implies
            if name in given and values[name] != value:
                raise UsageError(
                    f"{parameter.flags[0]} and another {name} exclude each other",
                    why=f"{parameter.flags[0]} means {name} {value}, and {name} {values[name]} is asked for too",
                    fix="leave one of them out",
                )
            values[name] = value
    return Options(command, values)


def _left_to_the_required(command: Command, given: "Mapping[str, list[str]]") -> "Mapping[str, list[str]]":
    """Leave the only word there is to the argument that must have one: with `[SRC] DST`, it is DST."""
    arguments = [parameter for parameter in command.parameters if not parameter.flags]
    for first, second in zip(arguments, arguments[1:]):
        if second.required and not first.required and first.name in given and second.name not in given:
            moved = {**given, second.name: given[first.name]}
            del moved[first.name]
            return moved
    return given


def see_help(path: "tuple[str, ...]") -> str:
    """Say which command explains the command at `path`."""
    return f"`{' '.join(('mk', *path))} --help` shows what there is"


def _see(command: Command) -> str:
    return see_help(command.path)


def _value(command: Command, parameter: Parameter, words: "list[str]", source: str) -> object:
    kind = parameter.kind
    converted = []
    for word in words:
        if parameter.choices and word not in parameter.choices:
            raise UsageError(
                f"{source} cannot be {word or 'empty'}",
                why=f"it is one of: {', '.join(parameter.choices)}",
                fix=_see(command),
                parameter=parameter.name,
                found=word,
            )
        try:
            converted.append(_CONVERTERS[kind](word))
        except ValueError as error:
            raise UsageError(
                f"{source} cannot be {word or 'empty'}",
                why=f"it is {error}",
                fix=_see(command),
                parameter=parameter.name,
                found=word,
            ) from None
    if kind in _PAIRS:
        return dict(converted)
    if kind == definition.PARTITIONS:
        return tuple(dict.fromkeys(number for numbers in converted for number in numbers))
    if parameter.multiple:
        return tuple(converted)
    value = converted[-1]
    if kind in (definition.INTEGER, definition.DURATION) and value < parameter.minimum:
        raise UsageError(
            f"{source} cannot be {words[-1]}",
            why=f"it is at least {parameter.minimum}" + ("ms" if kind == definition.DURATION else ""),
            fix=_see(command),
            parameter=parameter.name,
            found=words[-1],
        )
    return value


def _integer(word: str) -> int:
    # Nineteen digits hold every 63-bit offset; int() itself would also take " 1", "1_0" and digits of other scripts.
    if not (word.isascii() and word.isdigit() and len(word) <= 19):
        raise ValueError("a whole number, 0 or more")
    return int(word)


def _acks(word: str) -> "int | str":
    return word if word == "all" else _integer(word)


def _partitions(word: str) -> "tuple[int, ...]":
    try:
        return tuple(_integer(number) for number in word.split(","))
    except ValueError:
        raise ValueError("one or more partition numbers, such as 0 or 0,3") from None


def _duration_ms(word: str) -> int:
    number = word.rstrip("mshd")
    unit = word[len(number) :]
    whole, dot, fraction = number.partition(".")
    digits = whole + fraction
    if (
        unit not in _UNITS_MS
        or not (digits.isascii() and digits.isdigit() and len(digits) <= 15)
        or (dot and not fraction)
    ):
        raise ValueError("a time such as 10s, 500ms, 2m or 1h")
    return int(int(digits) * _UNITS_MS[unit] // 10 ** len(fraction))


def _offset(word: str) -> "OffsetSpec":
    from mk.consumer.offset_spec import parse_offset_spec

    return parse_offset_spec(word)


def _offsets(word: str) -> "OffsetRange":
    from mk.consumer.offset_spec import parse_offset_range

    return parse_offset_range(word)


def _time(word: str) -> "OffsetSpec":
    from mk.clock import now_ms
    from mk.consumer.offset_spec import OffsetSpec
    from mk.timestamp import SPELLINGS, parse_time

    try:
        return OffsetSpec("time", parse_time(word.removeprefix("@"), now_ms()))
    except UsageError:
        raise ValueError(f"a time, one of: {'; '.join(SPELLINGS)}") from None


def _regex(word: str) -> str:
    import re

    try:
        re.compile(word)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"a Python regular expression: {error}") from None
    return word


def _selector(word: str) -> "Selector":
    from mk.formats.record_filter import parse_selector

    return parse_selector(word)


def _delimiter(word: str) -> bytes:
    pieces = word.split("\\")
    result = os.fsencode(pieces[0])
    escaped = iter(pieces[1:])
    for piece in escaped:
        if piece == "":  # two backslashes, or one at the end; what follows is plain text
            result += b"\\" + os.fsencode(next(escaped, ""))
        elif piece[0] in _ESCAPES:
            result += _ESCAPES[piece[0]] + os.fsencode(piece[1:])
        elif piece[0] == "x" and len(piece) > 2 and set(piece[1:3]) <= set("0123456789abcdefABCDEF"):
            result += bytes((int(piece[1:3], 16),)) + os.fsencode(piece[3:])
        else:
            raise ValueError(_DELIMITER_FORM)
    if not result:
        raise ValueError(_DELIMITER_FORM)
    return result


def _setting(word: str) -> "tuple[str, str]":
    key, equals, value = word.partition("=")
    if not key or not equals:
        raise ValueError("KEY=VALUE, such as segment.bytes=1048576")
    return key, value


def _limit(word: str) -> "tuple[str, str]":
    name, equals, value = word.partition("=")
    if not name or not value:
        raise ValueError("NAME=VALUE, such as lag=1000 or idle=15m; `mk help thresholds` shows what there is")
    return name, value


def _header(word: str) -> "tuple[bytes, bytes | None]":
    places = [place for place in (word.find("="), word.find(":")) if place >= 0]
    at = min(places, default=len(word))
    if at == 0:
        raise ValueError("NAME=VALUE or NAME:VALUE; NAME alone has a null for its value, NAME= an empty one")
    return os.fsencode(word[:at]), os.fsencode(word[at + 1 :]) if places else None


def _timestamp_ms(word: str) -> int:
    from mk.clock import now_ms
    from mk.timestamp import SPELLINGS, parse_time

    try:
        return parse_time(word, now_ms())
    except UsageError:
        raise ValueError(f"a time, one of: {'; '.join(SPELLINGS)}") from None


_CONVERTERS: "dict[str, Callable[[str], Any]]" = {
    definition.TEXT: str,
    definition.BYTES: os.fsencode,
    definition.DELIMITER: _delimiter,
    definition.INTEGER: _integer,
    definition.ACKS: _acks,
    definition.PARTITIONS: _partitions,
    definition.DURATION: _duration_ms,
    definition.OFFSET: _offset,
    definition.OFFSETS: _offsets,
    definition.TIME: _time,
    definition.REGEX: _regex,
    definition.SELECTOR: _selector,
    definition.SETTING: _setting,
    definition.LIMIT: _limit,
    definition.HEADER: _header,
    definition.TIMESTAMP: _timestamp_ms,
}
