"""Owning a partition: who gets it, who is told that it is another's, and what is never rolled back."""

import errno
import os
import signal
import subprocess
import sys

import pytest

import mk
from mk.errors import CannotCreateError, CorruptStateError, StorageError, UsageError
from mk.group_errors import ClaimFencedError, NoSuchGroupError
from mk.groups import claim as claim_module
from mk.groups.claim import fence, take
from mk.groups.claim_directory import (
    claim_name,
    group_names,
    make_claims,
    open_claims,
    parse_claim_name,
    topic_ids,
)
from mk.groups.claim_slot import NO_OFFSET, SLOT_DISTANCE, SLOT_SIZE
from mk.storage import files
from mk.storage.locks import try_acquire
from mk.storage.log_directory import LogDirectory
from mk.storage.watch import Watch


def names(claims):
    return sorted(os.listdir(claims.fd))


def spoil(claims, generation, *positions, partition=0):
    with open(f"{claims.path}/{claim_name(partition, generation)}", "r+b") as file:
        for position in positions:
            file.seek(position)
            file.write(b"spoilt")


def test_the_first_generation_says_that_nothing_is_committed(claims):
    claim = take(claims, 0)
    assert names(claims) == ["0.0000000001"]
    assert claim.committed.offset == NO_OFFSET
    assert claims.newest(0).offset == NO_OFFSET
    assert claims.newest(1) is None
    claim.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only inotify tells")
@pytest.mark.parametrize("take_it", [take, fence], ids=["the first", "a later one"])
def test_who_waits_for_a_claim_is_told_of_its_end_by_its_own_name(claims, take_it):
    """Also of one that was made under a temporary name, by which the kernel knows the file that is held open."""
    for _ in range(2 if take_it is fence else 1):
        claim = take_it(claims, 0)
    watch = Watch([])
    number = watch.add_endings(f"/proc/self/fd/{claims.fd}")
    claim.close()
    while (number, claim_name(0, claim.generation)) not in watch.ended:
        before = len(watch.ended)
        watch.wait(0)
        assert len(watch.ended) > before, watch.ended
    watch.close()


def test_a_claim_that_is_held_is_nobody_elses_until_it_is_let_go(topic, claims):
    other = make_claims(topic, "billing")
    claim = take(claims, 0)
    assert take(other, 0) is None
    claim.commit(7, 0)
    claim.close()
    claim = take(other, 0)
    assert (claim.generation, claim.committed.offset) == (1, 7)
    claim.commit(9, 0)
    claim.close()
    assert claims.newest(0).offset == claims.newest_on_disk(0).offset == 9
    other.close()


def test_groups_and_partitions_do_not_know_each_other(topic, claims):
    audit = make_claims(topic, "audit")
    held = [take(claims, 0), take(claims, 1), take(audit, 0)]
    assert None not in held
    held[0].commit(3, 0)
    assert [claims.newest(0).offset, claims.newest(1).offset, audit.newest(0).offset] == [3, -1, -1]
    assert group_names(topic.directory) == ["audit", "billing"]
    assert topic_ids(topic.directory, "audit") == [topic.topic_id]
    for claim in held:
        claim.close()
    audit.close()


def test_commits_overwrite_the_older_slot_in_a_file_that_does_not_grow(claims):
    claim = take(claims, 0)
    path = f"{claims.path}/{claim_name(0, 1)}"
    sizes = set()
    for offset in range(5):
        claim.commit(offset, 0)
        slots = claims.slots(0, 1)
        assert [slot.offset for slot in slots] == [offset, offset - 1]
        sizes.add((os.stat(path).st_size, os.stat(path).st_blocks))
    assert len(sizes) == 1
    assert os.stat(path).st_mode & 0o7777 == 0o600
    assert os.stat(claims.path).st_mode & 0o7777 == 0o700
    claim.close()


def test_whoever_is_fenced_is_told_and_its_commit_does_not_count(topic, claims):
    stopped = take(claims, 0)
    stopped.commit(5, 0)
    other = make_claims(topic, "billing")
    claim = fence(other, 0)
    assert (claim.generation, claim.committed.offset) == (2, 5)
    assert stopped.is_fenced()
    with pytest.raises(ClaimFencedError) as caught:
        stopped.commit(8, 0)
    assert caught.value.exit_status == 75
    assert (caught.value.facts["group"], caught.value.facts["generation"]) == ("billing", 1)
    assert claims.newest(0).offset == 5
    claim.commit(6, 0)
    assert claims.newest(0).offset == 6
    with pytest.raises(ValueError, match="let go"):
        stopped.commit(9, 0)
    claim.close()
    other.close()


def test_of_two_who_fence_one_gets_it(topic, claims):
    stopped = take(claims, 0)
    stopped.commit(5, 0)
    listed = claims.generations_of(0)
    first = fence(claims, 0)
    assert fence(claims, 0, listed) is None, "it looked before the other one linked"
    assert names(claims) == ["0.0000000001", "0.0000000002"]
    first.commit(6, 0)
    for one in (stopped, first):
        one.close()


