"""What is in log directories, looked at from outside: topics, records, and where groups stand; and what may be there."""

from history import Anomaly

import mk
from mk.groups.claim_slot import decode_slots

PLACES = ("log", "copy")
"""Where log directories are in a World."""


class Seen:
    """What is in a world: its topics, their records, and where groups stand."""

    def __init__(self):
        self.topics = {}
        """(place, topic) -> (partitions, overrides, is sealed)"""
        self.records = {}
        """(place, topic, partition) -> [(offset, key, value)]"""
        self.commits = {}
        """(place, group, topic, partition) -> committed offset"""
        self.half_taken = set()
        """Where a group stands and it cannot be seen from outside."""

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __repr__(self):
        return f"topics {self.topics}\nrecords {self.records}\ncommits {self.commits}"


def look(world, *, whole=False):
    """Return what is Seen in a world, proved by `verify`; no group stands behind the end of a log.

    whole: nothing was broken off, so that `verify` finds no more records than a reader is given.
    """
    seen = Seen()
    for place in PLACES:
        directory = world.path / place
        if not (directory / "mk.json").exists():
            continue
        with mk.connect(str(directory)) as cluster:
            for topic in cluster.topic_names():
                _look_at_topic(cluster, place, topic, seen, whole)
            for group in cluster.group_names():
                for row in cluster.describe_group(group)["offsets"]:
                    # As long as locks are left of a topic, it is not said to be gone for good.
                    if row["topic_is_gone"] or row["topic"] not in cluster.topic_names():
                        continue
                    # Of what was cut off after a fail-over, the old leader's groups have read some.
                    was_cut = row["problem"] and any(directory.glob("quarantine/*"))
                    stands_at = row["stands_at"] if was_cut else row["committed_offset"]
                    name = (place, group, row["topic"], row["partition"])
                    if _is_half_taken(directory / "groups" / group / "claims" / row["topic_id"], row["partition"]):
                        seen.half_taken.add(name)
                        continue
                    if stands_at is None and not row["problem"]:
                        continue
                    if (row["problem"] and not was_cut) or stands_at > row["high_watermark"]:
                        raise Anomaly(f"in {place}, {group} stands where it cannot: {row}")
                    seen.commits[name] = stands_at
            _raise_damage(cluster.verify_groups(), place)
    return seen


def _is_half_taken(claims, partition):
    """Tell whether the newest claim says nothing yet: from outside less is seen then than its next owner goes on from."""
    generations = sorted(claims.glob(f"{partition}.*"), key=lambda path: int(path.suffix[1:]))
    return bool(generations) and not decode_slots(generations[-1].read_bytes())


def _look_at_topic(cluster, place, topic, seen, whole):
    description = cluster.describe_topic(topic)
    seen.topics[place, topic] = (
        description["partition_count"],
        description["overrides"],
        description["sealed"] is not None,
    )
    for partition in range(description["partition_count"]):
        seen.records[place, topic, partition] = []
    with cluster.consumer([topic]) as consumer:
        for record in consumer:
            seen.records[place, topic, record.partition].append((record.offset, record.key, record.value))
    report = cluster.verify_topic(topic)
    _raise_damage(report.findings, f"{topic} in {place}")
    if whole and report.records != sum(len(found) for key, found in seen.records.items() if key[:2] == (place, topic)):
        raise Anomaly(f"verify counts {report.records} records of {topic} in {place}, a reader is given others")


def _raise_damage(findings, where):
    damage = [finding for finding in findings if finding.severity == "damage"]
    if damage:
        raise Anomaly(f"verify finds damage: {where}: {damage}")


def check_between(before, now, after):
    """Of each partition there is nothing but what was and what is to be, and all that is in both."""
    for partition in now.keys() | (before.keys() & after.keys()):
        was, is_, to_be = (set(found.get(partition, ())) for found in (before, now, after))
        if partition in before and partition in after and not was & to_be <= is_:
            raise Anomaly(f"lost from {partition}: {sorted(was & to_be - is_)[:5]}")
        if not is_ <= was | to_be:
            raise Anomaly(f"foreign in {partition}: {sorted(is_ - was - to_be)[:5]}")
