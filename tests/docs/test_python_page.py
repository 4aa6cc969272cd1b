"""mk-python(3): its form, that it names what there is and nothing else, and that its programs run, and are typed as shown."""

import ast
import inspect
import os
import pydoc
import re
import shlex
import subprocess
import sys

import pytest

import mk
from mk.cli.exit_statuses import error_classes
from tests.docs.mdoc_page import Page, unescape

PAGE = Page("mk-python.3")
EXAMPLES = re.findall(
    r"^\.Ss (.*)$", re.split(r"^\.Sh ", PAGE.source.partition(".Sh EXAMPLES\n")[2], flags=re.M)[0], flags=re.M
)
SECTIONS = {
    mk.Cluster: ["What it opens", "Topics", "Groups", "The whole directory", "Of a cluster"],
    mk.Producer: ["Methods and attributes of a producer", "Of a producer"],
    mk.Consumer: ["Methods and attributes of a consumer", "Of a consumer"],
    mk.GroupConsumer: ["Methods and attributes of a member", "Of a member"],
    mk.ConsumerRecord: ["mk.ConsumerRecord"],
    mk.AppendResult: ["mk.AppendResult"],
    mk.OffsetSpec: ["mk.OffsetSpec"],
    mk.MkError: ["ERRORS"],
}


def told(*titles):
    """Return what these sections explain: names, with the parameters of those that are called, and None for the rest."""
    found = {}
    for title in titles:
        for macro, name, words in re.findall(r"^\.It (Fn|Va) (\w+)(.*)$", PAGE.section(title), flags=re.MULTILINE):
            assert name not in found, name
            found[name] = (
                None if macro == "Va" else [unescape(word) for word in shlex.split(words.replace("\\", "\\\\"))]
            )
    return found


