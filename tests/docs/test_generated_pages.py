"""The manual pages and completions in the repository are what the definition makes of them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mk.cli import completions, definition, help_pages, help_topics, manual
from mk.cli.exit_statuses import error_classes, exit_statuses

ROOT = Path(__file__).parents[2]
LEVELS = [definition.ROOT, *definition.commands()]


def name_of(level):
    return " ".join(("mk", *level.path))


@pytest.mark.parametrize("name", sorted(manual.files()))
def test_manual_page_is_up_to_date(name):
    assert (ROOT / "man" / name).read_text() == manual.files()[name], "run `python -m mk.cli.manual man`"


@pytest.mark.parametrize("name", sorted(completions.files()))
def test_completion_is_up_to_date(name):
    expected = completions.files()[name]
    assert (ROOT / "completions" / name).read_text() == expected, "run `python -m mk.cli.completions completions`"


@pytest.mark.parametrize("name", sorted(manual.files()))
def test_mandoc_finds_nothing_to_complain_about(name):
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    lint = subprocess.run(["mandoc", "-Tlint", ROOT / "man" / name], capture_output=True, text=True, check=False)
    # It looks for referenced pages in the system's directories only, where ours need not be installed.
    complaints = [line for line in lint.stdout.splitlines() if "referenced manual not found: Xr mk" not in line]
    assert complaints == []


@pytest.mark.parametrize(
    ("name", "directives"),
    [
        ("mk-consume.1", {"%v", "%k", "%t", "%p", "%o", "%T", "%d", "%V", "%K", "%R", "%h"}),
        ("mk-produce.1", {"%k", "%t", "%p", "%o", "%T", "%V", "%h"}),
    ],
)
def test_each_directive_of_a_format_stands_on_the_page_as_it_is_shown(name, directives):
    """%T, %V and %R are macros of mdoc(7), and called would vanish with a complaint of a usage."""
    tool = shutil.which("groff")
    if tool is None:
        pytest.skip("groff is not installed")
    command = [tool, "-mandoc", "-Tutf8", "-P-c", "-P-b", "-P-u", ROOT / "man" / name]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Usage:" not in shown.stderr
    tags = {line.split()[0] for line in shown.stdout.splitlines() if line.strip()}
    assert directives <= tags


@pytest.mark.parametrize("level", LEVELS, ids=name_of)
def test_every_command_and_option_is_explained_and_has_an_example(level):
    assert level.summary and level.description and level.examples
    page = help_pages.page(level)
    for parameter in level.parameters:
        assert parameter.help
        if parameter.flags and not parameter.hidden:
            assert all(flag in page for flag in parameter.flags)
    for command_line, effect in level.examples:
        assert command_line in page and effect in " ".join(page.split())


def test_the_page_of_a_command_tells_how_it_and_its_subcommands_end():
    for path in (ROOT / "man").glob("mk-*.1"):
        level = next(level for level in LEVELS if "-".join(("mk", *level.path)) == path.stem)
        told = " ".join(path.read_text().replace("\\", "").partition(".Sh EXIT STATUS")[2].split())
        for one in [level, *help_pages.subcommands(level)]:
            assert one.exit_status in told, one.path


def test_a_synopsis_shows_what_must_be_there_without_brackets():
    synopsis = (ROOT / "man/mk-topics.1").read_text().partition(".Sh DESCRIPTION")[0]
    trim = synopsis.partition(".Nm mk topics trim\n")[2].splitlines()
    assert ".Fl -to Ar SPEC" in trim and ".Op Fl -dry-run" in trim


@pytest.mark.parametrize("level", LEVELS, ids=name_of)
def test_options_take_a_value_and_name_it_or_neither(level):
    for parameter in level.parameters:
        assert bool(parameter.metavar) == (parameter.kind != definition.FLAG)


def test_a_flag_that_may_stand_before_the_command_takes_a_value_in_all_commands_or_in_none():
    """The completions count on it, and who reads a command line from the left."""
    kinds = {flag: one.kind == definition.FLAG for one in definition.GLOBAL_OPTIONS for flag in one.flags}
    for level in LEVELS:
        for parameter in level.parameters:
            for flag in parameter.flags:
                assert kinds.get(flag, parameter.kind == definition.FLAG) == (parameter.kind == definition.FLAG), flag


def test_every_error_has_a_documented_exit_status():
    documented = dict(exit_statuses())
    page = (ROOT / "man" / "mk.1").read_text()
    for error in error_classes():
        assert error.exit_status in documented, error
        assert f".It {error.exit_status}\n" in page


def test_the_tree_drawn_in_errors_py_is_the_real_one():
    import mk.errors

    drawn = [line.split() for line in mk.errors.__doc__.splitlines() if line.startswith("    ")]
    assert {words[0] for words in drawn} == {error.__name__ for error in error_classes()}
    statuses = {words[0]: int(words[1]) for words in drawn if len(words) > 1 and words[1].isdigit()}
    for error in error_classes():
        if error.__name__ in statuses:
            assert error.exit_status == statuses[error.__name__]
        else:
            above = next(base for base in error.__mro__[1:] if issubclass(base, mk.errors.MkError))
            assert error.exit_status == above.exit_status


def test_every_environment_variable_is_explained():
    names = {parameter.environment for level in LEVELS for parameter in level.parameters if parameter.environment}
    everything = "".join(manual.files().values())
    assert all(f".It Ev {name}\n" in everything for name in names)


def test_help_topics_fit_a_page():
    for text in help_topics.subjects().values():
        assert all(len(line) <= 110 for line in text.splitlines())
        assert text.endswith("\n")
