"""Topics that are copies of another directory's: made, and kept, as they are there.

A copy has the source's topic id, settings, partitions and pins; its name may be another one. What comes from a source is
checked here before anything is made of it: it may be anybody's.
"""

from __future__ import annotations

import os

from mk.config import TOPIC_CONFIG, check_partitioner, parse_topic_config
from mk.errors import CannotCreateError, ConfigurationError, DataError, DivergedLogError, MkError, StaleSourceError
from mk.storage import files, flat_json
from mk.storage.append_locks import append_locks
from mk.storage.leader_epochs import is_directory_id
from mk.storage.locks import directory_lock
from mk.storage.partition_files import PartitionFiles
from mk.storage.producer_pin import parse_pin
from mk.storage.topic import PRODUCERS_DIRECTORY
from mk.storage.topic_changes import make_partitions, rename_topic, replace_topic
from mk.topic_partition import check_name, check_partition_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mk.storage.leader_epochs import LeaderEpochs
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic
    from mk.storage.topic_changes import Fields

    Partitions = Sequence[tuple[LeaderEpochs, int]]
    """Of each partition its leader epochs, and the offset at which a log that is made now begins."""

_MAX_FIELDS = 200
_MAX_TEXT = 4096
_MAX_PIN_BYTES = 4096
_MAX_PINS = 1 << 20
_KEY_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_LETTERS_OF_A_KEY = 100


def create_replica_topic(
    directory: LogDirectory,
    name: str,
    *,
    fields: Mapping[str, object],
    pins: Mapping[str, bytes],
    partitions: Partitions,
    wait_ms: int,
) -> None:
    """Make a topic that follows another directory's; on disk, and visible all at once, when it returns.

    fields: all of the source's topic.json. pins: name and content of each file in its producers/.

    Raises:
        TopicExistsError, CannotCreateError: the name, or the id, is that of a topic here.
        UsageError, ConfigurationError, DataError: what the source has cannot be had here. Nothing was made.
    """
    check_name(name)
    content = _checked_fields(name, fields, len(partitions))
    _check_pins(name, pins, len(partitions))
    topic_id = str(content["topic_id"])
    with directory_lock(directory.locks_fd, wait_ms=wait_ms):
        directory.sweep()
        directory.check_name_is_free(name)
        # By its locks, which are there as long as it is, its topic.json readable or not: to look into all topics for each
        # that is made takes minutes where there are thousands.
        if files.exists(topic_id, dir_fd=directory.locks_fd):
            existing = find_topic(directory, topic_id)
            raise CannotCreateError(
                f"topic {name} cannot be made",
                why=f"{existing or 'a topic here'} has its id, {topic_id}: it is the same topic",
                fix=f"`mk topics rename {existing} {name}` gives it that name; nothing was changed"
                if existing
                else "`mk topics verify` tells more; nothing was changed",
                topic=name,
                existing=existing,
                topic_id=topic_id,
            )
        made = [(epochs.encode(), first_offset) for epochs, first_offset in partitions]
        directory.make_topic(name, topic_id, flat_json.encode(content), made, pins)


def find_topic(directory: LogDirectory, topic_id: str) -> str | None:
    """Return the name of the topic with that id, None if there is none. One that cannot be read is passed over."""
    for name in directory.topic_names():
        try:
            topic = directory.open_topic(name)
        except MkError:
            continue
        topic.close()
        if topic.topic_id == topic_id:
            return name
    return None


