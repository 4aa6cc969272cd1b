"""`mk topics`: what topics there are, and making and deleting them."""

from __future__ import annotations

import sys

from mk.cli.console import print_fields, print_json, print_table
from mk.cli.notes import note
from mk.cluster import connect
from mk.config import PARTITIONERS, check_partitioner, parse_topic_config
from mk.errors import (
    ConfigurationError,
    DataError,
    MkError,
    NoSuchTopicError,
    PermissionDeniedError,
    TopicExistsError,
    UsageError,
)
from mk.topic_partition import check_name, check_partition_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster


def list_topics(options: Options) -> int:
    """Print the topics with partitions, records and size. One that cannot be read fails the command, after all the others."""
    cluster = connect(options.directory)
    rows = []
    damage: list[MkError] = []
    for name in cluster.topic_names():
        try:
            topic: dict[str, Any] = cluster.describe_topic(name)
        except NoSuchTopicError:
            continue  # Deleted while we looked.
        except (DataError, ConfigurationError, PermissionDeniedError) as error:
            damage.append(error)
            continue
        last_writes = [partition["last_write_ms"] or 0 for partition in topic["partitions"]]
        rows.append(
            {
                "topic": name,
                "partitions": len(topic["partitions"]),
                "records": topic["records"],
                "size_bytes": topic["size_bytes"],
                "last_write_ms": max(last_writes) or None,
            }
        )
    if options.json:
        print_json(rows)
    else:
        _print_rows(rows, options)
    for other in damage[1:]:
        note(f"mk: {other.what}")
    if damage:
        raise damage[0]
    return 0


def create(options: Options) -> int:
    """Make a topic, and the log directory if need be."""
    settings = dict(options.config)
    partitioner = check_partitioner(settings.pop("partitioner", PARTITIONERS[0]))
    config = parse_topic_config(settings)
    # Before a directory is made for it.
    check_name(options.topic)
    check_partition_count(options.partitions)
    if options.shared_readers is not None and options.shared_group is None:
        raise UsageError(
            "--shared-readers needs --shared-group", fix="say which group shares the directory; nothing was made"
        )
    cluster = connect(
        options.directory,
        create=True,
        allow_network_fs=options.allow_network_fs,
        shared_group=options.shared_group,
        shared_readers=options.shared_readers or "all",
    )
    created = True
    try:
        cluster.create_topic(options.topic, partitions=options.partitions, partitioner=partitioner, config=config)
    except TopicExistsError as error:
        if not options.if_not_exists or error.facts["existing"] != options.topic:
            raise
        created = False
    if options.json:
        print_json({"topic": options.topic, "created": created})
    elif not options.quiet:
        note(f"mk: {'created' if created else 'there is already a'} topic {options.topic}")
    return 0


def describe(options: Options) -> int:
    """Print all that is known of each topic."""
    cluster = connect(options.directory)
    topics: list[dict[str, Any]] = [cluster.describe_topic(name) for name in options.topics]
    if options.json:
        print_json(topics)
        return 0
    for number, topic in enumerate(topics):
        if number:
            print()
        shown = {key: value for key, value in topic.items() if key not in ("partitions", "config", "overrides")}
        print_fields({**_readable(shown), "partitions": len(topic["partitions"])})
        print()
        print_fields(
            {
                key: value if key in topic["overrides"] else f"{value}  (default)"
                for key, value in topic["config"].items()
            }
        )
        print()
        _print_rows(topic["partitions"], options)
    return 0


def delete(options: Options) -> int:
    """Delete topics, after saying what goes."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    plan = _plan_deletion(cluster, options)
    if options.json and options.dry_run:
        print_json(plan)
    elif not options.quiet:
        for topic in plan:
            if topic["records"] is None:
                note(f"mk: deletes {topic['topic']}, which is damaged")
            else:
                note(f"mk: deletes {topic['topic']}: {topic['records']} records, {topic['size_bytes']} bytes")
    if options.dry_run or not plan:
        if options.json and not options.dry_run:
            print_json(plan)
        return 0
    _confirm(f"delete {len(plan)} {'topic' if len(plan) == 1 else 'topics'}?", options)
    for topic in plan:
        cluster.delete_topic(str(topic["topic"]), wait_ms=options.lock_wait_ms)
    if options.json:
        print_json(plan)
    return 0


def offsets(options: Options) -> int:
    """Print where each partition of a topic starts and ends."""
    cluster = connect(options.directory)
    rows = cluster.offsets(options.topic)
    for partition in options.partitions:
        if partition >= len(rows):
            from mk.errors import NoSuchPartitionError

            raise NoSuchPartitionError(topic=options.topic, partition=partition, partitions=len(rows))
    if options.partitions:
        rows = [rows[partition] for partition in options.partitions]
    if options.json:
        print_json(rows)
    else:
        _print_rows(rows, options)
    return 0


def _plan_deletion(cluster: Cluster, options: Options) -> list[dict[str, object]]:
    plan = []
    for name in dict.fromkeys(options.topics):
        try:
            topic = cluster.describe_topic(name)
        except NoSuchTopicError:
            if not options.if_exists:
                raise
            continue
        except DataError:
            # How much is in it cannot be said; it can be deleted all the same, as long as its topic.json can be read.
            topic = {"records": None, "size_bytes": None}
        plan.append({"topic": name, "records": topic["records"], "size_bytes": topic["size_bytes"]})
    return plan


def _confirm(question: str, options: Options) -> None:
    """Ask on a terminal; elsewhere insist on --yes."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("deleting needs --yes when nobody can be asked", fix="add --yes, or --dry-run to look only")
    print(f"mk: {question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not confirmed", fix="nothing was deleted")


def _print_rows(rows: list[dict[str, Any]], options: Options) -> None:
    if rows:
        print_table(
            [name.removesuffix("_bytes").removesuffix("_ms") for name in rows[0]],
            [_readable(row) for row in rows],
            no_color=options.no_color,
        )


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Turn a document's sizes and times into what people read; the names lose their units with them."""
    return {name.removesuffix("_bytes").removesuffix("_ms"): _for_people(name, value) for name, value in row.items()}


def _for_people(name: str, value: Any) -> Any:
    if name.endswith("_ms") and value is not None:
        import time

        return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(value / 1000))
    if name.endswith("_bytes"):
        for unit in ("B", "KiB", "MiB", "GiB"):
            if value < 1024:
                return f"{value:.4g} {unit}" if unit != "B" else f"{value} B"
            value /= 1024
        return f"{value:.4g} TiB"
    return value
