"""`mk topics` alter, rename and seal: changes of a topic that is there, each with its plan first."""

from __future__ import annotations

from mk.cli.confirmation import confirm
from mk.cli.console import print_json
from mk.cli.notes import note
from mk.cluster import connect
from mk.config import PARTITIONERS, check_partitioner, check_setting_names, parse_topic_config
from mk.errors import NoSuchTopicError, UsageError
from mk.topic_partition import check_name, check_partition_count
from mk.transport.kafka_address import is_kafka

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster


def alter(options: Options) -> int:
    """Change settings and add partitions."""
    wanted = _parsed(options)
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    topic = _described(cluster, options)
    if topic is None:
        return _no_topic(options, {"topic": options.topic, "altered": False})
    changes = _changes(topic, wanted, options.unset)
    before = topic["partition_count"]
    after = before if options.partitions is None else options.partitions
    if after < before:
        raise UsageError(
            f"topic {options.topic} cannot go from {before} partitions to {after}",
            why="the records of those that go would go with them",
            fix="make a new topic, and produce there what this one holds; nothing was changed",
        )
    change = {
        "config": wanted,
        "unset": options.unset,
        "partitions": options.partitions,
        "wait_ms": options.lock_wait_ms,
    }
    if is_kafka(options.directory or ""):
        # Its brokers know what can be set there: before a plan is shown that cannot be carried out.
        cluster.alter_topic(options.topic, **change, dry_run=True)  # type: ignore[call-arg]  # It is a KafkaCluster.
    remaps = after > 1 and (after != before or any(change["setting"] == "partitioner" for change in changes))
    # By reading, so only where the answer counts. Who says --yes may have a damaged topic.
    is_keyed = cluster.has_keyed_records(options.topic) if remaps and (options.dry_run or not options.yes) else None
    plan: dict[str, object] = {
        "topic": options.topic,
        "settings": changes,
        "partitions": {"old": before, "new": after},
        "holds_keyed_records": is_keyed,
        "altered": False,
    }
    nothing = not changes and after == before
    if not options.quiet and not options.json:
        _show(options.topic, changes, before, after)
        if nothing:
            note(f"mk: {options.topic} is like that already")
    why = f"{options.topic} holds records with keys, and most keys would belong to other partitions from then on"
    if is_keyed and options.dry_run and not options.yes and not options.quiet and not options.json:
        note(f"mk: needs --yes: {why}")
    if not options.dry_run:
        if is_keyed:
            if not options.quiet and not options.json:
                note(f"mk: {why}")
            confirm("alter it all the same?", options, what="changing where keys belong", why=why)
        cluster.alter_topic(options.topic, **change)
        plan["altered"] = not nothing
    if options.json:
        print_json(plan)
    return 0


def _parsed(options: Options) -> dict[str, int | str]:
    """Return the settings that are asked for, checked as when a topic is made."""
    settings = dict(options.config)
    if not settings and not options.unset and options.partitions is None:
        raise UsageError("there is nothing to alter", fix="say what: -c KEY=VALUE, --unset KEY or --partitions N")
    twice = [key for key in options.unset if key in settings]
    if twice:
        raise UsageError(f"-c {twice[0]} and --unset {twice[0]} exclude each other", fix="leave one of them out")
    wanted: dict[str, int | str] = {}
    if is_kafka(options.directory or ""):
        from mk.kafka_cluster.topic_config import check_are_of_kafka, parse_kafka_config

        wanted.update(parse_kafka_config(settings))
        check_are_of_kafka(options.unset)
    else:
        if "partitioner" in settings:
            wanted["partitioner"] = check_partitioner(settings.pop("partitioner"))
        wanted.update(parse_topic_config(settings))
        check_setting_names(options.unset)
    if options.partitions is not None:
        check_partition_count(options.partitions)
    return wanted


def _changes(topic: dict[str, Any], wanted: dict[str, int | str], unset: tuple[str, ...]) -> list[dict[str, object]]:
    """Return what becomes of each setting: value and source, before and after; those that stay are left out."""
    before = {key: (value, key in topic["overrides"]) for key, value in topic["config"].items()}
    before["partitioner"] = (topic["partitioner"], True)
    changes: list[dict[str, object]] = []
    for key in (*sorted(wanted), *unset):
        # A setting that Kafka has in its next version, or that is none: it says so when it is asked.
        old, was_set = before.get(key, (None, False))
        if key in wanted:
            new: object = wanted[key]
            if was_set and new == old:
                continue
        elif key == "partitioner":
            new = PARTITIONERS[0]
            if new == old:
                continue
        elif not was_set:
            continue
        else:
            new = topic["defaults"].get(key)
        changes.append(
            {
                "setting": key,
                "old": old,
                "old_source": "topic" if was_set else "default",
                "new": new,
                "new_source": "topic" if key in wanted else "default",
            }
        )
    return changes


def _show(topic: str, changes: list[dict[str, Any]], before: int, after: int) -> None:
    for change in changes:
        old, new = (
            f"{'-' if change[side] in ('', None) else change[side]}{' (default)' if change[f'{side}_source'] == 'default' else ''}"
            for side in ("old", "new")
        )
        note(f"mk: alters {topic}: {change['setting']} {old} -> {new}")
    if after != before:
        note(f"mk: alters {topic}: partitions {before} -> {after}")


def rename(options: Options) -> int:
    """Give a topic another name."""
    old, new = options.topic, check_name(options.new_name)
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    document = {"topic": old, "new_name": new, "renamed": False}
    if _described(cluster, options) is None:
        return _no_topic(options, document)
    if old == new:
        raise UsageError(f"topic {old} has that name already", fix="choose another name; nothing was changed")
    cluster.check_name_is_free(new, but=old)
    if not options.quiet and not options.json:
        note(f"mk: renames {old} to {new}")
    if not options.dry_run:
        cluster.rename_topic(old, new, wait_ms=options.lock_wait_ms)
        document["renamed"] = True
    if options.json:
        print_json(document)
    return 0


def seal(options: Options) -> int:
    """Close a topic to new records, or open it again."""
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    topic = _described(cluster, options)
    document: dict[str, object] = {"topic": options.topic, "sealed": None, "changed": False}
    if topic is None:
        return _no_topic(options, document)
    changes = bool(topic["sealed"]) == options.undo
    if not options.quiet and not options.json:
        if not changes:
            note(f"mk: {options.topic} is {'not sealed' if options.undo else 'sealed already'}")
        elif options.undo:
            note(f"mk: opens {options.topic} to new records again")
        else:
            note(f"mk: seals {options.topic}: it takes no more records")
    if not options.dry_run:
        change = cluster.unseal_topic if options.undo else cluster.seal_topic
        document["changed"] = change(options.topic, wait_ms=options.lock_wait_ms)
    if options.json:
        document["sealed"] = bool(topic["sealed"]) if options.dry_run else not options.undo
        print_json(document)
    return 0


def _described(cluster: Cluster, options: Options) -> dict[str, Any] | None:
    """Return what is known of the topic, or None if there is none and that is to be no error."""
    try:
        return cluster.topic_settings(options.topic)
    except NoSuchTopicError:
        if not options.if_exists:
            raise
        return None


def _no_topic(options: Options, document: dict[str, Any]) -> int:
    if options.json:
        print_json(document)
    elif not options.quiet:
        note(f"mk: there is no topic {options.topic}; nothing to do")
    return 0
