"""A leader that is lost: its copy is promoted, everybody goes on there, and what comes back follows and loses nothing.

One story by real processes, from the first record to the salvaged ones: the steps that the README describes.
"""

import json
import os
import shlex
import socket
from collections import Counter

import pytest
from processes import MK, LineSource, create_topic, end, kill_all, must, run, start

PARTITIONS = 3
EPOCH_OF_THE_PROMOTED = 1 << 32


def keyed(first, stop, kind):
    """Lines of key and value, with as many keys as it takes to reach every partition."""
    return "".join(f"{kind}{number % 17}\t{kind}-{number}\n" for number in range(first, stop)).encode()


def produce(directory, lines, *options):
    return must(directory, "produce", "orders", "-K", r"\t", *options, stdin=lines)


def consumed(directory, *options):
    """Return what a consumer prints, as documents."""
    return [json.loads(line) for line in must(directory, "consume", "orders", "-J", *options).stdout.splitlines()]


def payloads(records, kind=""):
    return [record["payload"] for record in records if record["payload"].startswith(kind)]


def by_partition(records, kind):
    """Return of each partition the numbers of the records of a kind, in the order in which they stand."""
    found = {}
    for record in records:
        if record["payload"].startswith(kind):
            found.setdefault(record["partition"], []).append(int(record["payload"].rpartition("-")[2]))
    return found


def logs(directory):
    """Return the content of each segment of the topic."""
    return {
        (partition, path.name): path.read_bytes()
        for partition in range(PARTITIONS)
        for path in sorted((directory / "topics" / "orders" / str(partition)).glob("*.log"))
    }


def status(directory):
    return json.loads(must(directory, "replicate", "status", "--json").stdout)


class Place:
    """Where a directory is for the other one: on this host, or on one behind ssh. prefix: in front of a command that goes there."""

    def __init__(self, tmp_path, is_far):
        self.host = "far.example" if is_far else socket.gethostname()
        self.is_far = is_far
        self.prefix = ()
        if is_far:
            script = tmp_path / "fake-ssh"
            # As ssh does: the host goes, and a shell runs the words.
            script.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
            script.chmod(0o755)
            self.prefix = ("env", f"MK_RSH={script}", f"MK_REMOTE_PATH={shlex.quote(MK)}")

    def __call__(self, directory):
        return f"{self.host}:{directory}" if self.is_far else str(directory)

    def advertised(self, directory):
        """Options by which a directory is known as what it is called from the other one."""
        return ("--advertise", self(directory)) if self.is_far else ()


