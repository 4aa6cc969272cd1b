"""Closing what hands out records, once more or half made: what was closed may have become somebody else's descriptor."""

import gc
import os

import pytest

import mk
from mk.consumer.execution import Execution
from mk.consumer.worker_pool import Policy


@pytest.fixture
def cluster(tmp_path):
    with mk.connect(tmp_path / "log", create=True) as cluster:
        cluster.create_topic("t")
        with cluster.producer("t") as producer:
            producer.send(b"v")
        yield cluster


def a_member_that_hands_out(cluster):
    execution = Execution(Policy(["true"], lambda records: b"", output=None))
    member = cluster.group_consumer("g", ["t"], delivery=execution)
    execution.attach(topic_id_of=member.topic_id, owner=member)
    return execution, member


def test_what_is_tidied_up_after_it_was_closed_leaves_alone_what_came_to_others(cluster):
    execution, member = a_member_that_hands_out(cluster)
    for fetch in member.fetches():
        execution.hand_over(fetch)
    execution.drain()
    theirs = os.pipe()
    own = execution.wake_fd, execution._alarm_fd
    member.close()
    execution.close()
    for fd, number in zip(theirs, own, strict=True):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        os.dup2(fd, number)
        os.close(fd)
    os.set_blocking(own[0], False)
    os.write(own[1], b"theirs")
    execution.halt()  # As the handler of a signal that comes late.
    execution.close()
    del fetch, member, execution
    gc.collect()
    assert os.read(own[0], 100) == b"theirs"
    for number in own:
        os.close(number)


def test_a_member_that_could_not_be_made_says_nothing_when_it_is_tidied_up(cluster, monkeypatch):
    def no_more_files():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", no_more_files)
    with pytest.raises(OSError, match="Too many"):
        cluster.group_consumer("g", ["t"])
    gc.collect()  # pytest fails where something is raised by that.
