"""A log directory with thousands of topics."""

import json
import os
import subprocess

import pytest

from mk.storage.log_directory import LogDirectory
from mk.storage.topic import encode_topic
from tests.crash.recorder import fast_disk

COUNT = 3000


@pytest.fixture
def many(mk):
    """Thousands of topics, every third of two partitions; made with the library's own functions, but without syncs."""
    from mk.storage import files

    mk.ok("topics", "create", "first")
    directory = LogDirectory(str(mk.directory))
    with fast_disk():
        for number in range(COUNT):
            topic_id = os.urandom(16).hex()
            name, partitions = f"topic-{number:05d}", 1 + (number % 3 == 0)
            files.mkdir(name, dir_fd=directory.topics_fd)
            fd = files.open_directory(name, dir_fd=directory.topics_fd)
            directory.create_locks(topic_id, range(partitions))
            for partition in range(partitions):
                directory.create_partition(fd, topic_id, partition)
            files.write_new_file("topic.json", encode_topic(name, topic_id, partitions, "crc32", {}), dir_fd=fd)
            files.close(fd)
    directory.close()
    return mk


def test_the_list_is_right_and_one_damaged_topic_does_not_hide_the_others(many, terminal):
    mk = many
    mk.ok("produce", "topic-00007", *"abc")
    mk.ok("produce", "topic-00009", "-p", 1, *"de")
    mk.ok("produce", "first", stdin=b"x" * 3000 + b"\n")
    rows = {row["topic"]: row for row in json.loads(mk.ok("topics", "--json"))}
    assert list(rows) == sorted(["first", *(f"topic-{number:05d}" for number in range(COUNT))])
    assert [rows[name]["records"] for name in ("topic-00007", "topic-00008", "topic-00009")] == [3, 0, 2]
    assert [rows[f"topic-{number:05d}"]["partitions"] for number in range(4)] == [2, 1, 1, 2]
    for name in ("first", "topic-00007", "topic-00009", "topic-00010"):
        (described,) = json.loads(mk.ok("topics", "describe", name, "--json"))
        assert rows[name]["records"] == described["records"]
        assert rows[name]["size_bytes"] == described["size_bytes"]
        written = [partition["last_write_ms"] or 0 for partition in described["partitions"]]
        assert (rows[name]["last_write_ms"] or 0) == max(written)
    (mk.partition("topic-00100") / "state").write_bytes(b"\xff" * 4608)
    (mk.partition("topic-00200") / "state").unlink()
    (mk.directory / "topics" / "topic-00300" / "topic.json").write_bytes(b"{}")
    mk.partition("topic-00400").rename(mk.directory / "topics" / "topic-00400" / "away")
    done = mk("topics")
    assert done.status == 65
    lines = done.out.decode().splitlines()
    assert len(lines) == 1 + len(rows) - 4
    assert len({line.index(" ") for line in lines}) < 4, "the columns are aligned"
    for number in (100, 200, 300, 400):
        assert f"topic-{number:05d}" in done.err
        assert f"topic-{number:05d} " not in done.out.decode()


def test_several_segments_and_another_boot_are_counted_too(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096")
    for _ in range(5):
        mk.ok("produce", "t", "x" * 3000)
    (row,) = json.loads(mk.ok("topics", "--json"))
    expected = {"topic": "t", "partitions": 1, "records": 5}
    assert expected.items() <= row.items()
    assert row["size_bytes"] == sum(path.stat().st_size for path in mk.partition("t").glob("0*"))
    state = mk.partition("t") / "state"
    kept = state.read_bytes()
    # As after a power cut: `state` says less than what is on disk, and is not believed.
    from mk.storage.partition_state import decode_slot

    slots = [decode_slot(kept[:512]), decode_slot(kept[4096:])]
    newest = max(slots, key=lambda slot: slot.sequence)
    newest.boot_id = "another"
    newest.high_watermark = 1
    state.write_bytes(newest.encode() + kept[512:4096] + bytes(512))
    (row,) = json.loads(mk.ok("topics", "--json"))
    assert row["records"] == 5


def test_commands_on_one_topic_look_at_no_other(many):
    """Counted in names of files, which does not depend on how fast the machine is."""
    if subprocess.run(["strace", "-V"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs strace")
    for words in (["produce", "topic-00001", "v"], ["consume", "topic-00001"]):
        trace = many.directory.parent / "trace"
        many.ok(*words, prefix=("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=file,getdents64"))
        text = trace.read_text()
        assert "topic-00001" in text
        assert "topic-00002" not in text
        assert text.count("getdents64") < 100


def test_a_terminal_gets_a_plain_table_of_so_many(many, terminal):
    from running import read_to_end

    ours, theirs = terminal
    with many.start("topics", stdout=theirs, env={"TERM": "xterm-256color"}) as process:
        os.close(theirs)
        shown = read_to_end(ours)
        assert process.wait(20) == 0
    assert shown.count(b"topic-") == COUNT
    assert b"\x1b" not in shown
