"""The groups of a Kafka cluster: who is a member, where they stand, and moving them.

What Kafka does not tell of a group is None in the documents: when it committed, and which process a member is.
"""

from __future__ import annotations

from mk.errors import MkError, NoSuchTopicError, NotFoundError, TryAgainError, UsageError
from mk.group_errors import GroupNotEmptyError, NoSuchGroupError, NoSuchMemberError, OffsetsMovedError
from mk.kafka_cluster import group_coordinators
from mk.kafka_cluster.group_coordinators import check_is_served, descriptions
from mk.kafka_cluster.kafka_topic import topic_id_of
from mk.kafka_cluster.partition_offsets import EARLIEST, LATEST, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from mk.consumer.group_consumer import GroupConsumer
    from mk.consumer.offset_spec import OffsetLike
    from mk.groups.group_watch import GroupWatch
    from mk.groups.offset_reset import OffsetChange
    from mk.kafka_cluster.client import Client
    from mk.kafka_cluster.kafka_topic import KafkaDirectory

    Document = dict[str, Any]
    Place = tuple[str, int]
    """Topic and partition."""

_STATES = {
    "PREPARING_REBALANCING": "PreparingRebalance",
    "COMPLETING_REBALANCING": "CompletingRebalance",
}
"""Names of the library that are not those of Kafka, but for capitals."""

_LOOK = "group {group} cannot be looked at"
_UNCHANGED = "the offsets of group {group} cannot be changed"
_UNREAD = "the offsets of group {group} cannot be read"

_OWNER = ("member", "host", "pid", "user", "command", "since_ms")
_MEMBER = (*_OWNER, "client_id", "instance_id", "topics", "subscribed_partitions")
_GROUPS_AT_ONCE = 100
NO_OFFSET = -1


