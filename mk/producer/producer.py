"""Sending records to a topic: which partition, which batch, and when to append."""

from __future__ import annotations

import os

from mk.clock import now_ms
from mk.errors import KeyRequiredError, MkError, RecordTooLargeError, UsageError
from mk.producer.record_accumulator import (
    BATCH_BYTES,
    RECORD_BYTES,
    RecordAccumulator,
    check_bytes,
    check_extras,
    check_lengths,
    check_line_lengths,
    size_of,
    size_of_columns,
)
from mk.records.codecs import CODEC_NAMES
from mk.records.record import Record
from mk.storage import files
from mk.storage.host import allow_open_files
from mk.storage.locks import ThreadLock
from mk.storage.partition_log import DISK, PAGE_CACHE, AppendResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from mk.producer.input_sequence import InputSequence
    from mk.producer.roll_compaction import RollCompaction
    from mk.records.record import Header
    from mk.records.record_batch import EncodedBatch
    from mk.storage.input_mark import InputMark
    from mk.storage.partition_log import PartitionLog
    from mk.storage.topic import Topic

BUFFER_BYTES = 8 << 20
"""What waits for an append at most, before it is made: half of buffer.memory, so that encoding it fits in the rest."""

_FILES_A_PARTITION = 4
_MANY_PARTITIONS = 48
"""Up to so many, the lowest usual limit of 256 open files (macOS's) is enough."""

_DURABILITY: dict[int | str, int] = {0: PAGE_CACHE, 1: DISK}


