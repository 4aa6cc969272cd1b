"""`mk help WORD`: a word that is a command's has the command's help, and what else there is on it is not far."""

import re

import pytest

from mk.cli import definition, help_pages, help_topics


@pytest.mark.parametrize(
    ("words", "subject"),
    [
        (["replicate"], "replication"),
        (["replicate", "promote"], "replication"),
        (["topics", "compact"], "compaction"),
        (["topics", "clean"], "compaction"),
        (["check"], "thresholds"),
        (["consume"], "exec"),
        (["consume"], "offsets"),
        (["produce"], "formats"),
    ],
)
def test_the_help_of_a_command_ends_with_the_pages_that_have_more(mk, words, subject):
    text = mk.ok("help", *words).decode()
    assert text == mk.ok(*words, "--help").decode()
    more = text.rpartition("\nMore:\n")[2].splitlines()
    assert f"  mk help {subject}" in more
    assert all(line.startswith("  mk help ") for line in more)


@pytest.mark.parametrize("words", [[], ["produce"], ["consume"], ["topics"], ["topics", "create"], ["groups", "reset"]])
def test_the_short_help_has_every_option_and_says_where_the_rest_is(mk, words):
    short, whole = (mk.ok(*words, flag).decode() for flag in ("-h", "--help"))
    assert len(short) < len(whole) or not words
    assert short.endswith(f"\nMore:\n  {' '.join(('mk', *words, '--help'))}\n")
    flags = re.compile(r"^ +(-\S+(?:, -\S+)*)", re.MULTILINE)
    assert flags.findall(short) == flags.findall(whole)
    assert short.count("\n  mk ") <= 4


def test_every_page_that_a_help_points_to_is_there():
    for level in (definition.ROOT, *definition.commands()):
        _, more, lines = help_pages.page(level).rpartition("\nMore:\n")
        for line in lines.splitlines() if more else ():
            assert line.removeprefix("  mk help ") in help_topics.subjects()


@pytest.mark.parametrize(
    ("word", "fix"),
    [
        ("clean", "did you mean topics clean?"),
        ("describe", "did you mean topics describe or groups describe?"),
        ("compact", "did you mean topics compact?"),
        ("offset", "did you mean offsets or topics offsets?"),
        ("xyzzy", "`mk help` lists the commands; beside these there is help on offsets, formats, exec, "),
    ],
)
def test_what_there_is_no_help_on_is_answered_with_what_there_is(mk, word, fix):
    done = mk("help", word)
    assert (done.status, done.out) == (2, b"")
    assert f"\n  fix: {fix}" in done.err


@pytest.mark.parametrize("subject", ["offsets", "exec", "exit-codes"])
def test_a_pager_gets_lines_of_the_usual_width(mk, subject):
    assert max(map(len, mk.ok("help", subject).decode().splitlines())) <= 80
    wide = mk.ok("help", subject, env={"COLUMNS": "120"}).decode()
    assert wide == help_topics.subjects()[subject]
