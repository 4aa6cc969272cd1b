"""Open a log directory as one side of a replication, wherever it is."""

from __future__ import annotations

from mk.transport.address import Address, parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.replication.replica import Replica


def open_replica(
    text: str,
    *,
    create: bool = False,
    rsh: str | None = None,
    allow_network_fs: bool = False,
    lock_wait_ms: int = 10_000,
) -> Replica:
    """Open what a user named: a path, or `[user@]host:directory`.

    create: make it a log directory if there is none yet; else that raises NoSuchDirectoryError. rsh: the command in place
    of ssh.
    """
    address = parse_address(text)
    if isinstance(address, Address):
        from mk.replication.remote_replica import RemoteReplica

        return RemoteReplica(
            address, create=create, rsh=rsh, allow_network_fs=allow_network_fs, lock_wait_ms=lock_wait_ms
        )
    return open_directory(address, create=create, allow_network_fs=allow_network_fs, lock_wait_ms=lock_wait_ms)


def open_directory(
    path: str, *, create: bool = False, allow_network_fs: bool = False, lock_wait_ms: int = 10_000
) -> Replica:
    """Open a directory of this host, also on behalf of a client."""
    from mk.replication.directory_replica import DirectoryReplica

    if create:
        from mk.storage.log_directory import create_directory

        create_directory(path, allow_network_fs=allow_network_fs)
    return DirectoryReplica(path, allow_network_fs=allow_network_fs, lock_wait_ms=lock_wait_ms)
