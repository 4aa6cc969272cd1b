"""Who uses a log directory in a test, as processes that can be killed: what each has open is known, and closed as the kernel does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mk.groups import claim as claims
from mk.groups import membership

if TYPE_CHECKING:
    from mk.consumer.group_consumer import GroupConsumer
    from mk.consumer.group_source import GroupSource
    from mk.producer.producer import Producer
    from mk.storage.partition_log import AppendResult
    from mk.storage.partition_reader import PartitionReader

Place = tuple[str, int]
"""A directory, and a partition in it."""

Key = tuple[str, int, int]
"""A place, and which of the logs that it has had."""


class Process:
    """Somebody who has files open."""

    def __init__(self) -> None:
        self.fds: set[int] = set()

    def die(self) -> None:
        """Have the kernel close what is open, and nobody do anything more."""
        for member in [one for one in membership._joined if one._fd in self.fds]:
            with member._turn:  # A turn that has begun would write to a descriptor that is another's by then.
                stop, member._stop = member._stop, None
            if stop is not None:
                stop.release()
            member._fd = -1
            membership._joined.discard(member)
        for claim in [one for one in claims._held if one._fd in self.fds]:
            claim._fd = -1
            claims._held.discard(claim)
        for fd in self.fds:
            os.close(fd)
        self.fds = set()


class ProducerProcess(Process):
    producer: Producer

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.acknowledged: list[AppendResult] = []


class ReaderProcess(Process):
    """A reader that stays, and what it has been given of the log as it is."""

    reader: PartitionReader

    def __init__(self, name: str, place: Place, generation: int) -> None:
        super().__init__()
        self.name = name
        self.place = place
        self.generation = generation
        self.given: dict[int, bytes] = {}
        self.looks = "", ""


class MemberProcess(Process):
    """sources: the partitions it has had, up to where it was told that they are committed, and of which log it had the last record."""

    consumer: GroupConsumer

    def __init__(self, name: str, directory: str) -> None:
        super().__init__()
        self.name = name
        self.directory = directory
        self.sources: dict[GroupSource, tuple[int, Key]] = {}

    def die(self) -> None:
        super().die()
        if hasattr(self, "consumer"):
            # Or it would commit when it is collected, with descriptors that are somebody else's by then.
            consumer = self.consumer
            consumer._by_key, consumer._sources, consumer._topics = {}, [], []
            consumer._coordinator = consumer._watch = None
            consumer._wake_fd = consumer._waker = -1


class Killing(Exception):
    """What was asked for was killed on the way."""


def open_fds() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue  # The one by which they were listed.
        found.add(int(name))
    return found