def test_a_fencer_that_got_no_further_than_its_file_loses_nothing(claims):
    claim = take(claims, 0)
    claim.commit(4, 0)
    claim.commit(5, 0)
    with open(f"{claims.path}/{claim_name(0, 2)}", "wb") as file:
        file.write(bytes(SLOT_DISTANCE + SLOT_SIZE))
    # The one that is being fenced may be writing its newest slot just now: readers go by the older.
    assert claims.newest(0).offset == 4
    after = take(claims, 0)
    assert (after.generation, after.committed.offset) == (2, 5)
    assert claims.newest(0).offset == 5
    assert claims.newest(0).generation == 2
    claim.close()
    after.close()


def test_where_a_group_stands_is_seen_once_its_fencer_and_its_member_are_gone(claims):
    claim = take(claims, 0)
    claim.commit(4, 0)
    claim.commit(5, 0)
    path = f"{claims.path}/{claim_name(0, 2)}"
    with open(path, "wb") as file:
        file.write(bytes(SLOT_DISTANCE + SLOT_SIZE))
        assert try_acquire(file.fileno())
        claim.close()
        # The fencer may have read the older slot, and go on from there.
        assert claims.newest(0).offset == 4
    assert claims.newest(0).offset == 5
    claim = take(claims, 0)
    assert claim.committed.offset == 5
    claim.close()


@pytest.mark.parametrize("position", [0, SLOT_DISTANCE])
def test_one_damaged_slot_leaves_the_other(claims, position):
    claim = take(claims, 0)
    claim.commit(1, 0)
    claim.commit(2, 0)
    claim.close()
    spoil(claims, 1, position)
    claim = take(claims, 0)
    assert claim.committed.offset in (1, 2)
    claim.commit(3, 0)
    claim.commit(4, 0)
    assert [slot.offset for slot in claims.slots(0, 1)] == [4, 3]
    claim.close()


def test_two_damaged_slots_are_never_a_new_group(claims):
    claim = take(claims, 0)
    claim.commit(1, 0)
    claim.close()
    spoil(claims, 1, 0, SLOT_DISTANCE)
    for action in (take, fence):
        with pytest.raises(CorruptStateError, match="damaged"):
            action(claims, 0)
    with pytest.raises(CorruptStateError):
        claims.newest(0)


def test_two_damaged_slots_fall_back_to_the_generation_before(claims):
    claim = take(claims, 0)
    claim.commit(6, 0)
    fenced = fence(claims, 0)
    fenced.commit(7, 0)
    fenced.close()
    claim.close()
    spoil(claims, 2, 0, SLOT_DISTANCE)
    assert claims.newest(0).offset <= 6
    claim = take(claims, 0)
    assert (claim.generation, claim.committed.offset) == (2, 6)
    claim.close()


def test_a_slot_that_came_from_another_place_is_not_read(topic, claims):
    claim = take(claims, 0)
    claim.commit(6, 0)
    claim.close()
    with (
        open(f"{claims.path}/{claim_name(0, 1)}", "rb") as source,
        open(f"{claims.path}/{claim_name(1, 1)}", "wb") as to,
    ):
        to.write(source.read())
    with pytest.raises(CorruptStateError):
        claims.newest(1)


def test_what_killed_processes_left_is_removed_by_the_next_one_that_makes_a_generation(claims):
    with open(f"{claims.path}/.tmp-dead", "wb"):
        pass
    claim = take(claims, 0)
    os.link(f"{claims.path}/{claim_name(0, 1)}", f"{claims.path}/.tmp-linked")
    held = os.open(f"{claims.path}/.tmp-alive", os.O_CREAT | os.O_RDWR)
    assert try_acquire(held)
    after = fence(claims, 0)
    assert names(claims) == [".tmp-alive", "0.0000000001", "0.0000000002"]
    os.close(held)
    claim.close()
    after.close()


def test_a_disk_that_refuses_a_sync_gets_a_new_generation(claims, monkeypatch):
    claim = take(claims, 0)
    claim.commit(3, 0)
    real, refused = files.fdatasync, []

    def refuse_once(fd):
        if not refused:
            refused.append(fd)
            raise OSError(errno.EIO, "refused")
        real(fd)

    monkeypatch.setattr(files, "fdatasync", refuse_once)
    claim.commit(4, 0)
    assert (claim.generation, claims.newest(0).offset, claims.newest(0).generation) == (2, 4, 2)
    claim.commit(5, 0)
    assert take(claims, 0) is None
    claim.close()
    assert claims.newest(0).offset == 5


