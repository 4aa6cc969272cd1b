"""The far side of an address: ssh, running `mk serve --stdio` there, with a channel to it.

Nothing but the host and the user, strictly checked, becomes part of ssh's command line; the directory goes through the
channel. The far side's words on stderr are kept: they are the reason when it ends, and are passed on when it does not.
"""

from __future__ import annotations

import os
import sys
from time import monotonic

from mk.errors import FarSideError, MkError, PeerUnreachableError, UsageError
from mk.transport.channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mk.transport.address import Address

_SSH_OPTIONS = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
"""A host that is switched off, or a network that is gone, is noticed within 20 s."""

_KEPT_BYTES = 4096
_KEPT_LINES = 5
_END_SECONDS = 3.0
_RECENT_SECONDS = 2.0
"""What a far side said so shortly before its end is taken for the reason, though it has been shown already."""
_SIGTERM, _SIGKILL = 15, 9
_FOR_EVER = float("inf")
_NOT_EXECUTABLE, _NOT_FOUND, _SSH_FAILED = 126, 127, 255


class RemoteCommand:
    """A `mk serve --stdio` on another host, that has said its banner. Open until `close`."""

    __slots__ = (
        "_buffered",
        "_has_begun",
        "_pid",
        "_poll",
        "_read_fd",
        "_shown",
        "_shown_at",
        "_status",
        "_stderr_fd",
        "_write_fd",
        "channel",
    )

    channel: Channel

    def __init__(self, address: Address, *, rsh: str | None = None, environ: Mapping[str, str] = os.environ) -> None:
        """Start it.

        rsh: the command in place of ssh, with its options; else MK_RSH. MK_REMOTE_PATH is what is run there in place of
        `mk`, as the shell there takes it.

        Raises PeerUnreachableError, and FarSideError if what answers is no mk.
        """
        words = command_line(address, rsh=rsh, environ=environ)
        self._buffered = self._shown = b""
        self._shown_at = 0.0
        self._has_begun = False
        self._status: int | None = None
        child_in, self._write_fd = os.pipe()
        self._read_fd, child_out = os.pipe()
        self._stderr_fd, child_err = os.pipe()
        try:
            self._pid = _spawn(words, child_in, child_out, child_err, environ)
        except OSError as error:
            for fd in (self._write_fd, self._read_fd, self._stderr_fd):
                os.close(fd)
            raise PeerUnreachableError(
                f"cannot run {words[0]} to reach {address.destination}",
                why=error.strerror or str(error),
                fix="install it, or name another command with MK_RSH; nothing was changed",
                peer=address.destination,
            ) from None
        finally:
            for fd in (child_in, child_out, child_err):
                os.close(fd)
        for fd in (self._write_fd, self._read_fd, self._stderr_fd):
            os.set_blocking(fd, False)
        self.channel = Channel(self._read_fd, self._write_fd, peer=address.destination, wait=self._wait)
        try:
            self.channel.receive_banner()
        except PeerUnreachableError as error:
            raise self.explain(error) from None
        except BaseException:
            # It may be about to connect, or to ask for a password, which nobody waits for any more.
            self._end(0)
            raise
        self._has_begun = True
        self._pass_on()

    def explain(self, error: MkError) -> MkError:
        """Return `error` as the end of ssh, and what it said last, explain it."""
        now = monotonic()
        self._end()
        said = self._last_lines(now)
        peer = self.channel.peer
        if self._status in (_NOT_FOUND, _NOT_EXECUTABLE) and not self._has_begun:
            return PeerUnreachableError(
                f"there is no mk on {peer} that can be run",
                why=said,
                fix="install it there, or say where it is with MK_REMOTE_PATH=/path/to/mk: ssh runs commands with a short "
                "PATH; nothing was changed",
                peer=peer,
            )
        if self._status == UsageError.exit_status and not self._has_begun:
            return FarSideError(
                f"mk on {peer} does not know `mk serve --stdio`",
                why=said,
                fix="install a newer mk there; nothing was changed",
                peer=peer,
            )
        if self._has_begun:
            return PeerUnreachableError(
                error.what, why="; ".join(filter(None, (error.why, said))), fix=error.fix, peer=peer
            )
        ended = f"ended with status {self._status}" if (self._status or 0) >= 0 else f"was killed by {-self._status}"  # type: ignore[operator]
        return PeerUnreachableError(
            f"cannot reach {peer}" if self._status == _SSH_FAILED else f"no mk answers on {peer}: the command {ended}",
            why=said,
            fix=f"see that `ssh {peer} mk --version` works; nothing was changed",
            peer=peer,
        )

    def close(self) -> None:
        """Let the far side end, and wait for that, but not for ever."""
        self._end()
        self._pass_on()

    def _end(self, patience_seconds: float | None = None) -> None:
        """Close all descriptors, having read what was said on stderr, and wait for the process, which may be ended."""
        if self._status is not None:
            return
        import select
        from time import sleep

        self.channel.forget()
        os.close(self._write_fd)
        deadline = monotonic() + (_END_SECONDS if patience_seconds is None else patience_seconds)
        # The end of its output, and not that of stderr, which a shared connection of ssh keeps open in the background.
        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN)
        poll.register(self._stderr_fd, select.POLLIN)
        is_open = True
        while is_open and (left := deadline - monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                if fd == self._stderr_fd:
                    if not self._keep():
                        poll.unregister(fd)
                else:
                    is_open = bool(_read(fd, 1 << 16))
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        for number in (_SIGTERM, _SIGKILL) if patience_seconds == 0 else (0, _SIGTERM, _SIGKILL):
            if pid:
                break
            os.kill(self._pid, number)
            deadline = monotonic() + (_END_SECONDS if number != _SIGKILL else _FOR_EVER)
            while not pid and monotonic() < deadline:
                sleep(0.002)
                pid, status = os.waitpid(self._pid, os.WNOHANG)
        while self._keep():
            pass
        self._status = os.waitstatus_to_exitcode(status)
        os.close(self._read_fd)
        os.close(self._stderr_fd)

    def _wait(self, fd: int, is_read: bool) -> None:
        """Wait until `fd` is ready, reading stderr meanwhile: nobody may have to wait because that is full."""
        import select

        if self._has_begun:
            # Not before: what was said in the wait that is the last one is the reason of the error that follows.
            self._pass_on()

        poll = select.poll()
        poll.register(fd, select.POLLIN if is_read else select.POLLOUT)
        if self._stderr_fd >= 0:
            poll.register(self._stderr_fd, select.POLLIN)
        while True:
            ready = [number for number, _ in poll.poll()]
            if self._stderr_fd in ready and not self._keep():
                poll.unregister(self._stderr_fd)
            if fd in ready:
                return

    def _keep(self) -> bool:
        """Read of stderr what is there; False if it has ended, or nothing is there."""
        piece = _read(self._stderr_fd, _KEPT_BYTES)
        self._buffered = (self._buffered + piece)[-_KEPT_BYTES:]
        return bool(piece)

    def _pass_on(self) -> None:
        """Show what was said on stderr by a far side that works: warnings, and questions of ssh."""
        if self._buffered:
            lines = self._buffered.decode(errors="backslashreplace").splitlines()
            self._shown, self._shown_at = self._buffered, monotonic()
            self._buffered = b""
            # What a terminal would act on is spelled out: another host may not do that to this one.
            shown = "".join(f"{line if line.isprintable() else ascii(line)[1:-1]}\n" for line in lines)
            try:
                sys.stderr.write(shown)
                sys.stderr.flush()
            except OSError:
                pass  # nobody can be told

    def _last_lines(self, now: float) -> str:
        # It may have said why it ends while an answer was on its way yet.
        is_recent = now - self._shown_at < _RECENT_SECONDS
        said = (self._shown if is_recent else b"") + self._buffered
        lines = said.decode(errors="surrogateescape").splitlines()
        self._buffered = b""
        return "; ".join(line.strip() for line in lines[-_KEPT_LINES:] if line.strip())


def command_line(address: Address, *, rsh: str | None = None, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the words of the command that reaches `address`: no shell of this host sees them."""
    words = _split(rsh or environ.get("MK_RSH") or "ssh")
    if os.path.basename(words[0]) == "ssh":
        words += [*_SSH_OPTIONS, "--"]
    return [*words, address.destination, environ.get("MK_REMOTE_PATH") or "mk", "serve", "--stdio"]


def _split(text: str) -> list[str]:
    if any(letter in text for letter in "'\"\\"):
        import shlex

        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(
                f"{text!a} is no command", why=str(error), fix="quote it as for a shell; nothing was done"
            ) from None
    else:
        words = text.split()
    if not words:
        raise UsageError("the command in place of ssh is empty", fix="name one with -e or MK_RSH; nothing was done")
    return words


def _spawn(words: list[str], stdin: int, stdout: int, stderr: int, environ: Mapping[str, str]) -> int:
    """Start a command that has these three descriptors and no other of ours."""
    import _signal  # type: ignore[import-not-found]

    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2)]
    # Held off, so that one that comes now is not lost.
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGINT, _signal.SIGHUP))
    handlers: dict[int, Any] = {}
    try:
        # A terminal sends ^C to ssh too, which would be gone before what has been read by then is stored. It ends with us.
        for number in (_signal.SIGINT, _signal.SIGHUP):
            if (handler := _signal.getsignal(number)) is not None:
                _signal.signal(number, _signal.SIG_IGN)
                handlers[number] = handler
    except ValueError:
        pass  # In a thread that is not the main one, nobody can say so.
    try:
        # Python ignores SIGPIPE, which a new program would go on to do.
        return os.posix_spawnp(
            words[0],
            words,
            dict(environ),
            file_actions=actions,
            setsigmask=before,
            setsigdef=[_signal.SIGPIPE],
        )
    finally:
        for number, handler in handlers.items():
            _signal.signal(number, handler)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _read(fd: int, size: int) -> bytes:
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return b""
