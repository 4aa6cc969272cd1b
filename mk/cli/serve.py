"""`mk serve --stdio`: hand the two ends of a connection to a session, and nothing else of this process."""

import os

from mk.cli import signals
from mk.cli.options import Options
from mk.errors import UsageError
from mk.server.permissions import Permissions


def run(options: Options) -> int:
    """Serve the client behind stdin and stdout until it is done."""
    if not options.stdio:
        raise UsageError(
            "mk serve is for ssh, and talks through standard input and output alone",
            fix="say `mk serve --stdio`, or `mk serve --help` for what it is for",
        )
    permissions = Permissions(options.only)
    if options.root == "":
        # Else the default directory would be served, and a variable that is not set do that.
        raise UsageError(
            "--root is empty", fix="name the log directory to serve, or leave --root out; nothing was served"
        )
    if os.isatty(0) or os.isatty(1):
        raise UsageError(
            "mk serve --stdio is not for a terminal",
            why="it is the far side of ssh: another mk runs it to replicate, produce or consume here",
            fix="name this directory from another host, as HOST:DIR; `mk serve --help` shows how to limit a key to it",
        )
    from mk.cluster import default_location
    from mk.server.session import Session
    from mk.transport.channel import Channel

    read_fd, write_fd = _take_standard_streams()
    client = "the client"
    session = Session(
        Channel(read_fd, write_fd, peer=client),
        permissions,
        root=options.root,
        default=options.directory or default_location(),
    )
    stopped = signals.call_on_stop_signals(session.stop)
    session.serve()
    return signals.die_of(stopped[0]) if stopped else 0


def _take_standard_streams() -> tuple[int, int]:
    """Return descriptors of stdin and stdout for us alone; what anybody prints goes to stderr from now on.

    Also children have none of them: one that lives on would keep the client waiting for the end.
    """
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return read_fd, write_fd
