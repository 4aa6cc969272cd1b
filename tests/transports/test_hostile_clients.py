"""Clients of `mk serve` that lie, or ask for what is not theirs: refused, and nothing done. In this process, on a socket."""

import contextlib
import socket

import pytest

import mk.replication.replicas
from mk import __version__, errors
from mk.errors import FarSideError, ProtocolVersionError, UsageError
from mk.replication import image_codec
from mk.replication.replica import CommittedOffset
from mk.server.operations import OPERATIONS
from mk.server.permissions import Permissions
from mk.server.session import Session
from mk.transport.channel import BANNER, Channel
from mk.transport.error_codec import take_error
from tests.transports.fake_replica import (
    DIRECTORY_ID,
    TOPICS,
    FakeReplica,
    partition_image,
    topic_id_of,
    topic_image,
)
from tests.transports.frames import client_hello, frame, packed, raw_frame

OPEN = client_hello() + frame("open_replica", False)
ORDERS, SECRETS = topic_id_of("orders"), topic_id_of("secrets")


class Heard:
    """What a client heard: answers (the error, or the values of all parts), and how the session ended."""

    def __init__(self):
        self.answers = []
        self.ended = None
        self.told = []

    @property
    def last(self):
        return self.answers[-1]


def values_of(fields):
    found = []
    with contextlib.suppress(FarSideError):
        while True:
            found.append(fields.peek())
            fields._take()
    return found


@pytest.fixture
def talk(monkeypatch, tmp_path):
    """Have a client say something to a session, all at once, and return what it hears."""

    def talk(said, *only, root=None):
        told = tmp_path / "told"
        told.write_text("")
        monkeypatch.setattr(
            mk.replication.replicas,
            "open_directory",
            lambda path, **keywords: FakeReplica(path, told=str(told), **keywords),
        )
        client, server = socket.socketpair()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        client.settimeout(30)
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        heard = Heard()
        session = Session(
            Channel(server.fileno(), server.fileno(), peer="the client"),
            Permissions(only),
            root=root,
            default="/default",
        )
        try:
            session.serve()
        except FarSideError as error:
            heard.ended = error
        server.close()
        channel = Channel(client.fileno(), client.fileno(), peer="the server")
        channel.receive_banner()
        assert values_of(channel.receive())[:2] == [1, 1]
        parts = []
        while (fields := channel.receive()) is not None:
            kind = fields.number()
            if kind == 2:
                heard.answers.append(take_error(fields, "the server"))
                parts = []
            else:
                parts += values_of(fields)
                if kind == 0:
                    heard.answers.append(parts)
                    parts = []
        client.close()
        heard.told = [line for line in told.read_text().splitlines() if '"close"' not in line]
        return heard

    return talk