class GroupAdmin:
    """The part of KafkaCluster that is about groups. See `help(mk.Cluster)` for what the methods do."""

    _client: Client
    _directory: KafkaDirectory

    def group_names(self) -> list[str]:
        what = f"the groups of {self._client.location} cannot be listed"
        listed = self._client.ask_one(self._client.admin.list_consumer_groups, what)
        if listed.errors and not listed.valid:
            raise self._client.error(listed.errors[0], what)
        return sorted(group.group_id for group in listed.valid)

    def describe_group(self, group: str) -> Document:
        (document,) = self.describe_groups([group])
        if isinstance(document, MkError):
            raise document
        return document

    def describe_groups(self, groups: Sequence[str]) -> Iterator[Document | MkError]:
        for at in range(0, len(groups), _GROUPS_AT_ONCE):
            yield from self._described(groups[at : at + _GROUPS_AT_ONCE])

    def watch_group(self, group: str) -> GroupWatch:
        from mk.kafka_cluster.group_watch import KafkaGroupWatch

        return KafkaGroupWatch()  # type: ignore[return-value]  # It has the methods of one.

    def committed_offsets(self, group: str) -> dict[Place, tuple[int, int]]:
        """Return where a group stands in each partition that it has committed of: the offset, and the leader epoch of the
        record before it, -1 where that is not known. Of a group that is not there, none.
        """
        return _committed(group_coordinators.committed_offsets(self._client, {group: None}, _UNREAD)[group])

    def check_group_is_empty(self, group: str) -> None:
        try:
            members = description_of(self._client, group).members
        except NoSuchGroupError:
            return
        if members:
            raise GroupNotEmptyError(group=group, members=[_who(member) for member in members])

    def change_offsets(
        self,
        group: str,
        changes: Sequence[OffsetChange],
        *,
        kind: str,
        undoes: int | None = None,
        wait_ms: int = 10_000,
    ) -> None:
        """Commit offsets for a group by hand; it is made if need be. Kafka keeps no journal of that.

        The brokers refuse it while the group has members. One that came, committed and went since the comparison here is
        not seen.
        """
        from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

        if any(change.after == NO_OFFSET for change in changes):
            raise UsageError(
                f"group {group} cannot be moved to no offset at all",
                why="librdkafka deletes no offsets of some partitions",
                fix=f"`mk groups delete {group}` deletes all of them; nothing was changed",
            )
        self.check_group_is_empty(group)
        self._check_topics(changes)
        committed = self.committed_offsets(group)
        for change in changes:
            found = committed.get((change.topic, change.partition), (NO_OFFSET, -1))[0]
            if found != change.before:
                raise OffsetsMovedError(
                    group=group, topic=change.topic, partition=change.partition, planned=change.before, found=found
                )
        partitions = []
        for change in changes:
            partition = TopicPartition(change.topic, change.partition, change.after)
            if change.leader_epoch is not None and change.leader_epoch >= 0:
                partition = TopicPartition(
                    change.topic, change.partition, change.after, leader_epoch=change.leader_epoch
                )
            partitions.append(partition)
        wanted = [ConsumerGroupTopicPartitions(group, partitions)]
        check_is_served(self._client, group, _UNCHANGED)
        what = _UNCHANGED.format(group=group)
        try:
            result = self._client.change_once(
                lambda: self._client.admin.alter_consumer_group_offsets(wanted)[group], what, group=group
            )
        except TryAgainError as error:
            # A member came since we looked. The brokers say that they do not know the member that commits, which is none.
            if error.facts.get("code") in ("UNKNOWN_MEMBER_ID", "NON_EMPTY_GROUP"):
                self.check_group_is_empty(group)
            raise
        refused = [one for one in result.topic_partitions if one.error is not None]
        if refused:
            first = refused[0]
            raise self._client.error(
                first.error,
                f"{what} in {len(refused)} of {len(changes)} partitions, the first of them {first.topic} {first.partition}",
                group=group,
                topic=first.topic,
                partition=first.partition,
                fix=f"`mk groups describe {group}` shows what was changed",
            )

    def reset_group(
        self,
        group: str,
        topics: str | Sequence[str] = (),
        *,
        to: OffsetLike | Mapping[int, OffsetLike],
        dry_run: bool = False,
        wait_ms: int = 10_000,
    ) -> list[Document]:
        from mk.group_plan import reset_group

        return reset_group(self, group, topics, to, dry_run=dry_run, wait_ms=wait_ms)  # type: ignore[arg-type]  # With its other half.

    def group_changes(self, group: str) -> list[Document]:
        """Return nothing: Kafka keeps no journal of changes."""
        return []

    def delete_offsets(
        self, group: str, topic_ids: Sequence[str], *, idle_since_ms: int | None = None, wait_ms: int = 10_000
    ) -> int:
        """Raises UsageError: librdkafka deletes whole groups only, as Python is given it."""
        raise UsageError(
            f"the offsets of group {group} cannot be deleted topic by topic",
            why="the Python package of librdkafka has no such request",
            fix=f"`mk groups delete {group}` deletes all that it has committed; Kafka's own tool deletes those of one topic:"
            f" kafka-consumer-groups.sh --delete-offsets --group {group} --topic ...; nothing was changed",
        )

    def delete_group(self, group: str, *, idle_since_ms: int | None = None, wait_ms: int = 10_000) -> bool:
        try:
            self._client.change_once(
                lambda: self._client.admin.delete_consumer_groups([group])[group],
                f"group {group} cannot be deleted",
                group=group,
            )
        except NotFoundError:
            raise _no_group(self._client, group) from None
        except TryAgainError as error:
            if error.facts.get("code") == "NON_EMPTY_GROUP":
                self.check_group_is_empty(group)
            raise
        return True

    def find_member(self, group: str, member: str) -> Document:
        document = self.describe_group(group)
        found = [one for one in document["members"] if member and one["member"].startswith(member)]
        if len(found) != 1:
            members = [f"{one['member']} on {one['host']}" for one in document["members"]]
            raise NoSuchMemberError(group=group, member=member, members=members)
        return found[0]  # type: ignore[no-any-return]

    def group_consumer(
        self,
        group: str,
        topics: Sequence[str] = (),
        *,
        regex: str | None = None,
        partitions: Sequence[int] | None = None,
        follow: bool = False,
        idle_ms: int | None = None,
        session_timeout_ms: int = 10_000,
        **options: Any,
    ) -> GroupConsumer:
        from mk.kafka_cluster.committed_offsets import CommittedOffsets
        from mk.kafka_cluster.kafka_group_consumer import KafkaGroupConsumer
        from mk.kafka_cluster.kafka_topic import KafkaDirectory, KafkaTopicPattern

        if idle_ms is not None and not follow:
            raise UsageError("idle_ms means nothing without follow", fix="without it, reading ends at the end anyway")
        if topics and regex is not None:
            raise UsageError("topics by name and by a regular expression exclude each other", fix="leave one out")
        if partitions is not None:
            raise UsageError(
                "-p and -g exclude each other on a Kafka cluster",
                why="its coordinator shares all partitions of a topic among the members of a group, and none of them can choose",
                fix="leave one of them out; nothing was consumed",
            )
        if not group:
            raise UsageError("a group has a name", fix="give it one with -g; nothing was consumed")
        directory = KafkaDirectory(self._client)  # Its own: what it reads comes through the group's member.
        pattern = None if regex is None else KafkaTopicPattern(directory, regex)
        names = (topics,) if isinstance(topics, str) else topics
        opened = directory.open_topics(dict.fromkeys(names)) if pattern is None else pattern.open_new([])
        return KafkaGroupConsumer(
            opened,
            directory=directory,
            group=group,
            pattern=pattern,
            follow=follow,
            idle_ms=idle_ms,
            session_timeout_ms=session_timeout_ms,
            committed_offset=CommittedOffsets(self._client).of,
            **options,
        )

    # Describing.

    def _described(self, groups: Sequence[str]) -> list[Document | MkError]:
        """Describe some groups with a few requests for all of them together."""
        if not groups:
            return []
        described = descriptions(self._client, groups, _LOOK)
        wanted = {group: None for group, description in described.items() if not isinstance(description, MkError)}
        offsets = group_coordinators.committed_offsets(self._client, wanted, _UNREAD, served=wanted)
        found: dict[str, Any] = {}
        places: set[Place] = set()
        for group in described:
            try:
                description = _taken(self._client, described, group)
                committed = _committed(offsets[group])
                if _state(description) == "Dead" and not committed:
                    raise _no_group(self._client, group)
            except MkError as error:
                found[group] = error
                continue
            owners = {
                (one.topic, one.partition): member
                for member in description.members
                for one in (member.assignment.topic_partitions if member.assignment is not None else ())
            }
            found[group] = description, committed, owners
            places.update((*committed, *owners))
        logs = _Logs(self._client, self._directory, places)
        return [
            found[group] if isinstance(found[group], MkError) else _document(group, found[group], logs)
            for group in groups
        ]

    def _check_topics(self, changes: Iterable[OffsetChange]) -> None:
        """Raise NoSuchTopicError unless the topics are those that a plan was made for."""
        planned = {change.topic: change.topic_id for change in changes}
        for topic in self._directory.open_topics(planned):
            if planned[topic.name] != topic.topic_id:
                raise NoSuchTopicError(
                    topic=topic.name,
                    directory=self._directory.path,
                    why="it was deleted, and made anew, since the plan was made",
                )
            topic.check_partition(max(change.partition for change in changes if change.topic == topic.name))