def test_a_name_that_cannot_be_synced_is_no_other_member(claims, monkeypatch):
    claim = take(claims, 0)
    claim.commit(3, 0)
    claim.close()
    claim = take(claims, 0)

    def refuse(fd):
        raise OSError(errno.EIO, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(files, "fsync", refuse)
        with pytest.raises(StorageError, match="cannot commit offset 4"):
            claim.commit(4, 0)
    after = take(claims, 0)
    assert (after.generation, after.committed.offset) == (2, 3)
    after.close()


def test_a_disk_that_refuses_everything_is_an_error_that_says_what_is_stored(claims, monkeypatch):
    claim = take(claims, 0)
    claim.commit(3, 0)

    def refuse(fd):
        raise OSError(errno.EIO, "refused")

    monkeypatch.setattr(files, "fdatasync", refuse)
    with pytest.raises(StorageError, match="cannot commit offset 4") as caught:
        claim.commit(4, 0)
    assert "may or may not be stored" in caught.value.fix
    monkeypatch.undo()
    after = take(claims, 0)
    assert after.committed.offset in (3, 4)
    assert names(claims) == ["0.0000000001"]
    after.close()


def test_a_fork_holds_nothing_and_a_dead_parent_lets_go(topic, claims):
    """A child that goes on living must not keep the claim of its dead parent."""
    script = f"""
import os, signal, sys, time
from mk.groups.claim import take
from mk.groups.claim_directory import make_claims
from mk.storage.log_directory import LogDirectory
claims = make_claims(LogDirectory({topic.directory.path!r}).open_topic("t"), "billing")
claim = take(claims, 0)
claim.commit(2, 0)
if os.fork() == 0:
    try:
        claim.commit(3, 0)
    except ValueError:
        print(os.getpid(), flush=True)
    time.sleep(60)
else:
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = 0
    try:
        child = int(process.stdout.readline())
        assert take(claims, 0) is None
        process.kill()
        process.wait()
        claim = take(claims, 0)
        assert claim is not None and claim.committed.offset == 2
        claim.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)


def test_a_file_that_somebody_swept_while_it_was_made_is_made_again(topic, claims, monkeypatch):
    """Whoever sweeps has its lock for a moment; a claim that is not locked by its owner would have two."""
    real, calls = claim_module.try_acquire, []

    def busy_once(fd):
        calls.append(fd)
        return len(calls) > 1 and real(fd)

    monkeypatch.setattr(claim_module, "try_acquire", busy_once)
    claim = take(claims, 0)
    monkeypatch.undo()
    assert len(calls) == 2 and names(claims) == ["0.0000000001"]
    other = make_claims(topic, "billing")
    assert take(other, 0) is None
    claim.close()
    other.close()


def test_groups_that_differ_in_case_only_are_refused(topic, claims):
    with pytest.raises(CannotCreateError, match="there is a group billing already"):
        make_claims(topic, "Billing")
    assert group_names(topic.directory) == ["billing"]


def test_names_of_claims():
    assert claim_name(3, 12) == "3.0000000012"
    assert parse_claim_name("3.0000000012") == (3, 12)
    for name in (
        "3",
        "3.12",
        "x.0000000012",
        "3.000000001x",
        ".tmp-3",
        "03.0000000012",
        "-1.0000000012",
        "9999.0000000001",
    ):
        assert parse_claim_name(name) is None, name


def test_a_group_that_is_not_there_is_not_found_and_a_wrong_name_is_refused(topic, claims):
    with pytest.raises(NoSuchGroupError) as caught:
        open_claims(topic.directory, "nobody", topic="t", topic_id=topic.topic_id)
    assert caught.value.exit_status == 66
    assert open_claims(topic.directory, "billing", topic="u", topic_id="0" * 32) is None
    for name in ("../x", "", ".tmp-1", "a/b", "a\nb"):
        with pytest.raises(UsageError, match="the name of a group"):
            make_claims(topic, name)
        with pytest.raises(UsageError):
            open_claims(topic.directory, name, topic="t", topic_id=topic.topic_id)


def test_a_planted_link_is_refused(topic, claims, tmp_path):
    take(claims, 0).close()
    path = f"{claims.path}/{claim_name(0, 1)}"
    os.rename(path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(CorruptStateError, match="not a regular file|is damaged"):
        take(claims, 0)


def test_in_a_directory_shared_by_a_group_claims_are_the_groups(tmp_path):
    path = tmp_path / "shared"
    with mk.connect(str(path), create=True, shared_group=str(os.getegid())) as cluster:
        cluster.create_topic("t")
    directory = LogDirectory(str(path))
    topic = directory.open_topic("t")
    previous = os.umask(0o077)
    try:
        claims = make_claims(topic, "billing")
        claim = take(claims, 0)
    finally:
        os.umask(previous)
    assert os.fstat(claims.fd).st_mode & 0o7777 == 0o2770
    assert os.stat(f"{claims.path}/{claim_name(0, 1)}").st_mode & 0o7777 == 0o660
    for one in (claim, claims, topic, directory):
        one.close()
