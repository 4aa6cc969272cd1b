"""What comes from the brokers, shared by all readers of one consumer: one librdkafka consumer, parted by partition.

librdkafka asks for more before it is needed and keeps it in one queue, in the order in which it came. Whoever needs the records
of one partition takes what is before them in the queue as well: each reader keeps what is its own. A partition of which too much
is kept is let go of, and asked for again from where it was when its reader has taken that.
"""

from __future__ import annotations

from itertools import groupby
from os import getpid
from time import monotonic, sleep

from mk.errors import MkError, NoSuchTopicError, NotFoundError, TryAgainError
from mk.kafka_cluster.client import SLICE_SECONDS, leave_to_parent
from mk.kafka_cluster.kafka_errors import is_unreachable
from mk.kafka_cluster.partition_offsets import EARLIEST, LATEST, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from confluent_kafka import KafkaError

    from mk.consumer.consumer import Source
    from mk.kafka_cluster.client import Client
    from mk.kafka_cluster.kafka_reader import KafkaPartitionReader
    from mk.kafka_cluster.partition_offsets import Answers, Place

_AT_ONCE = 1000
"""Messages that are taken from the library together: with ten times as many, they do not stay in the processor's cache."""

_MOST_WAITING_BYTES = 32 << 20
"""What is kept for readers that do not need it as yet."""

_PAUSE_SECONDS = 0.1
_NOTHING_SECONDS = 0.001
"""For so long nobody asks again after there was nothing: each of many readers asks before a wait."""

_TUNING = {
    # Asked for again as soon as there is room; a second, the default, starves a fast reader.
    "fetch.queue.backoff.ms": 2,
    "queued.min.messages": 30_000,
    "queued.max.messages.kbytes": 32 << 10,
    "fetch.max.bytes": 16 << 20,
    "max.partition.fetch.bytes": 4 << 20,
    "isolation.level": "read_committed",
    "group.id": "mk",  # The library wants one. Nothing is joined, and nothing committed.
}
"""What the user may say otherwise."""

_GONE = ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID")
_END = "_PARTITION_EOF"
_OUT_OF_RANGE = ("OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET", "_LOG_TRUNCATION")
_NEWS = (_END, *_OUT_OF_RANGE)


class Offsets:
    """Where a partition begins and ends, as told last. end: up to where can be read; behind it lie open transactions."""

    __slots__ = ("end", "leader_epoch", "start")

    def __init__(self, start: int, end: int, leader_epoch: int) -> None:
        self.start = start
        self.end = end
        self.leader_epoch = leader_epoch


