"""`mk wait`: until topics hold what is asked for, or a group has read them."""

from __future__ import annotations

from time import monotonic, sleep

from mk.cli.notes import counted, note
from mk.cluster import connect
from mk.errors import DataError, NoSuchDirectoryError, NoSuchTopicError, NotMetError, UsageError
from mk.group_errors import NoSuchGroupError
from mk.topic_partition import check_name_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster
    from mk.consumer.awaiting import AwaitingConsumer
    from mk.formats.record_filter import Selector
    from mk.records.record import ConsumerRecord

    Part = tuple[dict[str, Any], str, bool]
    """Of one topic, or of a group, how things stand: as a document, in words, and whether that is as it should be."""

_POLL_MS = 500
_LONGEST_PAUSE_SECONDS = 5.0
"""Between two looks for a directory that is not there: each of them may be a connection to another host."""


def run(options: Options) -> int:
    """Wait until it is so, and return 0. Raises NotMetError when the time is over before."""
    _check(options)
    begun = monotonic()
    look: list[Part] = []
    with _connected(options, begun) as cluster:
        for look in (
            _looks_at_topics(cluster, options, begun)
            if options.group is None
            else _looks_at_group(cluster, options, begun)
        ):
            if all(is_met for _, _, is_met in look):
                _tell(look, options, begun)
                return 0
    error = _not_met(options, [words for _, words, is_met in look if not is_met])
    if options.quiet:
        return error.exit_status
    raise error


def _check(options: Options) -> None:
    """Raise UsageError for options that do not go together."""
    if options.group is not None:
        check_name_at(options.directory, options.group, "group")
        for name in ("records", "key", "grep", "offset", "partitions"):
            if getattr(options, name) not in (None, ()):
                raise UsageError(
                    f"{_flag(options, name)} and -g exclude each other",
                    why="-g waits for the lag of a group, which says itself where it stands",
                    fix="`-o group:NAME` waits for records that a group has not read"
                    if name != "partitions"
                    else "leave -p out",
                )
    elif options.lag is not None:
        raise UsageError("--lag means nothing without -g", fix="name a group with -g")
    if options.key is not None and options.records is not None:
        raise UsageError(
            "--records and -k exclude each other",
            why="-k waits for the last record with a key",
            fix="leave one of them out; -G k=REGEX counts records by their keys",
        )
    for name in options.topics:
        check_name_at(options.directory, name)  # One that none can have would be waited for until the end of days.


def _flag(options: Options, name: str) -> str:
    return next(one.flags[-1] for one in options.command.parameters if one.name == name)


def _connected(options: Options, begun: float) -> Cluster:
    """Open the cluster; with --retry, when it is there."""
    pause = 0.1
    while True:
        try:
            return connect(options.directory)
        except NoSuchDirectoryError as error:
            left = _left_ms(options, begun)
            if not options.retry:
                raise
            if left == 0:
                raise _not_met(options, [error.what]) from None
        sleep(pause if left is None else min(pause, left / 1000))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _left_ms(options: Options, begun: float) -> int | None:
    """Return how much of --timeout is left, None without one."""
    if options.timeout_ms is None:
        return None
    timeout_ms: int = options.timeout_ms
    return max(0, timeout_ms - int((monotonic() - begun) * 1000))


def _not_met(options: Options, state: list[str]) -> NotMetError:
    return NotMetError(timeout_ms=options.timeout_ms, state=state)


def _tell(look: list[Part], options: Options, begun: float) -> None:
    if options.verbose:
        for _, words, _ in look:
            note(f"mk: {words}")
    if options.json:
        from mk.cli.console import print_json

        waited_ms = int((monotonic() - begun) * 1000)
        print_json({"met": [document for document, _, _ in look], "waited_ms": waited_ms})


# Topics.


def _looks_at_topics(cluster: Cluster, options: Options, begun: float) -> Iterator[list[Part]]:
    """Yield how each topic stands, as often as that may have changed, for as long as there is time."""
    consumer = cluster.awaiting_consumer(
        options.topics,
        partitions=options.partitions or None,
        offset=options.offset,
        key=None if options.partitions else options.key,
        max_time_ms=_left_ms(options, begun),
        retry=options.retry,
    )
    with consumer:
        if options.key is not None:
            parts = _last_records(consumer, options)
        elif options.grep:
            parts = _matches(consumer, options)
        else:
            parts = (
                {name: _count(name, found, options) for name, found in counts.items()} for counts in consumer.counts()
            )
        for by_topic in parts:
            yield [by_topic.get(name) or _absent(name) for name in dict.fromkeys(options.topics)]


