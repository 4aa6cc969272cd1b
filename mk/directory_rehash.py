"""Another number of partitions for a topic with keys: its records produced again, each to the partition of its key.

Adding partitions to a topic sends a key's next record to another partition than those before it. Here all of them go to a new
topic, in their order, before anybody reads there. It is filled under another name and renamed at last, so that a killed run
leaves no half topic under the name that was asked for; the next one begins anew.
"""

from __future__ import annotations

from mk.consumer.consumer import Consumer
from mk.errors import LockTimeoutError
from mk.producer.producer import Producer
from mk.storage import files
from mk.storage.description import offsets
from mk.storage.locks import describe_holder, try_acquire
from mk.storage.topic_changes import alter_topic, rename_topic
from mk.topic_partition import MAX_NAME_LENGTH, check_name, check_partition_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic

SUFFIX = ".rehashing"
"""Behind the name of the topic while it is being filled."""

_KEPT: dict[str, int | str] = {"cleanup.policy": "delete", "retention.ms": -1, "retention.bytes": -1}
"""Settings with which nothing is removed, nor refused for the lack of a key, before all of it is there."""

_TOLD_EVERY = 1000


def rehash_topic(
    directory: LogDirectory,
    name: str,
    new: str,
    *,
    partitions: int,
    partitioner: str | None,
    wait_ms: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """See Cluster.rehash_topic.

    Raises NoSuchTopicError, TopicExistsError, LockTimeoutError where another run makes the same topic. What goes wrong later
    leaves a topic under another name, which the next run of the same command removes.
    """
    check_partition_count(partitions)
    partial = check_name(check_name(new)[: MAX_NAME_LENGTH - len(SUFFIX)] + SUFFIX)
    topic = directory.open_topic(name)
    try:
        directory.check_name_is_free(new)
        lock_fd = directory.open_lock(topic.topic_id, "rehash", create=True)
        try:
            if not try_acquire(lock_fd):
                raise LockTimeoutError(
                    what=f"topic {name} for a rehash",
                    waited_ms=0,
                    holder=describe_holder(lock_fd),
                    fix="wait until that run is done; nothing was made",
                )
            if partial in directory.topic_names():
                directory.delete_topic(partial, wait_ms=wait_ms)
            chosen = partitioner or topic.partitioner
            directory.create_topic(
                partial,
                partitions=partitions,
                partitioner=chosen,
                overrides={**topic.overrides, **_KEPT},
                wait_ms=wait_ms,
            )
            ends = [row["high_watermark"] for row in offsets(topic)]
            count = _produce_again(topic, directory.open_topic(partial), progress)
            settings = {key: topic.overrides[key] for key in _KEPT if key in topic.overrides}
            unset = [key for key in _KEPT if key not in settings]
            alter_topic(directory, partial, settings=settings, unset=unset, partitions=None, wait_ms=wait_ms)
            rename_topic(directory, partial, new, wait_ms=wait_ms)
        finally:
            files.close(lock_fd)
    finally:
        topic.close()
    return {
        "topic": name,
        "clone": new,
        "partitions": partitions,
        "partitioner": chosen,
        "records": count,
        "next_offsets": ends,
    }


def _produce_again(topic: Topic, target: Topic, progress: Callable[[int, int], None] | None) -> int:
    """Produce all records of a topic to another one, on disk when it returns, and return how many they are."""
    total = sum(row["high_watermark"] - row["log_start_offset"] for row in offsets(topic))
    count = 0
    source = topic.directory.open_topic(topic.name)
    if topic.partitions > 1:
        from mk.consumer.selecting import selecting_consumer

        # By time: where partitions were added, older records of a key are in another one than its younger ones.
        consumer = selecting_consumer(
            topic.directory, [source], {"tail": None}, follow=False, merge=True, reverse=False, cursor_file=None
        )
    else:
        consumer = Consumer([source])
    with consumer, Producer(target) as producer:
        for record in consumer:
            producer.send(record.value, key=record.key, headers=record.headers, timestamp_ms=record.timestamp_ms)
            count += 1
            if progress is not None and count % _TOLD_EVERY == 0:
                progress(count, total)
    if progress is not None:
        progress(total, total)
    return count
