"""`mk replicate` where topics have other names than they had, and where a directory is named that cannot be meant."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from running import Mk, read_until


@pytest.fixture
def copy(mk: Mk, tmp_path: Path) -> Mk:
    """A copy of three topics, a to c, of which each tells by its one record which it was."""
    for name in "abc":
        assert mk("produce", name, "was", name).status == 0
    copy = Mk(tmp_path / "copy")
    replicated(mk, copy)
    return copy


def replicate(source: Mk, target: Mk, *words: object):
    return source("replicate", source.directory, target.directory, *words)


def replicated(source: Mk, target: Mk, *words: object) -> str:
    done = replicate(source, target, *words)
    assert done.status == 0, done
    return done.err


def rename(mk: Mk, *changes: tuple[str, str]) -> None:
    for old, new in changes:
        assert mk("topics", "rename", old, new).status == 0


def values(mk: Mk, topics: str) -> list[str]:
    return [b" ".join(mk("consume", topic).out.split()).decode() for topic in topics]


def test_topics_that_exchanged_their_names_on_the_source_do_so_in_the_copy(mk, copy):
    rename(mk, ("a", "x"), ("b", "a"), ("c", "b"), ("x", "c"))
    assert "mk: topic a is now c\n" in replicated(mk, copy)
    assert values(copy, "abc") == ["was b", "was c", "was a"]
    replicated(mk, copy, "--verify")


def test_topics_that_moved_on_to_each_others_names_do_so_in_one_run(mk, copy):
    rename(mk, ("c", "d"), ("b", "c"), ("a", "b"))
    assert mk("produce", "a", "new").status == 0
    replicated(mk, copy)
    assert values(copy, "abcd") == ["new", "was a", "was b", "was c"]


def test_a_name_that_a_topic_outside_the_run_gave_up_is_not_said_to_be_of_a_deleted_one(mk, copy):
    rename(mk, ("a", "z"))
    assert mk("produce", "a", "new").status == 0
    done = replicate(mk, copy, "--topics", "a")
    assert done.status == 65
    assert "replicate z as well" in done.err
    assert "delete" not in done.err


def test_an_old_leader_follows_a_topic_that_was_renamed_and_cuts_off_what_it_alone_has(mk, copy):
    assert copy("replicate", "promote").status == 0
    assert mk("produce", "a", "lost").status == 0
    rename(copy, ("a", "z"))
    assert copy("produce", "z", "new").status == 0
    assert "z 0: cuts off 1 record" in replicated(copy, mk)
    assert values(mk, "z") == ["was a new"]


def test_a_change_of_a_copy_that_is_undone_is_told(mk, copy):
    assert copy("topics", "alter", "a", "-c", "retention.ms=5d").status == 0
    assert "mk: topic a: as in SRC now: retention.ms\n" in replicated(mk, copy)
    assert "as in SRC" not in replicated(mk, copy)


@pytest.mark.parametrize("place", ["copy", "topics/a/copy"])
def test_no_log_directory_is_made_inside_another_one(mk, copy, place):
    done = replicate(mk, Mk(mk.directory / place))
    assert done.status == 73
    assert "is inside a log directory" in done.err
    assert not (mk.directory / place).exists()


def test_an_empty_word_is_no_directory(mk, copy):
    for words in ((mk.directory, ""), ("", copy.directory)):
        done = mk("replicate", *words)
        assert (done.status, "is empty" in done.err) == (2, True)


def test_records_of_a_source_that_was_restored_are_no_damage_to_verify(mk, copy, tmp_path):
    old = Mk(tmp_path / "old")
    shutil.copytree(mk.directory, old.directory)
    for number in range(3):
        assert mk("produce", "a", number).status == 0
    replicated(mk, copy)
    # Two batches, of which none ends where the copy does.
    for _ in range(2):
        assert old("produce", "a", stdin=b"x\ny\n").status == 0
    done = replicate(old, copy, "--verify", "--topics", "a")
    assert done.status == 65
    assert "the batches from offset 2 on are others" in done.err
    assert "damage" not in done.err.replace("whether one is damaged", "")


@pytest.mark.parametrize("gone", ["source", "target"])
def test_a_directory_that_is_deleted_while_it_is_followed_ends_the_run(mk, copy, gone):
    words = "replicate", "-F", "-v", mk.directory, copy.directory
    with mk.start(*words, stderr=subprocess.PIPE) as running:
        assert mk("produce", "a", "x").status == 0
        read_until(running.stderr.fileno(), b"a 0 2 2\n")
        # Stopped, or it might make a file in what is being deleted.
        running.send_signal(signal.SIGSTOP)
        shutil.rmtree(mk.directory if gone == "source" else copy.directory)
        if gone == "target":
            assert mk("produce", "a", "y").status == 0
        running.send_signal(signal.SIGCONT)
        assert b"no log directory at" in read_until(running.stderr.fileno(), b"fix:")
        assert running.wait(60) == 66


def test_an_old_leader_that_was_restored_and_led_on_is_not_begun_anew_with_its_records_lost(mk, copy, tmp_path):
    old = Mk(tmp_path / "old")
    shutil.copytree(mk.directory, old.directory)
    assert mk("produce", "a", stdin=b"x\ny\n").status == 0
    replicated(mk, copy)
    assert old("produce", "a", stdin=b"1\n2\n3\n").status == 0
    assert copy("replicate", "promote").status == 0
    done = replicate(copy, old, "--topics", "a")
    assert done.status == 65
    assert "no batch of DST ends at offset 4" in done.err
    assert values(old, "a") == ["was a 1 2 3"]