class Fetcher:
    """Readers and where they stand. It connects when the first of them wants something, and lets go with the last of them.

    Not for two threads. A subclass whose consumer is given its partitions says how one is begun and let go of.
    """

    def __init__(self, client: Client, *, follow: bool = False) -> None:
        """follow: whether it will wait at ends; where it does not, an end is told sooner."""
        self.client = client
        self._end_ms = 500 if follow else 50
        self._consumer: Any = None
        self._pid = getpid()
        self._readers: dict[Place, KafkaPartitionReader] = {}
        self._begun: set[Place] = set()
        self._stale: set[Place] = set()
        self._ever_begun: set[Place] = set()
        self._offsets: dict[Place, Offsets] = {}
        self._for_times: dict[tuple[Place, int], int] = {}
        self._nothing_at = 0.0
        self.waiting_bytes = 0
        message = client.kafka.Message
        self._error_of, self._topic_of, self._partition_of = message.error, message.topic, message.partition

    def close(self) -> None:
        """Let go of the connections."""
        consumer, self._consumer = self._consumer, None
        self._begun.clear()
        self._stale.clear()
        if consumer is not None:
            self._close(consumer)

    def _close(self, consumer: Any) -> None:
        if self._pid == getpid():
            consumer.close()
        else:
            leave_to_parent(consumer)

    # Where partitions begin and end.

    def expect(self, places: Sequence[Place], times: Iterable[int] = ()) -> None:
        """Look up, for readers that will be opened, where these partitions begin and end, and the offsets of `times`, in ms.

        With a few requests to each broker, however many partitions there are.
        """
        if not places:
            return
        self._prepare()  # It finds its way to the brokers meanwhile.
        self._offsets.update(self.look_up(places))
        for time in times:
            (found,) = self._listed(places, time)
            self._for_times.update({(place, time): found[place].offset for place in places})

    def offsets_of(self, place: Place) -> Offsets:
        """Return what was looked up for a reader that is opened now, once; later it would be old."""
        return self._offsets.pop(place, None) or self.look_up([place])[place]

    def look_up(self, places: Sequence[Place]) -> dict[Place, Offsets]:
        """Return where partitions begin and end now."""
        starts, ends = self._listed(places, EARLIEST, LATEST)
        return {
            place: Offsets(starts[place].offset, ends[place].offset, max(0, ends[place].leader_epoch or 0))
            for place in places
        }

    def offset_for_time(self, place: Place, timestamp_ms: int) -> int:
        """Return the first offset of a record of that time or later, -1 if there is none."""
        known = self._for_times.pop((place, timestamp_ms), None)
        return self._listed([place], timestamp_ms)[0][place].offset if known is None else known

    def _listed(self, places: Sequence[Place], *what: str | int) -> list[Answers]:
        """Return what the brokers say. Raises what they say of the first partition of which they tell nothing."""
        end = monotonic() + self.client.timeout_seconds
        while True:
            found = ask(self.client, places, *what)
            trouble = next(
                (self._trouble(*item) for answers in found for item in answers.items() if isinstance(item[1], MkError)),
                None,
            )
            if trouble is None:
                return found
            if not isinstance(trouble, TryAgainError) or monotonic() >= end:
                raise trouble
            sleep(_PAUSE_SECONDS)

    def _trouble(self, place: Place, answer: MkError) -> MkError:
        """Return why nothing is told of a partition: one without a leader is not known to librdkafka, as if it were none."""
        topic, partition = place
        if not isinstance(answer, NotFoundError):
            return answer
        what = f"partition {partition} of {topic} cannot be looked up"
        # Of all: asked for one that is not there, a broker may make it.
        known = self.client.call(self.client.admin.list_topics, what).topics.get(topic)
        if known is None or partition not in known.partitions:
            return NoSuchTopicError(topic=topic, directory=self.client.location)
        return TryAgainError(
            f"partition {partition} of {topic} has no leader",
            why="the brokers that have it are away",
            fix="start them, or read the others with -p; run it again in a moment",
            topic=topic,
            partition=partition,
        )

    # Reading.

    def add(self, place: Place, reader: KafkaPartitionReader) -> None:
        self.let_go(place)  # Of a topic that was made anew, it would come from where the old one was.
        self._readers[place] = reader

    def remove(self, place: Place) -> None:
        """Forget a reader; with the last of them, close. What still comes of the others is let go of when it comes."""
        self._readers.pop(place, None)
        if not self._readers:
            self.close()

    def is_begun(self, place: Place) -> bool:
        return place in self._begun

    def let_go(self, place: Place) -> None:
        """Take nothing more of a partition until it is begun again.

        The library is told of all of these together, as soon as more of one comes, or one begins again: it takes its time.
        """
        if place in self._begun:
            self._begun.discard(place)
            self._stale.add(place)

    def look_back(self, step: int) -> None:
        """Have the last records of all partitions come that nobody reads as yet, about `step` of each."""
        readers = [reader for reader in self._readers.values() if reader.look_back(step)]
        if readers:
            self.begin(readers)

    def _end_stale(self) -> None:
        stale = [place for place in self._stale if place not in self._begun]
        self._stale.clear()
        if stale:
            self._end(stale)

    def await_ready(self, readers: Sequence[KafkaPartitionReader], deadline: float | None = None) -> None:
        """Wait until one of the readers has something to give, or none is short of its end any more, or `deadline`.

        Raises what keeps the next records from coming, if that lasts for as long as a request may take.
        """
        begun_at = monotonic()
        while not any(reader.is_ready for reader in readers):
            short = [reader for reader in readers if reader.is_short]
            if not short or (deadline is not None and monotonic() >= deadline):
                return
            self.begin(short)
            if self.take_in(SLICE_SECONDS):
                begun_at = monotonic()
            elif monotonic() - begun_at >= self.client.timeout_seconds:
                self._explain(short)
                begun_at = monotonic()

    def sources_in_turn(self, sources: Sequence[Source], deadline: float | None) -> list[Source]:
        """Return, of the partitions that a consumer reads, those that have something to give; see await_ready.

        Those that were read as far as they are wanted are let go of.
        """
        wanted = []
        for source in sources:
            reader: KafkaPartitionReader = source.reader  # type: ignore[assignment]  # They are readers of this fetcher.
            if not source.is_complete:
                wanted.append(source)
            elif reader.waiting_bytes:
                self.let_go(reader.place)
        self.await_ready([source.reader for source in wanted], deadline)  # type: ignore[misc]  # They are these, too.
        return [source for source in wanted if source.reader.is_ready]  # type: ignore[attr-defined]  # And these.

    def begin(self, readers: Iterable[KafkaPartitionReader] | None = None) -> None:
        """Have the records of partitions come, by default of all, each from where it is on."""
        wanted = self._readers.values() if readers is None else readers
        starts = {
            reader.place: reader.wanted_offset
            for reader in wanted
            if reader.place not in self._begun and reader.may_begin
        }
        if starts:
            self._prepare()
            if not self._stale.isdisjoint(starts):
                self._end_stale()
            self._begun.update(starts)
            self._ever_begun.update(starts)
            self._begin(starts)

    def take_in(self, seconds: float = 0.0) -> bool:
        """Hand out what came; where that is nothing, wait for it. Returns whether a reader got something.

        Raises PermissionDeniedError where a login was refused, and what the brokers say of a partition that nobody can mend.
        """
        consumer = self._consumer
        if consumer is None or (seconds <= 0 and monotonic() - self._nothing_at < _NOTHING_SECONDS):
            return False
        messages = consumer.consume(_AT_ONCE, 0)
        if not messages and seconds > 0:
            message = consumer.poll(seconds)
            if message is not None:
                messages = [message, *consumer.consume(_AT_ONCE, 0)]
        if not messages:
            self._nothing_at = monotonic()
            self.client.raise_if_denied(f"{self.client.location} cannot be read")
            return False
        if not any(map(self._error_of, messages)):
            self.client.heed_nothing()
            self._hand_out(messages)
            return True
        is_news = False
        run: list[Any] = []
        for message in messages:
            if (error := message.error()) is None:
                run.append(message)
                continue
            self._hand_out(run)
            is_news = is_news or bool(run) or error.name() in _NEWS
            run = []
            self._heed(error, (message.topic(), message.partition()), message.offset())
        self._hand_out(run)
        return is_news or bool(run)

    def _hand_out(self, messages: list[Any]) -> None:
        if not messages:
            return
        if len(self._ever_begun) == 1:
            (place,) = self._ever_begun
            self._give(place, messages)
            return
        partitions = list(map(self._partition_of, messages))
        if len({topic for topic, _ in self._ever_begun}) > 1:
            topics = list(map(self._topic_of, messages))
        else:
            topics = [messages[0].topic()] * len(messages)
        if partitions.count(partitions[0]) == len(partitions) and topics.count(topics[0]) == len(topics):
            self._give((topics[0], partitions[0]), messages)
            return
        start = 0
        for place, same in groupby(zip(topics, partitions)):
            stop = start + len(list(same))
            self._give(place, messages[start:stop])
            start = stop

    def _give(self, place: Place, messages: list[Any]) -> None:
        reader = self._readers.get(place)
        if reader is None:
            self.let_go(place)
        if place not in self._begun:
            if place in self._stale:
                self._end_stale()
            return
        assert reader is not None
        self.waiting_bytes += reader.take(messages)
        if self.waiting_bytes > _MOST_WAITING_BYTES and len(self._readers) > 1:
            self._make_room()

    def _make_room(self) -> None:
        """Let go of the partition that has most waiting; what waits stays."""
        fullest = max(
            (reader for place, reader in self._readers.items() if place in self._begun),
            key=lambda reader: reader.waiting_bytes,
            default=None,
        )
        # Of little, as of thousands of partitions each: their readers have to take it.
        if fullest is not None and fullest.waiting_bytes > _MOST_WAITING_BYTES // 8:
            self.let_go(fullest.place)

    def _heed(self, error: KafkaError, place: Place, offset: int) -> None:
        """Take over what is told of a partition, instead of a record."""
        name = error.name()
        reader = self._readers.get(place)
        if name == _END:
            self.client.heed_nothing()
            if reader is not None and place in self._begun:
                reader.take_end(offset)
        elif name in _OUT_OF_RANGE:
            if reader is not None:
                self.let_go(place)
                reader.is_lost = True
        elif name in _GONE:
            if reader is not None:
                self.let_go(place)
                reader.check_topic_now()
        elif name == "GROUP_AUTHORIZATION_FAILED" and self._is_alone:
            pass  # It is told of a group that nobody joins.
        elif is_unreachable(error) or error.retriable():
            self.client.heed(error)
        else:
            topic, partition = place
            where = f"partition {partition} of {topic}" if topic else self.client.location
            raise self.client.error(error, f"{where} cannot be read", topic=topic, partition=partition, offset=offset)

    def _explain(self, short: Sequence[KafkaPartitionReader]) -> None:
        """Raise why nothing comes of partitions that are short of their ends, if there is a reason; else they begin anew."""
        for reader in short:
            self.let_go(reader.place)
            reader.is_lost = True
            reader.find_again()

    # How the library is told. A consumer that is given its partitions by others does it otherwise.

    _is_alone = True

    def _prepare(self) -> None:
        if self._consumer is None:
            self._consumer = self.client.new_consumer(**self._properties())
            self._pid = getpid()

    def _properties(self) -> dict[str, object]:
        """Return what the consumer is made with, beside what the user says."""
        given = {name: value for name, value in _TUNING.items() if not self.client.property(name)}
        if not self.client.property("fetch.wait.max.ms"):
            given["fetch.wait.max.ms"] = self._end_ms
        return {
            **given,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }

    def _begin(self, starts: dict[Place, int]) -> None:
        from confluent_kafka import TopicPartition

        self._consumer.incremental_assign([TopicPartition(*place, offset) for place, offset in starts.items()])

    def _end(self, places: Sequence[Place]) -> None:
        if self._consumer is not None:
            from confluent_kafka import TopicPartition

            self._consumer.incremental_unassign([TopicPartition(*place) for place in places])
