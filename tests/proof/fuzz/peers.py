"""Targets: what comes through a channel: frames, the values in their heads, and both ends of a conversation.

The peer says what it wants and closes its end: its words stand in a file in memory, and what is said to it goes nowhere.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING
from unittest import mock

import mk.replication.replicas
from mk.errors import FarSideError, UsageError
from mk.records.codecs import crc32c
from mk.records.record_batch import encode_lines
from mk.remote_cluster.documents import take_document
from mk.replication import image_codec, remote_replica
from mk.replication.replica import CommittedOffset, PartitionImage, TopicImage
from mk.server.permissions import Permissions
from mk.server.session import Session
from mk.storage.producer_pin import producer_id_of
from mk.transport.address import Address, parse_address
from mk.transport.channel import BANNER, MAX_BODY_BYTES, MAX_HEAD_BYTES, Channel
from mk.transport.connection import Connection
from mk.transport.error_codec import error_values, take_error
from mk.transport.fields import Fields
from tests.proof.fuzz.batches import TIME, examples, stamped
from tests.proof.fuzz.mending import mend_batches
from tests.proof.fuzz.target import Target, accepted, is_refused
from tests.transports.fake_replica import DIRECTORY_ID, FakeReplica, partition_image, topic_id_of, topic_image
from tests.transports.frames import HELLO, client_hello, frame, packed

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER_BYTES = 12
_LARGE_BYTES = 64 << 10
_heard = os.memfd_create("mk-fuzz-peer")
_nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def peer(said: bytes) -> Channel:
    """Return a channel to somebody who says this and closes his end."""
    os.ftruncate(_heard, 0)
    os.pwrite(_heard, said, 0)
    os.lseek(_heard, 0, os.SEEK_SET)
    return Channel(_heard, _nowhere, peer="far")


def mend_frames(data: bytes) -> bytes:
    """Give each frame lengths that are within the data, and the right checksum. Behind a banner, if there is one."""
    mended = BANNER if data.startswith(BANNER) else b""
    data = data[len(mended) :]
    while len(data) >= _HEADER_BYTES:
        rest = len(data) - _HEADER_BYTES
        head = min(int.from_bytes(data[:4], "big"), rest)
        body = min(int.from_bytes(data[4:8], "big"), rest - head)
        lengths = head.to_bytes(4, "big") + body.to_bytes(4, "big")
        content = data[_HEADER_BYTES : _HEADER_BYTES + head + body]
        mended += lengths + crc32c(content, crc32c(lengths)).to_bytes(4, "big") + content
        data = data[_HEADER_BYTES + head + body :]
    return mended + data


def fuzz_frames(data: bytes) -> None:
    """Any bytes are a banner and frames, up to where they are none: then an error that says so."""
    channel = peer(data)

    def listen() -> None:
        if data.startswith(BANNER[:1]):
            channel.receive_banner()
        while (fields := channel.receive()) is not None:
            assert len(channel.body) <= MAX_BODY_BYTES and channel.frame_bytes <= MAX_HEAD_BYTES + MAX_BODY_BYTES
            values = []

            def take_all(fields: Fields = fields, values: list[object] = values) -> None:
                while fields.peek() is not fields:
                    values.append(fields._take())

            assert is_refused(take_all), "a head has no end"
            again = peer_again(values, bytes(channel.body))
            assert again == values

    is_refused(listen)


def peer_again(values: list[object], body: bytes) -> list[object]:
    """Return what comes of values that are sent."""
    read_fd = os.memfd_create("mk-fuzz-again")
    try:
        Channel(-1, read_fd, peer="far").send(*values, body=[body])
        os.lseek(read_fd, 0, os.SEEK_SET)
        channel = Channel(read_fd, -1, peer="far")
        fields = channel.receive()
        assert fields is not None and bytes(channel.body) == body
        found: list[object] = [fields._take() for _ in values]
        fields.end()
        return found
    finally:
        os.close(read_fd)


def _some_frames() -> list[bytes]:
    return [
        BANNER + frame(*HELLO),
        frame(0, True, None, "text", b"bytes", -1, 1 << 63),
        frame("append", 0, 0, 1, False, 0, body=b"x" * 100) + frame("sync", 0),
        frame("\udc80 no UTF-8"),
    ]


# What is in the heads.


_TAKERS: dict[str, tuple[Callable[[Fields], object], Callable[[object], list[object]]]] = {
    "topic": (image_codec.take_topic, image_codec.topic_values),  # type: ignore[dict-item]
    "partition": (image_codec.take_partition, image_codec.partition_values),  # type: ignore[dict-item]
    "epochs": (image_codec.take_epochs, image_codec.epoch_values),  # type: ignore[dict-item]
    "ends": (image_codec.take_ends, image_codec.end_values),  # type: ignore[dict-item]
    "committed": (image_codec.take_committed, image_codec.committed_values),  # type: ignore[dict-item]
    "error": (lambda fields: take_error(fields, "far"), error_values),  # type: ignore[dict-item]
}


def _plain(value: object) -> object:
    if isinstance(value, (TopicImage, PartitionImage, CommittedOffset)):
        return {name: _plain(getattr(value, name)) for name in type(value).__slots__}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Exception):
        return type(value).__name__
    return value


def fuzz_values(data: bytes) -> None:
    """The values of a head are taken as what they are asked for, or refused; what was taken can be said again."""
    take, values_of = list(_TAKERS.values())[data[0] % len(_TAKERS) if data else 0]
    found = accepted(take, Fields(data[1:], "far"))
    if found:
        again = take(Fields(packed(*values_of(found[0])), "far"))
        assert _plain(again) == _plain(found[0])


def _value_runs() -> list[bytes]:
    offsets = [CommittedOffset("g", topic_id_of("orders"), 1, 7, -1), CommittedOffset("h", DIRECTORY_ID, 0, -2, 5)]
    epochs = [(0, 0, DIRECTORY_ID), (1 << 32, 40, "e" * 32)]
    error = UsageError("what", why="why", fix="fix", offset=7, name="x", none=None, yes=True)
    runs = [
        image_codec.topic_values(topic_image("orders")),
        image_codec.partition_values(partition_image(1)),
        image_codec.epoch_values(epochs),
        image_codec.end_values([(DIRECTORY_ID, 0, 7)]),
        image_codec.committed_values(offsets),
        error_values(error),
    ]
    return [bytes([number]) + packed(*run) for number, run in enumerate(runs)]


_DOCUMENTS = ("summary", "offsets", "settings", "topic", "rates", "config", "times", "sample")


def fuzz_document(data: bytes) -> None:
    """JSON that describes a topic, from a far side."""
    what = _DOCUMENTS[data[0] % len(_DOCUMENTS) if data else 0]
    is_refused(take_document, what, data[1:], Fields(b"", "far"))


def _sample() -> dict[str, object]:
    partition = {"partition": 0, "leader": "d", "leader_epoch": 1, "log_start_offset": 0, "high_watermark": 5}
    partition |= {"size_bytes": 9, "last_write_ms": 7, "failed": False, "run": 1, "appended_bytes": 9, "problem": None}
    member = {"member": "m", "host": "h", "pid": 1, "user": "u", "command": "mk", "since_ms": 3}
    offset = {"topic": "t", "topic_id": "x", "partition": 0, "committed_offset": 4, "committed_ms": 6, "lag": 1}
    offset |= {"is_replicated": False, "member": "m", "problem": None}
    group = {"group": "g", "members": [member], "lag": 1, "last_commit_ms": 6, "problem": None, "offsets": [offset]}
    seen = {"topic": "t", "partition": 0, "next_offset": 4, "lag": 1, "seen_ms": 8}
    replica = {"directory_id": "e", "address": None, "role": "follower", "lag": 1, "seen_ms": 8, "partitions": [seen]}
    topic = {"topic": "t", "topic_id": "x", "problem": None, "partitions": [partition]}
    sample = {"directory_id": "d", "clock_ms": 1.5, "time_ms": 9, "topics": [topic], "groups": [group]}
    return {**sample, "replicas": [replica], "unseen": [{"what": "groups", "why": "closed"}]}


def _descriptions() -> list[bytes]:
    summary = {"topic": "t", "partitions": 1, "records": 5, "size_bytes": 9, "last_write_ms": None, "leads": True}
    offsets = {"partition": 0, "log_start_offset": 0, "high_watermark": 5, "leader_epoch": 1}
    settings = {"topic": "t", "topic_id": "x", "directory_id": "d", "created": None, "sealed": None, "sealed_by": None}
    settings |= {"partitioner": "crc32", "partition_count": 1, "config": {"retention.ms": -1}}  # type: ignore[dict-item]
    settings |= {"defaults": {"a": "b"}, "overrides": {}}  # type: ignore[dict-item]
    replica = {"directory_id": "d", "address": None, "role": "follower", "next_offset": 5, "lag": 0, "lag_ms": None}
    partition = {**offsets, "records": 5, "leader": "d", "segments": 1, "size_bytes": 9, "last_write_ms": 7}
    partition |= {"failed": False, "leader_address": "x", "replicas": [{**replica, "in_sync": True, "seen_ms": 8}]}
    rates = {f"{what}_per_s_{window}": 1.5 for what in ("records", "bytes") for window in ("1m", "1h")}
    made = [
        {**summary, "leader": None},
        [offsets],
        settings,
        {**settings, "records": 5, "size_bytes": 9, "partitions": [partition]},
        [rates],
        {"retention.ms": 1, "x": "y"},
        {"from_ms": 0, "step_ms": 1000, "records": [5, 0]},
        _sample(),
    ]
    return [bytes([number]) + json.dumps(document).encode() for number, document in enumerate(made)]


# Both ends of a conversation. What is said is frames, whose checksums are made right.


def fuzz_replica_server(data: bytes) -> None:
    """A client of `mk serve` that replicates and says anything: it is answered, or refused and let go."""
    with (
        mock.patch.object(mk.replication.replicas, "open_directory", FakeReplica),
        mock.patch("traceback.print_exc", _a_bug),
        contextlib.redirect_stdout(None),
    ):
        session = Session(peer(data), Permissions(()), root=None, default="/default")
        try:
            session.serve()
        except FarSideError:
            pass


def _a_bug(**_: object) -> None:
    """What a session does with an exception that it did not expect is to say that this is a bug in mk, and so say we."""
    raise  # noqa: PLE0704


def _requests() -> list[bytes]:
    hello = client_hello() + frame("open_replica", False)
    orders = topic_id_of("orders")
    image = image_codec.partition_values(partition_image(0))
    follow = frame("follow", "orders", 0, *image, 0, 0)
    return [
        hello + said
        for said in (
            frame("topics", 0, False) + frame("more_topics", 0),
            frame("topics", 0, True, 1, "orders"),
            frame("chain_at", "orders", 0, 10),
            frame("read", "orders", 0, 10, 30) + frame("stop"),
            frame("digests", "orders", 0, 10, 30) + frame("size_bytes", "orders", 0, 0, 9),
            frame("committed_offsets", 1, orders) + frame("wait", 7),
            frame("note_follower", DIRECTORY_ID, "far:/x", 1, orders, 0, 7),
            frame("fence", "orders", 0, 1, DIRECTORY_ID, 1, 0, 0, 0),
            frame("begin", DIRECTORY_ID, "far:/x") + frame("note_source", DIRECTORY_ID, "", 1, orders, 0, 0),
            frame("create_topic", *image_codec.topic_values(topic_image("orders"))),
            frame("update_topic", *image_codec.topic_values(topic_image("orders"))),
            follow + frame("append", 0, 0, 1, False, 0, body=b"x") + frame("sync", 0) + frame("close_writer", 0),
            frame("begin_anew", "orders", 0, *image, "truncated") + frame("append", 0, 0, 1, True, 1, body=b"px"),
            follow + frame("advance_log_start", 0, 5) + frame("close_writer", 0),
            frame("store_committed_offsets", DIRECTORY_ID, 1, "g", orders, 0, 7, 0),
        )
    ]


class _Served:
    """A log directory that is served, made anew before it grows large."""

    def __init__(self) -> None:
        self.path = ""
        self._size = 0

    def ready(self) -> str:
        if not self.path or self._segment_size() > _LARGE_BYTES:
            if self.path:
                shutil.rmtree(self.path)
            else:
                self.path = tempfile.mkdtemp(prefix="mk-fuzz-") + "/log"
                atexit.register(shutil.rmtree, os.path.dirname(self.path), ignore_errors=True)
            with mk.connect(self.path, create=True) as cluster:
                cluster.create_topic("orders", partitions=1)
                with cluster.producer("orders", producer_id="shop") as producer:
                    for number in range(20):
                        producer.send(b"%d" % number, key=b"k", timestamp_ms=TIME + number)
            self._size = self._segment_size()
        return self.path

    def check(self) -> None:
        """Whatever was appended, the log is sound."""
        if self._segment_size() != self._size:
            self._size = self._segment_size()
            with mk.connect(self.path) as cluster:
                assert not cluster.verify_topic("orders").findings
                offsets = [record.offset for record in cluster.consumer(["orders"])]
                assert offsets == list(range(len(offsets)))

    def _segment_size(self) -> int:
        return os.stat(f"{self.path}/topics/orders/0/{0:020d}.log").st_size


_served = _Served()


def fuzz_directory_server(data: bytes) -> None:
    """A client of `mk serve` that reads, describes and produces to a directory: what it gets appended is sound."""
    path = _served.ready()
    session = Session(peer(data), Permissions(("pull:orders", "produce:orders")), root=path, default="")
    with mock.patch("traceback.print_exc", _a_bug):
        try:
            session.serve()
        except FarSideError:
            pass
    _served.check()


def _mend_produced(data: bytes) -> bytes:
    """Make right the checksums of batches in bodies as well as those of the frames."""
    mended = b""
    while len(data) >= _HEADER_BYTES:
        rest = len(data) - _HEADER_BYTES
        head = min(int.from_bytes(data[:4], "big"), rest)
        body = min(int.from_bytes(data[4:8], "big"), rest - head)
        stop = _HEADER_BYTES + head + body
        mended += data[: _HEADER_BYTES + head] + mend_batches(data[_HEADER_BYTES + head : stop])
        data = data[stop:]
    return mend_frames(mended + data)


def _readings() -> list[bytes]:
    hello = client_hello() + frame("open_directory", False)
    topic = hello + frame("open_topic", 1, "orders")
    reader = topic + frame("open_reader", 1, 1, 0)
    made = [
        hello + frame("topic_names"),
        topic + frame("describe", "summary", "orders") + frame("close_topic", 1),
        hello + frame("sample", "readers") + frame("sample", ""),
        topic + frame("epochs", 1, 0),
        topic + frame("pin_producer", 1, "shop", -1, 0) + frame("last_sequence", 1, 0, 0, producer_id_of("shop")),
        topic + frame("check_not_followed", 1, "shop") + frame("make_topic", "orders", 1, "crc32", 1, "min.free", 0, 0),
        reader + frame("fetch", 1, 0) + frame("fetch", 1, -1) + frame("close_reader", 1),
        reader + frame("offset_for_time", 1, TIME + 7),
        reader + frame("batches_backward", 1, 9, False) + frame("batches_backward", 1, 9, True),
        reader + frame("committed_offset", 1, "g"),
        reader + frame("watch", 0),
    ]
    for number, batch in enumerate(examples()[:9]):
        made.append(topic + frame("produce", 1, 0, number, 0, 0, 1, 0, body=stamped([batch])))
    numbered = encode_lines(b"x\ny\n", count=2, timestamp_ms=TIME)
    numbered.number(producer_id_of("shop"), [30, 41])
    sequences = (30).to_bytes(8, "big") + (41).to_bytes(8, "big")
    pinned = topic + frame("pin_producer", 1, "shop", -1, 0)
    made.append(pinned + frame("produce", 1, 0, 1, 0, 1, 1, 2, body=stamped([numbered]) + sequences))
    return made


def fuzz_client(data: bytes) -> None:
    """A far side that says anything to a client that replicates from it, and asks it for one thing."""
    asked = list(_QUESTIONS.values())[data[0] % len(_QUESTIONS) if data else 0]
    channel = peer(frame(*HELLO) + frame(0, "9.9") + frame(0, "d" * 32, "far:/srv") + data[1:])

    def connect(address: Address, **_: object) -> Connection:
        return Connection(channel, address.directory)

    def ask() -> None:
        replica = remote_replica.RemoteReplica(Address("", "far.example", "/srv"))
        asked(replica)

    with mock.patch.object(remote_replica, "connect", connect):
        is_refused(ask)


_QUESTIONS: dict[str, Callable[[remote_replica.RemoteReplica], object]] = {
    "topics": lambda replica: list(replica.topics()),
    "chain": lambda replica: replica.chain_at("orders", 0, 5),
    "read": lambda replica: list(replica.read("orders", 0, 10, 30)),
    "committed": lambda replica: replica.committed_offsets([topic_id_of("orders")]),
    "digests": lambda replica: replica.digests("orders", 0, 10, 30),
    "wait": lambda replica: replica.wait(5),
    "begin": lambda replica: replica.begin(DIRECTORY_ID, ""),
    "size": lambda replica: replica.size_bytes("orders", 0, 0, 9),
}


def _answers() -> list[bytes]:
    orders = topic_id_of("orders")
    said = {
        "topics": frame(1, *image_codec.topic_values(topic_image("orders"))) + frame(0, False),
        "chain": frame(0, True, 7),
        "read": frame(1, 10, 20, False, 0, body=b"x" * 50) + frame(1, 20, 30, True, 1, body=b"px") + frame(0),
        "committed": frame(1, *image_codec.committed_values([CommittedOffset("g", orders, 1, 7, -1)])) + frame(0),
        "digests": frame(1, 1, 10, 30, b"d" * 32) + frame(0),
        "wait": frame(0, True),
        "begin": frame(0, True),
        "size": frame(0, 900),
    }
    error = frame(2, *error_values(UsageError("what", why="why", fix="fix", offset=7)))
    made = [bytes([number]) + said[name] for number, name in enumerate(_QUESTIONS)]
    return [*made, *(bytes([number]) + error for number in range(len(_QUESTIONS)))]


def _mend_answer(data: bytes) -> bytes:
    return data[:1] + mend_frames(data[1:])


def fuzz_address(data: bytes) -> None:
    """[user@]host:directory: what is taken can be written again, and is no option of ssh."""
    text = os.fsdecode(data)
    found = accepted(parse_address, text)
    if found:
        (address,) = found
        if isinstance(address, Address):
            assert parse_address(str(address)) == address
            assert address.destination[0] not in "-+" and address.destination.isascii()
            assert not set(address.destination) & set(" \t\n;|&$`'\"\\<>(){}*?!~#/")
        else:
            assert address == text


def _addresses() -> list[bytes]:
    return [b"host:/srv/mk", b"user@host:", b"me@[fe80::1%eth0]:/x", b"./a:b", b"/srv", b"a.b-c_d:~/mk", b"[::1]:d"]


TARGETS = [
    Target("frames", fuzz_frames, _some_frames, mend_frames),
    Target("values", fuzz_values, _value_runs),
    Target("document", fuzz_document, _descriptions, max_bytes=8192),
    Target("replica-server", fuzz_replica_server, _requests, mend_frames),
    Target("directory-server", fuzz_directory_server, _readings, _mend_produced),
    Target("client", fuzz_client, _answers, _mend_answer),
    Target("address", fuzz_address, _addresses, max_bytes=256),
]
