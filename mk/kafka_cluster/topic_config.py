"""The settings of a topic at the brokers, and which of them are mk's."""

from __future__ import annotations

from mk.config import TOPIC_CONFIG, parse_amount
from mk.errors import ConfigurationError, PermissionDeniedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from mk.kafka_cluster.client import Client

_ONLY_OF_DIRECTORIES = {
    "min.free": "who runs the brokers watches their disks",
    "retention.groups": "brokers remove records by retention.ms and retention.bytes alone",
}
"""Settings that mk has and Kafka has not, and why."""

_SOURCES = {1: "topic", 2: "broker", 3: "cluster", 4: "broker", 5: "default", 6: "group"}
"""Kafka's numbers for where a setting comes from."""

_UNCOMPRESSED = {"compression.type": {"none": "uncompressed"}}
"""What mk calls otherwise than Kafka."""

TOPIC = "topic"


def read_topic_config(client: Client, topic: str) -> dict[str, int | str]:
    """Return the settings that differ from mk's defaults, of those that mk knows; {} for who may not look at them."""
    try:
        entries = describe_topic_config(client, topic)
    except PermissionDeniedError:
        return {}
    found: dict[str, int | str] = {}
    for name, key in TOPIC_CONFIG.items():
        entry = entries.get(name)
        if entry is None or entry.value is None:
            continue
        value: int | str = int(entry.value) if isinstance(key.default, int) else str(entry.value)
        if value != key.default:
            found[name] = value
    return found


def describe_topic_config(client: Client, topic: str) -> dict[str, Any]:
    """Return all settings of a topic as the brokers have them, by name."""
    admin = client.admin_module
    resource = admin.ConfigResource(admin.ResourceType.TOPIC, topic)
    entries: dict[str, Any] = client.ask_one(
        lambda: client.admin.describe_configs([resource])[resource],
        f"the settings of topic {topic} cannot be read",
        topic=topic,
    )
    return entries


def config_document(entries: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return settings ready for JSON: `config` in force, `defaults` without the topic's own, these as `overrides`, `sources`.

    None is a value that Kafka keeps secret, and a default that it does not tell.
    """
    names = sorted(entries)
    return {
        "config": {name: value_of(entries[name].value) for name in names},
        "defaults": {name: _default(name, entries[name]) for name in names},
        "overrides": {name: value_of(entries[name].value) for name in names if entries[name].source == 1},
        "sources": {name: _SOURCES.get(entries[name].source, "?") for name in names},
    }


def value_of(text: str | None) -> int | str | None:
    """Return a setting's value as mk has them: a number where it is one."""
    if text is None:
        return None
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() else text


def parse_kafka_config(settings: Mapping[str, object]) -> dict[str, int | str]:
    """Turn settings as typed into what is sent to Kafka, which knows best what they may be.

    Sizes and times take mk's units. Raises UsageError for what is no setting at a broker.
    """
    found: dict[str, int | str] = {}
    for name, value in settings.items():
        check_is_of_kafka(name)
        text = str(value)
        text = _UNCOMPRESSED.get(name, {}).get(text, text)
        amount = parse_amount(name, text) if name.endswith((".ms", ".bytes")) else None
        found[name] = text if amount is None else amount
    return found


def check_partitioner_is_known(name: str) -> str:
    """Return `name` if it is what mk produces to Kafka with unless it is told otherwise. Raises UsageError."""
    if name != "crc32":
        raise UsageError(
            f"a topic of Kafka keeps no partitioner such as {name!a}",
            why="each producer chooses one; mk takes crc32, as all of librdkafka do",
            fix="leave it out, and give -X partitioner=murmur2_random, or a profile with it, to the commands that produce; "
            "nothing was done",
        )
    return name


def check_are_of_kafka(names: Iterable[str]) -> None:
    """Raise UsageError for a name that is no setting at a broker."""
    for name in names:
        check_is_of_kafka(name)


def check_is_of_kafka(name: str) -> None:
    if why := _ONLY_OF_DIRECTORIES.get(name):
        raise UsageError(f"{name} is no setting of a Kafka topic", why=why, fix="leave it out; nothing was done")
    if name == "partitioner":
        raise ConfigurationError(
            "partitioner is no setting of a Kafka topic",
            why="each producer chooses its own",
            fix="give -X partitioner=... to the commands that produce; nothing was done",
        )


def _default(name: str, entry: Any) -> int | str | None:
    """Return what holds without the topic's own value: the first of its synonyms that is not the topic's."""
    if entry.source != 1:
        return value_of(entry.value)
    for synonym in (entry.synonyms or {}).values():
        if synonym.source != 1:
            return value_of(synonym.value)
    return None
