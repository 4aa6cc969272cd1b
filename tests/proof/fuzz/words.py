"""Targets: words that people type: offsets, times, sizes, settings, limits, delimiters, names, and whole command lines."""

from __future__ import annotations

import os

from mk.cli import definition, fast_parser
from mk.cli.options import _CONVERTERS as CONVERTERS
from mk.cli.reset_target import parse_duration, parse_shift, parse_target
from mk.config import TOPIC_CONFIG, parse_topic_config
from mk.consumer.offset_spec import OffsetSpec, parse_offset_range, parse_offset_spec
from mk.consumer.offset_spellings import ALIASES, OPTIONS, POSITIONS, RANGES, TIMES, WRONG
from mk.groups.claim_directory import claim_name, parse_claim_name
from mk.maintenance.dump import _place as place_of_dumped
from mk.maintenance.thresholds import THRESHOLDS, Limits, parse_limit
from mk.timestamp import parse_time
from mk.topic_partition import check_name, check_producer_id, is_valid_name
from tests.proof.fuzz.target import Target, accepted, is_refused

NOW = 1_795_428_480_000
_YEAR_1_MS, _YEAR_10000_MS = -62_135_596_800_000, 253_402_300_800_000
_ROWS = (*POSITIONS, *RANGES, *ALIASES, *OPTIONS, *TIMES)


def _text(data: bytes) -> str:
    """Return text as it comes from a command line, which has no zero bytes."""
    return os.fsdecode(data.replace(b"\0", b""))


def fuzz_offsets(data: bytes) -> None:
    """What is an offset, or a range, can be written again, and then is the same."""
    text = _text(data)
    found = accepted(parse_offset_range, text, NOW)
    if found:
        (wanted,) = found
        specs = (wanted.first, wanted.stop, *(wanted.by_partition or {}).values())
        for spec in specs:
            if spec is not None and spec.kind != "committed":
                resolved = spec.resolve(10, 100, lambda time: 50, lambda group: None)
                assert spec.kind == "at" or 10 <= resolved <= 100
        if all(spec is None or _has_spelling(spec) for spec in specs):
            assert parse_offset_range(str(wanted), NOW) == wanted
    spec_found = accepted(parse_offset_spec, text, NOW)
    if spec_found:
        assert not _has_spelling(spec_found[0]) or parse_offset_spec(str(spec_found[0]), NOW) == spec_found[0]
    is_refused(parse_target, text)


def _has_spelling(spec: OffsetSpec) -> bool:
    """Tell whether it is no time, or one in a year that people write: others can be asked for, and are only shown."""
    return bool(str(spec)) and (spec.kind != "time" or _YEAR_1_MS <= spec.value < _YEAR_10000_MS)


def _offset_words() -> list[bytes]:
    words = [word for row in _ROWS for word in row.example.split(" ")]
    words += [word for options, _ in WRONG for word in options.split(" ")]
    return [word.strip("'").encode() for word in sorted(set(words)) if not word.startswith("--") and word != "-o"]


def fuzz_words(data: bytes) -> None:
    """A word that an option takes becomes a value, or is refused; numbers are within bounds."""
    text = _text(data)
    for kind, convert in CONVERTERS.items():
        try:
            is_refused(convert, text)
        except ValueError as error:
            assert type(error) is ValueError and str(error), (kind, error)
    times = accepted(parse_time, text, NOW)
    if times:
        assert abs(times[0]) < 1 << 62
    spans = accepted(parse_duration, text)
    if spans:
        assert 0 <= spans[0] < 1 << 62
        if text.isascii() and text[:1].isdigit():
            assert parse_time(f"-{text}", NOW) == NOW - spans[0]
    shifts = accepted(parse_shift, text)
    if shifts:
        assert int(text) == shifts[0]


def _words() -> list[bytes]:
    words = [
        "10s",
        "1.5h",
        "500ms",
        "0,3",
        "7",
        r"\x41\n",
        "NAME=VALUE",
        "n:v",
        "P7D",
        "PT1H30M",
        "-5",
        "h:x=(a|b)*",
        "1h30m",
    ]
    words += [row.example.split(" ")[1].strip("'") for row in TIMES]
    return [word.encode() for word in words]


def fuzz_settings(data: bytes) -> None:
    """A setting is refused, or within its bounds, and can be set again to what it became. A limit is a number."""
    text = _text(data)
    for name, key in TOPIC_CONFIG.items():
        for found in accepted(parse_topic_config, {name: text}):
            value = found[name]
            assert type(value) is type(key.default)
            if isinstance(value, int):
                assert key.minimum <= value <= key.maximum
            assert parse_topic_config({name: str(value)}) == {name: value}
    for threshold in THRESHOLDS.values():
        is_refused(parse_limit, threshold, text)
    name, _, value = text.partition("=")
    is_refused(Limits, {name: value}, {})
    is_refused(parse_topic_config, {name: value})


def _settings() -> list[bytes]:
    words = [
        "128m",
        "1.5GiB",
        "7d",
        "-1",
        "compact,delete",
        "0.5",
        "zstd",
        "all",
        "a,b",
        "10%",
        "off",
        "lag=1000",
        "2T",
    ]
    return [word.encode() for word in [*words, *(f"{key.name}={key.default}" for key in TOPIC_CONFIG.values())]]


def fuzz_names(data: bytes) -> None:
    """A name is refused, or is one that no path and no option can be made of."""
    text = _text(data)
    if is_valid_name(text):
        assert not set(text) & set("/\\\n\t \0") and text[0] not in ".-" and text[-1] != "." and text.isascii()
        assert check_name(text) == text
    else:
        assert is_refused(check_name, text)
    if not is_refused(check_producer_id, text):
        assert text.isprintable()
    found = parse_claim_name(text)
    if found is not None:
        assert claim_name(*found) == text
    place_of_dumped(text)


def _names() -> list[bytes]:
    return [
        b"orders",
        b"a.b-c_1",
        b"x.deleted-1",
        b"../x",
        b"0.0000000001",
        b"t/0/00000000000000000000.log",
        b"t-0-7-1-0a.log",
    ]


def fuzz_command_line(data: bytes) -> None:
    """Words are parsed by the plain parser into options, or left to the other one, which explains."""
    arguments = [os.fsdecode(word) for word in data.split(b"\0")]
    fast_parser.parse(arguments, {})
    fast_parser.parse(arguments, {parameter.environment: arguments[0] for parameter in _with_environment()})


def _with_environment() -> list[definition.Parameter]:
    return [parameter for command in definition.commands() for parameter in command.parameters if parameter.environment]


def _command_lines() -> list[bytes]:
    lines = (
        "produce orders a b -k key -H n=v",
        "produce orders -f %k\\t%v\\n --acks 0 -z zstd",
        "consume orders -g billing -F --idle 5s -n 3",
        "consume orders -o 5:10 -p 0,1 -f json",
        "topics create orders -p 3 -c segment.bytes=1m",
        "groups reset billing --to @2026-11-23 --yes",
        "replicate /a host:/b -F --json",
        "topics",
        "orders",
    )
    return [line.replace(" ", "\0").encode() for line in lines]


TARGETS = [
    Target("offsets", fuzz_offsets, _offset_words, max_bytes=128),
    Target("words", fuzz_words, _words, max_bytes=128),
    Target("settings", fuzz_settings, _settings, max_bytes=128),
    Target("names", fuzz_names, _names, max_bytes=256),
    Target("command-line", fuzz_command_line, _command_lines, max_bytes=256),
]