@pytest.mark.parametrize("is_far", [False, True], ids=["on this host", "behind ssh"])
def test_a_lost_leader_costs_what_was_not_replicated_until_it_is_back_and_then_nothing(tmp_path, is_far):
    old, new, away = tmp_path / "old", tmp_path / "new", tmp_path / "away"
    place = Place(tmp_path, is_far)
    far = {"prefix": place.prefix}
    processes = []
    try:
        create_topic(old, "orders", PARTITIONS, segment_bytes=4096)
        numbered = "--producer-id", "loader"
        produce(old, keyed(0, 200, "numbered"), *numbered)
        produce(old, keyed(0, 100, "plain"))
        read_before = consumed(old, "-g", "billing", "-n", "90")
        # Pulled by the new one, as by cron on the host that is left when the other is lost.
        must(new, "replicate", place(old), str(new), **far)
        replicated = payloads(consumed(new))
        assert len(replicated) == 300

        # Not replicated any more; and one producer is in the midst of it.
        produce(old, keyed(0, 260, "numbered"), *numbered)
        produce(old, keyed(100, 130, "plain"))
        running = start(old, "produce", "orders", "-v")
        processes.append(running)
        running.stdin.write(b"running-1\n")
        running.stdin.flush()
        assert LineSource(running.stderr).next().startswith(b"orders ")
        running.kill()
        end(running)
        old.rename(away)

        # What is left is a copy: it takes nothing, and says who does, until it is told to lead.
        refused = run(new, "produce", "orders", stdin=b"too early\n")
        assert refused.status == 75
        assert f"{socket.gethostname()}:{old}" in refused.stderr
        plan = json.loads(must(new, "replicate", "promote", "--dry-run", "--json").stdout)
        assert [row["new_epoch"] for row in plan["partitions"]] == [EPOCH_OF_THE_PROMOTED] * PARTITIONS
        promoted = must(new, "replicate", "promote")
        assert f"leads {PARTITIONS} partitions now" in promoted.stderr

        # The group goes on where it stood, and has read everything there once.
        read_after = consumed(new, "-g", "billing")
        assert Counter(payloads(read_before) + payloads(read_after)) == Counter(replicated)
        produce(new, keyed(0, 240, "numbered"), *numbered)
        produce(new, keyed(1000, 1020, "plain"))

        # The old one comes back, as it was: it does not know yet, and takes records.
        away.rename(old)
        running = start(old, "produce", "orders", "-v")
        processes.append(running)
        acknowledged = LineSource(running.stderr)
        running.stdin.write(b"running-2\n")
        running.stdin.flush()
        assert acknowledged.next().startswith(b"orders ")
        must(new, "replicate", str(new), place(old), *place.advertised(new), **far)
        running.stdin.write(b"running-3\n")
        running.stdin.close()
        assert running.wait(60) == 75
        told = running.stderr.read().decode()
        assert f"{place.host}:{new}" in told, told
        assert logs(old) == logs(new)

        # What it alone had is cut off, and kept.
        known = status(old)
        assert {row["role"] for row in known["partitions"]} == {"follower"}
        assert all(row["leader_epoch"] == EPOCH_OF_THE_PROMOTED for row in known["partitions"])
        cut = sum(row["diverged_records"] for row in known["quarantine"])
        assert cut == 60 + 30 + 2
        assert not any(row["salvaged"] for row in known["quarantine"])
        assert {replica["in_sync"] for row in status(new)["partitions"] for replica in row["replicas"]} == {True}
        assert run(old, "replicate", "salvage").status == 2
        assert logs(old) == logs(new)

        # And produced again where the leader is, each once: of the numbered ones, those that came again already are left out.
        first = must(old, "replicate", "salvage", "--yes", "--json", **far)
        rows = json.loads(first.stdout)
        assert {row["target"] for row in rows} == {place(new)}
        assert sum(row["stored"] for row in rows) == 20 + 30 + 2
        assert sum(row["stored_before"] for row in rows) == 40
        again = must(old, "replicate", "salvage", "--yes", **far)
        assert "nothing to salvage" in again.stderr
        produce(new, keyed(0, 260, "numbered"), *numbered)
        must(new, "replicate", str(new), place(old), **far)
        assert logs(old) == logs(new)
        records = consumed(new)
        assert consumed(old) == records
        numbers = [*range(130), *range(1000, 1020)]
        assert Counter(payloads(records, "plain")) == Counter(f"plain-{number}" for number in numbers)
        assert Counter(payloads(records, "numbered")) == Counter(f"numbered-{number}" for number in range(260))
        assert sorted(payloads(records, "running")) == ["running-1", "running-2"]
        for numbers in by_partition(records, "numbered").values():
            assert numbers == sorted(numbers)
        for numbers in by_partition(records, "plain").values():
            # In their order among themselves, behind what was stored since.
            kept = [number for number in numbers if number < 100 or number >= 1000]
            salvaged = [number for number in numbers if 100 <= number < 130]
            assert kept == sorted(kept) and salvaged == sorted(salvaged)
        assert [len(payloads(consumed(new, "-g", "billing"))), len(consumed(new, "-g", "billing"))] == [
            len(records) - len(replicated),
            0,
        ]
        for directory in (old, new):
            must(directory, "topics", "verify")
        assert all(row["salvaged"] for row in status(old)["quarantine"] if row["diverged_records"])
        assert sorted(os.listdir(old / "quarantine")) == sorted(row["name"] for row in status(old)["quarantine"])
    finally:
        kill_all(processes)
