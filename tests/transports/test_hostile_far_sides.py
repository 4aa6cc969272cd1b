"""A far side that lies, is broken, or never ends: an error that names it, and no more memory than it may have."""

import subprocess
import sys
from itertools import chain, cycle, repeat

import pytest

from mk import errors
from mk.errors import FarSideError
from mk.replication import image_codec
from mk.replication.replica import CopiedBatches
from mk.transport import connection
from mk.transport.address import Address
from mk.transport.connection import Connection
from tests.transports.conftest import ROOT
from tests.transports.fake_replica import DIRECTORY_ID, partition_image, topic_id_of, topic_image
from tests.transports.frames import frame, raw_frame, replica_of, scripted

FOREVER = 1 << 60
ORDERS = topic_id_of("orders")


def image(**changes):
    """A topic's image as it goes through the channel, with some of it replaced by what is wrong."""
    made = topic_image("orders", 1)
    for name, value in changes.items():
        setattr(made if hasattr(made, name) else made.partitions[0], name, value)
    return image_codec.topic_values(made)


def epochs(*entries):
    return [(epoch, first_offset, DIRECTORY_ID) for epoch, first_offset in entries]


def each_partition(*numbers):
    made = topic_image("orders", len(numbers))
    for partition, number in zip(made.partitions, numbers):
        partition.partition = number
    return image_codec.topic_values(made)


TOPICS = lambda replica: list(replica.topics())  # noqa: E731
NAMED = lambda replica: list(replica.topics(["orders"]))  # noqa: E731
CHAIN = lambda replica: replica.chain_at("orders", 0, 5)  # noqa: E731
READ = lambda replica: list(replica.read("orders", 0, 10, 30))  # noqa: E731
READ_END = lambda replica: list(replica.read("orders", 0, 30, 30))  # noqa: E731
COMMITTED = lambda replica: replica.committed_offsets([ORDERS])  # noqa: E731
DIGESTS = lambda replica: replica.digests("orders", 0, 10, 30)  # noqa: E731
WAIT = lambda replica: replica.wait(5)  # noqa: E731
NOTE = lambda replica: replica.note_follower(DIRECTORY_ID, "", [])  # noqa: E731
BEGIN = lambda replica: replica.begin(DIRECTORY_ID, "")  # noqa: E731
FOLLOW = lambda replica: replica.follow("orders", partition_image(0), 0, 0)  # noqa: E731


def SYNC(replica):
    writer = replica.follow("orders", partition_image(0), 10, 0)
    writer.append(CopiedBatches(10, 20, b"x", begins_segment=False))
    writer.sync()


