"""Looking for keys in a batch: by its header where that says enough, and without making records of it.

Pure: no files, no clock, no locks.
"""

from __future__ import annotations

from mk.records.codecs import decompress, unpack
from mk.records.record_batch import CODEC_MASK, CONTROL, KIND_MASK, NO_KEY, RecordBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.records.record import ConsumerRecord
    from mk.records.record_batch import EncodedBatch


def may_hold_key(batch: RecordBatch, key: bytes) -> bool:
    """Tell by the header alone whether a record of the batch may have this key."""
    if batch.attributes & CONTROL or not batch.record_count:
        return False
    return bool(batch.attributes & KIND_MASK) or batch.key_length == len(key)


def may_hold_keys(batch: RecordBatch) -> bool:
    """Tell by the header alone whether a record of the batch may have a key at all."""
    if batch.attributes & CONTROL or not batch.record_count:
        return False
    return bool(batch.attributes & KIND_MASK) or batch.key_length >= 0


def holds_keys(batch: RecordBatch) -> bool:
    """Tell whether a record of the batch has a key. Of columns, the payload must have been read."""
    if not may_hold_keys(batch):
        return False
    if not batch.attributes & KIND_MASK:
        return True
    keys = batch.columns()[1]
    return keys is not None and any(key is not None for key in keys)


def lacks_keys(batch: EncodedBatch) -> bool:
    """Tell whether a record of a batch that is to be appended has no key; an empty one is a key.

    Of columns, the payload is unpacked for it, the first time: whoever made the batch may have said it in `has_all_keys`.
    """
    if batch.has_all_keys is None:
        if not batch.attributes & KIND_MASK:
            batch.has_all_keys = batch.key_length != NO_KEY
        else:
            codec = batch.attributes & CODEC_MASK
            raw = b"".join(batch.payload)
            columns: Any = unpack(decompress(codec, raw, batch.raw_length) if codec else raw)
            keys = columns[1]
            batch.has_all_keys = keys is not None and None not in keys
    return not batch.has_all_keys


def last_with_key(
    batch: RecordBatch, key: bytes, topic: str, partition: int, first_offset: int
) -> ConsumerRecord | None:
    """Return the last record of the batch with this key, from `first_offset` on; the payload must have been read.

    Raises CodecError where the payload is not what the header says.
    """
    if not may_hold_key(batch, key):
        return None
    raw = bytes(batch._raw())
    if not batch.attributes & KIND_MASK:
        if raw[: len(key)] != key:
            return None
    elif key not in raw:
        return None  # Searched as bytes, it is not there: unpacking would cost many times that.
    found = None
    for records in batch.record_slices(topic, partition):
        for record in records:
            if record.key == key and record.offset >= first_offset:
                found = record
    return found
