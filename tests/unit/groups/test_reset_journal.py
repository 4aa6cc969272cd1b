"""The journal of a group: torn lines, damaged ones, full disks, and its size."""

import errno
import os

import pytest

from mk.errors import LockTimeoutError, StorageError
from mk.group_errors import NoSuchGroupError
from mk.groups import reset_journal
from mk.groups.reset_journal import ChangedOffset, Journal, decode_change, encode_change, read_changes, read_lines
from mk.storage import files

TOPIC_ID = "0" * 32


@pytest.fixture
def group_fd(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def open_journal(group_fd, wait_ms=0):
    return Journal(group_fd, group="g", path="groups/g/journal", directory="log", wait_ms=wait_ms)


def append(group_fd, after, *, partitions=1, **keywords):
    journal = open_journal(group_fd)
    offsets = [ChangedOffset("t", TOPIC_ID, number, 0, -1, 0, after, 0) for number in range(partitions)]
    try:
        return journal.append("reset", offsets, **keywords)
    finally:
        journal.close()


def afters(group_fd):
    return [change["offsets"][0]["after"] for change in read_changes(group_fd)]


def test_changes_are_numbered_and_say_who_made_them(group_fd):
    assert [append(group_fd, 5), append(group_fd, 6, undoes=1)] == [1, 2]
    first, second = read_changes(group_fd)
    assert (first["change"], first["undoes"], second["undoes"]) == (1, None, 1)
    assert first["pid"] == os.getpid() and first["host"] == os.uname().nodename and first["user"]
    assert first["offsets"] == [ChangedOffset("t", TOPIC_ID, 0, 0, -1, 0, 5, 0).document()]


def test_a_line_that_was_broken_off_is_cut_by_the_next_change(group_fd, tmp_path):
    append(group_fd, 5)
    whole = (tmp_path / "journal").read_bytes()
    for size in (1, 30, len(whole) - 1):
        (tmp_path / "journal").write_bytes(whole + whole[:size])
        assert afters(group_fd) == [5]
        assert [change for _, _, change in read_lines(group_fd)][-1] is None
        assert append(group_fd, 7) == 2
        assert afters(group_fd) == [5, 7]
        assert (tmp_path / "journal").read_bytes().startswith(whole)
        assert len((tmp_path / "journal").read_bytes().splitlines()) == 2


def test_a_block_of_zeros_behind_the_end_is_no_change(group_fd, tmp_path):
    append(group_fd, 5)
    with open(tmp_path / "journal", "ab") as file:
        file.write(bytes(700))
    assert append(group_fd, 7) == 2
    assert afters(group_fd) == [5, 7]
    assert all(change for _, _, change in read_lines(group_fd))


def test_every_flipped_bit_is_seen(group_fd, tmp_path):
    append(group_fd, 5)
    line = (tmp_path / "journal").read_bytes()[:-1]
    for at in range(len(line)):
        damaged = bytearray(line)
        damaged[at] ^= 1 << at % 8
        assert decode_change(bytes(damaged)) is None, bytes(damaged)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"change": "1", "time_ms": 0, "kind": "reset", "offsets": []},
        {"change": 1, "time_ms": 0, "kind": None, "offsets": []},
        {"change": 1, "time_ms": 0, "kind": "reset", "offsets": [{"topic": "t"}]},
        {"change": 1, "time_ms": 0, "kind": "reset", "offsets": 5},
        {"change": 1, "time_ms": 0, "kind": "reset"},
    ],
)
def test_a_line_with_the_right_checksum_that_says_nothing_is_none(document):
    assert decode_change(encode_change(document)[:-1]) is None


def test_its_size_is_bounded_and_the_numbers_go_on(group_fd, tmp_path, monkeypatch):
    monkeypatch.setattr(reset_journal, "ROTATE_BYTES", 4096)
    for number in range(1, 61):
        assert append(group_fd, number) == number
        assert all((tmp_path / name).stat().st_size < 5000 for name in os.listdir(tmp_path))
    found = afters(group_fd)
    assert found == list(range(found[0], 61)) and len(found) > 10
    assert sorted(os.listdir(tmp_path)) == ["journal", "journal.old"]


def test_a_rotation_that_was_broken_off_costs_nothing(group_fd, tmp_path, monkeypatch):
    monkeypatch.setattr(reset_journal, "ROTATE_BYTES", 600)
    append(group_fd, 1)
    append(group_fd, 2)
    monkeypatch.setattr(files, "truncate", _raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        append(group_fd, 3)
    monkeypatch.undo()
    assert afters(group_fd) == [1, 2]
    assert append(group_fd, 3) == 3
    assert afters(group_fd) == [1, 2, 3]


def _raise_interrupt(fd, size_bytes):
    raise KeyboardInterrupt


@pytest.mark.parametrize("call", ["append", "fdatasync"])
@pytest.mark.parametrize(("number", "says"), [(errno.ENOSPC, "make room for a line"), (errno.EIO, "look at the disk")])
def test_a_line_that_the_disk_refuses_is_not_there_and_nothing_is_begun(
    group_fd, tmp_path, monkeypatch, call, number, says
):
    append(group_fd, 1)
    before = (tmp_path / "journal").read_bytes()

    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files, call, refuse)
    with pytest.raises(StorageError) as caught:
        append(group_fd, 2)
    assert says in caught.value.fix and "no offset was changed" in caught.value.fix
    monkeypatch.undo()
    assert (tmp_path / "journal").read_bytes() == before
    assert append(group_fd, 2) == 2


def test_a_full_disk_keeps_it_from_being_split_but_not_from_being_written(group_fd, monkeypatch):
    monkeypatch.setattr(reset_journal, "ROTATE_BYTES", 100)
    append(group_fd, 1)

    def refuse(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(files, "replace_file", refuse)
    assert append(group_fd, 2) == 2
    assert afters(group_fd) == [1, 2]


def test_one_at_a_time(group_fd):
    first = open_journal(group_fd)
    with pytest.raises(LockTimeoutError) as caught:
        open_journal(group_fd)
    assert "nothing was changed" in caught.value.fix
    first.close()
    open_journal(group_fd).close()


def test_a_journal_whose_group_was_deleted_is_nobodys(group_fd, tmp_path, monkeypatch):
    acquire = reset_journal.acquire

    def delete_first(fd, **keywords):
        os.unlink(tmp_path / "journal")
        acquire(fd, **keywords)

    monkeypatch.setattr(reset_journal, "acquire", delete_first)
    with pytest.raises(NoSuchGroupError):
        open_journal(group_fd)
