"""One client of `mk serve`: greets it, opens the directory that it names, and does what it asks for, one after another.

Never trusts it. What is unknown, malformed, too much or out of order ends the session; what fails is answered with the error.
A client that goes away ends it silently: what it had pushed is on disk as far as it asked for that.
"""

from __future__ import annotations

import os
import sys

from mk import __version__
from mk.errors import (
    FarSideError,
    MkError,
    NoSuchTopicError,
    PeerUnreachableError,
    PermissionDeniedError,
    ProtocolVersionError,
    StorageError,
)
from mk.server.operations import OPERATIONS, Operation
from mk.transport.channel import ANSWER, ERROR, HIGHEST_VERSION, ITEM, LOWEST_VERSION, MAX_LOCK_WAIT_MS, STOP, Channel
from mk.transport.error_codec import error_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mk.replication.replica import Replica, TopicImage
    from mk.server.open_topics import OpenTopics
    from mk.server.permissions import Permissions
    from mk.server.pushing import PushedWriter
    from mk.transport.fields import Fields

_MAX_PATH = 4096
_MAX_VERSION = (1 << 31) - 1


class Stopping(BaseException):
    """A signal asked the process to stop, while it waited for the client or for room to answer."""


class Session:
    """What is known of the client, for the operations. See mk.server.operations for how they use it.

    path: the directory that it works with. replica: that directory, once it was opened. writers: by their numbers, the
    partitions that it pushes to. listings: iterations over topics. listed: the ids of topics that it has been told of, or
    has made. opened: the topics and partitions that it produces to and consumes, once it has asked for that.
    """

    __slots__ = (
        "_in_channel",
        "_operation",
        "_stopped",
        "allow_network_fs",
        "channel",
        "default",
        "listed",
        "listings",
        "lock_wait_ms",
        "opened",
        "path",
        "permissions",
        "replica",
        "root",
        "writers",
    )

    def __init__(self, channel: Channel, permissions: Permissions, *, root: str | None, default: str) -> None:
        self.channel = channel
        self.permissions = permissions
        self.root = root
        self.default = default
        self.path = ""
        self.allow_network_fs = False
        self.lock_wait_ms = 0
        self.replica: Replica | None = None
        self.opened: OpenTopics | None = None
        self.listings: dict[int, Iterator[TopicImage]] = {}
        self.writers: dict[int, PushedWriter] = {}
        self.listed: set[str] = set()
        self._operation: Operation | None = None
        self._stopped = False
        self._in_channel = False

    def serve(self) -> None:
        """Serve until the client has no more to ask, or goes away. Raises FarSideError if it does not keep to the protocol."""
        try:
            self._greet()
            # Without a directory there is nothing to be asked for; what is on its way already was asked too early.
            while self.path and (fields := self.receive()) is not None:
                self._run(fields)
        except PeerUnreachableError:
            pass  # There is nobody to tell.
        except FarSideError as error:
            self._tell(error)
            raise
        except Stopping:
            pass
        finally:
            self.close()

    def stop(self) -> None:
        """End the session as soon as the operation that is going on is done: for a handler of signals."""
        self._stopped = True
        if self._in_channel:
            raise Stopping

    @property
    def is_stopping(self) -> bool:
        """Tell whether an operation that takes long has to come to its end: by a signal, or since the client wants none of it."""
        return self._stopped or self.channel.has_input()

    def receive(self) -> Fields | None:
        """Return what the client says next, None if it has no more to say."""
        self._enter_channel()
        try:
            return self.channel.receive()
        finally:
            self._in_channel = False

    def answer(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> None:
        """Send the answer to the operation, or the end of one in parts."""
        self._send(ANSWER, *values, body=body)

    def item(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> int:
        """Send a part of the answer, and return how long the message is."""
        return self._send(ITEM, *values, body=body)

    def until_stopped(self, work: Callable[[], None]) -> None:
        """Do what takes long and may be left at any point: a signal ends it at once, and the session with it."""
        self._enter_channel()
        try:
            work()
        finally:
            self._in_channel = False

    def check_topic(self, name: str, kinds: Sequence[str] = ()) -> None:
        """Raise PermissionDeniedError unless the operation, or one of `kinds`, is allowed on a topic."""
        assert self._operation is not None
        self.permissions.check(kinds or self._operation.kinds, name)

    def allows(self, name: str) -> bool:
        """Tell whether the operation is allowed on a topic."""
        assert self._operation is not None
        return self.permissions.allow(self._operation.kinds, name)

    def close(self) -> None:
        """Close what the client had open."""
        try:
            while self.writers:
                self.writers.popitem()[1].close()
        finally:
            if self.writers:
                self.close()
            replica, self.replica = self.replica, None
            opened, self.opened = self.opened, None
            try:
                if replica is not None:
                    replica.close()
            finally:
                if opened is not None:
                    opened.close()

    def _greet(self) -> None:
        self._enter_channel()
        try:
            self.channel.send_banner()
            self.channel.send(LOWEST_VERSION, HIGHEST_VERSION, __version__)
            fields = self.channel.receive()
        finally:
            self._in_channel = False
        if fields is None:
            raise self.channel.gone("it did not say what it wants")
        version, client_version = fields.number(0, _MAX_VERSION), fields.text()
        if not LOWEST_VERSION <= version <= HIGHEST_VERSION:
            raise ProtocolVersionError(
                peer=self.channel.peer,
                lowest=version,
                highest=version,
                known=(LOWEST_VERSION, HIGHEST_VERSION),
                version=client_version,
            )
        directory = fields.text(_MAX_PATH)
        allow_network_fs = fields.flag()
        self.lock_wait_ms = fields.number(0, MAX_LOCK_WAIT_MS)
        # What a newer client says behind it is nothing that it needs.
        self._answered(lambda: self._place(directory, allow_network_fs))

    def _place(self, directory: str, allow_network_fs: bool) -> None:
        if "\0" in directory:
            raise PermissionDeniedError("a directory's name has no zero byte", fix="name another one; nothing was done")
        if directory == "~" or directory.startswith("~/"):
            directory = os.path.expanduser(directory)
        if self.root is not None:
            if directory and os.path.abspath(directory) != os.path.abspath(self.root):
                raise PermissionDeniedError(
                    "that directory is not served here",
                    why="`mk serve` was started with --root",
                    fix="leave the directory out: HOST: names the one that is; nothing was done",
                )
            directory = self.root
        self.path = directory or self.default
        # Whoever limits clients decides himself; another one could run `mk` with that flag as well.
        self.allow_network_fs = allow_network_fs and self.root is None and not self.permissions.is_limited
        self.answer(__version__)

    def _run(self, fields: Fields) -> None:
        name = fields.text()
        if name == STOP:
            fields.end()
            return
        operation = OPERATIONS.get(name)
        if operation is None:
            fields.refuse(f"there is no operation {name[:40]!a}")
        if len(self.channel.body) and not operation.has_body:
            fields.refuse(f"operation {name} takes no body")
        self._operation = operation
        if not operation.is_answered:
            if not self.permissions.allow_any(operation.kinds):
                fields.refuse(f"operation {name} is not allowed here")
            operation.load()(self, fields)
            return

        def run() -> None:
            self.permissions.check_any(operation.kinds, f"operation {name}")
            operation.load()(self, fields)

        self._answered(run)

    def _answered(self, run: Callable[[], None]) -> None:
        """Run what answers; what it raises is the answer, but for what says that there is no more to talk."""
        try:
            run()
        except (FarSideError, PeerUnreachableError):
            raise
        except MkError as error:
            self._suggest(error)
            self._send(ERROR, *error_values(error))
        except OSError as error:
            self._send(ERROR, *error_values(_from_os_error(error)))
        except Exception as error:  # noqa: BLE001  a bug here is told as one to whoever can report it
            import traceback

            traceback.print_exc(file=sys.stderr)
            bug = MkError(f"mk itself failed: {type(error).__name__}", why=f"this is a bug in mk {__version__} there")
            self._send(ERROR, *error_values(bug))

    def _suggest(self, error: MkError) -> None:
        """Add to an error which topic may be meant, of those only that the client may know of."""
        if not isinstance(error, NoSuchTopicError) or error.why or self.opened is None:
            return
        from mk.near_names import did_you_mean

        try:
            names = filter(self.allows, self.opened.directory.topic_names())
        except (MkError, OSError):
            return  # The error at hand is the one to tell of.
        error.fix = f"{did_you_mean(str(error.facts['topic']), names)} {error.fix}".lstrip()

    def _tell(self, error: MkError) -> None:
        try:
            self._send(ERROR, *error_values(error))
        except (PeerUnreachableError, Stopping):
            pass

    def _send(self, *values: object, body: Sequence[bytes | memoryview] = ()) -> int:
        self._enter_channel()
        try:
            return self.channel.send(*values, body=body)
        finally:
            self._in_channel = False

    def _enter_channel(self) -> None:
        # In this order: a signal between the two would otherwise be forgotten for as long as the client is silent.
        self._in_channel = True
        if self._stopped:
            raise Stopping


def _from_os_error(error: OSError) -> MkError:
    import errno

    place = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else "what is needed"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDeniedError(
            f"no permission to use {place}", why=error.strerror or "", fix="connect as a user who may"
        )
    return StorageError(f"cannot use {place}", why=error.strerror or str(error), fix="look at that path and its disk")