def update_replica_topic(
    directory: LogDirectory,
    name: str,
    *,
    new_name: str,
    fields: Mapping[str, object],
    pins: Mapping[str, bytes],
    partitions: Partitions,
    wait_ms: int,
) -> bool:
    """Have a copy's name, settings, partitions and pins as they are on the source. False if they were so already.

    Partitions are only added. On disk when it returns. Killed in between, some of it is done, and the next time does the
    rest: partitions and pins are there before a record needs them.

    Raises:
        StaleSourceError: all partitions here have newer leaders than the source knows of, or are led here. If some have, it
        is not raised, and only the pins that are missing here are made.
        DivergedLogError: this topic has more partitions, or another id. Nothing was changed.
        Besides what create_replica_topic raises.
    """
    content = _checked_fields(check_name(new_name), fields, len(partitions))
    _check_pins(name, pins, len(partitions))
    topic = directory.open_topic(name)
    try:
        try:
            _check_source(topic, content, partitions)
        except StaleSourceError:
            # Of the partitions that the source does lead, records with a producer id are copied all the same.
            if not any(_may_follow(topic, number, partitions) for number in range(topic.partitions)):
                raise
            with directory_lock(directory.locks_fd, wait_ms=wait_ms):
                return _add_pins(topic, pins, wait_ms=wait_ms, replaces=False)
    finally:
        topic.close()
    if new_name != name:
        rename_topic(directory, name, new_name, wait_ms=wait_ms)
    with directory_lock(directory.locks_fd, wait_ms=wait_ms):
        directory.sweep()
        topic = directory.open_topic(new_name)
        try:
            _check_source(topic, content, partitions)
            changed = new_name != name
            if len(partitions) > topic.partitions:
                more = [(epochs.encode(), first_offset) for epochs, first_offset in partitions[topic.partitions :]]
                make_partitions(topic, more)
            if _add_pins(topic, pins, wait_ms=wait_ms):
                changed = True
            if _with_format(content) != topic.fields():
                with append_locks(directory, topic.topic_id, new_name, [0], wait_ms=wait_ms):
                    replace_topic(topic, content)
                changed = True
            return changed
        finally:
            topic.close()


def _with_format(content: Fields) -> Fields:
    return {"format": flat_json.FORMAT_VERSION, **content}


def _check_source(topic: Topic, content: Fields, partitions: Partitions) -> None:
    """Raise unless the source is the one that this topic follows, or may follow."""
    if content["topic_id"] != topic.topic_id:
        raise DivergedLogError(
            "is of another topic than its source's",
            topic=topic.name,
            partition=0,
            why=f"its topic id is {topic.topic_id} here, and {content['topic_id']} there",
            fix="rename or delete one of them",
        )
    if len(partitions) < topic.partitions:
        raise DivergedLogError(
            "is not there on its source",
            topic=topic.name,
            partition=len(partitions),
            why=f"the topic has {topic.partitions} partitions here, and {len(partitions)} there",
            fix="replicate from the directory that leads it",
        )
    for number in range(topic.partitions):
        if not _may_follow(topic, number, partitions):
            latest = topic.read_epochs(number).latest
            leads = latest.leader_id == topic.directory.directory_id
            raise StaleSourceError(
                "is led by this directory" if leads else "has a newer leader than its source knows of",
                topic=topic.name,
                partition=number,
                why=f"leader epoch {latest.epoch} is known here, and {partitions[number][0].latest.epoch} there",
                fix="replicate from the directory that leads it",
            )


def _may_follow(topic: Topic, number: int, partitions: Partitions) -> bool:
    latest, there = topic.read_epochs(number).latest, partitions[number][0].latest
    leads = latest.leader_id == topic.directory.directory_id
    return latest.epoch < there.epoch or (latest.epoch == there.epoch and not leads)


