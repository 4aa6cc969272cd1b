"""The bugs that tests/proof/planted.py plants: each can still be planted, and its tests are still there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.proof.bugs import BUGS, SAMPLE
from tests.proof.bugs.bug import Bug
from tests.proof.planted import ROOT, PlantingError, Workspace, planted

PROMISES = {"1", "2", "3", "4", "5", "6"}


@cache
def source_of(file: str) -> str:
    return (ROOT / file).read_text()


@cache
def functions_of(file: str) -> set[str]:
    """Return the names of the tests and classes of a module."""
    tree = ast.parse(source_of(file))
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))} | {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def what_is_wrong_with(bug: Bug) -> str:
    try:
        compile(planted(bug, source_of(bug.file)), bug.file, "exec")
    except (PlantingError, OSError, SyntaxError) as error:
        return str(error)
    for test in bug.tests:
        file, _, name = test.partition("::")
        if not name or not Path(ROOT, file).is_file() or re.split(r"[:[]", name)[0] not in functions_of(file):
            return f"{bug.name}: there is no test {test}"
    return "" if bug.tests and bug.old != bug.new else f"{bug.name}: it changes nothing, or nobody looks"


def test_each_bug_can_be_planted_and_its_tests_are_there() -> None:
    assert len(BUGS) > 100
    assert [wrong for bug in BUGS if (wrong := what_is_wrong_with(bug))] == []


def test_each_bug_has_a_name_of_its_own() -> None:
    names = [bug.name for bug in BUGS]
    assert sorted(names) == sorted(set(names))
    assert set(SAMPLE) <= set(names)


def test_every_promise_has_bugs_that_would_break_it_also_in_the_sample() -> None:
    for bugs in (BUGS, [bug for bug in BUGS if bug.name in SAMPLE]):
        assert {bug.promise.partition(" ")[0] for bug in bugs} == PROMISES


def test_a_text_that_is_not_there_just_once_is_no_bug() -> None:
    bug = Bug("a-bug", "1", "mk/a.py", "a = 1\n", "a = 2\n", ())
    assert planted(bug, "b = 1\na = 1\n") == "b = 1\na = 2\n"
    for source in ("b = 1\n", "a = 1\na = 1\n"):
        with pytest.raises(PlantingError):
            planted(bug, source)


def test_what_is_planted_is_what_runs_and_is_gone_again(tmp_path: Path) -> None:
    """A workspace proves it when it is made: by a bug that nobody can miss, imported and in the command."""
    space = Workspace(tmp_path)
    (bug,) = (bug for bug in BUGS if bug.name == "checksum-of-epochs-not-checked")
    assert space.with_bug(bug, bug.tests).is_failure
    assert space.run(bug.tests).status == 0
