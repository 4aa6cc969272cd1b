"""What groups have committed in a directory from which this one replicates.

    replicas/<directory id>/groups/<group>

A line a partition: topic id, partition, offset, leader epoch, when it was noted, checksum; written behind the records, and
never beyond them. A group with no committed offset of its own starts there, so what cannot be read is an error and not
nothing: a group that were taken for new could begin at the end. The next run writes the file anew.
Of several sources one counts for a partition, also where it knows nothing of a group: the one that leads it, else the one
that led it last, else the one that was seen last.
Format: man/mk-format.5, REPLICAS.
"""

from __future__ import annotations

import os

from mk import clock
from mk.errors import CorruptStateError, DataError, MkError, PermissionDeniedError
from mk.groups.claim_directory import group_names, open_claims, topic_ids
from mk.groups.claim_slot import NO_OFFSET
from mk.groups.committed_offset import UNREADABLE, CommittedOffset
from mk.storage import files
from mk.storage.leader_epochs import is_directory_id, read_epochs
from mk.storage.log_directory import PRIVATE, REPLICAS
from mk.storage.replica_directory import (
    GROUPS,
    MAX_FILE_BYTES,
    check_position,
    decode_lines,
    encode_line,
    known_replica,
    make_replica_directory,
    open_replica_directory,
)
from mk.storage.topic import Topic
from mk.topic_partition import is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mk.storage.log_directory import LogDirectory

    Key = tuple[str, int]
    ByGroup = dict[str, dict[Key, CommittedOffset]]

_FIELDS = 5


def committed_offsets(directory: LogDirectory, topic_ids: Sequence[str]) -> list[CommittedOffset]:
    """Return what groups have committed of these topics, and what is known of a leader's groups that have not here."""
    wanted = set(topic_ids)
    found: ByGroup = {}
    for group in group_names(directory):
        own = _own_offsets(directory, group, wanted)
        if own:
            found[group] = own
    for group, offsets in replicated_groups(directory, wanted).items():
        found[group] = {**offsets, **found.get(group, {})}
    return [
        found[group][key] for group in sorted(found) for key in sorted(found[group]) if found[group][key].offset != -1
    ]


def _own_offsets(directory: LogDirectory, group: str, wanted: set[str]) -> dict[Key, CommittedOffset]:
    found = {}
    for topic_id in topic_ids(directory, group):
        if topic_id not in wanted:
            continue
        claims = open_claims(directory, group, topic="", topic_id=topic_id)
        if claims is None:
            continue
        try:
            for partition, generations in claims.generations().items():
                try:
                    slot = claims.newest(partition, generations)
                except CorruptStateError:
                    found[topic_id, partition] = CommittedOffset(group, topic_id, partition, UNREADABLE, -1)
                    continue
                if slot is not None and slot.offset != NO_OFFSET:
                    found[topic_id, partition] = CommittedOffset(
                        group, topic_id, partition, slot.offset, slot.leader_epoch
                    )
        finally:
            claims.close()
    return found


def store(directory: LogDirectory, source_id: str, offsets: Iterable[CommittedOffset], ends: Mapping[Key, int]) -> None:
    """Keep what groups have committed on a source, for the partitions in `ends`; on disk when it returns.

    Exactly so, also where it is less than before: it is the leader's to say. But never beyond where the log ends here, which
    `ends` tells by topic id and partition. Of other partitions, what was kept stays.
    """
    new: dict[str, dict[Key, CommittedOffset]] = {}
    for offset in offsets:
        if not is_valid_name(offset.group):
            raise DataError(f"{offset.group[:40]!a} is no name of a group", fix="no offsets of groups were stored")
        check_position(offset.topic_id, offset.partition, max(offset.offset, 0))
        if offset.key in ends:
            new.setdefault(offset.group, {})[offset.key] = offset
    fd = make_replica_directory(directory, source_id)
    try:
        if new:
            try:
                files.mkdir(GROUPS, PRIVATE, dir_fd=fd)
            except FileExistsError:
                pass
            files.fsync(fd)  # Whoever made it may have been killed before.
        try:
            groups_fd = files.open_directory(GROUPS, dir_fd=fd)
        except FileNotFoundError:
            return
    finally:
        files.close(fd)
    # A damaged line may be of a partition that this run does not look at: then it stays, and the file is said to be damaged.
    known = known_replica(directory, source_id)
    is_all = known is not None and set(ends).issuperset(known.source)
    try:
        for group in sorted({*new, *_groups_in(groups_fd)}):
            _store_group(groups_fd, group, new.get(group, {}), ends, is_all)
    finally:
        files.close(groups_fd)


