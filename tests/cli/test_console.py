"""Tables and JSON from the same documents."""

import io
import json
import re
import sys

import pytest

from mk.cli import console, notes

ROWS = [
    {"topic": "orders", "partitions": 8, "config": {"segment.bytes": 1}, "sealed": False, "next": None},
    {"topic": "a\x1b[2Jb", "partitions": 12, "config": {}, "sealed": True, "next": 5},
]
COLUMNS = ["topic", "partitions", "config", "sealed", "next"]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_off_a_terminal_a_table_is_aligned_text(capsys):
    console.print_table(COLUMNS, ROWS)
    assert capsys.readouterr().out == (
        "TOPIC      PARTITIONS  CONFIG           SEALED  NEXT\n"
        "orders              8  segment.bytes=1  no         -\n"
        "a\\x1b[2Jb          12  -                yes        5\n"
    )


def test_off_a_terminal_nothing_is_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console.print_table(["topic"], [{"topic": "x" * 500}])
    assert "x" * 500 in capsys.readouterr().out


def test_an_empty_table_has_its_headings(capsys):
    console.print_table(["topic", "size_bytes"], [])
    assert capsys.readouterr().out == "TOPIC  SIZE_BYTES\n"


def test_json_is_the_documents_themselves(capsys):
    console.print_json(ROWS)
    assert json.loads(capsys.readouterr().out) == ROWS


def test_fields_of_one_document(capsys):
    console.print_fields({"topic": "orders", "partitions": [0, 1]})
    assert capsys.readouterr().out == "topic       orders\npartitions  0,1\n"


def on_terminal(monkeypatch, columns, rows, *, width, term="xterm", locale="C.UTF-8"):
    """Return the lines that a table has on a terminal of so many cells."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    for name, value in (("COLUMNS", str(width)), ("TERM", term), ("NO_COLOR", "1"), ("LC_ALL", locale)):
        monkeypatch.setenv(name, value)
    console.print_table(columns, rows)
    return re.sub("\x1b\\[[\\d;]*m", "", terminal.getvalue()).splitlines()


PARTITIONS = [
    {"topic": "orders", "partition": number, "leader": "this", "records": 12_498, "last_write": f"2026-11-{number}"}
    for number in (9, 10)
]


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_table_that_is_too_wide_comes_in_blocks_with_the_names_in_front_of_each(monkeypatch, term):
    assert on_terminal(monkeypatch, list(PARTITIONS[0]), PARTITIONS, width=36, term=term) == [
        "TOPIC   PARTITION  LEADER  RECORDS",
        "orders          9  this      12498",
        "orders         10  this      12498",
        "",
        "TOPIC   PARTITION  LAST_WRITE",
        "orders          9  2026-11-9",
        "orders         10  2026-11-10",
    ]


def test_a_table_that_just_fits_is_one_block(monkeypatch):
    (heading, *rows) = on_terminal(monkeypatch, list(PARTITIONS[0]), PARTITIONS, width=46)
    assert heading == "TOPIC   PARTITION  LEADER  RECORDS  LAST_WRITE"
    assert rows[0] == "orders          9  this      12498  2026-11-9"
    assert len(rows) == 2


@pytest.mark.parametrize(("locale", "cut"), [("C.UTF-8", "a-rath…"), ("C", "a-rath~")])
def test_a_long_name_is_whole_once_and_short_in_front_of_the_other_blocks(monkeypatch, locale, cut):
    row = {"topic": "a-rather-long-name", "size": "1 KiB", "last_write": "2026-11-09T10:00:00Z"}
    monkeypatch.setattr(console, "_LEAST_NAME", 7)
    lines = on_terminal(monkeypatch, list(row), [row], width=15, locale=locale)
    assert lines[0].rstrip() == "TOPIC" and lines[1] == "a-rather-long-name"
    assert lines[4] == f"{cut}  1 KiB" and lines[7] == f"{cut}  2026-11-09T10:00:00Z"


def test_rows_with_equal_names_have_numbers_by_which_they_are_found_in_each_block(monkeypatch):
    rows = [
        {"severity": "damage", "path": "0/00000000000000000000.log", "position": 17},
        {"severity": "damage", "path": "0/00000000000000000000.log", "position": 9},
    ]
    assert on_terminal(monkeypatch, list(rows[0]), rows, width=40) == [
        "#  SEVERITY  PATH",
        "1  damage    0/00000000000000000000.log",
        "2  damage    0/00000000000000000000.log",
        "",
        "#  SEVERITY  POSITION",
        "1  damage          17",
        "2  damage           9",
    ]
    assert (
        on_terminal(monkeypatch, list(rows[0]), rows, width=80)[0] == "SEVERITY  PATH                        POSITION"
    )


def test_a_sentence_in_the_last_column_is_folded_between_words(monkeypatch):
    rows = [
        {"topic": "t", "goes": "no", "why": "its last record is 6.42 s old, and retention.ms 7 d"},
        {"topic": "u", "goes": "no", "why": "it is empty"},
    ]
    assert on_terminal(monkeypatch, list(rows[0]), rows, width=45) == [
        "TOPIC  GOES  WHY",
        "t      no    its last record is 6.42 s old,",
        "             and retention.ms 7 d",
        "u      no    it is empty",
    ]


def test_letters_that_take_two_cells_do_not_move_what_stands_behind_them(monkeypatch):
    rows = [{"key": "漢字", "partition": 1}, {"key": "ab", "partition": 2}]
    _, first, second = on_terminal(monkeypatch, ["key", "partition"], rows, width=80)
    assert (first, second) == ("漢字          1", "ab            2")


def test_a_column_of_nothing_stands_as_text_does(monkeypatch):
    assert on_terminal(monkeypatch, ["topic", "problem"], [{"topic": "t"}], width=80) == ["TOPIC  PROBLEM", "t      -"]


@pytest.mark.parametrize("no_color", [True, False])
def test_on_a_terminal_a_table_has_colors_unless_not_wanted(monkeypatch, no_color):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console.print_table(COLUMNS, ROWS, no_color=no_color)
    assert "orders" in terminal.getvalue()
    assert ("\x1b[1;36m" in terminal.getvalue()) is not no_color
    assert "[2Jb" in terminal.getvalue() and "\x1b[2J" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\tb\n", "a\\tb\\n"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202e\u200b", "\\u202e\\u200b"),
        ("\udce9", "\\xe9"),
    ],
)
def test_visible(text, shown):
    assert notes.visible(text) == shown
