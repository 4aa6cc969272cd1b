"""All that a client can ask for: the name of each operation, what must be allowed for it, and the function that does it.

A function is called with the Session and the Fields of the request. It takes its arguments from the fields, each with its
bounds, and says `fields.end()`; checks by `session.check_topic(name)` that the operation is allowed on a topic; and answers
with `session.answer(...)`, after any number of `session.item(...)`. What it raises becomes the answer, but for FarSideError,
which ends the session: the client does not keep to the protocol.
"""

from __future__ import annotations

from mk.server.permissions import PRODUCE, PULL, PUSH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mk.server.session import Session
    from mk.transport.fields import Fields


class Operation:
    """kinds: any of them is enough. home: "module:function", loaded when it is first asked for.

    is_answered: False for one that sends no answer, not even an error: it must keep its errors for a later one. has_body:
    True for one whose requests have a body, `session.channel.body`.
    """

    __slots__ = ("has_body", "home", "is_answered", "kinds", "name")

    def __init__(self, name: str, home: str, *kinds: str, is_answered: bool = True, has_body: bool = False) -> None:
        self.name = name
        self.home = home
        self.kinds = kinds
        self.is_answered = is_answered
        self.has_body = has_body

    def load(self) -> Callable[[Session, Fields], None]:
        import sys

        module, _, function = self.home.partition(":")
        __import__(module)
        run: Callable[[Session, Fields], None] = getattr(sys.modules[module], function)
        return run


_PULLING = "mk.server.pulling"
_PUSHING = "mk.server.pushing"
_CONSUMING = "mk.server.consuming"
_PRODUCING = "mk.server.producing"

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("open_replica", f"{_PULLING}:open_replica", PULL, PUSH),
        Operation("topics", f"{_PULLING}:topics", PULL, PUSH),
        Operation("more_topics", f"{_PULLING}:more_topics", PULL, PUSH),
        Operation("chain_at", f"{_PULLING}:chain_at", PULL, PUSH),
        Operation("digests", f"{_PULLING}:digests", PULL, PUSH),
        Operation("size_bytes", f"{_PULLING}:size_bytes", PULL),
        Operation("read", f"{_PULLING}:read", PULL),
        Operation("committed_offsets", f"{_PULLING}:committed_offsets", PULL),
        Operation("wait", f"{_PULLING}:wait", PULL),
        Operation("note_follower", f"{_PULLING}:note_follower", PULL),
        Operation("fence", f"{_PUSHING}:fence", PUSH),
        Operation("begin", f"{_PUSHING}:begin", PUSH),
        Operation("create_topic", f"{_PUSHING}:create_topic", PUSH),
        Operation("update_topic", f"{_PUSHING}:update_topic", PUSH),
        Operation("follow", f"{_PUSHING}:follow", PUSH),
        Operation("begin_anew", f"{_PUSHING}:begin_anew", PUSH),
        Operation("append", f"{_PUSHING}:append", PUSH, is_answered=False, has_body=True),
        Operation("sync", f"{_PUSHING}:sync", PUSH),
        Operation("advance_log_start", f"{_PUSHING}:advance_log_start", PUSH),
        Operation("close_writer", f"{_PUSHING}:close_writer", PUSH),
        Operation("store_committed_offsets", f"{_PUSHING}:store_committed_offsets", PUSH),
        Operation("note_source", f"{_PUSHING}:note_source", PUSH),
        Operation("open_directory", f"{_CONSUMING}:open_directory", PULL, PRODUCE),
        Operation("topic_names", f"{_CONSUMING}:topic_names", PULL, PRODUCE),
        Operation("open_topic", f"{_CONSUMING}:open_topic", PULL, PRODUCE),
        Operation("close_topic", f"{_CONSUMING}:close_topic", PULL, PRODUCE, is_answered=False),
        Operation("open_reader", f"{_CONSUMING}:open_reader", PULL),
        Operation("close_reader", f"{_CONSUMING}:close_reader", PULL, is_answered=False),
        Operation("fetch", f"{_CONSUMING}:fetch", PULL),
        Operation("offset_for_time", f"{_CONSUMING}:offset_for_time", PULL),
        Operation("batches_backward", f"{_CONSUMING}:batches_backward", PULL),
        Operation("epochs", f"{_CONSUMING}:epochs", PULL),
        Operation("end_of_epoch", f"{_CONSUMING}:end_of_epoch", PULL),
        Operation("committed_offset", f"{_CONSUMING}:committed_offset", PULL),
        Operation("watch", f"{_CONSUMING}:watch", PULL, PRODUCE),
        Operation("describe", f"{_CONSUMING}:describe", PULL, PRODUCE),
        Operation("sample", f"{_CONSUMING}:sample", PULL),
        Operation("make_topic", f"{_PRODUCING}:make_topic", PRODUCE),
        Operation("pin_producer", f"{_PRODUCING}:pin_producer", PRODUCE),
        Operation("check_not_followed", f"{_PRODUCING}:check_not_followed", PRODUCE),
        Operation("last_sequence", f"{_PRODUCING}:last_sequence", PRODUCE),
        Operation("produce", f"{_PRODUCING}:produce", PRODUCE, has_body=True),
    )
}


def register(operation: Operation) -> None:
    """Add an operation, before anything is served."""
    OPERATIONS[operation.name] = operation


__all__ = ["OPERATIONS", "PRODUCE", "PULL", "PUSH", "Operation", "register"]
