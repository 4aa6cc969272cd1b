"""A word that is nearly right is answered with the right one."""

import os

import pytest
from running import Mk
from test_remote import Remote, fake_ssh

from mk.cli import definition

pytestmark = pytest.mark.both_engines

COMMANDS = [command.path for command in definition.commands()]


def misspelled(word: str) -> str:
    """Leave out a letter in the middle of a word."""
    return word[: len(word) // 2] + word[len(word) // 2 + 1 :]


@pytest.fixture
def filled(mk):
    mk.ok("produce", "orders", "x")
    mk.ok("produce", "homes-2025", "x")
    mk.ok("consume", "orders", "-g", "billing")
    return mk


@pytest.mark.directory_only("Kafka renames no topics")
@pytest.mark.parametrize(
    ("words", "status", "suggested"),
    [
        (("prodcue", "t"), 2, "did you mean produce?"),
        (("topics", "decribe", "t"), 2, "did you mean describe?"),
        (("topics", "-q", "lst"), 2, "did you mean list?"),
        (("GROUPS",), 2, "did you mean groups?"),
        (("topics", "create", "t", "--partitons", 3), 2, "did you mean --partitions?"),
        (("produce", "--kye", "k"), 2, "did you mean --key or "),
        (("--versoin",), 2, "did you mean --version or "),
        (("wait", "--hlep"), 2, "did you mean --help or "),
        (("help", "offsts"), 2, "did you mean offsets"),
        (("help", "exitcodes"), 2, "did you mean exit-codes"),
        (("help", "topics", "creat"), 2, "did you mean topics create"),
        (("consume", "ordesr"), 66, "did you mean orders?"),
        (("topics", "describe", "Homes2025"), 66, "did you mean homes-2025?"),
        (("topics", "delete", "order", "--yes"), 66, "did you mean orders?"),
        (("topics", "get", "oders", "k"), 66, "did you mean orders?"),
        (("topics", "rename", "oders", "new"), 66, "did you mean orders?"),
        (("produce", "--no-create", "oders", "x"), 66, "did you mean orders?"),
        (("wait", "oders"), 66, "did you mean orders?"),
        (("groups", "describe", "biling"), 66, "did you mean billing?"),
        (("groups", "delete", "biling", "--yes"), 66, "did you mean billing?"),
        (("consume", "orders", "-o", "group:biling"), 66, "did you mean billing?"),
        (("wait", "orders", "-g", "Bilings"), 66, "did you mean billing?"),
    ],
)
def test_the_near_one_is_suggested(filled, words, status, suggested):
    done = filled(*words)
    assert done.status == status and done.out == b""
    what, fix = done.err.splitlines()
    assert what.startswith("mk: error: ") and fix.startswith(f"  fix: {suggested}")


@pytest.mark.directory_only("replication is of directories")
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_suggested_for_its_own_misspelling(mk, path):
    words = (*path[:-1], misspelled(path[-1]))
    if path[0] == "replicate" and len(path) > 1:
        words += ("--dry-run",) if path[1] == "run" else ()
    elif path[0] == "check" and len(path) > 1:
        pytest.skip("any other word is the name of a topic")
    done = mk(*words)
    assert done.status == 2 and f"did you mean {path[-1]}" in done.err, done


def test_nothing_is_suggested_that_is_not_near(filled):
    for words in (
        ("consume", "xyzzy"),
        ("groups", "describe", "xyzzy"),
        ("xyzzy",),
        ("consume", "--xyzzy"),
        ("help", "xyzzy"),
    ):
        assert "did you mean" not in filled(*words).err
    done = filled("consume", "xyzzy")
    assert done.err.splitlines()[1] == "  fix: `mk topics` lists the topics there are"


def test_a_monitor_is_told_in_its_own_way(filled):
    done = filled("check", "oders")
    assert (
        done.status == 3 and done.out.startswith(b"MK UNKNOWN - no topic oders") and "did you mean orders?" in done.err
    )


def test_a_topic_that_went_a_moment_ago_is_not_misspelled(filled):
    filled.ok("produce", "order", "x")
    with filled.start("consume", "order", "-F") as consumer:
        os.read(consumer.stdout.fileno(), 10)
        filled.ok("topics", "delete", "order", "--yes")
        consumer.wait(timeout=30)
        assert b"did you mean" not in consumer.stderr.read()


@pytest.mark.directory_only("Kafka is on other hosts anyway")
def test_another_host_suggests_what_may_be_seen_there(filled, tmp_path):
    far = Remote(filled, fake_ssh(tmp_path))
    for words in (
        ("consume", "oders"),
        ("topics", "describe", "oders"),
        ("wait", "oders"),
        ("produce", "oders", "--no-create", "x"),
    ):
        done = far(*words)
        assert done.status == 66 and done.err.splitlines()[-1].startswith("  fix: did you mean orders? "), done
    limited = fake_ssh(
        tmp_path, body=f"exec {filled.program} serve --stdio --root {filled.directory} --only 'pull:o.*s'"
    )
    far = Remote(filled, limited)
    filled.ok("produce", "orderbooks", "x")
    assert "did you mean orders or orderbooks?" in far("consume", "orderss").err
    filled.ok("produce", "secret-orders", "x")
    done = far("consume", "orders-secret-orders")
    assert done.status == 66 and "secret-orders?" not in done.err and "or secret" not in done.err


@pytest.mark.directory_only("replication is of directories")
def test_a_misspelled_command_of_replicate_makes_no_copy(filled, tmp_path):
    def run(*words):
        return filled(*words, cwd=tmp_path)

    before = sorted(tmp_path.iterdir())
    for word, meant in (("promot", "promote"), ("stauts", "status"), ("savlage", "salvage")):
        done = run("replicate", word)
        assert done.status == 2 and f"did you mean {meant}?" in done.err and f"`mk replicate ./{word}`" in done.err
    assert sorted(tmp_path.iterdir()) == before
    run("replicate", "./promot", "-q")
    assert (tmp_path / "promot" / "mk.json").exists()
    assert run("replicate", "promot", "-q").status == 0  # Now it is there.
    assert run("replicate", str(filled.directory), "stauts", "-q").status == 0
    assert run("replicate", "copy", "-q").status == 0


@pytest.mark.directory_only("it looks at the files of the log")
def test_among_twenty_thousand_topics_the_near_one_is_found(mk):
    mk.ok("produce", "orders", "x")
    for number in range(20_000):
        (mk.directory / "topics" / f"t{number:05d}-{number * 7919 % 10007:05d}").mkdir()
    done = Mk(mk.directory)("consume", "ordesr", timeout=20)
    assert done.status == 66 and "did you mean orders?" in done.err
