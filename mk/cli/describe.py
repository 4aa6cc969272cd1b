"""`mk topics describe`: what is known of topics, section by section, as text made from the JSON document."""

from __future__ import annotations

import shutil
import sys

from mk.cli import describe_kafka
from mk.cli.console import print_fields, print_json, print_table
from mk.cli.selection import raise_first, selected
from mk.cli.topics import readable
from mk.cluster import connect
from mk.errors import DataError, FarSideError, MkError, NoSuchTopicError, PeerUnreachableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster

    Document = dict[str, Any]

_CONFIGS = ("config", "defaults", "overrides", "sources")
_COLUMNS = (
    "partition",
    "leader",
    "leader_epoch",
    "log_start_offset",
    "high_watermark",
    "records",
    "size",
    "segments",
    "last_write",
    "records_per_s_1m",
    "bytes_per_s_1m",
    "records_per_s_1h",
    "bytes_per_s_1h",
    "state",
)


REPLICA_COLUMNS = ("partition", "replica", "role", "end", "lag", "behind for", "in sync", "seen")


def run(options: Options) -> int:
    """Print the sections that are asked for. A topic that cannot be read fails the command, after all the others."""
    cluster = connect(options.directory)
    documents: list[Document] = []
    failures: list[MkError] = []
    for name in selected(cluster, options):
        try:
            documents.append(_document(cluster, name))
        except PeerUnreachableError:
            raise  # So are all others.
        except MkError as error:
            if not isinstance(error, NoSuchTopicError) or name in options.topics:
                failures.append(error)  # One that -r found was deleted while we looked.
    some = options.summary or options.configs or options.partitions
    chosen = [
        not some or options.all_sections or wanted for wanted in (options.summary, options.configs, options.partitions)
    ]
    if options.json:
        print_json([_sections(document, *chosen) for document in documents])
    else:
        for number, document in enumerate(documents):
            if number:
                print()
            _print(document, *chosen, named=len(documents) > 1, options=options)
            if chosen[2] and sys.stdout.isatty():
                _draw(cluster, document)
    raise_first(failures)
    return 0


def _draw(cluster: Cluster, document: Document) -> None:
    """Show how the records are spread, where a person would rather look than read."""
    from mk.cli.distribution import over_partitions, over_time
    from mk.cli.drawing import letters

    if not document["records"]:
        return  # Nor can it be drawn where it is not known.
    width, drawn = shutil.get_terminal_size().columns - 1, letters(sys.stdout)
    pictures = [over_partitions(document["partitions"], width, drawn)] if len(document["partitions"]) > 1 else []
    try:
        pictures.append(over_time(cluster.topic_times(document["topic"]), width, drawn))
    except (FarSideError, DataError, NoSuchTopicError):
        pass  # The far side is older than this picture, or what is the matter is for verify to say.
    for lines in filter(None, pictures):
        print()
        print("\n".join(lines))


def _document(cluster: Cluster, name: str) -> Document:
    document: Document = cluster.describe_topic(name)
    partitions = document["partitions"]
    for partition, rates in zip(partitions, cluster.topic_rates(name)):
        partition.update(rates)
    for rate in [key for key in (partitions[0] if partitions else ()) if "_per_s_" in key]:
        each = [partition.get(rate, 0) for partition in partitions]
        document[rate] = None if None in each else round(sum(each), 3)
    return document


def _sections(document: Document, summary: bool, configs: bool, partitions: bool) -> Document:
    """Return a document without the sections that nobody asked for; always with the topic's name and id."""
    shown = dict(document) if summary else {key: document[key] for key in ("topic", "topic_id")}
    for key in (*_CONFIGS, "partitions"):
        shown.pop(key, None)
    if configs:
        shown.update({key: document[key] for key in _CONFIGS if key in document})
    if partitions:
        shown["partitions"] = document["partitions"]
    return shown


def _print(
    document: Document, summary: bool, configs: bool, partitions: bool, *, named: bool, options: Options
) -> None:
    of_kafka = describe_kafka.is_of_kafka(document)
    if summary and of_kafka:
        print_fields(describe_kafka.summary(document))
    elif summary:
        shown = _sections(document, summary=True, configs=False, partitions=False)
        shown["partitions"] = shown.pop("partition_count")
        shown.pop("directory_id")
        print_fields({**readable(shown), "leader": _leader_of_all(document)})
    elif named:
        print_fields({"topic": document["topic"]})
    if configs:
        if summary or named:
            print()
        rows = describe_kafka.settings(document) if of_kafka else _settings(document)
        print_table(("key", "value", "source"), rows, no_color=options.no_color)
    if partitions:
        if summary or configs or named:
            print()
        if of_kafka:
            rows = [describe_kafka.row(partition) for partition in document["partitions"]]
            print_table(describe_kafka.COLUMNS, rows, no_color=options.no_color)
            return
        rows = [_row(partition, document) for partition in document["partitions"]]
        print_table(_COLUMNS, rows, no_color=options.no_color)
        copies = [
            replica_row(partition["partition"], replica)
            for partition in document["partitions"]
            for replica in partition["replicas"]
        ]
        if copies:
            print()
            print_table(REPLICA_COLUMNS, copies, no_color=options.no_color)


def _settings(document: Document) -> list[Document]:
    return [
        {"key": key, "value": value, "source": "topic" if key in document["overrides"] else "default"}
        for key, value in document["config"].items()
    ]


def _row(partition: Document, document: Document) -> Document:
    flags = ["FAILED"] * partition["failed"] + ["sealed"] * bool(document["sealed"])
    leader = "this" if partition["leader"] == document["directory_id"] else partition["leader"]
    return {**readable(partition), "leader": leader, "state": ",".join(flags) or "ok"}


def replica_row(partition: int, replica: Document) -> Document:
    """Return a replica for people."""
    return {
        **replica,
        "partition": partition,
        "replica": replica["address"] or replica["directory_id"],
        "end": replica["next_offset"],
        "behind for": _span(replica["lag_ms"]),
        "in sync": replica["in_sync"],
        "seen": readable({"seen_ms": replica["seen_ms"]})["seen"],
    }


def _span(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds / 1000:.3g}s"


def _leader_of_all(document: Document) -> str:
    """Name the directory that leads all partitions, for the summary."""
    leaders = {partition["leader"] for partition in document["partitions"]}
    if leaders == {document["directory_id"]}:
        return f"{document['directory_id']} (this directory)"
    if len(leaders) > 1:
        return "several, see the partitions"
    address = next((partition["leader_address"] for partition in document["partitions"]), None)
    return f"{leaders.pop()} ({address or 'at an address that nobody told'})"
