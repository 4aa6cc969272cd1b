"""What a far side tells of topics for people, as JSON: proved to be what `mk topics` and `mk top` print before anybody looks into it.

A newer far side may say more than is known here; less, or another thing, is refused.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.transport.fields import Fields

_MAX_NUMBER = 1 << 63
_MAX_SPANS = 100
_TIME = range(253_402_300_800_000)  # to the year 9999
_MAYBE_TEXT, _MAYBE_TIME, _VALUE = (str, None), (_TIME, None), (str, int, bool, None)

_OFFSETS: dict[str, object] = {"partition": int, "log_start_offset": int, "high_watermark": int, "leader_epoch": int}
_SUMMARY: dict[str, object] = {
    "topic": str,
    "partitions": int,
    "records": int,
    "size_bytes": int,
    "last_write_ms": _MAYBE_TIME,
    "leads": bool,
    "leader": _MAYBE_TEXT,
}
_SETTINGS: dict[str, object] = {
    "topic": str,
    "topic_id": str,
    "directory_id": str,
    "created": _MAYBE_TEXT,
    "sealed": _MAYBE_TEXT,
    "sealed_by": _MAYBE_TEXT,
    "partitioner": str,
    "partition_count": int,
    "config": {str: _VALUE},
    "defaults": {str: _VALUE},
    "overrides": {str: _VALUE},
}
_REPLICA: dict[str, object] = {
    "directory_id": str,
    "address": _MAYBE_TEXT,
    "role": str,
    "next_offset": (int, None),
    "lag": (int, None),
    "lag_ms": (int, None),
    "in_sync": (bool, None),
    "seen_ms": _MAYBE_TIME,
}
_PARTITION: dict[str, object] = {
    **_OFFSETS,
    "records": int,
    "leader": str,
    "segments": int,
    "size_bytes": int,
    "last_write_ms": _MAYBE_TIME,
    "failed": bool,
    "leader_address": _MAYBE_TEXT,
    "replicas": [_REPLICA],
}
_RATES: dict[str, object] = {
    f"{what}_per_s_{window}": (float, int) for what in ("records", "bytes") for window in ("1m", "1h")
}
_MEMBER: dict[str, object] = {
    "member": str,
    "host": _MAYBE_TEXT,
    "pid": (int, None),
    "user": _MAYBE_TEXT,
    "command": _MAYBE_TEXT,
    "since_ms": _MAYBE_TIME,
}
_COMMITTED: dict[str, object] = {
    "topic": str,
    "topic_id": str,
    "partition": int,
    "committed_offset": (int, None),
    "committed_ms": _MAYBE_TIME,
    "lag": (int, None),
    "is_replicated": bool,
    "member": _MAYBE_TEXT,
    "problem": _MAYBE_TEXT,
}
_SAMPLED_PARTITION: dict[str, object] = {
    "partition": int,
    "leader": _MAYBE_TEXT,
    "leader_epoch": (int, None),
    "log_start_offset": (int, None),
    "high_watermark": (int, None),
    "size_bytes": (int, None),
    "last_write_ms": _MAYBE_TIME,
    "failed": bool,
    "run": int,
    "appended_bytes": int,
    "problem": _MAYBE_TEXT,
}
_SEEN: dict[str, object] = {"topic": str, "partition": int, "next_offset": int, "lag": (int, None), "seen_ms": _TIME}
_SAMPLE: dict[str, object] = {
    "directory_id": str,
    "clock_ms": (float, int),
    "time_ms": _TIME,
    "topics": [{"topic": str, "topic_id": _MAYBE_TEXT, "problem": _MAYBE_TEXT, "partitions": [_SAMPLED_PARTITION]}],
    "groups": (
        None,
        [
            {
                "group": str,
                "members": [_MEMBER],
                "lag": (int, None),
                "last_commit_ms": _MAYBE_TIME,
                "problem": _MAYBE_TEXT,
                "offsets": [_COMMITTED],
            }
        ],
    ),
    "replicas": [
        {
            "directory_id": str,
            "address": _MAYBE_TEXT,
            "role": str,
            "lag": (int, None),
            "seen_ms": _TIME,
            "partitions": [_SEEN],
        }
    ],
    "unseen": [{"what": str, "why": str}],
}
_SHAPES: dict[str, object] = {
    "summary": _SUMMARY,
    "offsets": [_OFFSETS],
    "settings": _SETTINGS,
    "topic": {**_SETTINGS, "records": int, "size_bytes": int, "partitions": [_PARTITION]},
    "rates": [_RATES],
    "config": {"retention.ms": int, str: _VALUE},
    "times": {"from_ms": _MAYBE_TIME, "step_ms": (range(1, 1 << 40), None), "records": [int]},
    "sample": _SAMPLE,
}


def take_document(what: str, data: bytes, fields: Fields) -> Any:
    """Return the document that came. Raises FarSideError, for the answer that `fields` is of, if it is not `what`."""
    try:
        document = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        fields.refuse("a description is no JSON")
    if not _fits(document, _SHAPES[what]) or (what == "times" and len(document["records"]) > _MAX_SPANS):
        fields.refuse("it is no sample" if what == "sample" else f"it is no description of the {what} of a topic")
    return document


def _refuse(word: str) -> None:
    raise ValueError(word)


def _fits(value: object, shape: Any) -> bool:
    if isinstance(shape, type):
        return type(value) is shape and (not isinstance(value, (int, float)) or abs(value) < _MAX_NUMBER)
    if isinstance(shape, tuple):
        return any(_fits(value, one) for one in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(_fits(one, shape[0]) for one in value)
    if isinstance(shape, range):
        return type(value) is int and value in shape
    if shape is None:
        return value is None
    if not isinstance(value, dict):
        return False
    others = shape.get(str)
    return all(name in value and _fits(value[name], one) for name, one in shape.items() if name is not str) and (
        others is None or all(_fits(one, others) for one in value.values())
    )