LIES = [
    # Of another kind than the answer to that, or no answer at all.
    (CHAIN, frame(0, True, 1 << 32)),
    (CHAIN, frame(0, True, -2)),
    (CHAIN, frame(0, True)),
    (CHAIN, frame(0, True, "5")),
    (CHAIN, frame(0, True, 5, 5)),
    (CHAIN, frame(0, False, 5)),
    (CHAIN, frame(0, 1, 5)),
    (CHAIN, frame(1, True, 5)),
    (CHAIN, frame(3)),
    (CHAIN, frame("0")),
    (CHAIN, frame()),
    (CHAIN, frame(None)),
    (CHAIN, raw_frame(b"\xc1")),
    (CHAIN, raw_frame(b"\x91" * 60_000 + b"\0")),
    (CHAIN, b"a line of noise\n" * 10),
    (WAIT, frame(0, 1)),
    (NOTE, frame(0, 1)),
    (BEGIN, frame(0)),
    # Errors that are none.
    (CHAIN, frame(2)),
    (CHAIN, frame(2, "DataError", 65, "what", "why", "fix", 1)),
    (CHAIN, frame(2, "DataError", 65, "what", "why", "fix", 1 << 30)),
    (CHAIN, frame(2, "DataError", 65, "w" * 20_000, "why", "fix", 0)),
    (CHAIN, frame(2, "DataError", 65, "what", "why", "fix", 1, "fact", b"bytes")),
    (CHAIN, frame(2, "DataError", 0, "what", "why", "fix", 0)),
    # Images.
    (TOPICS, frame(1, *image(name="../../etc"))),
    (TOPICS, frame(1, *image(name=".hidden"))),
    (TOPICS, frame(1, *image(topic_id="x" * 32))),
    (TOPICS, frame(1, *image(topic_id="d" * 31))),
    (TOPICS, frame(1, *image(pins={"../../../x": b""}))),
    (TOPICS, frame(1, *image(pins={"": b""}))),
    (TOPICS, frame(1, *image(pins={"00": "text"}))),
    (TOPICS, frame(1, *image(fields={"a": b"bytes"}))),
    (TOPICS, frame(1, *image(fields={"a": "x" * 70_000}))),
    (TOPICS, frame(1, *image(fields={f"{number}": 0 for number in range(300)}))),
    (TOPICS, frame(1, *image(next_offset=2))),  # below the log start
    (TOPICS, frame(1, *image(first_offset=4))),  # above it
    (TOPICS, frame(1, *image(next_offset=1 << 63))),
    (TOPICS, frame(1, *image(chain=1 << 32))),
    (TOPICS, frame(1, *image(cleaned_to=-1))),
    (TOPICS, frame(1, *image(is_recovered=1))),
    (TOPICS, frame(1, *image(lacks_producers=0))),
    (TOPICS, frame(1, *image(epochs=[]))),
    (TOPICS, frame(1, *image(epochs=epochs((1, 0), (1, 5))))),
    (TOPICS, frame(1, *image(epochs=epochs((1, 5), (2, 4))))),
    (TOPICS, frame(1, *image(epochs=epochs((1 << 63, 0))))),
    (TOPICS, frame(1, *image(epochs=[(0, 0, "me\n9 9 evil")]))),
    (TOPICS, frame(1, *image(epochs=epochs(*((number, 0) for number in range(20_000)))))),
    (TOPICS, frame(1, *each_partition(1, 0))),
    (TOPICS, frame(1, *each_partition(0, 0))),
    (TOPICS, frame(1, *each_partition(4096))),
    (TOPICS, frame(1, *image()[:-1])),
    (TOPICS, frame(1, *image(), 0)),
    (TOPICS, frame(1, *image()[:-1], 7)),  # a leader that is not in the table
    (TOPICS, frame(1, "orders", ORDERS, "", 0, 0, 0, 1 << 30)),
    (TOPICS, frame(1, *image()) + frame(1, *image()) + frame(0, False)),  # twice
    (TOPICS, frame(0, True)),  # a page without a topic, and more to come
    (TOPICS, frame(0)),
    (TOPICS, frame(0, False, 1)),
    (TOPICS, frame(0, 0)),
    (NAMED, frame(1, *image(name="other")) + frame(0, False)),
    # Batches.
    (READ, frame(1, 0, 20, False, 0, body=b"x")),
    (READ, frame(1, 20, 30, False, 0, body=b"x")),
    (READ, frame(1, 10, 10, False, 0, body=b"x")),
    (READ, frame(1, 10, 31, False, 0, body=b"x")),
    (READ, frame(1, 10, 20, False, 0)),
    (READ, frame(1, 10, 20, False, 1, body=b"x")),
    (READ, frame(1, 10, 20, False, 2, body=b"x")),
    (READ, frame(1, 10, 20, 0, 0, body=b"x")),
    (READ, frame(1, 10, 20, False, 0, 0, body=b"x")),
    (READ, frame(1, 10, 20, False, 0, body=b"x") * 2),
    (READ, frame(1, 10, 20, False, 0, body=b"x") + frame(0)),  # not to the end
    (READ, frame(0)),
    (READ, frame(1, 10, 30, False, 0, body=b"x") + frame(0, 0)),
    (READ, frame(1, 10, 10, True, 1, body=b"p")),
    (READ, frame(1, 10, 30, True, 1, body=b"xp") + frame(1, 30, 30, True, 1, body=b"p")),
    (READ_END, frame(1, 30, 30, True, 0)),  # nothing at all
    (READ_END, frame(1, 30, 30, False, 1, body=b"p")),
    (READ_END, frame(1, 30, 30, True, 1, body=b"xp")),
    (READ_END, frame(1, 30, 31, True, 1, body=b"xp")),
    (READ_END, frame(1, 30, 30, True, 2, body=b"p")),
    (READ_END, frame(1, 30, 30, True, 1, body=b"p") * 2),
    # Lists.
    (COMMITTED, frame(1, 0)),
    (COMMITTED, frame(1, 1, "g", topic_id_of("other"), 0, 0, 0)),
    (COMMITTED, frame(1, 1, "../g", ORDERS, 0, 0, 0)),
    (COMMITTED, frame(1, 1, "g", ORDERS, 4096, 0, 0)),
    (COMMITTED, frame(1, 1, "g", ORDERS, 0, -9, 0)),
    (COMMITTED, frame(1, 1, "g", ORDERS, 0, 0, -2)),
    (COMMITTED, frame(1, 2, "g", ORDERS, 0, 0, 0)),
    (COMMITTED, frame(1, 1 << 40)),
    (DIGESTS, frame(1, 1, 9, 20, b"d" * 32)),
    (DIGESTS, frame(1, 1, 10, 31, b"d" * 32)),
    (DIGESTS, frame(1, 1, 10, 10, b"d" * 32)),
    (DIGESTS, frame(1, 1, 10, 20, b"d" * 31)),
    (DIGESTS, frame(1, 2, 10, 20, b"d" * 32, 15, 30, b"d" * 32)),
    (DIGESTS, frame(1, 0)),
    # Of a target.
    (FOLLOW, frame(0, -1, 0)),
    (FOLLOW, frame(0, 0, -1)),
    (FOLLOW, frame(0, 0, 0, 0)),
    (SYNC, frame(0, 0, 10) + frame(0, 10)),  # less than was sent
    (SYNC, frame(0, 0, 10) + frame(0, 21)),
    (SYNC, frame(0, 0, 10) + frame(0)),
]


