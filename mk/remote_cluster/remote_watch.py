"""Waiting for another host: it tells when something changes there, and meanwhile we heed what a Watch heeds here."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.remote_cluster.conversation import Conversation

_EVENT_BYTES = 4096


class RemoteWatch:
    """With the methods of a Watch, for all that is open in a conversation."""

    __slots__ = ("_conversation", "_output_fd", "_poll", "_read_fd", "_wakers")

    def __init__(self, conversation: Conversation, *, output_fd: int | None = None) -> None:
        import select

        self._conversation = conversation
        self._poll = select.poll()
        self._read_fd = conversation.connection.channel.read_fd
        self._poll.register(self._read_fd, select.POLLIN)
        self._wakers: set[int] = set()
        self._output_fd = -1 if output_fd is None else output_fd
        if output_fd is not None:
            self._poll.register(output_fd, 0)  # An error is reported unasked.

    def add(self, path: str) -> None:
        """All that is open is watched already."""

    def add_directory(self, path: str) -> None:
        """So are the names of topics, and their topic.json."""

    def add_waker(self, fd: int) -> None:
        """End a wait also when there is something to read from `fd`, which must not block. It is read away."""
        import select

        self._wakers.add(fd)
        self._poll.register(fd, select.POLLIN)

    def wait(self, timeout_ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Sleep until something may have changed there, at most `timeout_ms`. Returns whether topics came, changed or went.

        until: not asked: the far side tells when there is more, and not when something is written to.

        Raises BrokenPipeError when the reader of `output_fd` has gone.
        """
        conversation = self._conversation
        before = conversation.names_version, conversation.topics_version
        conversation.begin_watch()
        if not conversation.connection.channel.has_input():
            for fd, _ in self._poll.poll(timeout_ms):
                if fd == self._output_fd:
                    raise BrokenPipeError
                if fd in self._wakers:
                    try:
                        os.read(fd, _EVENT_BYTES)
                    except BlockingIOError:
                        continue
        conversation.take_in_arrived()
        return before != (conversation.names_version, conversation.topics_version)

    def close(self) -> None:
        """Nothing is held: the far side forgets its watch with the next request."""