def _absent(name: str) -> Part:
    return {"topic": name}, f"topic {name} is not there", False


def _count(name: str, found: int, options: Options) -> Part:
    wanted = options.records or 1
    what = counted(found, "matching record" if options.grep else "record")
    what += f" of {wanted}" if found < wanted else ""
    return {"topic": name, "records": found}, f"{name}: {what}", found >= wanted


def _matches(consumer: AwaitingConsumer, options: Options) -> Iterator[dict[str, Part]]:
    """Count the records that match."""
    from mk.consumer.matching import matching

    found: dict[object, int] = {}
    for fetch in _beginning_with_none(matching(consumer.fetches(), options.grep)):
        topics = consumer.topics
        for batch in fetch:
            topic = topics[batch.topic]
            found[topic] = found.get(topic, 0) + batch.record_count
        yield {name: _count(name, found.get(topic, 0), options) for name, topic in topics.items()}


def _last_records(consumer: AwaitingConsumer, options: Options) -> Iterator[dict[str, Part]]:
    """Keep the last record with the key, as far as it has been read; what it was before the end does not count."""
    from mk.consumer.matching import matching
    from mk.formats.record_filter import RecordFilter

    wants = RecordFilter(options.grep).wants
    last: dict[object, ConsumerRecord] = {}
    for fetch in _beginning_with_none(matching(consumer.fetches(), [_of_key(options.key)])):
        topics = consumer.topics
        for batch in fetch:
            for record in batch.records():
                last[topics[record.topic]] = record
        if consumer.is_at_end:
            yield {name: _value(name, last.get(topic), options, wants) for name, topic in topics.items()}
    if not consumer.is_at_end:
        yield {name: ({"topic": name}, f"{name}: there was no time to read it to its end", False) for name in topics}


def _of_key(key: bytes) -> Selector:
    import re

    from mk.formats.record_filter import Selector

    return Selector("k", rb"\A" + re.escape(key) + rb"\Z")


def _value(name: str, record: ConsumerRecord | None, options: Options, wants: Any) -> Part:
    key = options.key.decode(errors="backslashreplace")
    if record is None:
        return {"topic": name}, f"{name}: no record has the key '{key}'", False
    document = {"topic": name, "partition": record.partition, "offset": record.offset, "ts": record.timestamp_ms}
    place = f"offset {record.offset} of partition {record.partition}, the last record with the key '{key}'"
    if record.value is None:
        return document, f"{name}: {place}, is a tombstone", False
    if not wants(record):
        return document, f"{name}: {place}, does not match", False
    return document, f"{name}: {place}", True


def _beginning_with_none(fetches: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Yield first that nothing came: there may be nothing, and how things stand has to be told all the same."""
    yield []
    yield from fetches


# Groups.


def _looks_at_group(cluster: Cluster, options: Options, begun: float) -> Iterator[list[Part]]:
    """Yield how a group stands, as often as it may have committed, for as long as there is time."""
    with cluster.watch_group(options.group) as watch:
        while True:
            try:
                part = _lag(cluster, options)
            except (NoSuchGroupError, NoSuchTopicError) as error:
                if not options.retry:
                    raise
                part = {"group": options.group}, error.what, False
            yield [part]
            left = _left_ms(options, begun)
            if left == 0:
                return
            watch.wait(_POLL_MS if left is None else left)


def _lag(cluster: Cluster, options: Options) -> Part:
    group, topics = options.group, dict.fromkeys(options.topics)
    rows = [
        row
        for row in cluster.describe_group(group)["offsets"]
        if not row["topic_is_gone"] and (not topics or row["topic"] in topics)
    ]
    for row in rows:
        if row["lag"] is None:
            raise DataError(
                f"the lag of group {group} in partition {row['partition']} of {row['topic']} is not known",
                why=row["problem"] or "",
                fix=f"`mk groups describe {group}` shows where it stands, `mk groups reset` says where it shall stand",
                group=group,
                topic=row["topic"],
                partition=row["partition"],
            )
    lag = sum(row["lag"] for row in rows)
    begun = {(row["topic"], row["partition"]) for row in rows}
    for topic in topics:
        for end in cluster.offsets(topic):
            if (topic, end["partition"]) not in begun:
                lag += end["high_watermark"] - end["log_start_offset"]
    document = {"group": group, "topics": list(topics) or sorted({row["topic"] for row in rows}), "lag": lag}
    if not rows and not topics:
        return document, f"group {group} has not read anything", False
    wanted = options.lag or 0
    is_met = lag <= wanted
    return document, f"group {group}: lag {lag}" + ("" if is_met else f", more than {wanted}"), is_met
