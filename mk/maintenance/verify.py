"""`mk topics verify`: proving every byte of a topic, and saying of each that is not right what it costs.

Read-only, without a lock, with read permission alone, beside writers. What a finding means is in findings.py, how a
partition is looked at in partition_check.py.
"""

from __future__ import annotations

import os

from mk.errors import CorruptStateError, NoSuchTopicError
from mk.maintenance import findings as kinds
from mk.maintenance.claim_check import check_claims
from mk.maintenance.findings import DAMAGE, NOTE, WARNING, Finding, Report
from mk.maintenance.partition_check import PartitionCheck
from mk.storage import files
from mk.storage.input_mark import SUFFIX as MARK_SUFFIX
from mk.storage.input_mark import decode_mark
from mk.storage.log_segment import LOG_SUFFIX
from mk.storage.partition_reader import ReadBuffer
from mk.storage.producer_pin import decode_pin, producer_id_of
from mk.storage.topic import FILE_NAME as TOPIC_FILE
from mk.storage.topic import PRODUCERS_DIRECTORY, Topic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mk.storage.log_directory import LogDirectory

_TOPIC_NAMES = frozenset((TOPIC_FILE, PRODUCERS_DIRECTORY))


def verify_topic(
    directory: LogDirectory,
    name: str,
    *,
    partitions: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check a topic, or some of its partitions, and report all that is found.

    progress: told now and then of bytes done, and of all there are as of the beginning.

    Raises:
        NoSuchTopicError: there is none, or it was deleted meanwhile.
        NoSuchPartitionError: one of `partitions` is not there.
    """
    report = Report(name)
    try:
        topic = directory.open_topic(name)
    except CorruptStateError as error:
        report.findings.append(_topic_finding(name, TOPIC_FILE, kinds.DAMAGED_FILE, DAMAGE, error.why))
        return report
    except NoSuchTopicError:
        if not _is_directory(directory, name):
            raise
        report.findings.append(_topic_finding(name, TOPIC_FILE, kinds.DAMAGED_FILE, DAMAGE, "it is missing"))
        return report
    try:
        chosen = [topic.check_partition(number) for number in partitions] or list(range(topic.partitions))
        report.partitions = len(chosen)
        _check_around(topic, report, chosen)
        total = sum(_size_of(topic, number) for number in chosen) if progress is not None else 0
        done = 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(min(done, total), total)

        buffer = ReadBuffer()
        producer_ids: set[int] = set()
        for number in chosen:
            check = PartitionCheck(topic, number, buffer, tell)
            check.run()
            report.size_bytes += check.size_bytes
            report.records += check.records
            report.findings += check.findings
            producer_ids |= check.producer_ids
        _check_pins(topic, report, producer_ids)
        report.findings += check_claims(topic, chosen)
    finally:
        topic.close()
    return report


def _topic_finding(
    topic: str, name: str, kind: str, severity: str, found: str, partition: int | None = None
) -> Finding:
    return Finding(topic, partition, kind, severity, f"topics/{topic}/{name}" if name else f"topics/{topic}", found)


def _is_directory(directory: LogDirectory, name: str) -> bool:
    try:
        return any(entry.isdecimal() for entry in os.listdir(f"{directory.path}/topics/{name}"))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _check_around(topic: Topic, report: Report, partitions: Sequence[int]) -> None:
    """Look at what stands beside the partitions: unknown names, open modes, the locks."""
    for name in sorted(os.listdir(topic.fd)):
        if name in _TOPIC_NAMES or (name.isdecimal() and int(name) < topic.partitions):
            continue
        kind = kinds.LEFTOVER if name.startswith(".tmp-") else kinds.UNKNOWN_FILE
        report.findings.append(_topic_finding(topic.name, name, kind, NOTE, "it is no part of the topic"))
    for name, mode in (("", os.fstat(topic.fd).st_mode), (TOPIC_FILE, _mode_of(topic))):
        if mode & 0o002:
            report.findings.append(
                _topic_finding(topic.name, name, kinds.UNSAFE_MODE, WARNING, "everybody may write to it")
            )
    _check_locks(topic, report, partitions)


def _mode_of(topic: Topic) -> int:
    try:
        return os.stat(TOPIC_FILE, dir_fd=topic.fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        topic.check_not_deleted()
        return 0


def _check_locks(topic: Topic, report: Report, partitions: Sequence[int]) -> None:
    root = topic.directory.fd
    try:
        mode = os.stat("locks", dir_fd=root, follow_symlinks=False).st_mode
        if mode & 0o007:
            found = "others than writers may open lock files there, and block everybody"
            report.findings.append(Finding(topic.name, None, kinds.UNSAFE_MODE, WARNING, "locks", found))
    except FileNotFoundError:
        pass
    for number in partitions:
        path = f"locks/{topic.topic_id}/{number}"
        try:
            os.stat(path, dir_fd=root, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            topic.check_not_deleted()
            found = "it is missing, as in a copy made by somebody who may only read: nobody can append"
            report.findings.append(Finding(topic.name, number, kinds.MISSING_LOCK, WARNING, path, found))
        except PermissionError:
            return  # Who may only read cannot look.


def _check_pins(topic: Topic, report: Report, producer_ids: set[int]) -> None:
    """Look at what is pinned of each producer id. After the batches: a pin is there before its first batch."""
    pinned: set[int] = set()
    try:
        fd = files.open_directory(PRODUCERS_DIRECTORY, dir_fd=topic.fd)
    except FileNotFoundError:
        fd = -1
    if fd >= 0:
        try:
            for name in sorted(os.listdir(fd)):
                if name.endswith(MARK_SUFFIX):
                    _check_mark(topic, report, fd, name)
                elif not name.startswith(".tmp-"):
                    pinned |= _check_pin(topic, report, fd, name)
        finally:
            files.close(fd)
    for producer_id in sorted(producer_ids - pinned):
        found = "it is missing: what its producer stored may be stored again if partitions or partitioner change"
        path = f"{PRODUCERS_DIRECTORY}/{producer_id:016x}"
        report.findings.append(_topic_finding(topic.name, path, kinds.MISSING_PIN, WARNING, found))
    if producer_ids or pinned:
        topic.check_not_deleted()


def _check_mark(topic: Topic, report: Report, fd: int, name: str) -> None:
    """Check what says how far a producer id has read the files that it follows."""
    path = f"{PRODUCERS_DIRECTORY}/{name}"
    found = ""
    try:
        producer_id, _ = decode_mark(files.read_file(name, dir_fd=fd), path)
        own = f"{producer_id_of(producer_id):016x}{MARK_SUFFIX}"
        if own != name:
            found = f"it is of producer id {producer_id}, whose file is {own}"
    except FileNotFoundError:
        topic.check_not_deleted()
    except CorruptStateError as error:
        found = error.why
    if found:
        report.findings.append(_topic_finding(topic.name, path, kinds.DAMAGED_FILE, DAMAGE, found))


def _check_pin(topic: Topic, report: Report, fd: int, name: str) -> set[int]:
    """Check one pin, and return the producer id that it is the file of."""
    path = f"{PRODUCERS_DIRECTORY}/{name}"
    found = ""
    try:
        pin = decode_pin(files.read_file(name, dir_fd=fd), topic, path)
        if f"{pin.producer_id:016x}" != name:
            found = f"it is of producer id {pin.name}, whose file is {pin.producer_id:016x}"
    except FileNotFoundError:
        topic.check_not_deleted()
        return set()
    except CorruptStateError as error:
        found = error.why
    if found:
        report.findings.append(_topic_finding(topic.name, path, kinds.DAMAGED_FILE, DAMAGE, found))
    try:
        return {int(name, 16)}
    except ValueError:
        return set()


def _size_of(topic: Topic, partition: int) -> int:
    """Return the bytes of a partition's segments, roughly: for a progress bar."""
    total = 0
    try:
        for name in os.listdir(f"{topic.path}/{partition}"):
            if name.endswith(LOG_SUFFIX):
                total += os.stat(f"{topic.path}/{partition}/{name}", follow_symlinks=False).st_size
    except FileNotFoundError:
        pass
    return total
