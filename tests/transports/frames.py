"""Frames made by hand, right and wrong, for peers that play a script."""

import contextlib
import socket
import threading

import msgpack

from mk.records.codecs import crc32c
from mk.transport.channel import BANNER, Channel
from mk.transport.connection import Connection

HELLO = (1, 1, "9.9")


def packed(*values):
    return b"".join(msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape") for value in values)


def raw_frame(head, body=b"", *, head_length=None, body_length=None, crc=None):
    """One frame with whatever is said in place of what is right."""
    lengths = (len(head) if head_length is None else head_length).to_bytes(4, "big")
    lengths += (len(body) if body_length is None else body_length).to_bytes(4, "big")
    if crc is None:
        crc = crc32c(lengths + head + body)
    return lengths + crc.to_bytes(4, "big") + head + body


def frame(*values, body=b""):
    return raw_frame(packed(*values), body)


def greeting():
    """What a server says before it is asked anything."""
    return BANNER + frame(*HELLO)


def client_hello(directory="", *, version=1, lock_wait_ms=0):
    return frame(version, "9.9", directory, False, lock_wait_ms)


@contextlib.contextmanager
def scripted(said):
    """A Channel to somebody who says `said` (bytes, or pieces of it without end), whatever he is asked, and ends."""
    ours, theirs = socket.socketpair()

    def say():
        try:
            for piece in [said] if isinstance(said, bytes) else said:
                theirs.sendall(piece)
            theirs.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def listen():
        while theirs.recv(1 << 16):
            pass

    threads = [threading.Thread(target=say), threading.Thread(target=listen)]
    for thread in threads:
        thread.start()
    try:
        yield Channel(ours.fileno(), ours.fileno(), peer="far.example")
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(60)
        ours.close()
        theirs.close()


@contextlib.contextmanager
def replica_of(said, monkeypatch, *, greeted=True):
    """A function that opens a RemoteReplica on somebody who says these frames after the greeting."""
    from mk.replication import remote_replica
    from mk.transport.address import Address

    def pieces():
        yield frame(*HELLO)
        if greeted:
            yield frame(0, "9.9") + frame(0, "d" * 32, "far:/srv")
        yield from [said] if isinstance(said, bytes) else said

    with scripted(pieces()) as channel:
        monkeypatch.setattr(remote_replica, "connect", lambda address, **_: Connection(channel, address.directory))
        yield lambda: remote_replica.RemoteReplica(Address("", "far.example", "/srv"))
