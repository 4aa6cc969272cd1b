"""Records as a stream of msgpack, both ways: for programs, and for whatever no text can hold.

A record is an array of seven, in the order of the JSON objects:

    0  str       topic
    1  int       partition
    2  int       offset
    3  int       time, milliseconds since 1970
    4  array     headers: arrays of two, name (bin) and value (bin or nil)
    5  bin, nil  key
    6  bin, nil  value

One follows the other with nothing between. Whoever writes such a stream may leave the first four nil, and headers too, and
may write text where bytes are meant: it counts as its UTF-8.
"""

from __future__ import annotations

from mk.formats.record_columns import MAX_FRAME_BYTES, BadRecordError, RecordColumns
from mk.records.codecs import CodecError, Unpacker, pack_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from mk.records.record import ConsumerRecord

_TAKEN = 1024
"""Records that are decoded at once."""

_BYTES_OR_NONE = {bytes, type(None)}
_INT_OR_NONE = {int, type(None)}


def write_frames(records: Iterable[ConsumerRecord]) -> bytes:
    """Return records as frames."""
    return pack_each(
        (record.topic, record.partition, record.offset, record.timestamp_ms, record.headers, record.key, record.value)
        for record in records
    )


class FrameReader:
    """Cuts a stream into records. Fed in pieces of any length; what is incomplete waits.

    Once a frame was no msgpack, nothing behind it can be told from anything else: `is_lost`.
    """

    def __init__(self) -> None:
        self._unpacker = Unpacker(MAX_FRAME_BYTES)
        self._frames: list[object] = []
        self._at = 0
        self._failure = ""
        self._has_ended = False
        self.is_lost = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes fed that no whole frame holds: at the end of the input, a frame that was cut off."""
        return self._unpacker.waiting_bytes

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream. Raises BadRecordError if a frame is longer than any can be."""
        try:
            self._unpacker.feed(data)
        except CodecError as error:
            self.is_lost = True
            raise BadRecordError(str(error)) from None

    def end(self) -> None:
        """Say that nothing more will come: what waits is a frame that was cut off."""
        self._has_ended = True

    def read(self, columns: RecordColumns, most: int) -> None:
        """Append the next whole records, at most so many, and some thousand of them at once.

        Raises BadRecordError at one that is none; those before it are appended, and it is passed over.
        """
        if self._at == len(self._frames):
            self._frames, self._at = [], 0
            if not self._failure:
                try:
                    self._unpacker.take(self._frames, min(most, _TAKEN))
                except CodecError as error:
                    self._failure = str(error)  # Of the frame behind those that were taken.
            if self._failure and not self._frames:
                self.is_lost = True
                raise BadRecordError(self._failure)
            if self._has_ended and not self._frames and self.waiting_bytes:
                self.is_lost = True
                raise BadRecordError("the input ends within it")
        end = min(len(self._frames), self._at + most)
        while self._at < end:
            frame = self._frames[self._at]
            self._at += 1
            _append(columns, frame)


def _append(columns: RecordColumns, frame: object) -> None:
    if type(frame) is not list or len(frame) != 7:
        raise BadRecordError("it is no array of seven, as `mk help formats` has it")
    topic, partition, offset, timestamp_ms, headers, key, value = frame
    if not _INT_OR_NONE.issuperset((type(partition), type(offset), type(timestamp_ms))):
        raise BadRecordError("its partition, offset and time are not integers, or nil")
    if not _BYTES_OR_NONE.issuperset((type(topic), type(key), type(value))):
        raise BadRecordError("its topic, key and value are not text or bytes, or nil")
    if topic is not None:
        try:
            topic = topic.decode()
        except UnicodeDecodeError:
            raise BadRecordError("its topic is not UTF-8") from None
    columns.append(value, key, _headers(headers) if headers else (), timestamp_ms, partition, topic)


def _headers(headers: object) -> tuple[tuple[bytes, bytes | None], ...]:
    if type(headers) is not list:
        raise BadRecordError("its headers are no array")
    pairs = []
    for pair in headers:
        if (
            type(pair) is not list
            or len(pair) != 2
            or type(pair[0]) is not bytes
            or type(pair[1]) not in _BYTES_OR_NONE
        ):
            raise BadRecordError("its headers are not arrays of two, name and value")
        pairs.append((pair[0], pair[1]))
    return tuple(pairs)