OTHERS = [
    # No frames, or none that are whole or right.
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    BANNER,
    raw_frame(b"\xc1"),
    raw_frame(packed("topics"), crc=1),
    raw_frame(b"", head_length=0xFFFFFFFF),
    raw_frame(b"", body_length=0xFFFFFFFF),
    raw_frame(b"\x91" * 60_000 + b"\0"),
    # No operation.
    frame(),
    frame(1),
    frame("rm"),
    frame("__class__"),
    frame("x" * 300),
    frame("stop", 1),
    # Not in its order.
    frame("open_replica", False),
    frame("more_topics", 0),
    frame("append", 0, 0, 1, False, 0, body=b"x"),
    frame("sync", 0),
    frame("advance_log_start", 0, 0),
    frame("close_writer", 0),
    # Too little, too much, of a wrong kind, out of bounds.
    frame("topics"),
    frame("topics", 8, False),
    frame("topics", 0, 1),
    frame("topics", 0, True, 1),
    frame("topics", 0, True, 1 << 30),
    frame("topics", 0, True, 1, "../../etc"),
    frame("topics", 0, True, 1, ""),
    frame("topics", 0, True, 1, "a" * 201),
    frame("topics", 0, False, body=b"x"),
    frame("chain_at", "orders", 0),
    frame("chain_at", "orders", 0, 1, 1),
    frame("chain_at", "orders", 4096, 1),
    frame("chain_at", "orders", -1, 1),
    frame("chain_at", "orders", True, 1),
    frame("chain_at", "orders", 0, -1),
    frame("chain_at", "orders", 0, 1 << 63),
    frame("chain_at", "/etc/passwd", 0, 1),
    frame("chain_at", "a/../b", 0, 1),
    frame("chain_at", ".", 0, 1),
    frame("chain_at", "x.deleted-1", 0, 1),
    frame("chain_at", b"orders", 0, 1),
    frame("chain_at", None, 0, 1),
    frame("read", "orders", 0, 10, 9),
    frame("read", "orders", 0, 10),
    frame("digests", "orders", 0, 10, 9),
    frame("wait", -1),
    frame("wait", 3_600_001),
    frame("committed_offsets", 1, "../../../x"),
    frame("committed_offsets", 1 << 19),
    frame("note_follower", "../" + "d" * 29, "", 0),
    frame("note_follower", DIRECTORY_ID, "a" * 5000, 0),
    frame("note_follower", DIRECTORY_ID, "", 1, ORDERS, 0),
    frame("note_follower", DIRECTORY_ID, "", 1, ORDERS, 4096, 0),
    frame("note_source", DIRECTORY_ID, "", 1, "x", 0, 0),
    frame("begin", "x" * 32, ""),
    frame("begin", DIRECTORY_ID),
    frame("fence", "orders", 0, 1, DIRECTORY_ID, 0),
    frame("fence", "orders", 0, 1, DIRECTORY_ID, 1, 0, 0, 1),
    frame("fence", "orders", 0, 0, 1, 0, 0, 0),
    frame("create_topic", *image_codec.topic_values(topic_image("../x"))),
    frame("create_topic", *image_codec.topic_values(topic_image("orders")), 1),
    frame("follow", "orders", 0, *image_codec.partition_values(partition_image(1)), 0, 0),
    frame("follow", "orders", 0, *image_codec.partition_values(partition_image(0)), 0, 1 << 32),
    frame("follow", "orders", 0, *image_codec.partition_values(partition_image(0)), -1, 0),
    frame("begin_anew", "orders", 0, *image_codec.partition_values(partition_image(0)), "why not"),
    frame("store_committed_offsets", DIRECTORY_ID, 1, "../g", ORDERS, 0, 0, 0),
    frame("store_committed_offsets", DIRECTORY_ID, 1, "g", ORDERS, 0, -9, 0),
]

FOLLOWED = frame("follow", "orders", 0, *image_codec.partition_values(partition_image(0)), 0, 0)
PUSHED = [
    frame("append", 1, 0, 1, False, 0, body=b"x"),
    frame("append", 0, 1, 1, False, 0, body=b"x"),
    frame("append", 0, 0, 1, False, 2, body=b"x"),
    frame("append", 0, 0, 1, False, 0, 0, body=b"x"),
    frame("append", 0, -1, 1, False, 0, body=b"x"),
    frame("append", 0, 5, 5, True, 0),  # nothing at all
    frame("append", 0, 5, 5, False, 1, body=b"p"),
    frame("append", 0, 5, 5, True, 1, body=b"xp"),
    frame("append", 0, 5, 4, True, 1, body=b"p"),
    frame("append", 0, 0, 1, True, 1, body=b"p"),
    frame("append", 0, 0, 1, False, (1 << 20) + 1, body=bytes(2 << 20)[:100_000]),
    frame("sync", 0, 0),
    frame("sync", 0, body=b"x"),
    frame("sync", 64),
    frame("close_writer", 0) + frame("sync", 0),
]