def _store_group(
    groups_fd: int, group: str, new: dict[Key, CommittedOffset], ends: Mapping[Key, int], is_all: bool
) -> None:
    old, damaged = _read_group(groups_fd, group)
    kept = {key: offset for key, offset in old.items() if key not in ends}
    for key, offset in new.items():
        if offset.offset != UNREADABLE:
            clamped = min(offset.offset, ends[key])
            kept[key] = CommittedOffset(group, offset.topic_id, offset.partition, clamped, offset.leader_epoch)
            if key in old and _places({key: kept[key]}) == _places({key: old[key]}):
                kept[key] = old[key]  # With when it was noted first.
        elif key in old:
            kept[key] = old[key]
    if _places(kept) == _places(old) and not (damaged and is_all):
        return
    _write_group(groups_fd, group, kept, [] if is_all else damaged)


def _write_group(groups_fd: int, group: str, offsets: dict[Key, CommittedOffset], damaged: list[bytes]) -> None:
    """Replace a file, or remove it if there is nothing left to say. damaged: lines that stay as they are."""
    now = clock.now_ms()
    lines = [
        encode_line(f"{topic_id} {partition} {offset.offset} {offset.leader_epoch} {offset.time_ms or now}")
        for (topic_id, partition), offset in sorted(offsets.items())
    ]
    lines += [line + b"\n" for line in damaged]
    if lines:
        files.replace_file(group, b"".join(lines), dir_fd=groups_fd, mode=0o600)
    else:
        files.unlink(group, dir_fd=groups_fd)
        files.fsync(groups_fd)


def _places(offsets: dict[Key, CommittedOffset]) -> dict[Key, tuple[int, int]]:
    return {key: (offset.offset, offset.leader_epoch) for key, offset in offsets.items()}


def forget_group(directory: LogDirectory, group: str) -> int:
    """Forget what is kept of a group of that name, of all sources, and return of how many: it was deleted here."""
    count = 0
    for directory_id in _source_ids(directory):
        groups_fd = _open_groups(directory, directory_id)
        if groups_fd is None:
            continue
        try:
            files.unlink(group, dir_fd=groups_fd)
            files.fsync(groups_fd)
            count += 1
        except FileNotFoundError:
            pass
        finally:
            files.close(groups_fd)
    return count


def forget_offsets(directory: LogDirectory, group: str, keys: Iterable[Key]) -> None:
    """Forget what is kept of a group for some partitions, of all sources: they are led here now, and it has it committed."""
    gone = set(keys)
    for directory_id in _source_ids(directory):
        groups_fd = _open_groups(directory, directory_id)
        if groups_fd is None:
            continue
        try:
            old, damaged = _read_group(groups_fd, group)
            kept = {key: offset for key, offset in old.items() if key not in gone}
            if len(kept) < len(old):
                _write_group(groups_fd, group, kept, damaged)
        finally:
            files.close(groups_fd)


# Looking them up.


def replicated_offset(topic: Topic, group: str, partition: int) -> CommittedOffset | None:
    """Return where a group stood in a partition in the directory that leads it, None if it is not known there.

    Raises CorruptStateError: that cannot be read.
    """
    ids = _source_ids(topic.directory)
    if not ids:
        return None
    source_id = _source_of(topic, partition, ids)
    offsets, damaged = _offsets_of(topic.directory, source_id, group)
    found = offsets.get((topic.topic_id, partition))
    if found is None and damaged:
        raise _damaged(topic.directory, source_id, group)
    return found


def replicated_groups(directory: LogDirectory, topic_ids: Iterable[str] | None = None) -> ByGroup:
    """Return of each group what is known of its offsets in the directories that lead, of some topics or of all.

    What cannot be read is left out: only replicated_offset has to tell it from what is not there.
    """
    ids = _source_ids(directory)
    wanted = None if topic_ids is None else set(topic_ids)
    by_source: dict[str, ByGroup] = {}
    for directory_id in ids:
        by_source[directory_id] = {
            group: _offsets_of(directory, directory_id, group)[0] for group in _groups_of(directory, directory_id)
        }
    keys = {
        key
        for groups in by_source.values()
        for offsets in groups.values()
        for key in offsets
        if wanted is None or key[0] in wanted
    }
    found: ByGroup = {}
    for key, source_id in _sources_of(directory, keys, ids):
        for group, offsets in by_source[source_id].items():
            if key in offsets:
                found.setdefault(group, {})[key] = offsets[key]
    return found


def replicated_group_names(directory: LogDirectory) -> list[str]:
    """Return the names of the groups of which offsets are known from any source, sorted."""
    return sorted({group for directory_id in _source_ids(directory) for group in _groups_of(directory, directory_id)})


def damaged_files(directory: LogDirectory) -> list[tuple[str, int]]:
    """Return of each file with lines that cannot be read its path in the log directory, and how many lines those are."""
    found = []
    for directory_id in _source_ids(directory):
        for group in _groups_of(directory, directory_id):
            _, damaged = _offsets_of(directory, directory_id, group)
            if damaged:
                found.append((f"{REPLICAS}/{directory_id}/{GROUPS}/{group}", len(damaged)))
    return found


