"""Records as parallel columns, each with a key, headers and a time of its own: whether they can be stored."""

from __future__ import annotations

from mk.producer.record_accumulator import check_bytes, check_extras, check_lengths, size_of, size_of_columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.records.record import Header


def check_columns(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None],
    headers: Sequence[tuple[Header, ...]],
    timestamps: Sequence[int | None],
    *,
    max_bytes: int,
) -> None:
    """Raise TypeError unless these can be stored, ValueError unless they are columns of one length, RecordTooLargeError."""
    if not len(values) == len(keys) == len(headers) == len(timestamps):
        raise ValueError("the columns are not of one length")
    check_bytes(values)
    check_bytes(keys)
    for own in filter(None, headers):
        check_extras(own, None)
    kinds = set(map(type, timestamps))
    if kinds == {int}:
        timestamps = (min(timestamps), max(timestamps))  # type: ignore[type-var]
    for time in timestamps:
        check_extras((), time)
    if size_of_columns(keys, values, ()) + sum(map(size_of, filter(None, headers))) > max_bytes:
        for value, key, own in zip(values, keys, headers):
            check_lengths((key,), (value,), size_of(own), max_bytes)
