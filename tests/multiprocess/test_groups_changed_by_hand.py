"""Members that come and go while offsets are changed by hand: nothing that was committed is lost, and nothing is read twice.

What the members have printed is what every change has moved the group back by, as the journal has it, and where it stands in
the end. A commit that a reset had overlapped, or a member that had begun where the group stood before, would break that.
"""

import json
import random
import threading

import pytest
from processes import create_topic, must, run

from mk import connect

RECORDS = 40
PARTITIONS = 2


def test_offsets_are_changed_between_members_and_never_beneath_them(tmp_path):
    _storm(tmp_path / "log", members=6, changes=12)


@pytest.mark.slow
def test_nor_are_they_in_a_long_storm(tmp_path):
    _storm(tmp_path / "log", members=80, changes=200)


def _storm(directory, *, members, changes):
    create_topic(directory, "t", partitions=PARTITIONS)
    lines = b"".join(b"%d\n" % number for number in range(RECORDS))
    for partition in range(PARTITIONS):
        must(directory, "produce", "t", "-p", str(partition), stdin=lines)
    must(directory, "groups", "reset", "g", "t", "--to", "start", "--yes")
    printed = []
    failed = []

    def read():
        for _ in range(members):
            done = run(directory, "consume", "t", "-g", "g")
            printed.append(len(done.stdout.splitlines()))
            # 75: the claims were deleted as it joined, and it has read nothing.
            if done.status != 0 and (done.status != 75 or done.stdout):
                failed.append(done)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    chance = random.Random(3)
    statuses = []
    for _ in range(changes):
        words = ["reset", "g", "t", "--to", "start"] if chance.random() < 0.7 else ["delete", "g", "--topic", "t"]
        done = run(directory, "groups", *words, "--yes", "--json")
        assert done.status in (0, 75) or (done.status == 66 and words[0] == "delete"), done
        assert "Traceback" not in done.stderr, done
        statuses.append(done.status)
    for reader in readers:
        reader.join()
    assert not failed, failed
    must(directory, "groups", "reset", "g", "t", "--to", "end", "--yes")
    with connect(str(directory)) as cluster:
        history = cluster.group_changes("g")
        found = [*cluster.verify_topic("t").findings, *cluster.verify_groups()]
    moved_back = sum(max(one["before"], 0) for change in history[:-1] for one in change["offsets"])
    last = {one["partition"]: max(one["before"], 0) for one in history[-1]["offsets"]}
    # A partition that stood at the end already is not in the last change.
    standing = sum(last.get(partition, RECORDS) for partition in range(PARTITIONS))
    moved_forward = sum(max(one["after"], 0) for change in history[:-1] for one in change["offsets"])
    assert sum(printed) == moved_back - moved_forward + standing, (printed, statuses, json.dumps(history, indent=1))
    assert not found, found
    print(f"{sum(printed)} records in {len(printed)} runs, {statuses.count(0)} changes, {statuses.count(75)} refused")
