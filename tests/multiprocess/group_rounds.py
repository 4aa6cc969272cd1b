"""Kills of members of a group, by the round: see kill_rounds. No commit goes back, no record is passed over."""

from history import Anomaly, parse_records, settled_commits, verify
from kill_rounds import Producing

from mk.groups.claim_directory import open_claims
from mk.storage.log_directory import LogDirectory
from tests.proof.figures import count


class Grouping(Producing):
    """Producers, and members of a group that print, commit and end, three at once and more.

    A member is held to what was committed when it began: nothing in front of that may come to it. What one that ended well
    has printed is committed.
    """

    partitions = 2
    settings = ()
    acks = ("1",)
    member = ("consume", "t", "-g", "g", "-J")
    is_patient = True

    def __init__(self, *given):
        super().__init__(*given)
        self.commits = {}
        self.commit_count = 0
        self.server.must(self.directory, "consume", "t", "-g", "g")
        self.opened = LogDirectory(str(self.directory))
        self.topic = self.opened.open_topic("t")
        self.look()

    def next_job(self):
        if self.chance.random() < 0.25:
            return self.producer()
        self.number += 1
        some = ("-n", str(self.chance.randint(1, 30))) if self.chance.random() < 0.5 else ()
        self.look()
        return self.job(*self.member, *some, may_answer=False, note=dict(self.commits))

    def look(self):
        """See what is committed now."""
        claims = open_claims(self.opened, "g", topic="t", topic_id=self.topic.topic_id)
        try:
            for partition, offset in settled_commits(claims):
                if offset != self.commits.get(partition):
                    self.history.checker.committed("g", partition, offset)
                    self.commits[partition] = offset
                    self.commit_count += 1
        finally:
            claims.close()

    def ended(self, done):
        super().ended(done)
        if done.job.words[0] != "consume":
            return
        self.look()
        self.number += 1
        records = parse_records(done.stdout)
        self.history.note_given(f"m{self.number}", records, group="g", was_stopped=True)
        if "has taken partition" in done.stderr:
            return  # It was stopped for too long: it may have handed over once more what it held.
        for partition in range(self.partitions):
            offsets = [offset for number, offset, _ in records if number == partition]
            # One that was killed may not have come to know that it was fenced.
            is_sure = self.is_patient or done.status == 0
            if is_sure and offsets and offsets[0] < done.job.note[partition]:
                raise Anomaly(f"{done.job.note[partition]} was committed before a member began at {offsets[0]}: {done}")
            # Where members fence each other, it may not be settled just now what is committed.
            is_settled = self.is_patient and done.status == 0
            if is_settled and offsets and self.commits[partition] <= offsets[-1]:
                raise Anomaly(
                    f"a member ended well at {offsets[-1]}, and {self.commits[partition]} is committed: {done}"
                )

    def check(self):
        logs = self.logs()
        done = self.server.must(self.directory, *self.member)
        self.history.note_given("the last", parse_records(done.stdout), group="g", was_stopped=True)
        self.look()
        assert self.commits == {partition: len(log) for partition, log in enumerate(logs)}, self.commits
        self.topic.close()
        self.opened.close()
        self.history.check(logs)
        verify(self.directory, "t")
        count("commits", self.commit_count)
        acknowledged = self.history.acknowledged
        print(f"{type(self).__name__}: {self.kills} kills, {acknowledged} acknowledged, {self.commit_count} commits")


class Fencing(Grouping):
    """Members with a very short session time-out, which are stopped for longer: fenced, they go on, or die."""

    member = (*Grouping.member, "--session-timeout", "100ms", "-F", "--idle", "300ms")
    share = 0.3
    is_patient = False

    def __init__(self, *given):
        super().__init__(*given)
        self.fenced = 0

    def job(self, *words, **keywords):
        job = super().job(*words, **keywords)
        if words[0] == "consume" and self.chance.random() < 0.5:
            job.stop = (job.kill_after or 0, self.chance.uniform(0.1, 1.2))
            job.kill_after = sum(job.stop) + self.chance.uniform(0, 0.02) if self.chance.random() < 0.5 else None
        return job

    def ended(self, done):
        super().ended(done)
        self.fenced += "has taken partition" in done.stderr

    def check(self):
        super().check()
        print(f"{self.fenced} were told that they had been fenced")
