"""mk-recipes(7): its form, that its lines can be pasted as they are shown, and that each of them is run by a test."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mk.cli.exit_statuses import exit_statuses
from tests.docs.mdoc_page import Page

PAGE = Page("mk-recipes.7")
TESTS = Path(__file__).parents[1] / "recipes"
WITH_BLOCKS = [title for title in PAGE.sections() if PAGE.examples(title)]


def test_mandoc_finds_nothing_to_complain_about():
    assert PAGE.complaints() == []


def lines_of(blocks):
    return [line for block in blocks for line in block.splitlines() if line]


@pytest.mark.parametrize("program", ["mandoc", "groff"])
def test_what_is_shown_can_be_pasted(program):
    """A dash, a quote or a tilde that is not escaped comes out as another character, which no shell takes for it."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    command = {
        "mandoc": ["mandoc", "-Tutf8", "-O", "width=160"],
        "groff": ["groff", "-Tutf8", "-mdoc", "-P-cbou", "-rLL=160n"],
    }[program]
    shown = subprocess.run([*command, PAGE.path], capture_output=True, text=True, check=True).stdout
    shown = [line.expandtabs(8).strip() for line in re.sub(".\b", "", shown).splitlines()]
    for line in lines_of(block for title in WITH_BLOCKS for block in PAGE.examples(title)):
        assert line.expandtabs(8).strip() in shown


def test_each_recipe_says_when_to_use_it_has_lines_and_says_what_a_kill_does():
    recipes = re.findall(r"^\.Ss (.*)$", PAGE.source, flags=re.MULTILINE)
    assert len(recipes) > 15
    for title in recipes[1:]:
        text = PAGE.section(title)
        assert title in WITH_BLOCKS and re.search(r"^Use (it|the)\b", text, flags=re.MULTILINE), title
        assert re.search(r"^Killed\b", text, flags=re.MULTILINE), title


def test_each_recipe_is_run_by_a_test():
    tests = "".join(path.read_text() for path in TESTS.glob("test_*.py"))
    for title in WITH_BLOCKS:
        assert f'"{title}"' in tests, title


def test_the_statuses_that_need_somebody_are_statuses_and_are_those_of_the_services():
    sentence = re.search(r"the\s+next\s+time,\s+([\d,\s]+and\s\d+)\s+need\s+somebody", PAGE.section("DESCRIPTION"))
    told = re.findall(r"\d+", sentence[1])
    assert set(map(int, told)) < {status for status, _ in exit_statuses()}
    prevented = re.findall(r"^RestartPreventExitStatus=(.*)$", PAGE.source, flags=re.MULTILINE)
    assert len(prevented) == 3 and all(one.split() == told for one in prevented)