class Producer:
    """Sends records to one topic, from any number of threads. Nothing is stored before `flush` returns, or the buffer was full.

    max_message_bytes, flush_ms: the topic's settings, for whoever gathers input. They, and all else that the topic says,
    are as of the last append: that looks at the topic again, under the lock.
    records_stored: how many records this producer has had acknowledged. records_stored_before: how many more it was given
    that were stored before, under its id.
    on_append: called with each acknowledged append, in order. needs_results: whether somebody looks at what `flush` returns.
    """

    needs_results = True

    def __init__(
        self,
        topic: Topic,
        *,
        acks: int | str | None = None,
        partition: int | None = None,
        compression: str | None = None,
        producer_id: str | None = None,
        lock_wait_ms: int = 10_000,
        on_append: Callable[[AppendResult], None] | None = None,
    ) -> None:
        """Open a producer, which closes `topic` when it is closed itself.

        acks: 1, on disk when acknowledged, as by default; 0, survives this process but no power cut.
        partition: send everything there, whatever the keys say.
        compression: none, gzip, lz4 or zstd; None takes the topic's compression.type.
        producer_id: a name under which the input can be sent again from its start, after a crash or for any other reason:
        what is stored under it already is left out. Whoever sends another input under it loses records.
        """
        self._durability = _DURABILITY.get(1 if acks is None else acks, -1)
        if self._durability < 0:
            raise UsageError(f"acks cannot be {acks!r} in a log directory", fix="it is 0 or 1")
        # Also checked with each append. Here, so that nobody types records for nothing.
        topic.check_not_sealed()
        self._topic = topic
        self._fixed_partition = None if partition is None else topic.check_partition(partition)
        self._compression = compression
        self._lock_wait_ms = lock_wait_ms
        self._on_append = on_append
        self._hash_of_key: Callable[[bytes], int] | None = None
        self._accumulators: dict[int, RecordAccumulator] = {}
        self._adopt_settings()
        self._sticky = int.from_bytes(os.urandom(2), "big") % topic.partitions if topic.partitions > 1 else 0
        self._input: InputSequence | None = None
        if producer_id is not None:
            from mk.producer.input_sequence import resume

            self._input = resume(topic, producer_id, partition=self._fixed_partition, lock_wait_ms=lock_wait_ms)
            self._sticky = self._input.null_key_partition
        self._logs: dict[int, PartitionLog] = {}
        self._buffered_bytes = 0
        self._rolls: RollCompaction | None = None
        self._may_compact, self._is_closed = True, False
        self._pid = os.getpid()
        self._lock = ThreadLock()
        self.records_stored = 0

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                self.flush()
            else:
                self._may_compact = False  # Whoever pressed ^C does not wait for that.
        finally:
            self.close()

    def send(
        self,
        value: bytes | None,
        key: bytes | None = None,
        headers: Sequence[Header] = (),
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Buffer one record. value None is a tombstone; timestamp_ms None is now; partition None is where its key belongs.

        Raises RecordTooLargeError, and KeyRequiredError where the topic is compacted, as the other ways to send do; nothing
        is buffered then.
        """
        # Checked now, and not when it is encoded: the records that wait with it would be lost.
        check_bytes((value, key))
        check_extras(headers := tuple(headers), timestamp_ms)
        size = len(value or b"") + len(key or b"") + size_of(headers)
        if size > self.max_message_bytes:
            raise RecordTooLargeError(size_bytes=size, max_bytes=self.max_message_bytes)
        if key is None and self._needs_keys:
            self._refuse_keyless()
        with self._lock:
            partition = self._partition(key, partition)
            if self._input is not None and self._take(self._input, partition, 1):
                return
            accumulator = self._accumulator(partition)
            batches = len(accumulator.batches)
            added = accumulator.append(Record(value, key, headers), now_ms() if timestamp_ms is None else timestamp_ms)
            if key is None and len(accumulator.batches) != batches:
                self._next_sticky()
            self._flush_if_full(added)

    def send_lines(
        self,
        block: bytes | memoryview,
        count: int | None = None,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
    ) -> None:
        """Buffer newline-terminated values with the same key, as one batch, as they stand.

        `count` is how many there are, if the caller has counted them. The block is not copied: it stays untouched until
        the next `flush` returns. About BATCH_BYTES is a good size.
        """
        if not len(block):
            return
        if block[-1] != b"\n"[0]:
            raise ValueError("the block does not end with a newline")
        check_bytes((key,))
        check_extras((), timestamp_ms)
        if len(block) + len(key or b"") > self.max_message_bytes:
            check_line_lengths(block, len(key or b""), self.max_message_bytes)
        if key is None and self._needs_keys:
            self._refuse_keyless()
        if count is None:
            count = bytes(block).count(b"\n")
        with self._lock:
            partition = self._partition(key)
            if self._input is not None and (stored := self._take(self._input, partition, count)):
                if stored == count:
                    return
                block, count = self._input.lines_behind(block, stored), count - stored
            self._accumulator(partition).append_lines(block, count, timestamp_ms, key)
            if key is None:
                self._next_sticky()
            self._flush_if_full(len(block))

    def send_keyed(
        self,
        keys: Sequence[bytes | None] | None,
        values: Sequence[bytes | None],
        headers: tuple[Header, ...] = (),
        timestamp_ms: int | None = None,
    ) -> None:
        """Buffer many records at once: parallel keys and values, with the same headers and time. keys None: no keys."""
        if keys is not None:
            if len(keys) != len(values):
                raise ValueError(f"{len(keys)} keys and {len(values)} values are not pairs")
            check_bytes(keys)
        check_bytes(values)
        check_extras(headers, timestamp_ms)
        self.send_cut(keys, values, size_of_columns(keys, values, headers), headers, timestamp_ms)

    def send_cut(
        self,
        keys: Sequence[bytes | None] | None,
        values: Sequence[bytes | None],
        size_bytes: int,
        headers: tuple[Header, ...] = (),
        timestamp_ms: int | None = None,
    ) -> None:
        """Do as send_keyed does with what was cut from input, and needs no look at each part whether it is bytes.

        size_bytes: what size_of_columns says of them, or a little more.
        """
        if size_bytes > self.max_message_bytes:
            check_lengths(keys, values, size_of(headers), self.max_message_bytes)
        self._check_keys(keys)
        extras = headers, timestamp_ms
        # Each time no more than a batch should hold.
        step = max(1, len(values) * 2 * BATCH_BYTES // max(size_bytes + RECORD_BYTES * len(values), 1))
        with self._lock:
            for at in range(0, len(values), step):
                self._send_columns(keys and keys[at : at + step], values[at : at + step], extras)

    def _send_columns(
        self,
        keys: Sequence[bytes | None] | None,
        values: Sequence[bytes | None],
        extras: tuple[tuple[Header, ...], int | None],
    ) -> None:
        partitions = self._partition_count
        if keys is None or self._fixed_partition is not None or partitions == 1:
            target = self._partition(None)
            if self._input is not None and (stored := self._take(self._input, target, len(values))):
                keys, values = keys and keys[stored:], values[stored:]
            if values:
                self._flush_if_full(self._accumulator(target).append_columns(keys, values, *extras))
            if keys is None:
                self._next_sticky()
            return
        if self._input is not None:
            self._check_input(self._input)
            for target in range(partitions):
                self._learn(self._input, target)
            if self._input.take_if_stored(len(keys)):
                return
        from mk.producer.partitioner import spread

        hash_of = self._key_hash()
        keys_of, values_of = spread(keys, values, hash_of, partitions, self._sticky)
        sequences_of = [] if self._input is None else self._input.routed(keys, hash_of)
        for target in range(partitions):
            if (
                self._input is not None
                and sequences_of[target]
                and (stored := self._input.take_routed(target, sequences_of[target]))
            ):
                del keys_of[target][:stored], values_of[target][:stored]
            if values_of[target]:
                added = self._accumulator(target).append_columns(keys_of[target], values_of[target], *extras)
                self._flush_if_full(added)
        if self._input is not None:
            # Not before: what is appended on the way is not all of what stands before it in the input.
            self._input.next_sequence += len(keys)
        self._next_sticky()

    def send_records(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[tuple[Header, ...]],
        timestamps: Sequence[int | None],
        partitions: Sequence[int | None] | None = None,
        sequences: Sequence[int] | None = None,
    ) -> None:
        """Buffer many records at once, each with a key, headers and a time of its own: parallel columns. All of them, or none.

        timestamps: None is now. partitions: where each one goes, unless this producer has one partition for all; None is
        where its key belongs. sequences: for a producer with an id, the number of each in the input, ascending and not
        below next_sequence; None is next_sequence and on.

        Raises RecordTooLargeError, KeyRequiredError and NoSuchPartitionError, of any of them.
        """
        if not values:
            return
        self.check_records(values, keys, headers, timestamps, partitions)
        if None in timestamps:
            now = now_ms()
            times: Sequence[int] = [now if time is None else time for time in timestamps]
        else:
            times = timestamps  # type: ignore[assignment]
        columns: tuple[Sequence[Any], ...] = (values, keys, times, headers)
        with self._lock:
            chosen_of = self._routed(keys, partitions)
            if self._input is not None:
                self._check_input(self._input)
                if sequences is None:
                    sequences = range(self._input.next_sequence, self._input.next_sequence + len(values))
                for target in chosen_of:
                    self._learn(self._input, target)
            for target, chosen in sorted(chosen_of.items()):
                if self._input is not None and sequences is not None:
                    stored = self._input.take_routed(target, [sequences[at] for at in chosen])
                    chosen = chosen[stored:]
                if not chosen:
                    continue
                own = columns if len(chosen) == len(values) else [[column[at] for at in chosen] for column in columns]
                self._flush_if_full(self._accumulator(target).append_records(*own))
            if self._input is not None and sequences is not None:
                # Not before: what is appended on the way is not all of what stands before it in the input.
                self._input.next_sequence = sequences[-1] + 1
            self._next_sticky()

    def check_records(
        self,
        values: Sequence[bytes | None],
        keys: Sequence[bytes | None],
        headers: Sequence[tuple[Header, ...]],
        timestamps: Sequence[int | None],
        partitions: Sequence[int | None] | None = None,
    ) -> None:
        """Raise what send_records would; nothing is buffered."""
        from mk.producer.record_columns import check_columns

        check_columns(values, keys, headers, timestamps, max_bytes=self.max_message_bytes)
        self._check_keys(keys)
        if partitions is not None and self._fixed_partition is None:
            for partition in set(partitions):
                if partition is not None:
                    self._topic.check_partition(partition)

    def _check_keys(self, keys: Sequence[bytes | None] | None) -> None:
        """Raise KeyRequiredError if the topic wants keys, as of the last append, and one is missing. None: all are."""
        if self._needs_keys and (keys is None or None in keys):
            self._refuse_keyless()

    def _refuse_keyless(self) -> None:
        """Raise KeyRequiredError."""
        raise KeyRequiredError(topic=self._topic.name)

    def _routed(
        self, keys: Sequence[bytes | None], partitions: Sequence[int | None] | None
    ) -> dict[int, Sequence[int]]:
        """Return which of the records go to which partition."""
        fixed = self._fixed_partition
        if fixed is not None or (partitions is None and self._partition_count == 1):
            return {fixed or 0: range(len(keys))}
        chosen_of: dict[int, list[int]] = {}
        partition_of = self._partition
        for at, key in enumerate(keys):
            named = None if partitions is None else partitions[at]
            target = partition_of(key) if named is None else named
            chosen_of.setdefault(target, []).append(at)
        return chosen_of  # type: ignore[return-value]

    def flush(self) -> list[AppendResult]:
        """Append all that is buffered; acknowledged when it returns. Partitions in ascending order.

        Raises whatever PartitionLog.append raises; `records_stored` then counts what is stored all the same, and what
        was not appended is dropped from the buffer, since only the caller knows whether to send it again.

        Where an append began a new segment of a topic that is compacted, that is done last, if enough of the log is new.
        """
        results: list[AppendResult] = []
        with self._lock:
            for partition, batches in self._drained():
                try:
                    with files.about(f"{self._topic.path}/{partition}"):
                        result = self._log(partition).append(batches, self._durability)
                except MkError as error:
                    self._count_failed(error)
                    raise
                self._acknowledge(result, results)
            self._note_flushed()
        if self._rolls is not None and self._may_compact:
            self._rolls.run()
        return results

    def flush_later(self) -> None:
        """Append all that is buffered, as flush does. Where that takes a way, it need not be acknowledged before the next flush.
        What was buffered may be changed when it returns.
        """
        self.flush()

    def _drained(self) -> Iterator[tuple[int, Sequence[EncodedBatch]]]:
        """Yield the batches of each partition; those that are not taken are dropped."""
        self._forget_what_a_parent_buffered()
        if self._input is not None:
            self._check_input(self._input)
            self._input.failed = True  # Until all went well.
        pending = sorted(self._accumulators.items())
        self._accumulators, self._buffered_bytes = {}, 0
        for partition, accumulator in pending:
            if batches := accumulator.drain():
                if self._input is not None:
                    self._input.number(partition, batches)
                yield partition, batches

    def _acknowledge(self, result: AppendResult, results: list[AppendResult]) -> None:
        """Count what an append has stored, add it to `results`, and tell whoever wants to know."""
        if self._input is not None:
            self._input.records_stored_before += result.duplicates
            if result.last_offset < result.first_offset:
                return
        if result.began_segment and self._topic.compacts:
            from mk.producer.roll_compaction import RollCompaction

            self._rolls = self._rolls or RollCompaction(self._topic, lock_wait_ms=self._lock_wait_ms)
            self._rolls.partitions.add(result.partition)
        self.records_stored += result.last_offset - result.first_offset + 1
        results.append(result)
        if self._topic.version != self._version:
            self._adopt_settings()
        if self._on_append is not None:
            self._on_append(result)

    def _count_failed(self, error: MkError) -> None:
        """Count what an append has stored that failed."""
        error.is_of_append = True
        appended = error.facts.pop("records_appended", 0)
        self.records_stored += appended if isinstance(appended, int) else 0

    def _note_flushed(self) -> None:
        """Note that all which was handed over is stored."""
        if self._input is not None:
            self._input.failed = False
            self._input.flushed_sequence = self._input.next_sequence

    @property
    def records_stored_before(self) -> int:
        return 0 if self._input is None else self._input.records_stored_before

    @property
    def next_sequence(self) -> int:
        """The number of the next record in the input of a producer with an id, from 0; -1 without id.

        Set it to go on elsewhere in the input, which flushes; after an error, to send again what was not stored.
        """
        return -1 if self._input is None else self._input.next_sequence

    @next_sequence.setter
    def next_sequence(self, sequence: int) -> None:
        with self._lock:
            if self._input is None or sequence < 0:
                raise ValueError("a sequence is 0 or more, and for a producer with an id")
            if not self._input.failed:
                self.flush()
            self._accumulators, self._buffered_bytes = {}, 0
            self._input.restart_at(sequence)

    @property
    def stored_sequence(self) -> int:
        """The highest sequence that is known to be stored of the input of a producer with an id; -1 if none is."""
        with self._lock:
            if self._input is None:
                return -1
            for partition in range(self._input.pin.partitions):
                self._learn(self._input, partition)
            if self._fixed_partition is not None:
                self._learn(self._input, self._fixed_partition)
            return max(self._input.stored_sequences.values())

    def open_input_mark(self) -> InputMark:
        """Lock and read what is known of the files that a producer with an id follows. The caller closes it."""
        from mk.storage.input_mark import InputMark

        if self._input is None:
            raise ValueError("only the input of a producer with an id is counted")
        return InputMark(self._topic, self._input.pin.name, lock_wait_ms=self._lock_wait_ms)

    def check_input_is_not_followed(self) -> None:
        """Raise UsageError if the input of this producer id is files that are followed, which no other input can be."""
        if self._input is not None:
            self._topic.check_not_followed(self._input.pin.name)

    def skip_sequences(self, count: int) -> None:
        """Count records of the input that are not sent, so that those behind them keep their numbers. Without id: nothing."""
        with self._lock:
            if self._input is not None:
                self._input.next_sequence += count

    def stop_compacting(self) -> None:
        """End the compaction that goes on, and begin none any more. For handlers of signals in the thread of `flush`."""
        self._may_compact = False
        if self._rolls is not None:
            self._rolls.stop()

    def stop_soon(self) -> None:
        """Let the `flush` to come wait for nobody but the disk. For handlers of signals, as stop_compacting is."""
        self.stop_compacting()

    def close(self) -> None:
        """Let go of the partitions. What was not flushed is dropped."""
        if self._rolls is not None and self._may_compact:
            self._rolls.run()
        with self._lock, files.about(self._topic.path):
            self._is_closed, self._accumulators = True, {}
            logs, self._logs = self._logs, {}
            try:
                for log in logs.values():
                    log.close()
            finally:
                self._topic.close()

    @property
    def _partition_count(self) -> int:
        """Over how many partitions keys are spread: with an id, as many as there were when it was first used."""
        return self._topic.partitions if self._input is None else self._input.pin.partitions

    def _adopt_settings(self) -> None:
        """Take from the topic what this producer goes by, when it is opened and when somebody has altered it."""
        topic = self._topic
        self._version = topic.version
        self.max_message_bytes = int(topic.config("max.message.bytes"))
        self.flush_ms = int(topic.config("flush.ms"))
        codec = self._compression or str(topic.config("compression.type"))
        if codec not in CODEC_NAMES:
            raise UsageError(f"there is no compression {codec!a}", fix="it is one of " + ", ".join(CODEC_NAMES))
        self._codec = CODEC_NAMES[codec]
        self._needs_keys = topic.compacts
        self._hash_of_key = None
        if not self._needs_keys:
            for accumulator in self._accumulators.values():
                accumulator.has_all_keys = False  # What comes now need not have one.

    def _partition(self, key: bytes | None, named: int | None = None) -> int:
        if self._fixed_partition is not None:
            return self._fixed_partition
        if named is not None:
            return self._topic.check_partition(named)
        if (count := self._partition_count) == 1:
            return 0
        return self._sticky if key is None else self._key_hash()(key) % count

    def _key_hash(self) -> Callable[[bytes], int]:
        if self._hash_of_key is None:
            from mk.producer.partitioner import key_hash

            # With an id as it was when that was first used, whatever the topic says by now.
            pinned = None if self._input is None else self._input.pin
            self._hash_of_key = key_hash(pinned.partitioner if pinned else self._topic.partitioner)
        return self._hash_of_key

    def _next_sticky(self) -> None:
        """Move records without a key to the next partition: a batch each, so that batches stay large."""
        if self._input is None:
            self._sticky = (self._sticky + 1) % self._topic.partitions

    def _accumulator(self, partition: int) -> RecordAccumulator:
        if self._is_closed:
            raise ValueError("the producer is closed")
        self._forget_what_a_parent_buffered()
        accumulator = self._accumulators.get(partition)
        if accumulator is None:
            accumulator = self._accumulators[partition] = self._new_accumulator()
        return accumulator

    def _new_accumulator(self) -> RecordAccumulator:
        return RecordAccumulator(self._codec, has_all_keys=self._needs_keys)

    def _take(self, input: InputSequence, partition: int, count: int) -> int:
        """Count records of the input, and return how many of them, the first ones, are stored already."""
        self._check_input(input)
        self._learn(input, partition)
        return input.take(partition, count)

    def _learn(self, input: InputSequence, partition: int) -> None:
        if partition not in input.stored_sequences:
            with files.about(f"{self._topic.path}/{partition}"):
                input.stored_sequences[partition] = self._log(partition).last_sequence(input.pin.producer_id)

    def _check_input(self, input: InputSequence) -> None:
        if self._is_closed:
            raise ValueError("the producer is closed")
        if self._pid != os.getpid():
            raise ValueError("a producer with an id cannot be shared with a fork: both would count the same input")
        if input.failed:
            what = f"records from {input.flushed_sequence} on were not stored"
            raise ValueError(f"{what}: set next_sequence to that or less, and send them again")

    def _forget_what_a_parent_buffered(self) -> None:
        """After a fork, let the parent send what waited: both would. Nor take its logs: a thread may have been at them."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._accumulators, self._logs, self._buffered_bytes = {}, {}, 0

    def _log(self, partition: int) -> PartitionLog:
        log = self._logs.get(partition)
        if log is None:
            if len(self._logs) == _MANY_PARTITIONS:
                allow_open_files(_FILES_A_PARTITION * self._topic.partitions)
            log = self._logs[partition] = self._topic.open_log(partition, lock_wait_ms=self._lock_wait_ms)
        return log

    def _flush_if_full(self, added_bytes: int) -> None:
        self._buffered_bytes += added_bytes
        if self._buffered_bytes >= BUFFER_BYTES:
            self.flush_later()
