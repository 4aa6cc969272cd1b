"""Offsets that are changed by hand, killed at any operation or with the power cut behind it.

Each partition stands where it stood or where it was to stand, what was done stays done, and what moved is in the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mk.groups import claim as claims_module
from mk.groups import reset_journal
from mk.groups.claim_directory import group_names, open_claims, open_group
from mk.groups.claim_slot import NO_OFFSET
from mk.groups.group_removal import delete_claims
from mk.groups.offset_reset import OffsetChange, change_offsets
from mk.groups.reset_journal import read_changes
from mk.maintenance.findings import DAMAGE, UNSAFE_MODE, WARNING
from mk.maintenance.group_check import check_groups
from mk.maintenance.verify import verify_topic
from mk.storage import files
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_log import DISK
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import TOPIC, Moments, Sweep, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mk.storage.topic import Topic
    from tests.thinning import Thoroughness

GROUP = "billing"


class Hand:
    """Somebody who changes offsets by hand, and a note of what was tried and what came back."""

    def __init__(self, world: World) -> None:
        self.disk = world.disk
        assert world.directory is not None and world.topic is not None
        self._directory = world.directory
        self._topic = world.topic

    def move(self, before: int, after: int) -> None:
        self.disk.note("tried", after)
        change_offsets(self._directory, GROUP, [_change(self._topic, before, after)], kind="reset", wait_ms=0)
        self.disk.note("done", after)

    def delete(self) -> None:
        self.disk.note("tried", NO_OFFSET)
        delete_claims(self._directory, GROUP, [self._topic.topic_id], wait_ms=0)
        self.disk.note("done", NO_OFFSET)

    def delete_group(self) -> None:
        self.disk.note("tried", NO_OFFSET)
        delete_claims(self._directory, GROUP, None, wait_ms=0)
        self.disk.note("done", NO_OFFSET)


def _change(topic: Topic, before: int, after: int) -> OffsetChange:
    return OffsetChange(TOPIC, topic.topic_id, 0, before, after)


def resets(hand: Hand) -> None:
    hand.move(NO_OFFSET, 4)
    hand.move(4, 1)
    hand.move(1, 7)


def a_journal_that_is_split(hand: Hand) -> None:
    for before, after in ((NO_OFFSET, 4), (4, 1), (1, 7), (7, 2)):
        hand.move(before, after)


def deletions(hand: Hand) -> None:
    hand.move(NO_OFFSET, 4)
    hand.delete()
    hand.move(NO_OFFSET, 3)
    hand.delete_group()
    hand.move(NO_OFFSET, 5)


HISTORIES = [resets, a_journal_that_is_split, deletions]


def outcomes(disk: RecordingDisk, count: int) -> set[int]:
    """Return where the group may stand after a crash behind `count` operations."""
    possible = {NO_OFFSET}
    for note in disk.notes:
        if note.at <= count:
            if note.kind == "done":
                possible = {note.facts}  # type: ignore[arg-type]
            elif note.kind == "tried":
                possible.add(note.facts)  # type: ignore[arg-type]
    return possible


def where(directory: LogDirectory, topic: Topic) -> int:
    if GROUP not in group_names(directory):
        return NO_OFFSET
    claims = open_claims(directory, GROUP, topic=TOPIC, topic_id=topic.topic_id)
    if claims is None:
        return NO_OFFSET
    try:
        slot = claims.newest(0)
    finally:
        claims.close()
    return NO_OFFSET if slot is None else slot.offset


def journal(directory: LogDirectory) -> list[int]:
    if GROUP not in group_names(directory):
        return []
    fd = open_group(directory, GROUP)
    try:
        return [change["offsets"][0]["after"] for change in read_changes(fd)]
    finally:
        files.close(fd)


def check(path: Path, possible: set[int]) -> None:
    """Look, and change the offsets again, as somebody does who comes after the crash."""
    directory = LogDirectory(str(path))
    topic = directory.open_topic(TOPIC)
    try:
        check_findings(directory, (DAMAGE,))
        found = where(directory, topic)
        assert found in possible, f"stands at {found}, expected one of {possible}"
        if found != NO_OFFSET:
            assert found in journal(directory), f"stands at {found}, and the journal has {journal(directory)}"
        change_offsets(directory, GROUP, [_change(topic, found, 6)], kind="reset", wait_ms=0)
        assert where(directory, topic) == 6
        assert journal(directory)[-1] == 6
        check_findings(directory, (DAMAGE, WARNING))
    finally:
        topic.close()
        directory.close()


def check_findings(directory: LogDirectory, severities: tuple[str, ...]) -> None:
    """Have `verify` look. The modes of an image are not those of a directory."""
    found = [*verify_topic(directory, TOPIC).findings, *check_groups(directory)]
    assert not [one for one in found if one.severity in severities and one.kind != UNSAFE_MODE], found


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.__name__)
def test_what_was_done_stays_and_what_moved_is_in_the_journal(
    tmp_path: Path, history: Callable[[Hand], None], thoroughness: Thoroughness
) -> None:
    sweep = Sweep(tmp_path, seed=5, per_cut=thoroughness.pick(3, 20), thoroughness=thoroughness)
    moments = Moments(thoroughness, 12)
    for number, kill_after in enumerate(moments):
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            world = World(disk)
            world.create()
            world.append(world.open(), DISK, batches=1, count=12)
            hand = Hand(world)
            start = len(disk.operations)
            disk.restart_count()
            disk.kill_after = kill_after
            try:
                history(hand)
                assert kill_after == moments.NEVER
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            end = len(disk.operations)
            for claim in list(claims_module._held):
                claim.close()
            check(world.path, outcomes(disk, end))
            world.abandon()

        def check_image(target: Path, count: int, disk: RecordingDisk = disk) -> None:
            with fast_disk():
                check(target / "mk", outcomes(disk, count))

        if thoroughness.is_full or number % 4 == 0:
            sweep.power_cuts(disk, check_image, start=start, stop=end)
    assert len(moments.kinds) >= 20
    print(f"{history.__name__}: {number} kills, {sweep.images} images")


@pytest.fixture(autouse=True)
def small_journal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if a_journal_that_is_split in request.node.callspec.params.values():
        monkeypatch.setattr(reset_journal, "ROTATE_BYTES", 600)