@pytest.mark.parametrize("said", OTHERS, ids=range(len(OTHERS)))
def test_who_does_not_keep_to_the_protocol_is_told_so_and_served_no_more(said, talk):
    heard = talk(OPEN + said + frame("wait", 7))
    assert heard.ended is not None and "the client" in heard.ended.what
    assert heard.answers[0] == [__version__] and heard.answers[1] == [DIRECTORY_ID, "here:/default"]
    assert isinstance(heard.last, FarSideError) and len(heard.answers) == 3
    assert [line for line in heard.told if not line.startswith('["open"')] == []


@pytest.mark.parametrize("said", PUSHED, ids=range(len(PUSHED)))
def test_a_writer_that_does_not_keep_to_the_protocol_is_told_so(said, talk):
    heard = talk(OPEN + FOLLOWED + said + frame("wait", 7))
    assert isinstance(heard.last, FarSideError) and heard.ended is not None
    assert not any('"append"' in line or '"sync"' in line for line in heard.told)
    assert sum('"close_writer"' in line for line in heard.told) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frame("1", "9", "", False, 0),
        frame(1, "9", "", False),
        frame(1, "9", "x" * 5000, False, 0),
        frame(1, "9", "", 0, 0),
        frame(1, "9", "", False, -1),
        frame(1, "9", "", False, 1 << 60),
        frame("open_replica", False),
    ],
    ids=range(8),
)
def test_a_greeting_that_is_none_opens_nothing(said, talk):
    heard = talk(said)
    assert heard.ended is not None and isinstance(heard.last, FarSideError) and heard.told == []


@pytest.mark.parametrize("version", [0, 2, (1 << 31) - 1])
def test_another_version_of_the_protocol_is_named(version, talk):
    heard = talk(client_hello(version=version))
    assert isinstance(heard.ended, ProtocolVersionError) and isinstance(heard.last, ProtocolVersionError)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 20])
def test_a_client_that_goes_away_ends_it_silently(length, talk):
    said = frame("topics", 0, False)
    assert talk(OPEN + said[:length]).ended is None
    assert talk(client_hello()[:length]).ended is None


def test_more_partitions_than_there_may_be_are_an_error_and_nothing_worse(talk):
    heard = talk(OPEN + FOLLOWED * 65 + frame("close_writer", 7) + FOLLOWED + frame("wait", 7))
    assert heard.ended is None
    assert isinstance(heard.answers[-4], errors.PermissionDeniedError)
    assert heard.answers[-2] == [7, 0] and heard.last == [True]


# The directory.


def test_a_client_names_any_directory_unless_there_is_a_root(talk, monkeypatch):
    def path_of(directory, root=None):
        heard = talk(client_hello(directory) + frame("open_replica", False), root=root)
        return heard.answers[-1]

    monkeypatch.setenv("HOME", "/home/ann")
    assert path_of("")[1] == "here:/default"
    assert path_of("/srv/x")[1] == "here:/srv/x"
    # Only a path, whatever it looks like.
    assert path_of("--root=/etc")[1] == "here:--root=/etc"
    assert path_of("-x; touch y\n\udcff")[1] == "here:-x; touch y\n\udcff"
    assert path_of("~/log")[1] == "here:/home/ann/log"
    assert path_of("./~/log")[1] == "here:./~/log"
    assert isinstance(path_of("a\0b"), errors.PermissionDeniedError)
    assert isinstance(path_of("/srv/missing"), errors.NoSuchDirectoryError)
    assert path_of("", root="/srv/mk")[1] == "here:/srv/mk"
    assert path_of("/srv/./mk/", root="/srv/mk")[1] == "here:/srv/mk"
    for other in ("/srv", "/srv/mk/x", "/srv/mk/../other", "/srv/mk2", "/", "mk", "~"):
        answer = path_of(other, root="/srv/mk")
        assert isinstance(answer, errors.PermissionDeniedError), other
        assert "/srv/mk" not in f"{answer.what} {answer.why} {answer.fix}"


