"""`mk topics` list, create, delete and offsets: what topics there are, and making and deleting them."""

from __future__ import annotations

from mk.cli.confirmation import confirm
from mk.cli.console import print_json, print_table, size_text
from mk.cli.notes import counted, note
from mk.cli.selection import matching, raise_first, selected
from mk.cluster import connect
from mk.config import PARTITIONERS, check_no_replication, check_partitioner, parse_topic_config
from mk.errors import (
    DataError,
    MkError,
    NoSuchDirectoryError,
    NoSuchTopicError,
    PeerUnreachableError,
    TopicExistsError,
    UsageError,
)
from mk.topic_partition import check_name, check_partition_count
from mk.transport.kafka_address import is_kafka

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster

_UNITS = ("_bytes", "_ms")


def list_topics(options: Options) -> int:
    """Print the topics with partitions, records and size. One that cannot be read fails the command, after all the others."""
    cluster = connect(options.directory)
    names = cluster.topic_names()
    if options.regex is not None:
        names = matching(names, options.regex)
    if options.quiet:
        if options.json:
            print_json(names)
        else:
            print("".join(f"{name}\n" for name in names), end="")
        return 0
    rows: list[dict[str, Any]] = []
    damage: list[MkError] = []
    for summary in cluster.summaries(names):
        if isinstance(summary, MkError):
            damage.append(summary)
        else:
            rows.append(summary)
    if options.json:
        print_json(rows)
    else:
        print_rows(_with_leaders(rows), options)
    raise_first(damage)
    return 0