def description_of(client: Client, group: str) -> Any:
    """Return what the coordinator of a group says of it, as the library has it. Raises NoSuchGroupError."""
    description = _taken(client, descriptions(client, (group,), _LOOK), group)
    if _state(description) == "Dead":
        raise _no_group(client, group)
    return description


def _taken(client: Client, described: Mapping[str, Any], group: str) -> Any:
    description = described[group]
    if isinstance(description, NotFoundError):
        raise _no_group(client, group)
    if isinstance(description, MkError):
        raise description
    return description


def _no_group(client: Client, group: str) -> NoSuchGroupError:
    return NoSuchGroupError(group=group, directory=client.location)


class _Logs:
    """Where the logs of some partitions begin and end, asked for together.

    offsets: of each its start, and its end as who reads only what is committed sees it. problems: why one has none.
    """

    def __init__(self, client: Client, directory: KafkaDirectory, places: set[Place]) -> None:
        self.offsets: dict[Place, tuple[int, int]] = {}
        self.problems: dict[Place, str] = {}
        self.topic_ids: dict[str, str] = {}
        known: set[Place] = set()
        for name, topic in directory.describe(sorted({topic for topic, _ in places})).items():
            if not isinstance(topic, NotFoundError):
                self.topic_ids[name] = topic_id_of(topic)
                known.update((name, partition) for partition in range(len(topic.partitions)))
        there = sorted(places & known)
        for place in places - known:
            is_gone = place[0] not in self.topic_ids
            self.problems[place] = "the topic is gone" if is_gone else f"the topic has no partition {place[1]}"
        first, last = ask(client, there, EARLIEST, LATEST)
        for place in there:
            for answer in (first[place], last[place]):
                if isinstance(answer, MkError):
                    self.problems[place] = f"{answer.what}: {answer.why}"
            if place not in self.problems:
                self.offsets[place] = first[place].offset, last[place].offset


