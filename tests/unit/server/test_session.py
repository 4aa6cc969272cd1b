"""What a session does for long ends when a signal says so."""

import os

import pytest

from mk.server.permissions import Permissions
from mk.server.session import Session, Stopping
from mk.transport.channel import Channel


@pytest.fixture
def session():
    read, write = os.pipe()
    yield Session(Channel(read, write, peer="the client"), Permissions(()), root=None, default="")
    os.close(read)
    os.close(write)


def test_a_signal_leaves_it_where_it_is(session):
    reached = []

    def work():
        session.stop()  # As a handler does.
        reached.append(True)

    with pytest.raises(Stopping):
        session.until_stopped(work)
    assert not reached


def test_one_that_came_before_has_it_not_begin(session):
    session.stop()
    with pytest.raises(Stopping):
        session.until_stopped(lambda: pytest.fail("it has begun"))


def test_one_that_comes_behind_it_is_for_the_next_wait(session):
    session.until_stopped(lambda: None)
    session.stop()
    assert session.is_stopping
