"""The checker of anomalies finds each that is planted, alone, and none in a history that is as it should be."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.proof.anomalies import KINDS, History

if TYPE_CHECKING:
    from collections.abc import Callable


def good() -> History:
    """Two producers, of which one is not heard of again, one reader that sees all and one that begins later."""
    history = History()
    for number in range(3):
        history.sent("p", 0, f"p{number}")
        history.sent("q", 0, f"q{number}")
    history.acknowledged(0, "p0", 0)
    history.acknowledged(0, "p1", 2)
    history.acknowledged(0, "q0", 1)
    history.failed(0, "q2")
    history.polled("r", 0, [(0, "p0"), (1, "q0")])
    history.polled("r", 0, [(2, "p1"), (3, "q1")])
    history.assigned("late", 0)
    history.polled("late", 0, [(2, "p1")])
    history.polled("late", 0, [])
    return history


def test_a_good_history_has_no_anomalies() -> None:
    history = good()
    assert history.anomalies() == []
    assert history.acknowledged_count == 3
    history.check()


def lost_write(history: History) -> None:
    history.sent("p", 0, "lost")
    history.acknowledged(0, "lost", 3)
    history.sent("q", 0, "later")
    history.polled("r", 0, [(4, "later")])


def unseen(history: History) -> None:
    history.sent("p", 0, "unseen")
    history.acknowledged(0, "unseen", 4)


def duplicate(history: History) -> None:
    history.polled("r", 0, [(4, "q1")])


def inconsistent_offsets(history: History) -> None:
    history.sent("s", 0, "other")
    history.polled("s", 0, [(3, "other")])


def aborted_read(history: History) -> None:
    history.polled("r", 0, [(4, "q2")])


def foreign(history: History) -> None:
    history.polled("r", 0, [(4, "nobody's")])


def misplaced(history: History) -> None:
    history.sent("p", 0, "misplaced")
    history.acknowledged(0, "misplaced", 5)
    history.polled("r", 0, [(4, "misplaced")])


def poll_skip(history: History) -> None:
    history.polled("s", 0, [(0, "p0")])
    history.polled("s", 0, [(2, "p1")])


def int_poll_skip(history: History) -> None:
    history.polled("s", 0, [(0, "p0"), (2, "p1")])


def nonmonotonic_poll(history: History) -> None:
    history.polled("r", 0, [(3, "q1")])


def int_nonmonotonic_poll(history: History) -> None:
    history.polled("s", 0, [(1, "q0"), (1, "q0")])


def nonmonotonic_send(history: History) -> None:
    # Both are known: one was told its offset late.
    history.acknowledged(0, "q1", 0)


def reordered(history: History) -> None:
    for value in ("first", "second"):
        history.sent("s", 0, value)
    history.polled("r", 0, [(4, "second"), (5, "first")])


def lost_commit(history: History) -> None:
    history.joined("r", "g")
    history.resumed("g", 0, 0)
    history.committed("g", 0, 3)
    history.resumed("g", 0, 2)


def group_skip(history: History) -> None:
    history.joined("late", "g")
    history.resumed("g", 0, 1)
    history.committed("g", 0, 3)


PLANTED: dict[str, Callable[[History], None]] = {
    "lost-write": lost_write,
    "unseen": unseen,
    "duplicate": duplicate,
    "inconsistent-offsets": inconsistent_offsets,
    "aborted-read": aborted_read,
    "foreign": foreign,
    "misplaced": misplaced,
    "poll-skip": poll_skip,
    "int-poll-skip": int_poll_skip,
    "nonmonotonic-poll": nonmonotonic_poll,
    "int-nonmonotonic-poll": int_nonmonotonic_poll,
    "nonmonotonic-send": nonmonotonic_send,
    "reordered": reordered,
    "lost-commit": lost_commit,
    "group-skip": group_skip,
}
"""What brings about each anomaly."""

ALSO = {"nonmonotonic-send": {"misplaced"}}
"""Anomalies that cannot be had alone."""


def test_each_kind_is_planted() -> None:
    assert PLANTED.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_anomaly_is_found_and_nothing_else_is_called_one(kind: str) -> None:
    history = good()
    PLANTED[kind](history)
    assert {anomaly.kind for anomaly in history.anomalies()} == {kind} | ALSO.get(kind, set())
    with pytest.raises(AssertionError, match=kind):
        history.check()


def test_what_retention_has_removed_is_no_anomaly() -> None:
    history = History(is_gone=lambda partition, offset: offset < 2)
    for number in range(4):
        history.sent("p", 0, number)
        history.acknowledged(0, number, number)
    history.polled("r", 0, [(2, 2), (3, 3)])
    history.polled("early", 0, [(0, 0)])
    history.polled("early", 0, [(2, 2)])
    assert history.anomalies() == []


def test_partitions_are_looked_at_alone() -> None:
    history = History()
    for partition in (0, 1):
        history.sent("p", partition, "same")
        history.acknowledged(partition, "same", 0)
        history.polled("r", partition, [(0, "same")])
    assert history.anomalies() == []


@pytest.mark.parametrize("seed", range(20))
def test_any_interleaving_of_a_log_that_keeps_its_promises_is_good(seed: int) -> None:
    rng = random.Random(seed)
    history, log = History(), []
    positions = dict.fromkeys("rst", 0)
    for number in range(200):
        producer = rng.choice("pq")
        history.sent(producer, 0, number)
        if rng.random() < 0.8:
            log.append(number)
            if rng.random() < 0.8:
                history.acknowledged(0, number, len(log) - 1)
        reader = rng.choice("rst")
        end = rng.randint(positions[reader], len(log))
        history.polled(reader, 0, list(enumerate(log))[positions[reader] : end])
        positions[reader] = end
    history.polled("last", 0, enumerate(log))
    assert history.anomalies() == []
    if log:
        history.polled("wrong", 0, [(rng.randrange(len(log)), -1)])
        assert {anomaly.kind for anomaly in history.anomalies()} == {"foreign", "inconsistent-offsets"}
