"""The environment of a child: what describes the record that it is given.

A variable cannot hold everything that a record can: no NUL byte, and no more than the kernel takes. So a key is there a
second time in base64, and what does not fit is left out and named in MK_REC_OMITTED.
"""

from __future__ import annotations

import json
import os
from binascii import b2a_base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.records.record import ConsumerRecord, Header

_PREFIX = b"MK_REC_"
_MOST_BYTES = 90 << 10
"""Of one variable, in base64 too. Linux takes 128 KiB of one, and it may need its share of all."""

VARIABLES = (
    ("MK_REC_TOPIC", "the topic"),
    ("MK_REC_PARTITION", "the partition"),
    ("MK_REC_OFFSET", "the offset; with --batch that of the first record"),
    ("MK_REC_TRY", "1 at the first try, 2 at the second; counted from 1 again when mk is started again"),
    ("MK_REC_ID", "the same whenever this record is handed over, and never that of another one"),
    ("MK_REC_KEY", "the key; not set without one, and if it holds a NUL byte"),
    ("MK_REC_KEY_B64", "the key in base64; not set without one"),
    ("MK_REC_TS", "the time of the record, in milliseconds since 1970"),
    ("MK_REC_HEADERS", "the headers as JSON, as -J prints them: [[NAME, VALUE], ...]"),
    ("MK_REC_NULL", "1 if the value is null (a tombstone); not set otherwise"),
    ("MK_REC_OMITTED", "the names of variables that are left out because they are too long"),
    ("MK_REC_LAST_OFFSET", "with --batch: the offset of the last record"),
    ("MK_REC_COUNT", "with --batch: how many records there are"),
)
"""For people. With --batch, what differs from record to record is not set: -J has it."""


def base_environment() -> dict[bytes, bytes]:
    """Return our own environment, without what a consumer around us says of its record."""
    return {name: value for name, value in os.environb.items() if not name.startswith(_PREFIX)}


def describe_record(record: ConsumerRecord, topic_id: str, tries: int) -> dict[bytes, bytes]:
    """Return the variables for one record."""
    found = _place(record, tries, f"{topic_id}-{record.partition}-{record.offset}")
    found["TS"] = b"%d" % record.timestamp_ms
    if record.value is None:
        found["NULL"] = b"1"
    omitted = []
    headers = _headers(record.headers)
    if len(headers) <= _MOST_BYTES:
        found["HEADERS"] = headers
    else:
        omitted.append("MK_REC_HEADERS")
    if record.key is not None:
        encoded = b2a_base64(record.key, newline=False)
        if len(encoded) > _MOST_BYTES:
            omitted += ["MK_REC_KEY", "MK_REC_KEY_B64"]
        else:
            found["KEY_B64"] = encoded
            if b"\0" not in record.key:
                found["KEY"] = record.key
    if omitted:
        found["OMITTED"] = " ".join(omitted).encode()
    return _prefixed(found)


def describe_batch(records: Sequence[ConsumerRecord], topic_id: str, tries: int) -> dict[bytes, bytes]:
    """Return the variables for some records together."""
    first, last = records[0], records[-1]
    found = _place(first, tries, f"{topic_id}-{first.partition}-{first.offset}-{last.offset}")
    found["LAST_OFFSET"] = b"%d" % last.offset
    found["COUNT"] = b"%d" % len(records)
    return _prefixed(found)


def _place(record: ConsumerRecord, tries: int, identity: str) -> dict[str, bytes]:
    return {
        "TOPIC": record.topic.encode(),
        "PARTITION": b"%d" % record.partition,
        "OFFSET": b"%d" % record.offset,
        "TRY": b"%d" % tries,
        "ID": identity.encode(),
    }


def _prefixed(found: dict[str, bytes]) -> dict[bytes, bytes]:
    return {_PREFIX + name.encode(): value for name, value in found.items()}


def _headers(headers: Sequence[Header]) -> bytes:
    """Return headers as `mk consume -J` prints them: a name or value that is no text becomes {"b64": "..."}."""

    def item(data: bytes | None) -> object:
        if data is None:
            return None
        try:
            return data.decode()
        except UnicodeDecodeError:
            return {"b64": b2a_base64(data, newline=False).decode()}

    pairs = [[item(name), item(value)] for name, value in headers]
    return json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode()
