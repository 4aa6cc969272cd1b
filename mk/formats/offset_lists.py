"""Lists of committed offsets as text that people edit: `group,topic,partition,offset`, as Kafka's tool writes and reads them.

    # a comment
    billing,orders,0,1200
    billing,orders,1,end

Without the group, a line has three fields: then whoever reads the list says which group is meant. A field may stand in double
quotes. A first line that names the columns is passed over. The offset is kept as text: what it may be is for the reader.
"""

from __future__ import annotations

from mk.errors import DataError
from mk.topic_partition import MAX_PARTITIONS, is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

_COLUMNS = ("group", "topic", "partition")


class ListedOffset:
    """One line. group: None if it has three fields. line: its number, from 1, for errors."""

    __slots__ = ("group", "line", "offset", "partition", "topic")

    def __init__(self, group: str | None, topic: str, partition: int, offset: str, line: int) -> None:
        self.group = group
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.line = line


def parse_offset_list(data: bytes, source: str) -> list[ListedOffset]:
    """Read a list. `source` is what errors call it.

    Raises:
        DataError: a line is none of a list, or a partition is there twice. It says which, and nothing is returned.
    """
    import csv

    found: list[ListedOffset] = []
    seen: dict[tuple[str | None, str, int], int] = {}
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(source, data.count(b"\n", 0, error.start) + 1, "it is not UTF-8")
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            (fields,) = csv.reader([line], strict=True, skipinitialspace=True)
        except (csv.Error, ValueError):
            _refuse(source, number, "its quotes do not match")
        fields = [field.strip() for field in fields]
        if not found and tuple(field.lower() for field in fields[:-1]) in (_COLUMNS, _COLUMNS[1:]):
            continue
        if len(fields) not in (3, 4):
            _refuse(source, number, f"it has {len(fields)} fields, not group,topic,partition,offset")
        group = fields[0] if len(fields) == 4 else None
        topic, partition, offset = fields[-3:]
        if group is not None and not is_valid_name(group):
            _refuse(source, number, f"{group!a} cannot be the name of a group")
        if not is_valid_name(topic):
            _refuse(source, number, f"{topic!a} cannot be the name of a topic")
        if not (partition.isascii() and partition.isdigit() and len(partition) < 6 and int(partition) < MAX_PARTITIONS):
            _refuse(source, number, f"{partition!a} is no partition")
        if not offset:
            _refuse(source, number, "the offset is missing")
        place = (group, topic, int(partition))
        if place in seen:
            _refuse(source, number, f"partition {int(partition)} of {topic} is in line {seen[place]} already")
        seen[place] = number
        found.append(ListedOffset(*place, offset, number))
    return found


def format_offset_list(rows: Iterable[tuple[str, str, int, int]]) -> str:
    """Return the lines of a list, given group, topic, partition and offset of each. Names need no quotes."""
    return "".join(f"{group},{topic},{partition},{offset}\n" for group, topic, partition, offset in rows)


def _refuse(source: str, line: int, why: str) -> NoReturn:
    raise DataError(
        f"line {line} of {source} is no committed offset",
        why=why,
        fix="a line is group,topic,partition,offset, as `mk groups export` writes it; nothing was changed",
        source=source,
        line=line,
    )
