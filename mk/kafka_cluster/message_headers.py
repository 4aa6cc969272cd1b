"""Headers of records as the library takes and gives them: their names are text, and end at a NUL."""

from __future__ import annotations

from mk.errors import DataError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from mk.records.record import Header


class HeaderNameError(Exception):
    """The library cannot send a header of that name. Never leaves this package. why: what is the matter with it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def headers_to_send(headers: Iterable[Header]) -> list[tuple[str, bytes | None]]:
    """Return headers as the library takes them. Raises HeaderNameError for a name that would become another one."""
    found = []
    for name, value in headers:
        if 0 in name:
            raise HeaderNameError("librdkafka would cut it off there")
        try:
            found.append((name.decode(), value))
        except UnicodeDecodeError:
            raise HeaderNameError("in Kafka the names of headers are text") from None
    return found


def given_headers(messages: Sequence[Any], fields: Any) -> list[list[tuple[str, bytes | None]] | None]:
    """Return the headers of some messages as the library gives them. fields: the class of the messages.

    Raises DataError, which says where, for a name that is no UTF-8 text: the library cannot give it, and what is not told
    must not be taken for no header.
    """
    found: list[list[tuple[str, bytes | None]] | None] = []
    try:
        found.extend(map(fields.headers, messages))
    except (SystemError, UnicodeDecodeError):
        # What was found before stays. Asked once more, the library gives half a list, and the process dies of it.
        raise _unreadable(messages[len(found)]) from None
    return found


def _unreadable(message: Any) -> DataError:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    return DataError(
        f"the record at offset {offset} of partition {partition} of {topic} has a header whose name is not UTF-8",
        why="in Kafka the names of headers are text, and librdkafka gives no others",
        fix=f"a format without headers prints it, or read on behind it with -p {partition} -o {offset + 1}",
        topic=topic,
        partition=partition,
        offset=offset,
    )
