"""What is kept of other directories: who they are, how far their logs went, and which records are missing for good."""

import os
import stat
from pathlib import Path

import pytest

from mk import clock
from mk.errors import CannotCreateError, DataError, UsageError
from mk.storage import replica_directory
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.replica_directory import (
    MAX_REPLICAS,
    address_of,
    known_replica,
    known_replicas,
    note_follower,
    note_gap,
    note_source,
)

OTHER = "0123456789abcdef" * 2
THIRD = "f" * 32


@pytest.fixture
def directory(tmp_path):
    create_directory(str(tmp_path / "log"))
    opened = LogDirectory(str(tmp_path / "log"))
    for name in ("t", "u"):
        opened.create_topic(name, partitions=2, partitioner="crc32", overrides={}, wait_ms=0)
    yield opened
    opened.close()


@pytest.fixture
def ids(directory):
    """The topic ids of t and u."""
    found = []
    for name in ("t", "u"):
        topic = directory.open_topic(name)
        found.append(topic.topic_id)
        topic.close()
    return found


def ends(seen):
    return {key: end.next_offset for key, end in seen.items()}


def path_of(directory, *names):
    return os.path.join(directory.path, "replicas", *names)


def test_a_directory_without_replicas_knows_none(directory):
    assert known_replicas(directory) == []
    assert known_replica(directory, OTHER) is None
    assert address_of(directory, OTHER) == ""
    assert not os.path.exists(path_of(directory))


def test_what_is_noted_of_one_run_stays_beside_what_the_next_one_notes(directory, ids):
    t, u = ids
    assert note_follower(directory, OTHER, "b:/mk", [(t, 0, 5), (t, 1, 3)]) == ""
    assert note_follower(directory, OTHER, "b:/mk", [(u, 0, 9), (t, 0, 7)]) == ""
    note_source(directory, OTHER, "b:/mk", [(u, 1, 100)])
    (known,) = known_replicas(directory)
    assert known.directory_id == OTHER
    assert known.address == "b:/mk"
    assert ends(known.follower) == {(t, 0): 7, (t, 1): 3, (u, 0): 9}
    assert ends(known.source) == {(u, 1): 100}
    assert known.problems == [] and known.gaps == []


def test_seen_is_the_latest_contact_of_any_partition(directory, ids, hands):
    note_source(directory, OTHER, "b:/mk", [(ids[0], 0, 5)])
    hands.pass_ms(60_000)
    note_source(directory, OTHER, "b:/mk", [(ids[1], 0, 5)])
    known = known_replica(directory, OTHER)
    assert known.seen_ms == hands.now_ms
    assert known.source[ids[0], 0].seen_ms == hands.now_ms - 60_000
    assert known.since_ms == hands.now_ms - 60_000


def test_an_idle_follower_does_not_write_the_same_again_and_again(directory, ids, hands, monkeypatch):
    written = []
    real = replica_directory.files.replace_file
    monkeypatch.setattr(
        replica_directory.files,
        "replace_file",
        lambda name, *rest, **more: (written.append(name), real(name, *rest, **more)),
    )
    for _ in range(20):
        assert note_follower(directory, OTHER, "b:/mk", [(ids[0], 0, 5)]) == ""
        hands.pass_ms(100)
    assert written.count("follower") == 2
    note_follower(directory, OTHER, "b:/mk", [(ids[0], 0, 6)])
    assert written.count("follower") == 3
    assert written.count("replica.json") == 1


def test_a_new_address_counts_and_a_bad_one_is_none(directory):
    note_source(directory, OTHER, "b:/mk", [])
    assert address_of(directory, OTHER) == "b:/mk"
    note_source(directory, OTHER, "c:/mk", [])
    assert address_of(directory, OTHER) == "c:/mk"
    note_source(directory, OTHER, "c:/mk\x1b]52;", [])
    assert address_of(directory, OTHER) == ""
    note_source(directory, OTHER, "x" * 5000, [])
    assert address_of(directory, OTHER) == ""


