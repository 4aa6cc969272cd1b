"""What a member's file says: who it is, what it reads for the group, and that it moves.

    0    heartbeat=00000000000000000042 crc=1c9d2a3b        a counter, overwritten as long as the member runs
    512  member=... host=... and so on, a line each          written when it joins, and when its topics change

Pure: bytes in, bytes out. Whose file it is, and who is alive, is for membership.
Format: man/mk-format.5, MEMBERS.
"""

from __future__ import annotations

from mk.records.codecs import crc32c
from mk.topic_partition import is_valid_name

HEARTBEAT_SIZE = 64
DOCUMENT_POSITION = 512
"""In another sector than the counter, so that no torn write of that one spoils it."""

MAX_DOCUMENT_BYTES = 1 << 20
_ALL = "*"
_MAX_COMMAND = 500
_DAY_MS = 86_400_000
_NUMBERS = ("pid", "since", "session_timeout")


class Member:
    """A process that reads for a group.

    topics: id and name of each that it reads. partitions: the numbers that it takes of each topic, None for all.
    since_ms: when it joined. session_timeout_ms: after so long without a heartbeat the others take its partitions.
    """

    __slots__ = (
        "boot_id",
        "command",
        "host",
        "member_id",
        "partitions",
        "pid",
        "session_timeout_ms",
        "since_ms",
        "topics",
        "user",
    )

    def __init__(
        self,
        member_id: str,
        *,
        host: str,
        pid: int,
        user: str,
        boot_id: str,
        command: str,
        topics: dict[str, str],
        partitions: tuple[int, ...] | None,
        since_ms: int,
        session_timeout_ms: int,
    ) -> None:
        self.member_id = member_id
        self.host = host
        self.pid = pid
        self.user = user
        self.boot_id = boot_id
        self.command = command
        self.topics = topics
        self.partitions = partitions
        self.since_ms = since_ms
        self.session_timeout_ms = session_timeout_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.member_id)

    def __repr__(self) -> str:
        return f"<Member {self.member_id} on {self.host}, process {self.pid}>"

    def takes(self, topic_id: str, partition: int) -> bool:
        """Tell whether the member may own a partition."""
        return topic_id in self.topics and (self.partitions is None or partition in self.partitions)

    def encode(self) -> bytes:
        """Return what stands in the file behind the heartbeat."""
        partitions = _ALL if self.partitions is None else ",".join(map(str, self.partitions))
        lines = [
            f"member={self.member_id}",
            f"host={_one_line(self.host)}",
            f"pid={self.pid}",
            f"user={_one_line(self.user)}",
            f"boot_id={self.boot_id}",
            f"since={self.since_ms}",
            f"session_timeout={self.session_timeout_ms}",
            f"command={_one_line(self.command)[:_MAX_COMMAND]}",
            f"partitions={partitions}",
            *(f"topic={topic_id} {name}" for topic_id, name in self.topics.items()),
            "",
        ]
        body = "\n".join(lines).encode(errors="replace")
        return b"%bcrc=%08x\n" % (body, crc32c(body))


def decode_member(document: bytes) -> Member | None:
    """Read what stands behind the heartbeat; None if it is torn, damaged, or no member's. Unknown lines are ignored."""
    body, _, crc = document.rpartition(b"crc=")
    if len(document) > MAX_DOCUMENT_BYTES or crc.rstrip() != b"%08x" % crc32c(body):
        return None
    fields: dict[str, str] = {}
    topics: dict[str, str] = {}
    try:
        for line in body.decode().splitlines():
            name, _, value = line.partition("=")
            if name == "topic":
                topic_id, _, topic = value.partition(" ")
                if len(topic_id) != 32 or not topic_id.isalnum() or not is_valid_name(topic):
                    return None
                topics[topic_id] = topic
            else:
                fields[name] = value
        pid, since_ms, session_timeout_ms = (int(fields[name]) for name in _NUMBERS)
        partitions = None
        if fields["partitions"] != _ALL:
            partitions = tuple(int(number) for number in fields["partitions"].split(",") if number)
        if not 0 <= since_ms < 1 << 63 or not 0 < session_timeout_ms <= _DAY_MS or not is_member_id(fields["member"]):
            return None
        return Member(
            fields["member"],
            host=fields["host"],
            pid=pid,
            user=fields["user"],
            boot_id=fields["boot_id"],
            command=fields["command"],
            topics=topics,
            partitions=partitions,
            since_ms=since_ms,
            session_timeout_ms=session_timeout_ms,
        )
    except (ValueError, KeyError):
        return None


def is_member_id(name: str) -> bool:
    """Tell whether that is how a member, and its file, is called: 32 hexadecimal digits."""
    return len(name) == 32 and not name.strip("0123456789abcdef")


def encode_heartbeat(counter: int) -> bytes:
    """Return the counter as it stands at the start of the file, 64 bytes."""
    line = b"heartbeat=%020d" % counter
    return (b"%b crc=%08x\n" % (line, crc32c(line))).ljust(HEARTBEAT_SIZE, b"\0")


def decode_heartbeat(data: bytes) -> int | None:
    """Return the counter, or None if it is being written, or damaged."""
    line, _, crc = data.rstrip(b"\0\n").partition(b" crc=")
    if line.startswith(b"heartbeat=") and line[10:].isdigit() and crc == b"%08x" % crc32c(line):
        return int(line[10:])
    return None


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
