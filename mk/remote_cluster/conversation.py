"""Requests and answers over one connection, several on their way at once, and what the far side has told of what is open there.

Answers come in the order of the requests. So whoever needs one takes those before it in as well: each is kept for whoever asked.
Where partitions and topics stand is told with the answers, and by a watch: a request that the far side answers when something
has changed, or when we ask for anything else. As long as one is on its way, what we know is how it stands there.
"""

from __future__ import annotations

from collections import deque
from time import monotonic

from mk.errors import FarSideError, MkError, PeerUnreachableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.remote_cluster.remote_reader import RemotePartitionReader
    from mk.remote_cluster.remote_topic import RemoteTopic
    from mk.transport.connection import Connection
    from mk.transport.fields import Fields

WATCH_MS = 30_000
"""How long a watch waits: an answer now and then shows that the far side is there."""

_FRESH_SECONDS = 0.02
"""What was told so short a time ago is not asked for again: a round of partitions asks once."""

_MAX_NEWS = 1 << 20
_MOST_WAITING = 512
"""Requests on their way: they, and answers that are as short, go into a pipe while nobody reads it."""


class Pending:
    """A request whose answer is on its way. fields, body: the answer, once it is there; error: what was answered instead.

    reader: whose partition the answer begins with the state of, which counts as told when it has come, wanted or not.
    high_watermark: in that state.
    """

    __slots__ = ("body", "error", "fields", "high_watermark", "is_done", "is_wanted", "reader")

    fields: Fields
    body: bytes

    def __init__(self) -> None:
        self.is_done = False
        self.is_wanted = True
        self.reader: RemotePartitionReader | None = None
        self.high_watermark = 0
        self.error: MkError | None = None


class Conversation:
    """All that is said to one `mk serve`, and what it has open for us. Not for two threads.

    names_version, topics_version: grow when topics came or went there, or changed. body: of the answer that was waited for last.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.topics: dict[int, RemoteTopic] = {}
        self.readers: dict[int, RemotePartitionReader] = {}
        # That were asked for: what a watch said of them since then.
        self.opening: dict[int, tuple[int, int, int] | None] = {}
        self.names_version = 0
        self.topics_version = 0
        self.ahead_bytes = 0
        self.body = b""
        self._waiting: deque[Pending] = deque()
        self._watch: Pending | None = None
        self._looked_at = 0.0
        self._numbers = 0
        self._is_over = False

    def new_number(self) -> int:
        """Return a number that stands for nothing yet."""
        self._numbers += 1
        return self._numbers

    def post(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> Pending:
        """Send a request, and return what its answer will come in."""
        pending = Pending()
        while len(self._waiting) >= _MOST_WAITING:
            # Else both sides could wait, each for the other to read.
            self._take_in()
        self.say(*values, body=body)
        self._waiting.append(pending)
        return pending

    def say(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> None:
        """Send a request that has no answer."""
        is_said = False
        try:
            self.connection.post(*values, body=body)
            is_said = True
        finally:
            # Part of a message may be on its way, and nothing can follow that.
            self._is_over = self._is_over or not is_said

    def mention(self, *values: object) -> None:
        """Say something that is of no use any more when the connection has ended."""
        if not self._is_over:
            try:
                self.say(*values)
            except PeerUnreachableError:
                pass

    def wait_for(self, pending: Pending) -> Fields:
        """Return the answer to a request. Raises what the far side raised, PeerUnreachableError and FarSideError."""
        while not pending.is_done:
            self._take_in()
        if pending.error is not None:
            raise pending.error
        self.body = pending.body
        return pending.fields

    def request(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> Fields:
        """Send a request, and return the answer."""
        return self.wait_for(self.post(*values, body=body))

    # What is known of the far side.

    def look(self) -> None:
        """See that what is known of topics and partitions is how they stand there now."""
        if self._watch is not None:
            self.take_in_arrived()
        elif monotonic() - self._looked_at > _FRESH_SECONDS:
            self._adopt(self.request("watch", 0))

    def begin_watch(self) -> None:
        """Have the far side tell when something changes that is not known here; what is said next ends that."""
        if self._watch is None:
            self._watch = self.post("watch", WATCH_MS)

    def take_in_arrived(self) -> None:
        """Take in the answers that are there already."""
        while self._waiting and self.connection.channel.has_input():
            self._take_in()

    def close(self) -> None:
        """End the far side. It has stored what it acknowledged."""
        self._is_over = True
        self.connection.close()

    def _take_in(self) -> None:
        """Receive the next answer, for whichever request it is."""
        pending = self._waiting.popleft()
        is_kept = False
        try:
            pending.fields = self.connection.answer()
            if pending.reader is not None:
                # Now, and not when somebody wants the records: the far side does not tell it again, and a follower that
                # believes that it has all of them would wait for a watch that has nothing to say.
                pending.high_watermark = pending.reader.take_state(pending.fields)
            is_kept = True
        except (FarSideError, PeerUnreachableError):
            raise
        except MkError as error:
            pending.error = error
            is_kept = True
        finally:
            if not is_kept:
                # Part of an answer may be taken. What waits keeps waiting, for whoever counts it.
                self._waiting.appendleft(pending)
                self._is_over = True
        pending.is_done = True
        if pending is self._watch:
            self._watch = None
            if pending.error is not None:
                raise pending.error
            self._adopt(pending.fields)
        elif pending.error is None and pending.is_wanted:
            # A copy: whoever has these records may ask for other things before he is done with them.
            pending.body = bytes(self.connection.channel.body)

    def _adopt(self, fields: Fields) -> None:
        """Take over what a watch says."""
        self._looked_at = monotonic()
        if fields.flag():
            self.names_version += 1
        for _ in range(fields.number(0, _MAX_NEWS)):
            number = fields.number()
            reader = self.readers.get(number)
            state = fields.number(), fields.number(), fields.number(0, (1 << 64) - 1)
            if reader is not None:
                reader.adopt(*state)
            elif number in self.opening:
                self.opening[number] = state
        for _ in range(fields.number(0, _MAX_NEWS)):
            self.topics_version += 1
            topic = self.topics.get(fields.number())
            is_deleted = fields.flag()
            image = take_news(fields)
            if topic is not None:
                topic.adopt(image, is_deleted=is_deleted)
        fields.end()


def take_news(fields: Fields) -> dict[str, object] | None:
    """Take what is new of a topic, as topic.json has it; None if nothing is."""
    return take_image(fields) if fields.flag() else None


def take_image(fields: Fields) -> dict[str, object]:
    """Take what the far side tells of a topic."""
    from mk.topic_partition import MAX_PARTITIONS

    image: dict[str, object] = {
        "topic_id": fields.id(),
        "partitions": fields.number(1, MAX_PARTITIONS),
        "partitioner": fields.text(),
        "created": fields.text(),
        "sealed": fields.text(),
        "sealed_by": fields.text(),
    }
    for _ in range(fields.number(0, 1000)):
        name = fields.text()
        image.setdefault(name, fields.scalar(4096))
    return image