def test_topics_that_are_gone_are_forgotten(directory, ids):
    t, u = ids
    note_follower(directory, OTHER, "b:/mk", [(t, 0, 5), (u, 0, 5)])
    directory.delete_topic("t", wait_ms=0)
    note_follower(directory, OTHER, "b:/mk", [(u, 0, 6)])
    assert ends(known_replica(directory, OTHER).follower) == {(u, 0): 6}


@pytest.mark.parametrize(
    "bad", ["", "x" * 32, OTHER[:-1], OTHER.upper(), "../../../../../../etc/passwd", "0" * 31 + "/"]
)
def test_a_name_that_is_no_id_makes_no_file(directory, bad):
    assert note_follower(directory, bad, "b:/mk", [])
    with pytest.raises(UsageError):
        note_source(directory, bad, "b:/mk", [])
    assert known_replica(directory, bad) is None
    assert not os.path.exists(path_of(directory))


def test_a_directory_is_no_replica_of_itself(directory):
    with pytest.raises(UsageError, match="itself"):
        note_source(directory, directory.directory_id, "b:/mk", [])


@pytest.mark.parametrize("bad", [("x", 0, 5), (OTHER, -1, 5), (OTHER, 4096, 5), (OTHER, 0, -1), (OTHER, 0, 1 << 63)])
def test_what_is_no_place_in_a_log_is_refused(directory, bad):
    with pytest.raises(DataError):
        note_source(directory, OTHER, "b:/mk", [bad])
    assert known_replica(directory, OTHER) is None
    assert "no place in a log" in note_follower(directory, OTHER, "b:/mk", [bad])


def test_a_damaged_line_is_named_left_out_and_written_anew(directory, ids):
    t, _ = ids
    note_follower(directory, OTHER, "b:/mk", [(t, 0, 5), (t, 1, 6)])
    path = path_of(directory, OTHER, "follower")
    with open(path, "r+b") as file:
        file.seek(34)
        file.write(b"9")
    known = known_replica(directory, OTHER)
    assert ends(known.follower) == {(t, 1): 6}
    assert known.problems == [(os.path.relpath(path, directory.path), "line 1 is damaged")]
    assert note_follower(directory, OTHER, "b:/mk", [(t, 0, 7)]) == ""
    known = known_replica(directory, OTHER)
    assert ends(known.follower) == {(t, 0): 7, (t, 1): 6}
    assert known.problems == []


@pytest.mark.parametrize("name", ["replica.json", "follower", "source", "gaps"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"\xff\xfe nonsense\n" * 3, b"a b c d e 00000000\n"],
    ids=["empty", "zeros", "noise", "a wrong checksum"],
)
def test_no_content_of_a_file_is_fatal(directory, ids, name, content):
    note_follower(directory, OTHER, "b:/mk", [(ids[0], 0, 5)])
    with open(path_of(directory, OTHER, name), "wb") as file:
        file.write(content)
    known = known_replica(directory, OTHER)
    assert known.directory_id == OTHER
    if content or name == "replica.json":
        assert f"replicas/{OTHER}/{name}" in [path for path, _ in known.problems]
    assert note_follower(directory, OTHER, "b:/mk", [(ids[0], 0, 6)]) == ""
    note_source(directory, OTHER, "b:/mk", [(ids[0], 1, 6)])
    note_gap(directory, OTHER, ids[0], 0, 3, 4)
    known = known_replica(directory, OTHER)
    assert ends(known.follower) == {(ids[0], 0): 6}
    assert known.address == "b:/mk"
    assert [gap.what for gap in known.gaps] == [(ids[0], 0, 3, 4)]


