"""Tables and JSON from the same documents."""

import io
import json
import sys

import pytest

from mk.cli import console, notes

ROWS = [
    {"topic": "orders", "partitions": 8, "config": {"segment.bytes": 1}, "sealed": False, "next": None},
    {"topic": "a\x1b[2Jb", "partitions": 12, "config": {}, "sealed": True, "next": 5},
]
COLUMNS = ["topic", "partitions", "config", "sealed", "next"]


class Terminal(io.StringIO):
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
