"""Readers of a copy that is cut back, since another directory leads it: each sees one history, or is told that it has changed."""

import random

from followers import followers_of, member_of
from fork_server import Job
from history import Anomaly, parse_records, read_log, verify
from processes import kill_all, wait_until


class FailingBack:
    """Two directories that lead in turn, and readers of the one that leads until it is cut back.

    shared: the values that both have. alone: what the old leader alone has by then; after: what the new one has since.
    given: what a group was given that reads in the one or the other; it must miss nothing that has stayed.
    """

    def __init__(self, server, folder, seed):
        self.server, self.folder = server, folder
        self.chance = random.Random(seed)
        self.old, self.new = folder / "a", folder / "b"
        self.shared, self.alone, self.after = [], [], []
        self.given = set()
        self.number = self.turns = self.told = 0
        server.must(self.old, "topics", "create", "t", "-c", "segment.bytes=4096")

    def produce(self, directory):
        values = []
        for _ in range(self.chance.randint(1, 30)):
            self.number += 1
            values.append(b"%d-%s" % (self.number, b"y" * self.chance.randint(0, 300)))
        self.server.must(directory, "produce", "t", "-q", stdin=[b"".join(value + b"\n" for value in values)])
        return values

    def turn(self):
        self.turns += 1
        self.shared += self.produce(self.old)
        self.server.must(self.old, "replicate", str(self.old), str(self.new), "-q")
        followers = followers_of(self.old, self.folder, self.turns)
        member = member_of(self.old, self.folder, self.turns)
        try:
            for follower in (*followers, member):
                self.await_last(follower, self.shared)
            late, early = followers if self.chance.random() < 0.5 else followers[::-1]
            late.toggle()
            self.alone = self.produce(self.old)
            if self.chance.random() < 0.7:
                self.await_last(early, self.alone)
            else:
                early.toggle()
            if self.chance.random() < 0.5:
                self.await_last(member, self.alone)
            else:
                member.toggle()
            self.server.must(self.new, "replicate", "promote", "-q")
            self.after = self.produce(self.new)
            self.cut_back()
            for follower in followers:
                self.look_at(follower)
            self.look_at_group(member)
        finally:
            for follower in (*followers, member):
                follower.go_on()
            kill_all([follower.process for follower in (*followers, member)])
        self.shared = self.shared + self.after
        self.old, self.new = self.new, self.old
        for directory in (self.old, self.new):
            assert [value for _, value in read_log(directory, "t", quiet=False)] == self.shared
            verify(directory, "t")

    @staticmethod
    def await_last(follower, values):
        wait_until(lambda: follower.process.poll() is not None or follower.has_seen((None, values[-1])))

    def cut_back(self):
        """Replicate back, with readers who begin and end just then: each sees one history, or is told."""
        self.server.submit(Job(self.old, ("replicate", str(self.new), str(self.old), "-q")))
        for _ in range(3):
            self.server.submit(Job(self.old, ("consume", "t", "-J")))
        histories = self.shared + self.alone, self.shared + self.after
        while self.server.running:
            done = self.server.wait()
            if done.job.words[0] == "replicate":
                assert done.status == 0, done
                continue
            values = [value for _, _, (_, value) in parse_records(done.stdout)]
            assert any(values == history[: len(values)] for history in histories), f"two histories in one: {done}"
            if done.status:
                assert done.status == 65 and "cut back to offset" in done.stderr, done
                self.told += 1
            else:
                assert len(values) >= len(self.shared), done

    def look_at(self, follower):
        """Who had read what was cut off is told; who had not reads on, and never knows."""
        follower.go_on()
        self.await_last(follower, self.after)
        if follower.process.poll() is None:
            follower.end()
            records = follower.records()
            wanted = (self.shared + self.after)[records[0][1] :]
            if [value for _, _, (_, value) in records] != wanted:
                raise Anomaly(f"{follower.name} read on over a cut: {records[-5:]}, {follower.errors.read_text()}")
            return
        said = follower.errors.read_text()
        assert follower.process.returncode == 65 and f"cut back to offset {len(self.shared)}" in said, said
        values = [value for _, _, (_, value) in follower.records()]
        first = follower.records()[0][1]
        assert len(values) > len(self.shared) - first and values == (self.shared + self.alone)[first:][: len(values)]
        self.told += 1

    def look_at_group(self, member):
        """Whether its member was told or not, the group goes on where the log is still the one that it has read."""
        member.go_on()
        self.await_last(member, self.after)
        if member.process.poll() is None:
            member.end()
        else:
            said = member.errors.read_text()
            assert member.process.returncode == 65 and f"cut back to offset {len(self.shared)}" in said, said
            self.told += 1
        rest = self.server.must(self.old, "consume", "t", "-g", "g", "-J")
        for _, _, (_, value) in (*member.records(), *parse_records(rest.stdout)):
            self.given.add(value)
        skipped = [value for value in self.shared + self.after if value not in self.given]
        assert not skipped, f"the group was not given {len(skipped)}, such as {skipped[:3]}: {rest}"


def test_readers_of_a_copy_that_is_cut_back_are_told_so_or_see_one_history(server, tmp_path, thoroughness):
    """What the old leader alone had is cut off under the eyes of its readers."""
    world = FailingBack(server, tmp_path, seed=8)
    for _ in range(thoroughness.pick(3, 60)):
        world.turn()
    print(f"{world.turns} turns, {world.told} readers were told")
    assert world.told
