"""Making, committing into and fencing claims, killed at any operation or with the power cut behind it.

No acknowledged commit is rolled back, a claim never turns into one that says nothing, and the next one works.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from mk.errors import MkError
from mk.groups import claim as claims_module
from mk.groups.claim import fence, take
from mk.groups.claim_directory import make_claims
from mk.groups.claim_slot import NO_OFFSET
from mk.maintenance.findings import DAMAGE, UNSAFE_MODE, WARNING
from mk.maintenance.verify import verify_topic
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_log import DISK
from tests.crash.recorder import Killed, RecordingDisk, fast_disk
from tests.crash.world import TOPIC, Moments, Sweep, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mk.groups.claim import Claim
    from mk.groups.claim_directory import ClaimDirectory
    from tests.thinning import Thoroughness

GROUP = "billing"


class Members:
    """Members of one group in one process, and a note of what was tried and what was acknowledged."""

    def __init__(self, world: World) -> None:
        self.disk = world.disk
        world.open_reader()
        assert world.topic is not None
        self._topic = world.topic
        self._claims: list[ClaimDirectory] = []

    def join(self) -> ClaimDirectory:
        self._claims.append(make_claims(self._topic, GROUP))
        return self._claims[-1]

    def commit(self, claim: Claim, offset: int) -> None:
        self.disk.note("tried", offset)
        claim.commit(offset, 0)
        self.disk.note("committed", offset)

    def abandon(self) -> None:
        """Let go as killed processes do."""
        for claim in list(claims_module._held):
            claim.close()
        for claims in self._claims:
            claims.close()
        self._claims = []


def first_commits(members: Members) -> None:
    claim = take(members.join(), 0)
    assert claim is not None
    for offset in range(1, 5):
        members.commit(claim, offset)


def hand_over(members: Members) -> None:
    for offset in (1, 2):
        claim = take(members.join(), 0)
        assert claim is not None
        members.commit(claim, offset)
        claim.close()


def fence_and_go_on(members: Members) -> None:
    stopped = take(members.join(), 0)
    assert stopped is not None
    members.commit(stopped, 1)
    members.commit(stopped, 2)
    claim = fence(members.join(), 0)
    assert claim is not None and claim.committed.offset == 2
    members.commit(claim, 3)
    with pytest.raises(MkError):
        members.commit(stopped, 9)
    members.commit(claim, 4)
    after = fence(members.join(), 0)
    assert after is not None and after.committed.offset == 4
    members.commit(after, 5)


def commits_that_the_disk_refuses(members: Members) -> None:
    claim = take(members.join(), 0)
    assert claim is not None
    members.commit(claim, 1)
    refused: list[int] = []

    def refuse_once(number: int, kind: str, name: str) -> int:
        if kind == "sync" and not refused:
            refused.append(number)
            return errno.EIO
        return 0

    members.disk.fault = refuse_once
    members.commit(claim, 2)
    assert refused and claim.generation == 2
    members.commit(claim, 3)


HISTORIES = [first_commits, hand_over, fence_and_go_on, commits_that_the_disk_refuses]


def outcomes(disk: RecordingDisk, count: int) -> set[int]:
    """Return what may be found after a crash behind `count` operations: the last acknowledged commit, or a later attempt."""
    possible = {NO_OFFSET}
    for note in disk.notes:
        if note.kind == "committed" and note.at <= count:
            possible = {note.facts}  # type: ignore[arg-type]
        elif note.kind == "tried" and note.at <= count:
            possible.add(note.facts)  # type: ignore[arg-type]
    return possible


def check_findings(directory: LogDirectory, severities: tuple[str, ...]) -> None:
    """Have `verify` look at the claims. The modes of an image are not those of a directory."""
    found = [finding for finding in verify_topic(directory, TOPIC).findings if finding.kind != UNSAFE_MODE]
    assert not [finding for finding in found if finding.severity in severities], found


def check(path: Path, possible: set[int]) -> None:
    """Look, take the partition, commit, look again: as a member that starts after the crash."""
    directory = LogDirectory(str(path))
    topic = directory.open_topic(TOPIC)
    claims = make_claims(topic, GROUP)
    try:
        check_findings(directory, (DAMAGE,))
        seen = claims.newest(0)
        claim = take(claims, 0)
        assert claim is not None, "somebody who is dead holds it"
        assert claim.committed.offset in possible, f"found {claim.committed.offset}, expected one of {possible}"
        assert (seen.offset if seen else NO_OFFSET) <= claim.committed.offset
        claim.commit(10, 0)
        claim.close()
        after = fence(claims, 0)
        assert after is not None and after.committed.offset == 10
        now = claims.newest(0)
        assert now is not None and now.offset == 10
        after.close()
        check_findings(directory, (DAMAGE, WARNING))
    finally:
        claims.close()
        topic.close()
        directory.close()


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.__name__)
def test_no_acknowledged_commit_is_rolled_back(
    tmp_path: Path, history: Callable[[Members], None], thoroughness: Thoroughness
) -> None:
    sweep = Sweep(tmp_path, seed=11, per_cut=thoroughness.pick(4, 25), thoroughness=thoroughness)
    moments = Moments(thoroughness, 12)
    for number, kill_after in enumerate(moments):
        base = tmp_path / f"killed-{kill_after}"
        base.mkdir()
        with RecordingDisk(base) as disk:
            world = World(disk)
            world.create()
            world.append(world.open(), DISK, batches=1, count=12)
            members = Members(world)
            start = len(disk.operations)
            disk.restart_count()
            disk.kill_after = kill_after
            try:
                history(members)
                assert kill_after == moments.NEVER
            except Killed:
                pass
            moments.saw(disk)
            disk.revive()
            end = len(disk.operations)
            members.abandon()
            check(world.path, outcomes(disk, end))
            world.abandon()

        def check_image(target: Path, count: int, disk: RecordingDisk = disk) -> None:
            with fast_disk():
                check(target / "mk", outcomes(disk, count))

        if thoroughness.is_full or number % 3 == 0:
            sweep.power_cuts(disk, check_image, start=start, stop=end)
    assert len(moments.kinds) >= 10
    print(f"{history.__name__}: {number} kills, {sweep.images} images")


def test_a_commit_into_a_claim_whose_maker_was_killed_stands_after_a_power_cut(tmp_path: Path) -> None:
    """Its name is there for all to see, and may not be on disk; the commit in it is acknowledged."""
    base = tmp_path / "killed"
    base.mkdir()
    with RecordingDisk(base) as disk:
        world = World(disk)
        world.create()
        world.append(world.open(), DISK, batches=1, count=12)
        maker, linked = Members(world), [False]

        def die_behind_the_link(number: int, kind: str, name: str) -> int:
            if linked[0]:
                disk.kill_after = 0
                raise Killed
            linked[0] = kind == "link"
            return 0

        disk.fault = die_behind_the_link
        with pytest.raises(Killed):
            take(maker.join(), 0)
        disk.revive()
        maker.abandon()
        members = Members(world)
        claim = take(members.join(), 0)
        assert claim is not None and claim.generation == 1
        members.commit(claim, 7)
        done = len(disk.operations)
        members.abandon()
        world.abandon()

    def check_image(target: Path, count: int) -> None:
        with fast_disk():
            check(target / "mk", {7})

    del disk.operations[done:]
    sweep = Sweep(tmp_path, seed=5, per_cut=12)
    sweep.power_cuts(disk, check_image, start=done)
    assert sweep.images
