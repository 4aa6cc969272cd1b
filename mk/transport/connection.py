"""The client's end of a channel to `mk serve`: the greeting, and one request after another, each with its answer.

An answer is one message, or parts and an end; long ones come as fast as they can, and one that nobody wants to the end is
stopped before the next request. Some requests have no answer: their errors come with the next that has one.
"""

from __future__ import annotations

import os

from mk import __version__
from mk.errors import FarSideError, MkError, PeerUnreachableError, ProtocolVersionError
from mk.transport.channel import ANSWER, ERROR, HIGHEST_VERSION, ITEM, LOWEST_VERSION, MAX_LOCK_WAIT_MS, STOP
from mk.transport.error_codec import take_error
from mk.transport.ssh import RemoteCommand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mk.transport.address import Address
    from mk.transport.channel import Channel
    from mk.transport.fields import Fields

_MAX_VERSION = (1 << 31) - 1
_MAX_AFTER_STOP_BYTES = 256 << 20
"""What can be on its way when an answer is stopped is what ssh and the network hold, some MiB."""


class Connection:
    """A connection to the `mk serve` at an address. Not for two threads. Open until `close`."""

    __slots__ = ("_close", "_explain", "_is_greeted", "_parts", "channel", "peer")

    def __init__(
        self,
        channel: Channel,
        directory: str,
        *,
        allow_network_fs: bool = False,
        lock_wait_ms: int = 10_000,
        explain: Callable[[MkError], MkError] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        """Agree with the far side on a version of the protocol, and ask for a directory: the answer to that is taken later.

        explain: makes of the end of the connection what is known of its cause. close: ends the far side.
        """
        self.channel = channel
        self.peer = channel.peer
        self._explain = explain
        self._close = close
        self._parts: Parts | None = None
        self._is_greeted = False
        fields = self._receive()
        lowest, highest = fields.number(0, _MAX_VERSION), fields.number(0, _MAX_VERSION)
        version = fields.text()
        if lowest > HIGHEST_VERSION or highest < LOWEST_VERSION:
            known = (LOWEST_VERSION, HIGHEST_VERSION)
            raise ProtocolVersionError(peer=self.peer, lowest=lowest, highest=highest, known=known, version=version)
        lock_wait_ms = min(lock_wait_ms, MAX_LOCK_WAIT_MS)
        self._send(min(highest, HIGHEST_VERSION), __version__, directory, allow_network_fs, lock_wait_ms)

    def request(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> Fields:
        """Ask for something, and return the answer, which is one message. Raises what the far side raises."""
        self.post(*values, body=body)
        return self.answer()

    def answer(self) -> Fields:
        """Return the answer, of one message, to the oldest request that was posted and has one. Raises what the far side raises."""
        fields = self._receive_answer()
        if fields.number(ANSWER, ERROR) != ANSWER:
            fields.refuse("an answer has more parts than it may")
        return fields

    def do(self, *values: object) -> None:
        """Ask for something, and see that it is done: the answer says nothing else."""
        self.request(*values).end()

    def parts(self, *values: object) -> Parts:
        """Ask for something whose answer comes in parts, which are received as they are iterated over."""
        self.post(*values)
        # The first request may be on its way before the greeting is answered; what follows is its own answer.
        self._finish_greeting()
        self._parts = Parts(self)
        return self._parts

    def post(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> None:
        """Send a request that has no answer, or one that `answer` is called for, later and in turn."""
        if self._parts is not None:
            self._parts.stop()
        self._send(*values, body=body)

    def close(self) -> None:
        """End the far side, and wait for that."""
        if self._close is not None:
            self._close()

    def next_part(self) -> Fields | None:
        """Return the next part of an answer, None behind the last; for Parts."""
        assert self._parts is not None
        try:
            fields = self._receive_answer()
        except BaseException:
            self._parts = None
            raise
        if fields.number(ANSWER, ERROR) == ITEM:
            return fields
        self._parts.end = fields
        self._parts = None
        return None

    def send_stop(self) -> None:
        """Tell the far side that the rest of an answer is not wanted; for Parts."""
        self._send(STOP)

    def _finish_greeting(self) -> None:
        if not self._is_greeted:
            self._is_greeted = True
            fields = self._receive()
            if (kind := fields.number(ANSWER, ERROR)) == ERROR:
                raise take_error(fields, self.peer)
            if kind != ANSWER:
                fields.refuse("the greeting has more parts than it may")
            fields.text()

    def _receive_answer(self) -> Fields:
        """Return the next message, its kind not taken yet, unless it is an error: that is raised."""
        self._finish_greeting()
        fields = self._receive()
        if fields.peek() == ERROR:
            fields.number()
            raise take_error(fields, self.peer)
        return fields

    def _send(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> None:
        try:
            self.channel.send(*values, body=body)
        except PeerUnreachableError as error:
            raise self._last_word(error) from None

    def _receive(self) -> Fields:
        try:
            fields = self.channel.receive()
            if fields is None:
                raise self.channel.gone("the far side ended it")
            return fields
        except PeerUnreachableError as error:
            raise self._explained(error) from None

    def _last_word(self, error: MkError) -> MkError:
        """Return why nobody takes what we send: the far side may have said so before it went."""
        try:
            while (fields := self.channel.receive()) is not None:
                if fields.peek() == ERROR:
                    fields.number()
                    return take_error(fields, self.peer)
        except MkError:
            pass
        return self._explained(error)

    def _explained(self, error: MkError) -> MkError:
        return self._explain(error) if self._explain is not None else error


class Parts:
    """An answer in parts. end: the head of its end, once all parts were taken."""

    __slots__ = ("_connection", "_is_stopped", "end")

    end: Fields

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_stopped = False

    def __iter__(self) -> Iterator[Fields]:
        while (fields := self.next()) is not None:
            yield fields

    def next(self) -> Fields | None:
        """Return the next part, None behind the last. Raises what the far side raises."""
        if self._is_stopped:
            raise RuntimeError("an answer is read on behind the request after it")
        return self._connection.next_part()

    def stop(self) -> None:
        """Have no more parts come, and drop those that are on their way."""
        self._is_stopped = True
        connection = self._connection
        connection.send_stop()
        dropped = 0
        try:
            while connection.next_part() is not None:
                dropped += connection.channel.frame_bytes
                if dropped > _MAX_AFTER_STOP_BYTES:
                    raise FarSideError(
                        f"{connection.peer} does not stop sending what it was asked to stop",
                        why=f"{dropped} bytes came after that",
                        fix="the connection was given up",
                    )
        except (FarSideError, PeerUnreachableError):
            raise
        except MkError:
            pass  # The answer that nobody wants ended with an error that nobody waits for.


def connect(
    address: Address,
    *,
    rsh: str | None = None,
    allow_network_fs: bool = False,
    lock_wait_ms: int = 10_000,
    environ: Mapping[str, str] | None = None,
) -> Connection:
    """Run `mk serve --stdio` at an address and return the connection to it.

    rsh: the command in place of ssh. Raises PeerUnreachableError, FarSideError, ProtocolVersionError.
    """
    command = RemoteCommand(address, rsh=rsh, environ=os.environ if environ is None else environ)
    try:
        return Connection(
            command.channel,
            address.directory,
            allow_network_fs=allow_network_fs,
            lock_wait_ms=lock_wait_ms,
            explain=command.explain,
            close=command.close,
        )
    except BaseException:
        command.close()
        raise
