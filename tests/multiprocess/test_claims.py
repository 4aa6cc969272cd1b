"""Members that are stopped, continued and killed; and what groups have read keeps records, whoever removes them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from injection import kill_at, needs_strace, points_of, to_kill_at
from processes import create_topic, kill_all, must, run, wait_until

from mk.groups.claim_directory import open_claims
from mk.storage.leader_epochs import EpochEntry
from mk.storage.log_directory import LogDirectory
from tests.proof import anomalies
from tests.proof.figures import count

MEMBER = str(Path(__file__).with_name("member.py"))


def newest(directory, group, partition=0):
    opened = LogDirectory(str(directory))
    topic = opened.open_topic("t")
    claims = open_claims(opened, group, topic="t", topic_id=topic.topic_id)
    try:
        return claims.newest(partition)
    finally:
        for one in (claims, topic, opened):
            one.close()


def commit(directory, group, offset, partition=0):
    subprocess.run(
        [sys.executable, MEMBER, str(directory), group, "t", str(partition), str(offset)], check=True, timeout=60
    )


# Fencing.


def test_no_acknowledged_commit_is_rolled_back_among_stopped_members(tmp_path):
    _storm(tmp_path, 4)


@pytest.mark.slow
def test_nor_is_one_in_a_minute(tmp_path):
    _storm(tmp_path, 60)


def _storm(tmp_path, seconds):
    directory, journal = tmp_path / "log", tmp_path / "journal"
    create_topic(directory, "t")
    chance = random.Random(17)

    def start():
        return subprocess.Popen([sys.executable, MEMBER, str(directory), "g", "t", str(journal)])

    members = [start() for _ in range(3)]
    kills = stops = 0
    try:
        wait_until(lambda: journal.exists() and journal.stat().st_size)
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            at = chance.randrange(3)
            if chance.random() < 0.1:
                members[at].kill()
                members[at].wait()
                members[at] = start()
                kills += 1
            members[at].send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.001, 0.08))
            members[at].send_signal(signal.SIGCONT)
            stops += 1
            assert members[at].poll() is None, "a member ended by itself"
    finally:
        kill_all(members)
    # By generation: a member that was stopped between its commit and its note has written it late. Within one, each noted what
    # it did before the next could take it.
    generations = {}
    for line in journal.read_text().splitlines():
        what, generation, offset = line.split()
        generations.setdefault(int(generation), []).append((what, int(offset)))
    history, commits = anomalies.History(), 0
    for _, events in sorted(generations.items()):
        for what, offset in events:
            if what == "took":
                history.resumed("g", 0, offset)
            else:
                history.committed("g", 0, offset)
                commits += 1
        offsets = [offset for what, offset in events if what == "acked"]
        assert offsets == sorted(set(offsets)), "an offset was acknowledged twice or late"
    highest = max(offset for events in generations.values() for _, offset in events)
    assert len(generations) > 1 and commits > 100, "nobody was fenced, or nobody committed"
    history.check()
    assert newest(directory, "g").offset >= highest
    found = json.loads(must(directory, "topics", "verify", "t", "--json").stdout)["findings"]
    assert {finding["kind"] for finding in found} <= {"commit-beyond-end", "damaged-slot"}, found
    count("kills", kills)
    count("stops", stops)
    count("commits", commits)
    print(f"{commits} commits, {len(generations)} generations, {kills} kills, {stops} stops")


def test_a_claim_is_free_as_soon_as_its_owner_is_dead(tmp_path):
    directory, journal = tmp_path / "log", tmp_path / "journal"
    create_topic(directory, "t")
    first = subprocess.Popen([sys.executable, MEMBER, str(directory), "g", "t", str(journal)])
    try:
        wait_until(lambda: journal.exists() and b"acked" in journal.read_bytes())
        first.kill()
        first.wait()
        at = newest(directory, "g")
        commit(directory, "g", at.offset + 5)
        assert newest(directory, "g").generation == at.generation
        assert newest(directory, "g").offset == at.offset + 5
    finally:
        kill_all([first])


# retention.groups.


def _segments(directory, **config):
    """Ten records, each in a segment of its own but for the last two; old enough to go, all of them."""
    create_topic(directory, "t", segment_bytes=4096, retention_ms=-1)
    for number in range(9):
        must(directory, "produce", "t", f"{number} " + "x" * 3000)
    must(directory, "produce", "t", "9")
    words = [word for name, value in config.items() for word in ("-c", f"{name.replace('_', '.')}={value}")]
    must(directory, "topics", "alter", "t", "-c", "retention.ms=1", *words, "--yes")


def _first(directory):
    return json.loads(must(directory, "topics", "offsets", "t", "--json").stdout)[0]["log_start_offset"]


def _why(directory):
    (document,) = json.loads(must(directory, "topics", "clean", "--dry-run", "--json").stdout)
    return [segment["segment"] for segment in document["removed"]], document["kept"][0]["why"] if document[
        "kept"
    ] else ""


def test_clean_keeps_what_a_group_has_not_read_and_says_whose_it_is(tmp_path):
    directory = tmp_path / "log"
    _segments(directory, retention_groups="billing,audit")
    assert _why(directory) == (
        [],
        "group billing has committed nothing yet, and retention.groups keeps the rest for it",
    )
    must(directory, "topics", "clean")
    assert _first(directory) == 0
    commit(directory, "billing", 6)
    assert "group audit has committed nothing yet" in _why(directory)[1]
    commit(directory, "audit", 3)
    removed, why = _why(directory)
    assert removed == [0, 1, 2]
    assert why == "group audit has read up to offset 3, and retention.groups keeps the rest for it"
    must(directory, "topics", "clean")
    assert _first(directory) == 3
    commit(directory, "audit", 10)
    must(directory, "topics", "clean")
    assert _first(directory) == 6
    commit(directory, "billing", 10)
    must(directory, "topics", "clean")
    assert _first(directory) == 10


def test_an_offset_in_the_middle_of_a_segment_keeps_all_of_it(tmp_path):
    directory = tmp_path / "log"
    _segments(directory, retention_groups="billing")
    commit(directory, "billing", 9)
    must(directory, "topics", "clean")
    assert _first(directory) == 8, "the last two records share a segment"


def test_whoever_begins_a_segment_keeps_it_too(tmp_path):
    directory = tmp_path / "log"
    _segments(directory, retention_groups="all")
    commit(directory, "audit", 2)
    must(directory, "produce", "t", "n" * 3500)
    assert _first(directory) == 2
    commit(directory, "audit", 4)
    must(directory, "produce", "t", "n" * 3500)
    assert _first(directory) == 4
    must(directory, "topics", "verify", "t")


def test_all_is_every_group_with_a_claim_and_none_if_there_is_none(tmp_path):
    directory = tmp_path / "log"
    _segments(directory, retention_groups="all")
    commit(directory, "audit", 2)
    commit(directory, "billing", 5)
    assert _why(directory)[0] == [0, 1]
    shutil.rmtree(directory / "groups")
    must(directory, "topics", "clean")
    assert _first(directory) == 10


def test_retention_bytes_goes_before_a_group_that_nobody_runs(tmp_path):
    directory = tmp_path / "log"
    _segments(directory, retention_groups="billing", retention_bytes=7000)
    must(directory, "topics", "clean")
    assert _first(directory) == 6
    (document,) = json.loads(must(directory, "topics", "clean", "--dry-run", "--json").stdout)
    assert "group billing has committed nothing yet" in document["kept"][0]["why"]


def test_trim_ignores_groups(tmp_path):
    directory = tmp_path / "log"
    _segments(directory, retention_groups="billing")
    must(directory, "topics", "trim", "t", "--to", "7", "--yes")
    assert _first(directory) == 7


def test_without_the_setting_nobody_reads_claims(tmp_path):
    directory = tmp_path / "log"
    _segments(directory)
    commit(directory, "billing", 2)
    for path in directory.glob("groups/*/claims/*/*"):
        path.write_bytes(b"damaged")
    must(directory, "topics", "clean")
    assert _first(directory) == 10


def test_a_claim_that_cannot_be_read_holds_everything_and_is_named(tmp_path):
    directory = tmp_path / "log"
    _segments(directory, retention_groups="all")
    commit(directory, "billing", 5)
    (claim,) = directory.glob("groups/*/claims/*/*")
    claim.write_bytes(b"damaged" * 1000)
    must(directory, "topics", "clean")
    assert _first(directory) == 0
    assert str(claim.name) in _why(directory)[1]
    must(directory, "produce", "t", "n" * 3500)
    assert _first(directory) == 0


def test_offsets_of_a_log_that_was_cut_count_up_to_the_cut_only(tmp_path):
    directory = tmp_path / "log"
    _segments(directory, retention_groups="billing")
    commit(directory, "billing", 10)
    epochs = directory / "topics/t/0/epochs"
    leader = epochs.read_text().split()[2]
    epochs.write_bytes(epochs.read_bytes() + EpochEntry(1, 4, leader).encode())
    assert _why(directory)[0] == [0, 1, 2, 3]
    assert "group billing has read up to offset 4" in _why(directory)[1]


@needs_strace
def test_a_clean_for_groups_that_is_killed_at_any_call_keeps_what_they_have_not_read(tmp_path, thoroughness):
    template, directory = tmp_path / "template", tmp_path / "log"
    _segments(template, retention_groups="billing")
    commit(template, "billing", 6)
    shutil.copytree(template, directory)
    arguments = ["topics", "clean", "-q"]
    points = to_kill_at(points_of(directory, arguments), thoroughness)
    assert points and _first(directory) == 6
    for point in points:
        shutil.rmtree(directory)
        shutil.copytree(template, directory)
        kill_at(point, directory, arguments)
        offsets = [
            json.loads(line)["offset"] for line in must(directory, "consume", "t", "-J", "-q").stdout.splitlines()
        ]
        assert offsets in ([*range(offsets[0], 10)],) and offsets[0] <= 6, f"killed at {point}: {offsets}"
        assert newest(directory, "billing").offset == 6
        must(directory, "topics", "clean")
        assert _first(directory) == 6, f"killed at {point}"
        assert not json.loads(must(directory, "topics", "verify", "t", "--json").stdout)["findings"]
        count("kills")
    print(f"{len(points)} kills")


def test_a_commit_is_put_on_disk_before_records_go_by_it(tmp_path):
    """Read between the write and the sync of a member that a power cut then stops, it would be gone with the records."""
    directory = tmp_path / "log"
    _segments(directory, retention_groups="billing")
    commit(directory, "billing", 6)
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    result = run(
        directory,
        "topics",
        "clean",
        "-q",
        prefix=(
            "strace",
            "-f",
            "-y",
            "-qq",
            "-o",
            str(tmp_path / "trace"),
            "-e",
            "trace=fdatasync,pwrite64,unlinkat,unlink",
        ),
    )
    if result.status:
        pytest.skip("the system does not let it trace")
    lines = (tmp_path / "trace").read_text().splitlines()
    synced = next(at for at, line in enumerate(lines) if "fdatasync" in line and os.sep + "claims" + os.sep in line)
    removed = next(at for at, line in enumerate(lines) if "unlink" in line and ".log" in line)
    assert synced < removed
