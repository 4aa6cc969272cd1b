"""What `--only` allows, for each operation that there is, on a real directory. Those of replicas: test_hostile_clients."""

import json
import os

import pytest

import mk
from mk.errors import FarSideError, MkError, PeerUnreachableError, PermissionDeniedError
from mk.server.operations import OPERATIONS
from mk.storage.partition_log import DISK
from tests.transports.test_hostile_clients import REQUESTS as REPLICA_REQUESTS
from tests.unit.server.far_side import far_side
from tests.unit.server.test_producing import lines

MINE, THEIRS, READER, NEW = 1, 2, 3, 9
BATCH = lines(b"forged")
BODY = (BATCH.stamp(0, 0, 0, 0), *BATCH.payload)

# The kinds that are enough, and what is asked of a topic with this name, open under this number.
REQUESTS = {
    "open_directory": ("pull produce", lambda name, number: (True,)),
    "topic_names": ("pull produce", lambda name, number: ()),
    "open_topic": ("pull produce", lambda name, number: (NEW, name)),
    "close_topic": ("pull produce", lambda name, number: (number,)),
    "watch": ("pull produce", lambda name, number: (0,)),
    "describe": ("pull produce", lambda name, number: ("topic", name)),
    "sample": ("pull", lambda name, number: ("",)),
    "open_reader": ("pull", lambda name, number: (NEW, number, 0)),
    "close_reader": ("pull", lambda name, number: (READER,)),
    "fetch": ("pull", lambda name, number: (READER, 0)),
    "offset_for_time": ("pull", lambda name, number: (READER, 0)),
    "batches_backward": ("pull", lambda name, number: (READER, 1, True)),
    "end_of_epoch": ("pull", lambda name, number: (READER, 0)),
    "committed_offset": ("pull", lambda name, number: (READER, "g")),
    "epochs": ("pull", lambda name, number: (number, 0)),
    "make_topic": ("produce", lambda name, number: (name, 1, "crc32", 0, 0)),
    "pin_producer": ("produce", lambda name, number: (number, "p", -1, 0)),
    "check_not_followed": ("produce", lambda name, number: (number, "p")),
    "last_sequence": ("produce", lambda name, number: (number, 0, 0, 7)),
    "produce": ("produce", lambda name, number: (number, 0, 0, 0, DISK, 1, 0)),
}
OF_A_TOPIC = [name for name, (_, make) in REQUESTS.items() if make("mine", MINE) != make("theirs", THEIRS)]


@pytest.fixture
def directory(tmp_path):
    with mk.connect(str(tmp_path / "log"), create=True) as cluster:
        for name in ("mine", "theirs"):
            cluster.create_topic(name)
            with cluster.producer(name) as producer:
                producer.send(b"secret")
    return tmp_path / "log"


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def is_refused(conversation, name, values):
    """Ask for it, and tell whether that is not allowed. Any other error is that of one who may."""
    body = BODY if OPERATIONS[name].has_body else ()
    try:
        if OPERATIONS[name].is_answered:
            conversation.request(name, *values, body=body)
        else:
            conversation.say(name, *values)
            conversation.request("topic_names")
    except PermissionDeniedError:
        return OPERATIONS[name].is_answered
    except (FarSideError, PeerUnreachableError):
        return not OPERATIONS[name].is_answered
    except MkError:
        pass
    return False


def test_no_operation_is_without_such_a_test():
    assert {*REQUESTS, *REPLICA_REQUESTS} == {*OPERATIONS}
    for name, (kinds, _) in REQUESTS.items():
        assert OPERATIONS[name].kinds == tuple(kinds.split()), name


@pytest.mark.parametrize("kind", ["pull", "push", "produce"])
def test_an_operation_needs_its_kind(kind, directory):
    before = contents(directory)
    refused = {name for name, (kinds, _) in REQUESTS.items() if kind not in kinds.split()}
    for name, (_, make) in REQUESTS.items():
        if (
            kind != "push"
            and name in ("open_directory", "make_topic", "pin_producer", "produce")
            and name not in refused
        ):
            continue  # They change something: below.
        with far_side(directory, f"{kind}:mine") as conversation:
            if kind != "push":
                conversation.request("open_directory", True)
                conversation.request("open_topic", MINE, "mine")
            if kind == "pull":
                conversation.request("open_reader", READER, MINE, 0)
            assert is_refused(conversation, name, make("mine", MINE)) == (name in refused), name
    assert contents(directory) == before


@pytest.mark.parametrize("name", OF_A_TOPIC)
def test_an_operation_is_for_the_topics_of_its_kind_also_among_those_that_are_open(name, directory):
    kinds, make = REQUESTS[name]
    for topic, number, kind in (("mine", MINE, "pull"), ("theirs", THEIRS, "produce")):
        with far_side(directory, "pull:mine", "produce:theirs") as conversation:
            conversation.request("open_directory", True)
            conversation.request("open_topic", MINE, "mine")
            conversation.request("open_topic", THEIRS, "theirs")
            conversation.request("open_reader", READER, MINE, 0)
            before = contents(directory)
            is_allowed = kind in kinds.split()
            assert is_refused(conversation, name, make(topic, number)) != is_allowed, topic
            assert is_allowed or contents(directory) == before
        with far_side(directory, f"{kind}:nothing") as conversation:
            conversation.request("open_directory", True)
            if topic in make(topic, number):
                assert is_refused(conversation, name, make(topic, number)), topic


def test_a_sample_tells_nothing_of_other_topics_nor_who_the_members_are(directory):
    with mk.connect(str(directory)) as cluster:
        members = [cluster.group_consumer(group, [topic]) for group, topic in (("both", "mine"), ("other", "theirs"))]
        for member in members:
            assert next(iter(member)).value == b"secret"
        with far_side(directory, "pull:mine") as conversation:
            conversation.request("open_directory", False)
            for owners_of in ("", "both", "other"):
                conversation.request("sample", owners_of)
                told = json.loads(conversation.body)
                assert [topic["topic"] for topic in told["topics"]] == ["mine"]
                assert [group["group"] for group in told["groups"]] == ["both"]
                (member,) = told["groups"][0]["members"]
                assert {key for key, value in member.items() if value is not None} == {"member"}
                assert [row["member"] for row in told["groups"][0]["offsets"]] == [None]
        with far_side(directory) as conversation:
            conversation.request("open_directory", False)
            conversation.request("sample", "both")
            told = json.loads(conversation.body)
            assert len(told["topics"]) == len(told["groups"]) == 2
            assert told["groups"][0]["members"][0]["pid"] == os.getpid()
            assert told["groups"][0]["offsets"][0]["member"] == told["groups"][0]["members"][0]["member"]
        for member in members:
            member.close()