@pytest.mark.parametrize(("ask", "lie"), LIES, ids=range(len(LIES)))
def test_a_lie_is_refused(ask, lie, monkeypatch):
    with replica_of(lie, monkeypatch) as open_replica, pytest.raises(FarSideError, match=r"far\.example"):
        ask(open_replica())


@pytest.mark.parametrize(
    "said",
    [
        frame("1", 1, "9.9"),
        frame(1, 1),
        frame(-1, 1, "9.9"),
        frame(1, 1, "v" * 300),
        frame(1, 1, "9.9") + frame(0, "9.9") + frame(0, "../../../../../../../../tmp/abcdef", "far:/srv"),
        frame(1, 1, "9.9") + frame(0, "9.9") + frame(0, DIRECTORY_ID, "a" * 5000),
        frame(1, 1, "9.9") + frame(0, "9.9") + frame(0, DIRECTORY_ID, "far:/srv", 1),
        frame(1, 1, "9.9") + frame(0, 9),
        frame(1, 1, "9.9") + frame(1, "9.9"),
    ],
)
def test_a_greeting_that_is_none_is_refused(said, monkeypatch):
    from mk.replication import remote_replica

    def connect(address, **_):
        return Connection(channel, address.directory)

    with scripted(said) as channel, pytest.raises(FarSideError):
        monkeypatch.setattr(remote_replica, "connect", connect)
        remote_replica.RemoteReplica(Address("", "far.example", "/srv"))


@pytest.mark.parametrize(("lowest", "highest", "word"), [(0, 0, "old"), (2, 9, "new"), (5, 4, "new")])
def test_another_protocol_is_named_with_both_versions(lowest, highest, word):
    with scripted(frame(lowest, highest, "7.8", "what only they know")) as channel:
        with pytest.raises(errors.ProtocolVersionError, match=f"far.example has an mk that is too {word}") as caught:
            Connection(channel, "")
        assert "mk 7.8" in caught.value.why and "1 to 1" in caught.value.why


def test_a_greeting_may_say_more_in_a_later_version():
    with scripted(frame(1, 3, "7.8", "more") + frame(0, "7.8", "more") + frame(0)) as channel:
        Connection(channel, "").do("anything")


def test_an_error_of_a_class_that_this_mk_does_not_know_is_of_the_family_of_its_status():
    def raised(name, status):
        with scripted(frame(1, 1, "9") + frame(0, "9") + frame(2, name, status, "what", "why", "fix", 0)) as channel:
            with pytest.raises(errors.MkError, match="^on far.example: what$") as caught:
                Connection(channel, "").do("anything")
            return type(caught.value)

    assert raised("StaleSourceErrorOfTheFuture", 75) is errors.TryAgainError
    assert raised("BaseException", 65) is errors.DataError
    assert raised("SystemExit", 99) is errors.MkError
    assert raised("TYPE_CHECKING", 66) is errors.NotFoundError
    assert raised("RecordTooLargeError", 65) is errors.RecordTooLargeError