def test_what_is_asked_after_a_refused_directory_is_no_offence_and_not_done(talk):
    heard = talk(client_hello("/etc") + frame("open_replica", True) + frame("rm"), root="/srv/mk")
    assert heard.ended is None and len(heard.answers) == 1 and heard.told == []


def test_a_limited_client_does_not_decide_on_network_file_systems(talk):
    hello = frame(1, "9", "", True, 5) + frame("open_replica", False)
    assert '["allow_network_fs", true]' in talk(hello).told[0]
    assert '["allow_network_fs", false]' in talk(hello, root="/srv").told[0]
    assert '["allow_network_fs", false]' in talk(hello, "pull:.*").told[0]


# What is allowed.

TOPIC = image_codec.topic_values(topic_image("orders"))
REQUESTS = {
    "open_replica": ("pull push", None),
    "topics": ("pull push", frame("topics", 0, False)),
    "more_topics": ("pull push", None),
    "chain_at": ("pull push", frame("chain_at", "orders", 0, 10)),
    "digests": ("pull push", frame("digests", "orders", 0, 0, 5)),
    "size_bytes": ("pull", frame("size_bytes", "orders", 0, 0, 20)),
    "read": ("pull", frame("read", "orders", 0, 0, 20)),
    "committed_offsets": ("pull", frame("committed_offsets", 1, ORDERS)),
    "wait": ("pull", frame("wait", 7)),
    "note_follower": ("pull", frame("note_follower", DIRECTORY_ID, "", 0)),
    "fence": ("push", frame("fence", "orders", 0, *image_codec.epoch_values([(1, 0, DIRECTORY_ID)]))),
    "begin": ("push", frame("begin", DIRECTORY_ID, "")),
    "create_topic": ("push", frame("create_topic", *TOPIC)),
    "update_topic": ("push", frame("update_topic", *TOPIC)),
    "follow": ("push", FOLLOWED),
    "begin_anew": (
        "push",
        frame("begin_anew", "orders", 0, *image_codec.partition_values(partition_image(0)), "gap"),
    ),
    "append": ("push", None),
    "sync": ("push", None),
    "advance_log_start": ("push", None),
    "close_writer": ("push", None),
    "store_committed_offsets": ("push", frame("store_committed_offsets", DIRECTORY_ID, 0)),
    "note_source": ("push", frame("note_source", DIRECTORY_ID, "", 0)),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("kind", ["pull", "push", "produce"])
def test_an_operation_needs_its_kind(name, kind, talk):
    kinds, request = REQUESTS[name]
    assert OPERATIONS[name].kinds == tuple(kinds.split())
    if request is None:
        return
    is_allowed = kind in kinds.split()
    heard = talk(OPEN + request, f"{kind}:orders")
    if kind == "produce":
        # Not even the directory is opened as a replica.
        assert all(isinstance(answer, errors.PermissionDeniedError) for answer in heard.answers[1:]), heard.answers
        assert heard.told == [] and len(heard.answers) == 3
    else:
        assert heard.ended is None
        assert isinstance(heard.last, errors.PermissionDeniedError) != is_allowed, heard.last
        assert len(heard.told) <= 1 or is_allowed
    # With another topic named, only what is about none.
    if request[12:].find(b"orders") > 0 and name not in ("topics",):
        heard = talk(OPEN + request, f"{kind}:order")
        assert isinstance(heard.last, errors.PermissionDeniedError)
        assert len(heard.told) <= 1


def test_topics_that_do_not_match_are_not_there(talk):
    def names(*only):
        heard = talk(OPEN + frame("topics", 0, False), *only)
        return [value for value in heard.last if value in TOPICS]

    assert names("pull:orders") == ["orders"]
    assert names("push:orders") == ["orders"]
    assert names("pull:orders", "push:audit") == ["audit", "orders"]
    assert names("pull:orders.*") == ["orders", "orders.archive"]
    assert names("pull:rders") == names("pull:order") == []
    assert names("pull:orders|secrets") == ["orders", "secrets"]
    everything = names()
    assert everything == sorted(TOPICS)
    asked = talk(OPEN + frame("topics", 0, True, 2, "orders", "secrets"), "pull:orders").last
    assert "orders" in asked and "secrets" not in asked and SECRETS not in asked


def test_a_limited_reader_gets_nothing_of_other_topics_by_their_ids(talk):
    listed = OPEN + frame("topics", 0, False)
    heard = talk(listed + frame("committed_offsets", 2, ORDERS, SECRETS), "pull:orders")
    assert ORDERS in heard.last and SECRETS not in heard.last
    assert talk(OPEN + frame("committed_offsets", 1, ORDERS), "pull:orders").last == []
    assert SECRETS in talk(OPEN + frame("committed_offsets", 1, SECRETS)).last
    ends = image_codec.end_values([(ORDERS, 0, 5)])
    assert talk(listed + frame("note_follower", DIRECTORY_ID, "", *ends), "pull:orders").last == []
    ends = image_codec.end_values([(ORDERS, 0, 5), (SECRETS, 0, 5)])
    heard = talk(listed + frame("note_follower", DIRECTORY_ID, "", *ends), "pull:orders")
    assert isinstance(heard.last, errors.PermissionDeniedError) and len(heard.told) == 1


def test_a_limited_writer_cannot_make_another_topic_its_own(talk):
    stolen = topic_image("orders")
    stolen.topic_id = SECRETS
    request = frame("update_topic", *image_codec.topic_values(stolen))
    heard = talk(OPEN + request, "push:orders")
    assert isinstance(heard.last, errors.PermissionDeniedError) and "secrets" in heard.last.what
    assert len(heard.told) == 1
    assert talk(OPEN + request, "push:orders|secrets").last == []
    assert talk(OPEN + request).last == []
    assert talk(OPEN + frame("update_topic", *TOPIC), "push:orders").last == []
    offsets = image_codec.committed_values([CommittedOffset("g", SECRETS, 0, 5, 0)])
    heard = talk(OPEN + frame("store_committed_offsets", DIRECTORY_ID, *offsets), "push:orders")
    assert isinstance(heard.last, errors.PermissionDeniedError) and len(heard.told) == 1


def test_a_limited_writer_says_how_far_its_own_topics_are_also_before_they_are_made(talk):
    def told(*ends):
        values = image_codec.end_values([(topic_id, 0, 5) for topic_id in ends])
        return talk(OPEN + frame("topics", 0, False) + frame("note_source", DIRECTORY_ID, "", *values), "push:orders")

    assert told(ORDERS).last == []
    assert told(ORDERS, "f" * 32).last == []
    for ends in ((SECRETS,), (ORDERS, SECRETS, "f" * 32)):
        assert isinstance(told(*ends).last, errors.PermissionDeniedError)


def test_who_may_only_push_reads_no_record(talk):
    heard = talk(OPEN + frame("read", "orders", 0, 0, 80) + frame("topics", 0, False), "push:.*")
    assert isinstance(heard.answers[2], errors.PermissionDeniedError)
    assert len(heard.answers[3]) > 10


def test_only_who_may_push_has_a_directory_made(talk):
    made = client_hello() + frame("open_replica", True)
    assert isinstance(talk(made, "pull:.*").last, errors.PermissionDeniedError)
    assert '["create", true]' in talk(made, "push:x").told[0]


@pytest.mark.parametrize(
    "only", ["", "pull", "pull:", ":x", "read:x", "PULL:x", "pull:(", "pull:*", " pull:x", "push x"]
)
def test_words_that_are_none_are_refused(only):
    with pytest.raises(UsageError):
        Permissions(["pull:x", only])