def parameters(function):
    words = []
    for one in inspect.signature(function).parameters.values():
        if one.kind is one.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        if one.name != "self":
            words.append(one.name if one.default is one.empty else f"{one.name}={one.default!r}")
    return words


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    """One object of each class, by its class."""
    with mk.connect(tmp_path_factory.mktemp("log") / "log", create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t", producer_id="i") as producer, cluster.consumer("t") as consumer:
            producer.send(b"v")
            (result,) = producer.flush()
            with cluster.group_consumer("g", "t") as member:
                (record,) = member
                try:
                    cluster.describe_topic("nope")
                except mk.MkError as error:
                    objects = [producer, consumer, member, record, result, mk.OffsetSpec("start"), error]
                    yield {
                        mk.Cluster: cluster,
                        **{kind: one for kind in SECTIONS for one in objects if type(one) is kind},
                        mk.MkError: error,
                    }


def test_mandoc_finds_nothing_to_complain_about():
    assert PAGE.complaints() == []


@pytest.mark.parametrize("kind", SECTIONS, ids=lambda kind: kind.__name__)
def test_the_page_explains_every_public_name_as_it_is_called_and_no_other(kind, instances):
    one = instances[kind]
    names = {name for name in (*dir(kind), *getattr(one, "__dict__", ())) if not name.startswith("_")}
    if kind is mk.Cluster:
        names |= set(kind.__annotations__)  # And nothing that one implementation happens to have.
        names &= {name for name in dir(one) if not name.startswith("_")}
    elif kind is mk.GroupConsumer:
        names -= told(*SECTIONS[mk.Consumer]).keys()
    elif kind is mk.MkError:
        names -= set(dir(Exception))
    explained = told(*SECTIONS[kind])
    assert explained.keys() == names
    for name, words in explained.items():
        member = getattr(kind, name, None)
        assert words == (parameters(member) if callable(member) else None), name


def test_the_page_names_all_that_the_package_offers():
    functions = told("FUNCTIONS")
    for name, words in functions.items():
        assert words == parameters(getattr(mk, name))
    assert {kind.__name__ for kind in SECTIONS} | functions.keys() | {"errors", "__version__"} == set(mk.__all__)
    named = set(re.findall(r"\bmk\.(\w+)", PAGE.source.replace("\\-", "-")))
    assert named <= set(mk.__all__) and named >= set(mk.__all__) - functions.keys()


@pytest.mark.parametrize(
    ("title", "opened"),
    [("PRODUCING", ["producer"]), ("CONSUMING", ["consumer"]), ("CONSUMING IN A GROUP", ["group_consumer"])],
)
def test_the_page_explains_every_option(title, opened):
    (name,) = opened
    options = set(inspect.signature(getattr(mk.Cluster, name)).parameters) - {
        "self",
        "topic",
        "topics",
        "regex",
        "group",
    }
    explained = set(re.findall(r"^\.It Fa (\w+)$", PAGE.section(title), flags=re.MULTILINE))
    if name == "group_consumer":
        options -= set(inspect.signature(mk.Cluster.consumer).parameters) - {"offset"}
    assert explained == options


def test_the_families_of_errors_are_those_of_the_tree():
    rows = PAGE.table("ERRORS", "error", "retriable")
    families = [error for error in error_classes() if error.__base__ is mk.MkError]
    assert {row["error"] for row in rows} == {error.__name__ for error in families} - {"RecordFailedError"}
    for row in rows:
        assert row["retriable"] == ("yes" if getattr(mk.errors, row["error"]).retriable else "no")
    named = set(re.findall(r"\b[A-Z]\w+Error\b", PAGE.source)) - {
        "TypeError",
        "ValueError",
        "RuntimeError",
        "BrokenPipeError",
    }
    assert named <= {error.__name__ for error in error_classes()}


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_prints_what_the_page_says(title, tmp_path):
    program, output = PAGE.examples(title)
    script = tmp_path / "example.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "MK_DIR": str(tmp_path / "log")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", output)


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_uses_public_names_alone(title):
    tree = ast.parse(PAGE.examples(title)[0])
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert str(node.module).split(".")[0] != "mk"
        elif isinstance(node, ast.Import):
            assert all(one.name == "mk" or not one.name.startswith("mk.") for one in node.names)
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_") or node.attr == "__name__"
            if isinstance(node.value, ast.Name) and node.value.id == "mk":
                assert node.attr in mk.__all__


def type_check(path, *programs):
    """Return what mypy says of programs that import mk as it is installed."""
    pytest.importorskip("mypy")
    for number, program in enumerate(programs):
        (path / f"program{number}.py").write_text(program)
    words = ["--strict", "--no-incremental", "--python-version", "3.10", "--config-file", os.devnull]
    command = [sys.executable, "-m", "mypy", *words, *sorted(path.glob("*.py"))]
    return subprocess.run(command, cwd=path, capture_output=True, text=True, timeout=300)


def test_the_examples_are_typed_strictly_for_who_imports_mk(tmp_path):
    (synopsis,) = PAGE.examples("SYNOPSIS")
    wrong = "import mk\nmk.conect()\nmk.errors.NoSuchTopcError\nwith mk.connect() as c, c.group_consumer('g', 't') as m:\n    m.comit()\n"
    done = type_check(tmp_path, synopsis, *(PAGE.examples(title)[0] for title in EXAMPLES), wrong)
    number = len(EXAMPLES) + 1
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert all(line.startswith(f"program{number}.py:") for line in found), done.stdout
    assert len(found) == 3, done.stdout


def test_pydoc_shows_every_public_name_with_a_sentence():
    shown = pydoc.render_doc(mk, renderer=pydoc.plaintext)
    assert "object at 0x" not in shown
    for name in set(mk.__all__) - {"__version__"}:
        assert re.search(rf"\b{name}\b", shown), name
    for kind in SECTIONS:
        for name, member in inspect.getmembers(kind, inspect.isfunction):
            assert name.startswith("_") or member.__doc__, f"{kind.__name__}.{name}"


def test_there_are_examples():
    assert len(EXAMPLES) >= 14
