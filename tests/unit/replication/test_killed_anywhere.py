"""Promoting and salvaging, killed before any change to a disk that they make, and run again: all of it is done, and once."""

import shutil

import pytest

import mk
from mk.replication.promotion import Promotion
from mk.replication.salvage import Salvage
from mk.storage import files
from mk.storage.log_directory import LogDirectory
from tests.unit.replication.leaders import commit, committed, consume, follow, produce

CHANGES = ("append", "pwrite", "truncate", "fdatasync", "fsync", "rename", "link", "unlink", "mkdir", "rmdir")
EPOCH = 1 << 32


class Killed(BaseException):
    pass


class Life:
    """So many changes to a disk, and then none any more: what a killed process does not come to, nobody does for it."""

    def __init__(self, monkeypatch, changes):
        self.left = changes
        for name in CHANGES:
            monkeypatch.setattr(files, name, self._counted(getattr(files, name)))

    def _counted(self, change):
        def counted(*arguments, **keywords):
            if not self.left:
                raise Killed
            self.left -= 1
            return change(*arguments, **keywords)

        return counted


def run_until_killed(monkeypatch, changes, action):
    """Run it with so many changes to live for; True if that was enough."""
    with monkeypatch.context() as patch:
        life = Life(patch, changes)
        try:
            action()
        except Killed:
            return False
        except Exception:
            # Somebody took a death for a failing disk, and gave it words. It is dead all the same.
            if life.left:
                raise
            return False
        return True


def at_each_change(monkeypatch, tmp_path, names, step, action, check):
    """Kill `action` on copies of the directories before each so-manieth change, run it again, and check what came of it."""
    changes, is_done = 0, False
    while not is_done:
        place = tmp_path / "copy"
        for name in names:
            shutil.copytree(tmp_path / name, place / name)
        directories = [LogDirectory(str(place / name)) for name in names]
        is_done = run_until_killed(monkeypatch, changes, lambda: action(*directories))  # noqa: B023  called at once
        action(*directories)
        check(*directories)
        for directory in directories:
            directory.close()
        shutil.rmtree(place)
        changes += step
    return changes


STEPS = [pytest.param(7, id="now and then"), pytest.param(1, id="everywhere", marks=pytest.mark.slow)]


@pytest.mark.parametrize("step", STEPS)
def test_a_promotion(first, second, monkeypatch, tmp_path, step):
    produce(first, b"a", b"b", partition=0)
    produce(first, b"c", partition=1)
    for group, partition, offset in (("g", 0, 2), ("g", 1, 1), ("h", 0, 1)):
        commit(first, group, partition, offset)
    follow(first, second)
    commit(second, "h", 0, 0)

    def promote(directory):
        promotion = Promotion(directory, None)
        promotion.promote()
        assert promotion.failures == []

    def check(directory):
        topic = directory.open_topic("t")
        latest = [topic.read_epochs(partition).latest for partition in (0, 1)]
        topic.close()
        assert [(entry.epoch, entry.leader_id) for entry in latest] == [(EPOCH, directory.directory_id)] * 2
        assert committed(directory, "g") == {0: (2, False), 1: (1, False)}
        assert committed(directory, "h") == {0: (1, False)}
        produce(directory, b"d", partition=0)
        assert consume(directory) == {0: [b"a", b"b", b"d"], 1: [b"c"]}

    assert at_each_change(monkeypatch, tmp_path, ["second"], step, promote, check) > 40


@pytest.mark.parametrize("step", STEPS)
def test_a_salvage(first, second, monkeypatch, tmp_path, step):
    produce(first, b"a", partition=0)
    follow(first, second)
    produce(first, b"x", b"y", partition=0)
    produce(first, b"1", b"2", partition=0, producer_id="p")
    produce(first, b"z", partition=0)
    promotion = Promotion(second, None)
    promotion.promote()
    produce(second, b"b", partition=0)
    follow(second, first)

    def salvage(old, new):
        assert Salvage(old, []).run(lambda _: mk.connect(new.path)) == []

    def check(old, new):
        assert Salvage(old, []).to_do == []
        assert consume(new) == {0: [b"a", b"b", b"x", b"y", b"1", b"2", b"z"]}
        produce(new, b"1", b"2", b"3", partition=0, producer_id="p")
        assert consume(new)[0][-2:] == [b"z", b"3"]

    assert at_each_change(monkeypatch, tmp_path, ["first", "second"], step, salvage, check) > 30
