"""How `mk topics describe` shows a topic of a Kafka cluster to people: by leaders, replicas and who is in sync."""

from __future__ import annotations

from mk.cli.topics import readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]

COLUMNS = (
    "partition",
    "leader",
    "replicas",
    "isr",
    "leader_epoch",
    "log_start_offset",
    "high_watermark",
    "records",
    "last_write",
    "records_per_s_1m",
    "records_per_s_1h",
    "state",
)
_SUMMARY = (
    "topic",
    "topic_id",
    "partitioner",
    "partition_count",
    "replication_factor",
    "records",
    "records_per_s_1m",
    "records_per_s_1h",
)


def is_of_kafka(document: Document) -> bool:
    """Tell whether what describe_topic returned is of a topic of a Kafka cluster."""
    return "replication_factor" in document


def summary(document: Document) -> Document:
    """Return the fields of a topic, and how many of its partitions are not as they should be."""
    shown = {key: document[key] for key in _SUMMARY if key in document}
    shown["partitions"] = shown.pop("partition_count")
    bad = [one for one in document["partitions"] if one["state"] != "ok"]
    shown["state"] = "ok"
    if bad:
        states = dict.fromkeys(one["state"] for one in bad)
        shown["state"] = ", ".join(
            f"{state}: partition {','.join(str(one['partition']) for one in bad if one['state'] == state)}"
            for state in states
        )
    return readable(shown)


def row(partition: Document) -> Document:
    """Return a partition, with brokers by their numbers."""
    leader = partition["leader"]
    return {
        **readable(partition),
        "leader": "none" if leader is None else leader,
        "replicas": [replica["broker"] for replica in partition["replicas"]],
    }


def settings(document: Document) -> list[Document]:
    """Return the settings, and whether each is the topic's, a broker's or the cluster's, or Kafka's default."""
    return [
        {"key": key, "value": value, "source": document["sources"][key]} for key, value in document["config"].items()
    ]