def test_a_gap_is_marked_once_and_outlives_damage_beside_it(directory, ids):
    t, u = ids
    note_gap(directory, OTHER, t, 0, 5, 9)
    note_gap(directory, OTHER, t, 0, 5, 9)
    note_gap(directory, OTHER, u, 1, 0, 100)
    path = path_of(directory, OTHER, "gaps")
    data = Path(path).read_bytes()
    Path(path).write_bytes(data.replace(b" 5 9 ", b" 5 8 "))
    note_gap(directory, OTHER, t, 1, 7, 8)
    known = known_replica(directory, OTHER)
    assert [gap.what for gap in known.gaps] == [(u, 1, 0, 100), (t, 1, 7, 8)]
    assert known.problems == [(os.path.relpath(path, directory.path), "line 1 is damaged")]
    assert b" 5 8 " in Path(path).read_bytes()


def test_a_source_that_cannot_be_written_to_is_no_error(directory, ids, monkeypatch):
    def refuse(name, mode=0o755, *, dir_fd=None):
        raise OSError(30, "Read-only file system", name)

    monkeypatch.setattr(replica_directory.files, "mkdir", refuse)
    assert "Read-only file system" in note_follower(directory, OTHER, "b:/mk", [(ids[0], 0, 5)])
    with pytest.raises(OSError):
        note_source(directory, OTHER, "b:/mk", [(ids[0], 0, 5)])


def test_the_follower_seen_longest_ago_gives_way_and_a_source_never_does(directory, ids, hands):
    t = ids[0]
    note_source(directory, THIRD, "source:/mk", [(t, 0, 5)])
    for number in range(MAX_REPLICAS - 1):
        hands.pass_ms(10_000)
        assert note_follower(directory, f"{number:032x}", "f:/mk", [(t, 0, number)]) == ""
    hands.pass_ms(10_000)
    note_follower(directory, f"{0:032x}", "f:/mk", [(t, 0, 0)])
    hands.pass_ms(10_000)
    assert note_follower(directory, OTHER, "b:/mk", [(t, 0, 5)]) == ""
    known = {known.directory_id for known in known_replicas(directory)}
    assert len(known) == MAX_REPLICAS
    assert {THIRD, OTHER, f"{0:032x}"} <= known
    assert f"{1:032x}" not in known


def test_one_source_too_many_is_refused(directory, ids):
    for number in range(MAX_REPLICAS):
        note_source(directory, f"{number:032x}", "f:/mk", [(ids[0], 0, 5)])
    with pytest.raises(CannotCreateError, match="64"):
        note_source(directory, OTHER, "b:/mk", [])
    assert "64" in note_follower(directory, OTHER, "b:/mk", [])
    note_source(directory, f"{7:032x}", "f:/mk", [(ids[0], 0, 6)])
    assert len(known_replicas(directory)) == MAX_REPLICAS


def test_planted_links_are_not_followed(directory, ids, tmp_path):
    (tmp_path / "victim").mkdir()
    os.mkdir(path_of(directory))
    os.symlink(tmp_path / "victim", path_of(directory, OTHER))
    assert note_follower(directory, OTHER, "b:/mk", [(ids[0], 0, 5)])
    assert address_of(directory, OTHER) == ""
    assert os.listdir(tmp_path / "victim") == []


def test_in_a_shared_directory_all_is_the_groups(directory, ids):
    os.chmod(directory.path, 0o2775)
    mask = os.umask(0o077)
    try:
        note_follower(directory, OTHER, "b:/mk", [(ids[0], 0, 5)])
    finally:
        os.umask(mask)
    for names, mode in (
        ((), 0o2775),
        ((OTHER,), 0o2775),
        ((OTHER, "follower"), 0o664),
        ((OTHER, "replica.json"), 0o664),
    ):
        assert stat.S_IMODE(os.stat(path_of(directory, *names)).st_mode) == mode


def test_what_anybody_else_put_there_is_ignored(directory, ids):
    note_source(directory, OTHER, "b:/mk", [(ids[0], 0, 5)])
    os.mkdir(path_of(directory, "lost+found"))
    os.mkdir(path_of(directory, OTHER.upper()))
    assert [known.directory_id for known in known_replicas(directory)] == [OTHER]
    assert clock.now_ms() - known_replica(directory, OTHER).seen_ms < 60_000
