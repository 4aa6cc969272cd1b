"""Help on a terminal that is narrower than its lines: they are folded, what is there to paste stays whole, and 80 columns hold it."""

import pytest

from mk.cli import definition, help_pages
from mk.cli.help_topics import folded, subjects

TEXT = """\
A heading:

Here is a sentence that is too
wide for it, well-known or not.

  a, b  an explanation that goes on
        in the next line
          mk one --with a-very-long-option
  c     short

  * * * * * mk produce lines | tail -n 3
"""


def test_paragraphs_and_explanations_are_folded_and_commands_are_not():
    assert folded(TEXT, 44) == TEXT
    assert folded(TEXT, 24) == (
        "A heading:\n\nHere is a sentence that\nis too wide for it,\nwell-known or not.\n\n"
        "  a, b  an explanation\n        that goes on in\n        the next line\n"
        "          mk one --with a-very-long-option\n  c     short\n\n"
        "  * * * * * mk produce lines | tail -n 3\n"
    )


@pytest.mark.parametrize("subject", subjects())
@pytest.mark.parametrize("width", [30, 60, 80, 99])
def test_no_word_of_a_subject_is_lost_and_nothing_but_examples_is_wider(subject, width):
    text = subjects()[subject]
    lines = folded(text, width).splitlines()
    assert " ".join(lines).split() == text.split()
    wide = [line for line in lines if len(line) > width]
    assert all(line in text.splitlines() and line.startswith("  ") for line in wide if len(line.split()) > 1)


LEVELS = [definition.ROOT, *definition.commands()]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: " ".join(level.path) or "mk")
@pytest.mark.parametrize("page", [help_pages.page, help_pages.short_page])
def test_the_help_of_a_command_fits_into_80_columns(monkeypatch, level, page):
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in page(level).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("subject", subjects())
def test_a_subject_fits_into_80_columns_with_what_is_there_to_paste(subject):
    assert [line for line in folded(subjects()[subject], 80).splitlines() if len(line) > 80] == []
