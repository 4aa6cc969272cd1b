"""What a command needs from a cluster, whatever is behind it.

Commands and the Python API know nothing else: a log directory is the first implementation (directory_cluster), and a
command that reached around this interface into files could not be pointed at anything else later.
"""

from __future__ import annotations

from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, Protocol

    from mk.consumer.awaiting import AwaitingConsumer
    from mk.consumer.consumer import Consumer, Delivery
    from mk.consumer.group_consumer import GroupConsumer
    from mk.consumer.offset_spec import OffsetLike
    from mk.errors import MkError
    from mk.groups.group_watch import GroupWatch
    from mk.groups.offset_reset import OffsetChange
    from mk.maintenance.dump import Item
    from mk.maintenance.findings import Finding, Report
    from mk.producer.producer import Producer
    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import EncodedBatch
    from mk.storage.partition_log import AppendResult
    from mk.storage.topic import Topic
else:
    Protocol = object


class Cluster(Protocol):
    """Topics to create, describe, change and delete; producers and consumers on them. Open until `close`."""

    location: str
    """Where it is, for people: the directory's path."""

    has_producer_ids: bool
    """Whether its producers can have ids, under which the log leaves out what it has already."""

    def topic_names(self) -> list[str]:
        """Return the names of all topics, sorted."""

    def check_name_is_free(self, name: str, *, but: str = "") -> None:
        """Raise CannotCreateError if no topic can have that name. `but` is a topic that would give up its own for it."""

    def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        partitioner: str = "crc32",
        config: Mapping[str, int | str] | None = None,
        replication_factor: int | None = None,
        wait_ms: int = 10_000,
    ) -> None:
        """Create a topic, on disk when it returns. Raises TopicExistsError.

        replication_factor: how many brokers of a Kafka cluster shall have it, None for its default; UsageError elsewhere.
        """

    def delete_topic(self, name: str, *, wait_ms: int = 10_000) -> None:
        """Delete a topic and its records. Raises NoSuchTopicError."""

    def alter_topic(
        self,
        name: str,
        *,
        config: Mapping[str, int | str] | None = None,
        unset: Sequence[str] = (),
        partitions: int | None = None,
        wait_ms: int = 10_000,
    ) -> None:
        """Change settings, give some their default again, add partitions; on disk when it returns.

        `partitioner` counts as a setting. Keys of records that are there may belong to other partitions afterwards, see
        has_keyed_records. Raises UsageError for fewer partitions.
        """

    def rename_topic(self, old: str, new: str, *, wait_ms: int = 10_000) -> None:
        """Give a topic another name. Raises TopicExistsError; producers to the old name get NoSuchTopicError."""

    def seal_topic(self, name: str, *, wait_ms: int = 10_000) -> bool:
        """Close a topic to new records; none is on its way when it returns. False if it was sealed already."""

    def unseal_topic(self, name: str, *, wait_ms: int = 10_000) -> bool:
        """Open a sealed topic again. False if it was not sealed."""

    def open_topic(self, name: str) -> Topic:
        """Open a topic for who appends batches as they are: see Topic.open_log. Whoever asks for it closes it."""

    def summaries(self, names: Sequence[str] | None = None) -> Iterator[dict[str, object] | MkError]:
        """Yield of each of these topics, or of all, by name, what a list shows: `topic`, `partitions`, `records`, `size_bytes`, `last_write_ms`, `leads`, `leader`.

        Of one that cannot be read, the error. Quick enough for many thousands.
        """

    def describe_topic(self, name: str) -> dict[str, object]:
        """Return what is known of a topic, ready for JSON: id, settings, and of each partition offsets and size."""

    def partitions(self, name: str) -> int:
        """Return how many partitions a topic has, whatever state they are in."""

    def offsets(self, name: str) -> list[dict[str, int]]:
        """Return of each partition `partition`, `log_start_offset`, `high_watermark` and `leader_epoch`."""

    def topic_settings(self, name: str) -> dict[str, object]:
        """Return what describe_topic does, but for all that needs a look at the partitions."""

    def topic_rates(self, name: str) -> list[dict[str, float]]:
        """Return of each partition records and bytes a second, in the last minute (`_1m`) and hour (`_1h`)."""

    def topic_times(self, name: str) -> dict[str, Any]:
        """Return how many records of a topic fall into each of some spans of time: `from_ms`, `step_ms` and `records`.

        By a look into the indexes; all None and empty where there is no record.
        """

    def sample(self, owners_of: str = "") -> dict[str, Any]:
        """Look at all topics, groups and copies, ready for JSON: cheaply, for whoever looks again and again.

        The first call looks at everything, the next ones at what has changed since. Two samples of one cluster make rates.
        owners_of: a group of which it is also told which member owns which partition.

        Returns:
            `clock_ms`, by a clock that never leaps, and `time_ms`: when that was. `topics`, each with `partitions`; of
            these `appended_bytes` counts on, and comparable are counts and offsets of the same `run`. `groups`, each with
            `members`, `lag` and `offsets`; None where this process may not look at them. `replicas`: of each other
            directory and `role` how far the follower of the two was behind when it was seen, in `partitions`. `unseen`: what
            could not be looked at. `problem`: why something cannot be told, which keeps nobody from seeing the rest.
        """

    def has_keyed_records(self, name: str) -> bool:
        """Tell whether any record of a topic has a key. Reads headers, and no more of the log than it takes."""

    def key_partitioner(self, name: str) -> Callable[[bytes], int]:
        """Return the function that tells which partition of a topic a key belongs to, as of now."""

    def last_record(self, name: str, partition: int, key: bytes) -> ConsumerRecord | None:
        """Return the last record with a key in a partition, a tombstone too; None if there is none."""

    def offset_for_time(self, name: str, partition: int, timestamp_ms: int) -> int:
        """Return the first offset whose record is of that time or later; the end if there is none."""

    def committed_offset(self, group: str, topic: str, partition: int) -> int | None:
        """Return where a group stands in a partition, None before its first commit.

        Raises NoSuchGroupError, and CommitBeyondEndError for an offset that the log does not have.
        """

    def group_names(self) -> list[str]:
        """Return the names of all groups, sorted. Raises PermissionDeniedError for whoever may not look at them."""

    def describe_group(self, group: str) -> dict[str, Any]:
        """Return what is known of a group, ready for JSON: `state`, `members`, `topics`, `lag`, `last_commit_ms`, and
        `offsets` by partition.

        What cannot be told of a partition is said in its `problem`. Raises NoSuchGroupError.
        """

    def describe_groups(self, groups: Sequence[str]) -> Iterator[dict[str, Any] | MkError]:
        """Yield the same of several groups; of one that is not there, or cannot be read, the error."""

    def watch_group(self, group: str) -> GroupWatch:
        """Return what waits until a group may have committed. See GroupWatch. It need not be there yet."""

    def check_group_is_empty(self, group: str) -> None:
        """Raise GroupNotEmptyError if a group has members that live. One that does not exist has none."""

    def change_offsets(
        self,
        group: str,
        changes: Sequence[OffsetChange],
        *,
        kind: str,
        undoes: int | None = None,
        wait_ms: int = 10_000,
    ) -> int | None:
        """Commit offsets for a group by hand; it is made if need be. Returns the number of the change in its journal.

        None where a cluster keeps no journal.

        kind: what it is called there; undoes: the change that it takes back. Raises GroupNotEmptyError while members
        live, OffsetsMovedError if the group has committed since the changes were planned: nothing was changed then.
        """

    def reset_group(
        self,
        group: str,
        topics: str | Sequence[str] = (),
        *,
        to: OffsetLike | Mapping[int, OffsetLike],
        dry_run: bool = False,
        wait_ms: int = 10_000,
    ) -> list[dict[str, Any]]:
        """Move a group, which is made if need be, to other offsets of some topics, or of all that it reads; on disk on return.

        to: as `offset` of a consumer says it, but no range. What lies outside of a log becomes its start or end.

        Returns the plan, ready for JSON: of each partition `topic`, `partition`, `committed_offset`, `new_offset` and
        `note`; with dry_run that is all. Raises as change_offsets does.
        """

    def group_changes(self, group: str) -> list[dict[str, Any]]:
        """Return what was changed of a group's offsets by hand, oldest first, as its journal has it."""

    def delete_offsets(
        self, group: str, topic_ids: Sequence[str], *, idle_since_ms: int | None = None, wait_ms: int = 10_000
    ) -> int:
        """Delete what a group has committed of some topics, and return of how many partitions.

        idle_since_ms: only if it has committed nothing since. Raises GroupNotEmptyError while members live.
        """

    def delete_group(self, group: str, *, idle_since_ms: int | None = None, wait_ms: int = 10_000) -> bool:
        """Delete a group with all that it has committed. False if somebody has begun it anew, or is not idle."""

    def old_generations(self, group: str) -> int:
        """Return how many files of fenced claims nobody can need any more."""

    def remove_old_generations(self, group: str) -> int:
        """Remove them, and return how many went. Members may live."""

    def find_member(self, group: str, member: str) -> dict[str, Any]:
        """Return the member that lives and whose id begins so, or whose process it is. Raises NoSuchMemberError."""

    def kick_member(self, group: str, member: str) -> list[tuple[str, int]]:
        """Take all its partitions from a member, and return topic and partition of each. It may join again."""

    def clean(
        self,
        name: str,
        partition: int,
        *,
        dry_run: bool = False,
        wait_ms: int = 10_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Remove the segments of a partition that the topic's limits let go, and what killed processes left.

        Then, of a topic that is compacted, do that if enough of the log is new.

        Returns, ready for JSON: `topic`, `partition`, `log_start_offset`, `rolled`, of each segment under `removed` and
        `kept` its offsets, size and `why`, the number of `files` that went and their `bytes`, what `compact` returns as
        `compaction`, None without one, and `error`: None or what kept it from being finished.
        """

    def compact(
        self,
        name: str,
        partition: int,
        *,
        dry_run: bool = False,
        wait_ms: int = 10_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Keep of each key the last record in a partition, now: where this directory leads, all records count.

        progress: told how many bytes of how many were read.

        Returns, ready for JSON, what became of it: see CompactionReport; with dry_run what would, see plan_compaction.
        Raises ConfigurationError for a topic that is not compacted.
        """

    def delete_records(self, name: str, partition: int, before_offset: int, *, wait_ms: int = 10_000) -> dict[str, Any]:
        """Remove the records of a partition below an offset. Raises OffsetOutOfRangeError beyond the high watermark."""

    def clone_topic(
        self, name: str, new: str, *, wait_ms: int = 10_000, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Make topic `new` with all records of another one at their offsets, with its settings and producer ids; led here.

        All partitions as of one moment. On disk, and visible all at once, when it returns. Returns, ready for JSON: `topic`,
        `clone`, `log_start_offsets` and `next_offsets` of its partitions, the number of `links` to segments, their
        `link_bytes`, and `copied_bytes`, of which `progress` is told how many are done and in all.
        Raises TopicExistsError; StorageError, TryAgainError: there is no clone.
        """

    def repair(
        self,
        name: str,
        *,
        partitions: Sequence[int] = (),
        restored: bool = False,
        dry_run: bool = False,
        wait_ms: int = 10_000,
    ) -> list[dict[str, Any]]:
        """Bring a damaged topic, or some partitions, to where it can be used, or tell what that would do.

        Returns of each partition (None is topic.json), ready for JSON: ranges of offsets that are `lost`, what was `done`, names
        of files that were `kept` in quarantine/, and what is `left`. restored: the directory is an older copy; what it lacks
        at its end is given out again.
        """

    def rehash_topic(
        self,
        name: str,
        new: str,
        *,
        partitions: int | None = None,
        partitioner: str | None = None,
        groups: bool = False,
        wait_ms: int = 10_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Make topic `new` with another number of partitions, None for the same, and produce there all that a topic holds now,
        each record to the partition of its key; in the order of each partition, of several by time.

        It appears when it is whole, with the settings of its original. groups: commit for each group of the original the
        first record of each new partition that it has not read; it gets some again, and none is skipped.
        progress: told of records done and in all.

        Returns, ready for JSON: `topic`, `clone`, `partitions`, `partitioner`, `records`, `next_offsets`: up to where each
        partition of the original was read, `skipped`: how many were removed before they could be read, and of each group
        under `groups` its `offsets`, or the `problem` for which it has none.
        Raises TopicExistsError; TryAgainError where another process makes a topic of that name. There is no new topic then.
        """

    def snapshot(
        self,
        destination: str,
        *,
        dry_run: bool = False,
        wait_ms: int = 10_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Make a consistent copy of the whole directory, with its groups, while all go on with it; on disk when it returns.

        It is this directory as of now, to be put in its place one day; not a second one to be used beside it. Sealed segments are
        linked, where destination, a path that is free or an empty directory, is on the same file system. progress: told of
        bytes done and in all.

        Returns, ready for JSON: `directory`, `destination`, the number of `topics`, `partitions`, `groups` and `links` to
        files, their `link_bytes`, and `copied_bytes` of logs; with dry_run what they would be. Raises CannotCreateError for a
        destination that holds something, PermissionDeniedError for a user who may not write to the directory.
        """

    def sweep(self, *, wait_ms: int = 10_000) -> int:
        """Finish what killed creations and deletions of topics left, and return how many there were."""

    def producer(
        self,
        topic: str,
        *,
        acks: int | str | None = None,
        partition: int | None = None,
        compression: str | None = None,
        producer_id: str | None = None,
        lock_wait_ms: int = 10_000,
        on_append: Callable[[AppendResult], None] | None = None,
    ) -> Producer:
        """Open a producer to one topic. See Producer.

        acks: 1, on disk when acknowledged, which None is; 0, survives this process but no power cut; in Kafka also "all", which
        None is there. partition: send everything there.
        compression: none, gzip, lz4 or zstd; None is what the topic says. producer_id: a name under which the same input can
        be sent again from its start, and what is stored already is left out. lock_wait_ms: how long an append waits for others.
        on_append: called with each append that is acknowledged.
        """

    def append_batches(
        self, name: str, partition: int, batches: Sequence[EncodedBatch], *, wait_ms: int = 10_000
    ) -> AppendResult:
        """Append encoded batches of one producer as they are, with its id and sequences; on disk when it returns.

        The id is pinned already, see Producer; what is stored under it is left out. `records_appended` among the facts of
        an error is how many of the first records are stored all the same.
        """

    def consumer(
        self,
        topics: Sequence[str] = (),
        *,
        regex: str | None = None,
        partitions: Sequence[int] | None = None,
        offset: OffsetLike | Mapping[int, OffsetLike] | None = None,
        stop: OffsetLike | None = None,
        tail: int | None = None,
        follow: bool = False,
        idle_ms: int | None = None,
        max_time_ms: int | None = None,
        merge: bool = False,
        reverse: bool = False,
        cursor_file: str | None = None,
        output_fd: int | None = None,
        on_skip: Callable[[str, int, int, int], None] | None = None,
        on_note: Callable[[str], None] | None = None,
        delivery: Delivery | None = None,
    ) -> Consumer:
        """Open a consumer of a topic, or some, or of those in whose names `regex` is found. See Consumer.

        offset: where to begin, by default the start: a number, negative from the end, what `-o` takes ("end", "@-1h", "10:20"),
        or a dict of these by partition. stop: where to end, that offset excluded. tail: only the last so many records.
        follow: go on at the end, until nothing came for idle_ms, or until `stop`. max_time_ms: end after so long in any case.
        merge: all partitions as one, in the order of the records' times. reverse: the newest first.
        cursor_file: a file that remembers where each partition has been read; see RememberingConsumer.
        """

    def awaiting_consumer(
        self,
        topics: Sequence[str],
        *,
        partitions: Sequence[int] | None = None,
        offset: OffsetLike | None = None,
        key: bytes | None = None,
        max_time_ms: int | None = None,
        retry: bool = False,
    ) -> AwaitingConsumer:
        """Open a consumer that waits for what some topics do not hold yet. See AwaitingConsumer.

        key: of each topic only the partition to which it belongs, as of now. retry: a topic that is not there is waited for.
        """

    def group_consumer(
        self,
        group: str,
        topics: Sequence[str] = (),
        *,
        regex: str | None = None,
        partitions: Sequence[int] | None = None,
        offset: OffsetLike | None = None,
        stop: OffsetLike | None = None,
        follow: bool = False,
        idle_ms: int | None = None,
        max_time_ms: int | None = None,
        commit: bool = True,
        auto_commit: bool = True,
        commit_interval_ms: int = 5000,
        session_timeout_ms: int = 10_000,
        on_truncation: str = "back",
        or_skip: bool = False,
        delivery: Delivery | None = None,
        output_fd: int | None = None,
        on_skip: Callable[[str, int, int, int], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> GroupConsumer:
        """Join a group that reads a topic, or some, or those in whose names `regex` is found. See GroupConsumer.

        offset: where partitions begin of which the group has committed nothing; the rest as in `consumer`. auto_commit: False
        has `commit` alone commit. commit: False reads as a member and commits nothing. on_truncation: where to go on if the log
        is another one than the group has read: back, start, end, or fail. or_skip: read nothing if the group has a member.
        session_timeout_ms: a member that is stopped for so long loses its partitions.
        """

    def verify_topic(
        self, name: str, *, partitions: Sequence[int] = (), progress: Callable[[int, int], None] | None = None
    ) -> Report:
        """Prove every byte of a topic, or of some partitions, and report what is not right. Changes nothing.

        progress: told of bytes done and of bytes in all. Damage is reported, not raised.
        """

    def verify_groups(self) -> list[Finding]:
        """Return what is wrong with groups, but for their claims on topics, which verify_topic checks.

        A note of each topic that is gone, and on which a group still has claims, is among it.
        """

    def health(
        self,
        *,
        topics: Sequence[str] = (),
        groups: Sequence[str] = (),
        warn: Mapping[str, object] | None = None,
        crit: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """Judge the health of all, or of some topics and groups, ready for JSON. Reads no segment, changes nothing.

        warn, crit: limits that differ from the defaults, as `mk check --help` lists them: {"lag": 1000, "idle": "2h"}.

        Returns:
            `status`: OK, WARNING, CRITICAL or UNKNOWN, and `status_code`, 0 to 3. `checks`: of each value that was judged its
            `name`, `value` (a count, ms or bytes), `warn` and `crit`, `status`, `text` and `subject`. Then what it was judged by:
            `disk`, `clock`, `topics`, `partitions`, `groups`, `replicas`, `gaps`, `quarantine`; `damage` with `path` and `found`;
            and `unseen`: what this process may not look at, which is no fault unless it was asked for.

        Raises NoSuchTopicError, NoSuchGroupError, and UsageError for a limit that cannot be.
        """

    def dump_partition(
        self, name: str, partition: int, *, records: bool = False, from_offset: int = 0
    ) -> Iterator[Item]:
        """Yield what stands in a partition, batch by batch, damage included. See mk.maintenance.dump."""

    def topic_config(self, name: str) -> dict[str, int | str]:
        """Return a topic's settings, defaults included."""

    def close(self) -> None:
        """Let go of it. Producers and consumers that were opened are closed on their own, and before it."""

    def __enter__(self) -> Cluster: ...

    def __exit__(self, *exc: object) -> None: ...


def default_location() -> str:
    """Return the directory that is meant when nobody names one."""
    import os

    environ = os.environ
    if named := environ.get("MK_DIR"):
        return named
    data_home = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME", "/"), ".local/share")
    return os.path.join(data_home, "mk")


def connect(
    location: str | None = None,
    *,
    create: bool = False,
    allow_network_fs: bool = False,
    shared_group: str | None = None,
    shared_readers: str = "all",
) -> Cluster:
    """Open the cluster at `location`, a directory's path, HOST:PATH by ssh, or kafka://HOST:PORT; None is MK_DIR or the user's own.

    create: make the directory a log directory if there is none yet; otherwise that raises NoSuchDirectoryError.
    shared_group: name or number of the group whose members write to it, if it is made. One that is there and not shared
    so raises CannotCreateError. shared_readers: who reads then: "all", or "group" for nobody else.
    """
    import os

    location = os.fspath(location) if location else default_location()
    if location.startswith("kafka://"):
        from mk.kafka_cluster.cluster import KafkaCluster
        from mk.transport.kafka_address import parse_kafka_address

        if shared_group is not None:
            raise UsageError(
                "--shared-group is not offered on a Kafka cluster",
                why="it is a group of users who share files",
                fix="say with ACLs who may write there; nothing was done",
            )
        return KafkaCluster(parse_kafka_address(location))
    if ":" in location:
        from mk.transport.address import Address, parse_address

        address = parse_address(location)
        if isinstance(address, Address):
            from mk.remote_cluster.cluster import RemoteCluster

            if shared_group is not None:
                raise UsageError(
                    "--shared-group is not offered on another host",
                    why="who shares a directory is said where it is made",
                    fix=f"make it there: ssh {address.destination} mk topics create ...; nothing was done",
                )
            return RemoteCluster(address, create=create, allow_network_fs=allow_network_fs)
    from mk.directory_cluster import DirectoryCluster

    return DirectoryCluster(
        location,
        create=create,
        allow_network_fs=allow_network_fs,
        shared_group=shared_group,
        shared_readers=shared_readers,
    )


def check_file_system(path: str) -> dict[str, Any]:
    """Prove with two processes what mk relies on in the file system of a directory, or where it would be made.

    Returns, ready for JSON: `place`, `file_system`, of each of the `facts` its `name`, `result` (ok, FAILED, not offered) and
    `text`, and `status_code`: 0, 1 for less, 2 for not to be trusted. Raises CannotCreateError if nothing can be made there.
    """
    from mk.maintenance import file_system_check

    return file_system_check.check_file_system(path).document()