ENDLESS = {
    "images": lambda: chain(
        (frame(1, *image(name=f"t{number:09}")) for number in range(1 << 40)),
    ),
    "committed offsets": lambda: repeat(frame(1, 1000, *(["g", ORDERS, 0, 0, 0] * 1000))),
    "digests": lambda: (frame(1, 1, 10 + at, 11 + at, b"d" * 32) for at in range(1 << 40)),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_list_without_end_is_given_up(kind, monkeypatch):
    from mk.replication import remote_replica

    monkeypatch.setattr(remote_replica, "_MAX_ROWS", 5000)
    monkeypatch.setattr(remote_replica, "_MAX_PAGE_BYTES", 100_000)
    with replica_of(ENDLESS[kind](), monkeypatch) as open_replica, pytest.raises(FarSideError):
        replica = open_replica()
        if kind == "images":
            list(replica.topics())
        elif kind == "digests":
            replica.digests("orders", 0, 10, FOREVER)
        else:
            COMMITTED(replica)


def test_pages_without_end_are_given_up(monkeypatch):
    from mk.replication import remote_replica

    monkeypatch.setattr(remote_replica, "_MAX_TOPICS", 500)
    pages = (frame(1, *image(name=f"t{number:09}")) + frame(0, True) for number in range(1 << 40))
    with replica_of(pages, monkeypatch) as open_replica, pytest.raises(FarSideError):
        TOPICS(open_replica())


def test_an_answer_that_goes_on_after_it_was_stopped_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "_MAX_AFTER_STOP_BYTES", 1 << 20)
    parts = (frame(1, at * 10, at * 10 + 10, False, 0, body=bytes(10_000)) for at in range(1 << 40))
    with replica_of(parts, monkeypatch) as open_replica:
        replica = open_replica()
        next(replica.read("orders", 0, 0, FOREVER))
        with pytest.raises(FarSideError, match="does not stop"):
            replica.wait(5)


def test_a_far_side_that_says_why_and_goes_is_quoted_even_if_we_are_sending(monkeypatch):
    last_word = frame(0, 0, 0) + frame(2, "StorageError", 74, "the disk is full", "", "", 0)
    with replica_of(last_word, monkeypatch) as open_replica:
        writer = FOLLOW(open_replica())
        with pytest.raises(errors.StorageError, match="on far.example: the disk is full"):
            for number in cycle(range(1)):
                writer.append(CopiedBatches(number, number + 1, bytes(1 << 20), begins_segment=False))
                writer.sync()


# In a process of its own, whose memory is measured.

CLIENT = """
import resource, sys
from mk.errors import MkError
from mk.replication.replicas import open_replica
from mk.replication.replica import CopiedBatches

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

replica = open_replica("far.example:/srv")
before = peak()
try:
    if sys.argv[1] == "read":
        for each in replica.read("orders", 0, 0, 1 << 60):
            pass
    elif sys.argv[1] == "topics":
        for each in replica.topics():
            pass
    else:
        replica.chain_at("orders", 0, 5)
except MkError as error:
    print(type(error).__name__, peak() - before)
"""

LIAR = """
import os, sys
from tests.transports.frames import *
from tests.transports.fake_replica import largest_image_values
out = sys.stdout.buffer
out.write(greeting() + frame(0, "9.9") + frame(0, "d" * 32, "far:/srv"))
out.flush()
heard = b""
while {ask!r} not in heard:
    heard += os.read(0, 1 << 16)
try:
    {body}
    out.flush()
except OSError:
    os._exit(0)
"""

GREEDY = {
    # What claims the most and sends little.
    ("chain_at", "out.write(raw_frame(b'', head_length=4 << 20, body_length=66 << 20) + bytes(1 << 20))"): 8,
    # Numbers without end in one message.
    ("chain_at", "out.write(raw_frame(b'\\x00\\xc3\\x05' + b'\\x01' * ((4 << 20) - 3)))"): 20,
    # Messages without end, none of which is too long.
    ("read", "for at in range(200): out.write(frame(1, at, at + 1, False, 0, body=bytes(1 << 20)))"): 8,
    ("topics", "one = frame(1, *largest_image_values())\n    while True: out.write(one)"): 200,
}


@pytest.mark.parametrize(
    ("ask", "body"),
    [*list(GREEDY)[:-1], pytest.param(*list(GREEDY)[-1], marks=pytest.mark.slow)],
    ids=range(len(GREEDY)),
)
def test_memory_is_bounded_whatever_comes(ask, body, far_side):
    liar = far_side.tmp_path / "liar.py"
    liar.write_text(LIAR.format(body=body, ask=ask.encode()))
    environment = far_side.environment()
    environment["MK_REMOTE_PATH"] = f"exec env PYTHONPATH={ROOT} {sys.executable} {liar}"
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, ask], env=environment, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    name, grown_mib = done.stdout.split()
    assert name in (b"FarSideError", b"PeerUnreachableError"), done
    assert int(grown_mib) <= GREEDY[ask, body]
