"""kill -9 at every system call of a command that changes groups: the next command works, and the journal tells what was done."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from injection import fail_at, kill_at, needs_strace, points_of, to_kill_at
from processes import must, run

from mk import connect
from tests.proof.figures import count

pytestmark = needs_strace

MEMBER = str(Path(__file__).with_name("member.py"))
BEFORE = {("t", 0): 3, ("t", 1): 1}


class Change:
    """A command on a group, and where the group stands when all of it is done; None is that there is no such group."""

    def __init__(self, arguments, after, *, group="g", prepare=(), stdin=b"", before=BEFORE, again=(0,)):
        self.arguments = [*arguments, "--yes", "-q"]
        self.after = after
        self.group = group
        self.prepare = prepare
        self.stdin = stdin
        self.before = before
        self.again = again


RESET = ["groups", "reset", "g", "--to", "start", "--yes", "-q"]
CHANGES = {
    "a reset": Change(["groups", "reset", "g", "--to", "end"], {("t", 0): 5, ("t", 1): 4}),
    "a reset that makes the group": Change(
        ["groups", "reset", "new", "t", "--to", "1"], {("t", 0): 1, ("t", 1): 1}, group="new", before=None
    ),
    "an import": Change(["groups", "import", "-"], {("t", 0): 0, ("t", 1): 2}, stdin=b"g,t,0,0\ng,t,1,2\n"),
    "a copy": Change(["groups", "copy", "g", "new"], BEFORE, group="new", before=None),
    # Taken back wholly, there is nothing left to take back.
    "an undo": Change(
        ["groups", "undo", "g"], BEFORE, prepare=[RESET], before={("t", 0): 0, ("t", 1): 0}, again=(0, 66)
    ),
    "a group's deletion": Change(["groups", "delete", "g"], None, again=(0, 66)),
    "the deletion of a topic's offsets": Change(["groups", "delete", "g", "--topic", "t"], {}, again=(0, 66)),
    "a pruning": Change(["groups", "prune", "--idle", "0s"], None),
}
BY_DEFAULT = ("a reset", "an undo", "a group's deletion")


def commit(directory, partition, offset):
    subprocess.run(
        [sys.executable, MEMBER, str(directory), "g", "t", str(partition), str(offset)], check=True, timeout=60
    )


def stands(directory, group):
    """Return where a group stands, None if there is no such group."""
    with connect(str(directory)) as cluster:
        if group not in cluster.group_names():
            return None
        rows = cluster.describe_group(group)["offsets"]
        assert not [row for row in rows if row["problem"]]
        return {(row["topic"], row["partition"]): row["committed_offset"] for row in rows}


def changes(directory, group):
    with connect(str(directory)) as cluster:
        return cluster.group_changes(group) if group in cluster.group_names() else []


def verify_finds_nothing(directory):
    with connect(str(directory)) as cluster:
        found = [*cluster.verify_topic("t").findings, *cluster.verify_groups()]
    assert not [finding for finding in found if finding.kind != "damaged-journal" or finding.severity != "note"], found


@pytest.fixture
def template(tmp_path):
    directory = tmp_path / "template"
    with connect(str(directory), create=True) as cluster:
        cluster.create_topic("t", partitions=2)
        for partition, count in ((0, 5), (1, 4)):
            with cluster.producer("t", partition=partition) as producer:
                for number in range(count):
                    producer.send(b"%d" % number)
    for (_, partition), offset in BEFORE.items():
        commit(directory, partition, offset)
    return directory


@pytest.mark.parametrize(
    "name", [name if name in BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in CHANGES]
)
def test_a_kill_at_any_call_leaves_what_was_or_what_is_to_be(template, tmp_path, name, thoroughness):
    directory, change = tmp_path / "log", CHANGES[name]
    for arguments in change.prepare:
        must(template, *arguments)
    earlier = len(changes(template, "g"))

    def fresh():
        if directory.exists():
            shutil.rmtree(directory)
        shutil.copytree(template, directory)

    fresh()
    points = points_of(directory, change.arguments, stdin=change.stdin)
    assert stands(directory, change.group) == change.after
    kills = 0
    for point in to_kill_at([point for point in points if not point.line.startswith("2<")], thoroughness):
        fresh()
        kill_at(point, directory, change.arguments, stdin=change.stdin)
        kills += 1
        context = f"{name}, killed at {point}"
        _check_half_done(directory, change, earlier, context)
        verify_finds_nothing(directory)
        again = run(directory, *change.arguments, stdin=change.stdin)
        assert again.status in change.again and "Traceback" not in again.stderr, f"{context}: {again}"
        assert stands(directory, change.group) == change.after, context
        must(directory, "groups", "reset", change.group, "t", "--to", "2", "--yes", "-q")
        assert stands(directory, change.group) == {("t", 0): 2, ("t", 1): 2}, context
        verify_finds_nothing(directory)
        assert (Path(directory) / "groups" / change.group / "journal").read_bytes().endswith(b"}\n")
        count("kills")
    assert kills >= thoroughness.pick(5, 8)
    print(f"{name}: {kills} kills")


def _check_half_done(directory, change, earlier, context):
    """Each partition stands where it stood or where it was to stand; if any has moved, the journal says which, and where from."""
    found = stands(directory, change.group)
    if found is None:
        assert change.before is None or change.after is None, context
        return
    before, after = change.before or {}, change.after or {}
    journal = changes(directory, change.group)
    moved = {}
    for partition in {*before, *after}:
        # A claim in which nothing is committed is as good as none.
        where, was, to_be = found.get(partition), before.get(partition), after.get(partition)
        assert where in (was, to_be), f"{context}: {partition} stands at {where}"
        if where != was:
            moved[partition] = was
    if moved and not (directory / "groups" / change.group / "journal").exists():
        assert change.after is None and found == {}, f"{context}: the journal goes last"
    elif moved:
        assert len(journal) > (earlier if change.group == "g" else 0), (
            f"{context}: moved, and the journal knows nothing"
        )
        written = {(one["topic"], one["partition"]): one["before"] for one in journal[-1]["offsets"]}
        for partition, was in moved.items():
            assert written[partition] == (-1 if was is None else was), context


@pytest.mark.parametrize(("call", "number"), [("writev", "ENOSPC"), ("fdatasync", "EIO")])
def test_without_room_in_the_journal_nothing_is_changed(template, tmp_path, call, number):
    directory = tmp_path / "log"
    must(template, *RESET)
    shutil.copytree(template, directory)
    arguments = ["groups", "undo", "g", "--yes"]
    (point,) = [point for point in points_of(directory, arguments) if point.call == call and "journal>" in point.line]
    shutil.rmtree(directory)
    shutil.copytree(template, directory)
    before = (directory / "groups/g/journal").read_bytes()
    done = fail_at([(point, f"error={number}", "")], directory, arguments)
    assert done.struck and done.status == 74, done
    assert "cannot write to the journal of group g" in done.stderr and "no offset was changed" in done.stderr
    assert stands(directory, "g") == {("t", 0): 0, ("t", 1): 0}
    assert (directory / "groups/g/journal").read_bytes() == before
    must(directory, *arguments)
    assert stands(directory, "g") == BEFORE


def test_a_reset_that_was_killed_half_way_can_be_taken_back(template, tmp_path):
    directory = tmp_path / "log"
    shutil.copytree(template, directory)
    arguments = [*RESET]
    points = points_of(directory, arguments)
    writes = [point for point in points if point.call == "pwrite64" and "/claims/" in point.line]
    shutil.rmtree(directory)
    shutil.copytree(template, directory)
    kill_at(writes[-1], directory, arguments)
    assert stands(directory, "g") == {("t", 0): 0, ("t", 1): 1}
    must(directory, "groups", "undo", "g", "--yes")
    assert stands(directory, "g") == BEFORE
    kinds = [json.loads(line)["kind"] for line in (directory / "groups/g/journal").read_text().splitlines()]
    assert kinds == ["reset", "undo"]


def test_an_undo_that_was_killed_half_way_is_finished_by_the_next_one(template, tmp_path):
    directory = tmp_path / "log"
    must(template, *RESET)
    shutil.copytree(template, directory)
    arguments = ["groups", "undo", "g", "--yes"]
    points = points_of(directory, arguments)
    writes = [point for point in points if point.call == "pwrite64" and "/claims/" in point.line]
    shutil.rmtree(directory)
    shutil.copytree(template, directory)
    kill_at(writes[-1], directory, arguments)
    assert stands(directory, "g") == {("t", 0): 3, ("t", 1): 0}
    done = must(directory, "groups", "undo", "g", "--yes")
    assert "finishes what change 2 has taken back only in part" in done.stderr
    assert stands(directory, "g") == BEFORE
    assert run(directory, "groups", "undo", "g", "--yes").status == 66