def _document(group: str, found: tuple[Any, dict[Place, tuple[int, int]], dict[Place, Any]], logs: _Logs) -> Document:
    description, committed, owners = found
    rows = [
        _offset_row(place, committed.get(place), owners.get(place), logs) for place in sorted({*committed, *owners})
    ]
    members = [_member_row(member) for member in description.members]
    lags = [row["lag"] for row in rows if row["lag"] is not None]
    return {
        "group": group,
        "state": _state(description),
        "members": sorted(members, key=lambda member: str(member["member"])),
        "topics": list(dict.fromkeys(row["topic"] for row in rows)),
        "lag": sum(lags) if lags else None,
        "last_commit_ms": None,
        "offsets": rows,
    }


def _offset_row(place: Place, committed: tuple[int, int] | None, owner: Any, logs: _Logs) -> Document:
    """Return where a group stands in one partition. It counts as at the start where it has committed nothing, as elsewhere."""
    topic, partition = place
    start, end = logs.offsets.get(place, (None, None))
    problem = logs.problems.get(place)
    row: Document = {
        "topic": topic,
        "topic_id": logs.topic_ids.get(topic, ""),
        "partition": partition,
        "committed_offset": None,
        "stands_at": None,
        "leader_epoch": None,
        "sequence": None,
        "log_start_offset": start,
        "high_watermark": end,
        "lag": None,
        "committed_ms": None,
        "topic_is_gone": topic not in logs.topic_ids,
        "is_replicated": False,
        "problem": problem,
        **dict.fromkeys(_OWNER),
    }
    if committed is not None:
        row["committed_offset"] = row["stands_at"] = committed[0]
        row["leader_epoch"] = committed[1] if committed[1] >= 0 else None
    if owner is not None:
        row["member"] = owner.member_id
        row["host"] = _host(owner)
    if start is None or end is None:
        return row
    if committed is not None and committed[0] > end:
        row["problem"] = f"the log ends at offset {end}: records were lost, or the topic was made anew"
        row["stands_at"] = end
        return row
    if committed is not None and committed[0] < start:
        row["problem"] = f"offsets {committed[0]} to {start - 1} were removed before they were read"
    row["lag"] = end - max(start, committed[0] if committed is not None else start)
    return row


def _member_row(member: Any) -> Document:
    row: Document = dict.fromkeys(_MEMBER)
    owned: dict[str, list[int]] = {}
    if member.assignment is not None:
        for one in sorted(member.assignment.topic_partitions, key=lambda one: (one.topic, one.partition)):
            owned.setdefault(one.topic, []).append(one.partition)
    row.update(
        member=member.member_id,
        host=_host(member),
        client_id=member.client_id,
        instance_id=member.group_instance_id,
        partitions=sum(map(len, owned.values())),
        assignment=[f"{topic}:{','.join(map(str, numbers))}" for topic, numbers in owned.items()],
    )
    return row


def _committed(answer: Any) -> dict[Place, tuple[int, int]]:
    """Return offset and leader epoch of each partition in what the coordinator has told. Raises what it has not."""
    if isinstance(answer, MkError):
        raise answer
    return {
        (one.topic, one.partition): (one.offset, -1 if one.leader_epoch is None else one.leader_epoch)
        for one in answer
        if one.offset >= 0 and one.error is None
    }


def _state(description: Any) -> str:
    name: str = description.state.name
    return _STATES.get(name, name.capitalize())


def _who(member: Any) -> str:
    return f"member {member.member_id} ({member.client_id}) on {_host(member)}"


def _host(member: Any) -> str:
    """Return the host of a member, which Java writes as name/address."""
    host: str = member.host
    return host.lstrip("/")