def _with_leaders(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows for people: who leads is shown where it is not this directory throughout.

    Of a Kafka cluster, how many replicas there are, and where some are behind, of how many partitions.
    """
    shown = [{key: value for key, value in row.items() if key not in ("leads", "leader")} for row in rows]
    is_behind = any(row.get("under_replicated") for row in rows)
    for row in shown:
        if "replication_factor" in row:
            row["replicas"] = row.pop("replication_factor")
            count = row.pop("under_replicated")
            if is_behind:
                row["state"] = f"{counted(count, 'partition')} UNDER REPLICATED" if count else "ok"
    if not all(row["leads"] for row in rows):
        for row, document in zip(shown, rows):
            row["leader"] = "this" if document["leads"] else document["leader"] or "several"
    return shown


def create(options: Options) -> int:
    """Make a topic, and the log directory if need be."""
    partitioner, config = _parsed_settings(options)
    partitions = 1 if options.partitions is None else options.partitions
    # Before a directory is made for it.
    check_name(options.topic)
    check_partition_count(partitions)
    if options.shared_readers is not None and options.shared_group is None:
        raise UsageError(
            "--shared-readers needs --shared-group", fix="say which group shares the directory; nothing was made"
        )
    differences: list[dict[str, object]] = []
    is_new = True
    try:
        sharing = {"shared_group": options.shared_group, "shared_readers": options.shared_readers or "all"}
        topic = {
            "partitions": partitions,
            "partitioner": partitioner,
            "config": config,
            "replication_factor": options.replication_factor,
            "wait_ms": options.lock_wait_ms,
        }
        if not options.dry_run:
            cluster = connect(options.directory, create=True, allow_network_fs=options.allow_network_fs, **sharing)
            cluster.create_topic(options.topic, **topic)
        elif is_kafka(options.directory or ""):
            cluster = connect(options.directory, **sharing)
            cluster.create_topic(options.topic, **topic, dry_run=True)  # type: ignore[call-arg]  # It is a KafkaCluster.
        else:
            _check_name_is_free(options, sharing)
    except TopicExistsError as error:
        if not options.if_not_exists or error.facts["existing"] != options.topic:
            raise
        is_new = False
        differences = _differences(options, partitioner, config)
    if options.json:
        document: dict[str, Any] = {"topic": options.topic, "created": is_new and not options.dry_run}
        if options.dry_run:
            document["plan"] = {"partitions": partitions, "partitioner": partitioner, "config": config}
            if options.replication_factor is not None:
                document["plan"]["replication_factor"] = options.replication_factor
        print_json({**document, "differences": differences})
    elif not options.quiet:
        if not is_new:
            note(f"mk: there is already a topic {options.topic}")
        elif options.dry_run:
            said = [counted(partitions, "partition"), f"partitioner={partitioner}"]
            if options.replication_factor is not None:
                said.append(counted(options.replication_factor, "replica"))
            said += [f"{setting}={config[setting]}" for setting in sorted(config)]
            note(f"mk: creates {options.topic}: {', '.join(said)}")
        else:
            note(f"mk: created topic {options.topic}")
        for difference in differences:
            note("mk: it has {setting}={there}, not {wanted}".format(**difference))
    return 0


def _parsed_settings(options: Options) -> tuple[str, dict[str, int | str]]:
    """Return partitioner and settings of a topic that is to be made; what else they may be, a Kafka cluster says itself."""
    settings = dict(options.config)
    partitioner = settings.pop("partitioner", PARTITIONERS[0])
    if is_kafka(options.directory or ""):
        from mk.kafka_cluster.topic_config import check_partitioner_is_known, parse_kafka_config

        return check_partitioner_is_known(partitioner), parse_kafka_config(settings)
    check_no_replication(options.replication_factor)
    return check_partitioner(partitioner), parse_topic_config(settings)


def _check_name_is_free(options: Options, sharing: dict[str, Any]) -> None:
    """Raise TopicExistsError as creating the topic would."""
    try:
        cluster = connect(options.directory, **sharing)
    except NoSuchDirectoryError:
        return
    cluster.check_name_is_free(options.topic)


def _differences(options: Options, partitioner: str, config: dict[str, int | str]) -> list[dict[str, object]]:
    """Return what was asked for and is otherwise in the topic that is there."""
    there: dict[str, Any] = connect(options.directory).describe_topic(options.topic)
    wanted: dict[str, object] = {}
    if options.partitions is not None:
        wanted["partitions"] = options.partitions
    if "partitioner" in options.config:
        wanted["partitioner"] = partitioner
    if options.replication_factor is not None:
        wanted["replication_factor"] = options.replication_factor
    found = {"partitions": len(there["partitions"]), "partitioner": there["partitioner"], **there["config"]}
    found["replication_factor"] = there.get("replication_factor")
    return [
        {"setting": setting, "wanted": value, "there": found.get(setting)}
        for setting, value in {**wanted, **config}.items()
        if found.get(setting) != value
    ]


def delete(options: Options) -> int:
    """Delete topics, after saying what goes. One that cannot be deleted fails the command, after all the others."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    plan = _plan_deletion(cluster, options)
    if options.json and options.dry_run:
        print_json(plan)
    elif not options.quiet:
        for topic in plan:
            if topic["records"] is None:
                note(f"mk: deletes {topic['topic']}, which is damaged")
            else:
                records = counted(topic["records"], "record")
                size = "" if topic["size_bytes"] is None else f", {counted(topic['size_bytes'], 'byte')}"
                note(f"mk: deletes {topic['topic']}: {records}{size}")
        if not plan and options.regex is not None:
            note(f"mk: -r {options.regex} finds no topic; nothing to delete")
    if options.dry_run or not plan:
        if options.json and not options.dry_run:
            print_json(plan)
        return 0
    confirm(f"delete {counted(len(plan), 'topic')}?", options, what="deleting")
    deleted = []
    failures: list[MkError] = []
    for topic in plan:
        try:
            cluster.delete_topic(topic["topic"], wait_ms=options.lock_wait_ms)
            deleted.append(topic)
        except NoSuchTopicError as error:
            # Somebody else was faster. Who found it with -r wanted it gone, whoever does it.
            if not options.if_exists and topic["topic"] in options.topics:
                failures.append(error)
        except MkError as error:
            failures.append(error)
            if isinstance(error, PeerUnreachableError):
                break  # So are all others.
    if options.json:
        print_json(deleted)
    raise_first(failures)
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
        print_rows(rows, options)
    return 0


def _plan_deletion(cluster: Cluster, options: Options) -> list[dict[str, Any]]:
    plan = []
    for name in selected(cluster, options):
        try:
            topic: dict[str, Any] = cluster.describe_topic(name)
        except (NoSuchTopicError, DataError) as error:
            if isinstance(error, NoSuchTopicError) and name not in cluster.topic_names():
                if not options.if_exists and name in options.topics:
                    raise
                continue
            # How much is in it cannot be said; it can be deleted all the same, as long as its locks can be told.
            topic = {"records": None, "size_bytes": None}
        plan.append({"topic": name, "records": topic["records"], "size_bytes": topic["size_bytes"]})
    return plan


def print_rows(rows: list[dict[str, Any]], options: Options) -> None:
    if rows:
        for_people = [readable(row) for row in rows]
        print_table(list(for_people[0]), for_people, no_color=options.no_color)


def readable(row: dict[str, Any]) -> dict[str, Any]:
    """Turn a document's sizes and times into what people read; the names lose their units with them."""
    return {
        name.removesuffix("_bytes").removesuffix("_ms"): _for_people(name, value) if name.endswith(_UNITS) else value
        for name, value in row.items()
    }


def _for_people(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name.endswith("_ms"):
        return time_text(value)
    if name.endswith("_bytes"):
        return size_text(value)
    return value


def time_text(time_ms: int) -> str:
    """Return a time by the clock of TZ as RFC 3339 has it, which --since and -o @TIME read back."""
    import time

    try:
        there = time.localtime(time_ms / 1000)
    except (OverflowError, OSError):
        return str(time_ms)  # Somebody wrote a number there that is in no calendar.
    zone = time.strftime("%z", there)
    return time.strftime("%Y-%m-%dT%H:%M:%S", there) + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")
