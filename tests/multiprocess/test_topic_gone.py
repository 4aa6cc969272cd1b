"""A topic deleted, renamed or made anew under those who use it: status 66, and nothing acknowledged into the void."""

import itertools
import os
import shutil
import threading

import pytest
from history import parse_acks, read_log, topic_id_of
from injection import CALLS, Stopped, needs_strace, points_of
from processes import TIMEOUT, LineSource, create_topic, end, kill_all, must, run, start


@pytest.fixture
def directory(tmp_path):
    create_topic(tmp_path / "log", "t")
    return tmp_path / "log"


@pytest.fixture
def running():
    """Processes to be ended with the test."""
    processes = []
    yield processes
    kill_all(processes)


def produce_one(directory, running):
    """Start a producer that has stored one line, and return it with the source of its standard error."""
    process = start(directory, "produce", "t", "-v")
    running.append(process)
    process.stdin.write(b"before\n")
    process.stdin.flush()
    errors = LineSource(process.stderr)
    assert errors.next() == b"t 0 0 0"
    return process, errors


def rest_of(errors):
    return b"\n".join(iter(errors.next, None)).decode()


def make_anew(directory):
    must(directory, "topics", "delete", "t", "--yes")
    create_topic(directory, "t")


CHANGES = {
    "deleted": lambda directory: must(directory, "topics", "delete", "t", "--yes"),
    "renamed by hand": lambda directory: os.rename(directory / "topics/t", directory / "topics/u"),
    "renamed": lambda directory: must(directory, "topics", "rename", "t", "u"),
    "deleted and made again": make_anew,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_running_producer_is_told_and_acknowledges_nothing_more(directory, running, change):
    process, errors = produce_one(directory, running)
    CHANGES[change](directory)
    process.stdin.write(b"after\n")
    process.stdin.flush()
    rest = rest_of(errors)
    assert process.wait(60) == 66, rest
    assert parse_acks(rest) == [] and "mk: 1 record stored" in rest and "no topic t" in rest, rest
    if change.startswith("renamed"):
        assert read_log(directory, "u") == [(None, b"before")]
    elif change == "deleted and made again":
        assert read_log(directory, "t") == []
        assert must(directory, "consume", "t").stdout == ""


def test_a_following_reader_is_told_that_its_topic_was_deleted(directory, running):
    must(directory, "produce", "t", "one")
    process = start(directory, "consume", "t", "-F")
    running.append(process)
    lines = LineSource(process.stdout)
    assert lines.next() == b"one"
    must(directory, "topics", "delete", "t", "--yes")
    result = end(process)
    assert result.status == 66 and "no topic t" in result.stderr and "deleted" in result.stderr, result


def test_a_following_reader_is_told_at_whatever_call_the_deletion_stands(directory, running):
    """Deleted many times over, by a reader that is woken by each write: never taken for damage."""
    for round_ in range(4):
        topic = f"r{round_}"
        create_topic(directory, topic, 3, segment_bytes=4096)
        for partition in range(3):
            must(directory, "produce", topic, "x" * 3000, "y" * 3000, "-p", str(partition))
        readers = [start(directory, "consume", topic, "-F") for _ in range(3)]
        running += readers
        if round_ % 2:
            LineSource(readers[0].stdout).next()
        must(directory, "topics", "delete", topic, "--yes")
        for reader in readers:
            result = end(reader)
            assert result.status == 66 and "no topic" in result.stderr, result


@pytest.mark.parametrize("rounds", [pytest.param(3), pytest.param(100, marks=pytest.mark.slow)])
def test_producers_racing_a_deletion_never_append_to_the_topic_that_has_the_name_next(directory, running, rounds):
    """Appends without pause while the topic is deleted and made again: each ends with 66, and none goes on in the new one."""
    for _ in range(rounds):
        first = topic_id_of(directory, "t")
        producers = [start(directory, "produce", "t", "-v", "--no-create") for _ in range(4)]
        running += producers
        writers = [threading.Thread(target=_pour, args=(process, index)) for index, process in enumerate(producers)]
        for writer in writers:
            writer.start()
        sources = [LineSource(process.stderr) for process in producers]
        for source in sources:
            assert source.next().startswith(b"t 0 ")
        must(directory, "topics", "delete", "t", "--yes")
        create_topic(directory, "t")
        assert topic_id_of(directory, "t") != first
        for process, source, writer in zip(producers, sources, writers, strict=True):
            rest = rest_of(source)
            assert process.wait(60) == 66, rest
            assert "no topic t" in rest, rest
            writer.join(60)
        # Those that had the old topic open never write into the new one.
        assert read_log(directory, "t") == []


def _pour(process, index):
    try:
        for number in itertools.count():
            process.stdin.write(b"%d-%d\n" % (index, number))
            process.stdin.flush()
    except (BrokenPipeError, ValueError):
        pass


def test_a_reader_and_a_writer_that_start_while_a_topic_goes_and_comes_see_one_or_none(directory):
    """Never damage (65) and never a bug (70), at whatever moment they open it."""
    stop = threading.Event()
    problems = []

    def start_again_and_again(arguments):
        while not stop.is_set():
            result = run(directory, *arguments)
            if result.status not in (0, 66) or "Traceback" in result.stderr:
                problems.append(result)
                return

    threads = [
        threading.Thread(target=start_again_and_again, args=(arguments,))
        for arguments in (["consume", "t"], ["produce", "t", "x", "--no-create"])
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            must(directory, "topics", "delete", "t", "--yes")
            create_topic(directory, "t", 8)
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)
    assert not problems, problems


@needs_strace
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "arguments", [["consume", "t"], ["produce", "t", "x", "--no-create"]], ids=["consume", "produce"]
)
def test_a_change_at_any_moment_of_opening_a_topic_is_no_damage(directory, arguments, change, thoroughness):
    """Stop a command after each of its calls, change the topic, and let the command go on."""
    must(directory, "produce", "t", "before")
    calls = thoroughness.pick(["openat"], [*CALLS, "newfstatat", "pread64"])
    saved = directory.with_name("saved")
    shutil.copytree(directory, saved)
    points = [point for point in points_of(directory, arguments, calls=calls) if not point.line.startswith("2<")]
    for point in thoroughness.of(points, 5):
        shutil.rmtree(directory)
        shutil.copytree(saved, directory)
        command = Stopped(point, directory, arguments)
        command.wait()
        # A deletion waits for an append that has the lock; it is not to wait for one that is stopped.
        changer = threading.Thread(target=CHANGES[change], args=(directory,))
        changer.start()
        changer.join(0.5 if point.call in ("flock", "openat") else 0.2)
        result = command.finish()
        changer.join(TIMEOUT)
        explain = f"{change} after {point}: {result}"
        assert result.status in (0, 66) and "Traceback" not in result.stderr, explain
        if arguments[0] == "consume":
            assert result.status == 66 or result.stdout == "before\n" or not result.stdout, explain
        elif change == "deleted and made again":
            # Stored in the new topic, or before the deletion in the old one, or not at all.
            log = read_log(directory, "t")
            assert log == [] or (result.status == 0 and log == [(None, b"x")]), explain