def _sources_of(directory: LogDirectory, keys: set[Key], ids: list[str]) -> Iterator[tuple[Key, str]]:
    """Yield each place in a log with the source that counts for it."""
    if len(ids) == 1:
        yield from ((key, ids[0]) for key in keys)
        return
    by_topic: dict[str, list[int]] = {}
    for topic_id, partition in keys:
        by_topic.setdefault(topic_id, []).append(partition)
    for name in directory.topic_names() if by_topic else ():
        try:
            topic = Topic(directory, name)
        except (MkError, OSError):
            continue  # Deleted meanwhile, or damaged: then nobody reads it.
        try:
            for partition in by_topic.get(topic.topic_id, ()):
                if partition < topic.partitions:
                    yield (topic.topic_id, partition), _source_of(topic, partition, ids)
        finally:
            topic.close()


def _source_of(topic: Topic, partition: int, ids: list[str]) -> str:
    """Return which of some sources counts for a partition."""
    if len(ids) == 1:
        return ids[0]
    fd = files.open_directory(str(partition), dir_fd=topic.fd)
    try:
        entries = read_epochs(fd, f"{topic.path}/{partition}").entries
    finally:
        files.close(fd)
    for entry in reversed(entries):
        if entry.leader_id in ids:
            return entry.leader_id
    seen = {directory_id: known_replica(topic.directory, directory_id) for directory_id in ids}
    return max(ids, key=lambda directory_id: known.seen_ms if (known := seen[directory_id]) is not None else 0)


def _source_ids(directory: LogDirectory) -> list[str]:
    """Return the ids of the directories whose groups are known, sorted."""
    try:
        fd = files.open_directory(REPLICAS, dir_fd=directory.fd)
    except FileNotFoundError:
        return []
    try:
        return sorted(
            name for name in os.listdir(fd) if is_directory_id(name) and files.exists(f"{name}/{GROUPS}", dir_fd=fd)
        )
    finally:
        files.close(fd)


def _groups_of(directory: LogDirectory, directory_id: str) -> list[str]:
    fd = _open_groups(directory, directory_id)
    if fd is None:
        return []
    try:
        return _groups_in(fd)
    finally:
        files.close(fd)


def _groups_in(groups_fd: int) -> list[str]:
    return sorted(filter(is_valid_name, os.listdir(groups_fd)))


def _open_groups(directory: LogDirectory, directory_id: str) -> int | None:
    fd = open_replica_directory(directory, directory_id)
    if fd is None:
        return None
    try:
        return files.open_directory(GROUPS, dir_fd=fd)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise PermissionDeniedError(
            f"you may not look at the groups of {directory.path}",
            why=f"{directory.path}/{REPLICAS}/{directory_id}/{GROUPS} is closed to you",
            fix="become a user who may write to the directory; nothing was changed",
        ) from None
    finally:
        files.close(fd)


def _offsets_of(
    directory: LogDirectory, directory_id: str, group: str
) -> tuple[dict[Key, CommittedOffset], list[bytes]]:
    groups_fd = _open_groups(directory, directory_id)
    if groups_fd is None:
        return {}, []
    try:
        return _read_group(groups_fd, group)
    finally:
        files.close(groups_fd)


def _read_group(groups_fd: int, group: str) -> tuple[dict[Key, CommittedOffset], list[bytes]]:
    """Return what a file says, by place, and the lines of it that cannot be read."""
    try:
        data = files.read_file(group, dir_fd=groups_fd, max_bytes=MAX_FILE_BYTES)
    except FileNotFoundError:
        return {}, []
    offsets: dict[Key, CommittedOffset] = {}
    damaged = []
    for line in data.splitlines():
        fields = next(decode_lines(line, _FIELDS), None)
        offset = None if fields is None else _decode(group, fields)
        if offset is None:
            damaged.append(line)
        else:
            offsets[offset.key] = offset
    return offsets, damaged


def _decode(group: str, fields: list[str]) -> CommittedOffset | None:
    try:
        numbers = [int(field) for field in fields[1:]]
        check_position(fields[0], numbers[0], numbers[1], numbers[3])
        if not -1 <= numbers[2] < 1 << 64:
            raise ValueError
    except (ValueError, DataError):
        return None
    return CommittedOffset(group, fields[0], *numbers)


def _damaged(directory: LogDirectory, source_id: str, group: str) -> CorruptStateError:
    path = f"{directory.path}/{REPLICAS}/{source_id}/{GROUPS}/{group}"
    return CorruptStateError(
        path=path,
        found="a line of it is damaged, and the one about this partition is not among the others",
        fix="`mk replicate` from there writes it anew; without it the group begins as a new one does: "
        f"mv {path} {path}.damaged; nothing was changed",
    )