def _add_pins(topic: Topic, pins: Mapping[str, bytes], *, wait_ms: int, replaces: bool = True) -> bool:
    """Have the source's pins in producers/, before the first record that needs one. Returns whether any was missing.

    replaces: also where another one stands here under the same name.
    """
    there: dict[str, bytes] = {}
    if topic.has_producers():
        fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
        try:
            for pin in pins:
                if files.exists(pin, dir_fd=fd):
                    there[pin] = files.read_file(pin, dir_fd=fd)
        finally:
            files.close(fd)
    missing = {pin: data for pin, data in pins.items() if there.get(pin) != data and (replaces or pin not in there)}
    if not missing:
        return False
    # The first ones with all locks, as whoever makes a topic's first pin does: nobody rolls or removes segments between
    # the first snapshots and the directory that says that there have to be some.
    locked = range(1 if topic.has_producers() else topic.partitions)
    with append_locks(topic.directory, topic.topic_id, topic.name, locked, wait_ms=wait_ms):
        if not topic.has_producers():
            from mk.storage.producer_state import begin_producers

            for number in locked:
                opened = PartitionFiles(topic, number, os.O_RDONLY)
                try:
                    begin_producers(opened)
                finally:
                    opened.close()
            files.mkdir(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
            files.fsync(topic.fd)
        fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
        try:
            for pin, data in missing.items():
                # Also over one of an old leader that was another's here: its records are, or will be, cut off.
                files.replace_file(pin, data, dir_fd=fd)
        finally:
            files.close(fd)
    return True


# What a source may say.


def _checked_fields(name: str, fields: Mapping[str, object], partitions: int) -> Fields:
    """Return the content of topic.json, under the name here, if all of it can be."""
    content: Fields = {}
    if len(fields) > _MAX_FIELDS:
        raise _impossible(name, f"its topic.json has {len(fields)} fields")
    for key, value in fields.items():
        if not 0 < len(key) <= _LETTERS_OF_A_KEY or not _KEY_LETTERS.issuperset(key):
            raise _impossible(name, f"its topic.json has a field {key[:_LETTERS_OF_A_KEY]!a}")
        is_small = (
            len(value) <= _MAX_TEXT if type(value) is str else type(value) is not int or -1 << 63 <= value < 1 << 63
        )
        if type(value) not in (str, int, bool, type(None)) or not is_small:
            raise _impossible(name, f"its {key} is no text, number, true, false or null, or too long")
        if key not in ("format", "checksum"):
            content[key] = value  # type: ignore[assignment]
    version = fields.get("format", flat_json.FORMAT_VERSION)
    if version != flat_json.FORMAT_VERSION:
        raise _impossible(name, f"it has format version {version!a}; this mk knows {flat_json.FORMAT_VERSION}")
    if not is_directory_id(content.get("topic_id")):
        raise _impossible(name, "its topic id is none")
    if type(content.get("partitions")) is not int or content["partitions"] != partitions:
        raise _impossible(name, f"it says that it has {content.get('partitions')!a} partitions, and has {partitions}")
    check_partition_count(partitions)
    check_partitioner(str(content.get("partitioner")))
    for key in ("created", "sealed", "sealed_by"):
        if type(content.get(key, "")) is not str:
            raise _impossible(name, f"its {key} is no text")
    _check_settings(content)
    content["name"] = name
    return content


def _check_settings(content: Fields) -> None:
    """Raise ConfigurationError for a setting that could not be made here. One of a newer mk is kept as it is."""
    for key, setting in TOPIC_CONFIG.items():
        if key in content:
            value = content[key]
            # The type first: a text of digits is no number, and true is none either.
            if type(value) is not type(setting.default) or parse_topic_config({key: str(value)})[key] != value:
                raise ConfigurationError(
                    f"{key} cannot be {value!a}",
                    why="it is so on the source",
                    fix=f"set it there (mk topics alter -c {key}=VALUE); nothing was changed here",
                    name=key,
                )


def _check_pins(name: str, pins: Mapping[str, bytes], partitions: int) -> None:
    if len(pins) > _MAX_PINS:
        raise _impossible(name, f"it has {len(pins)} producer ids")
    for pin, data in pins.items():
        if (
            len(data) > _MAX_PIN_BYTES
            or len(pin) != 16
            or f"{parse_pin(data, partitions, pin).producer_id:016x}" != pin
        ):
            raise _impossible(name, f"its pin {pin[:16]!a} is none")


def _impossible(name: str, found: str) -> DataError:
    return DataError(
        f"topic {name} cannot be copied",
        why=found,
        fix="`mk topics verify` on the source tells more; nothing was changed here",
        topic=name,
    )
