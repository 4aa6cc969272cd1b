"""Several generators at once, as one."""

import threading

import pytest

from mk.replication.lanes import results, side_by_side


def test_all_work_is_done_each_in_its_order():
    work = [lambda first=first: iter(range(first, first + 5)) for first in (0, 10, 20, 30)]
    stopped = []
    found = list(side_by_side(work, 2, lambda: stopped.append(True)))
    assert sorted(found) == [number for first in (0, 10, 20, 30) for number in range(first, first + 5)]
    for first in (0, 10, 20, 30):
        assert [number for number in found if first <= number < first + 5] == list(range(first, first + 5))
    assert stopped


def test_an_error_ends_all_and_comes_out():
    ended = threading.Event()

    def endless():
        while not ended.is_set():
            yield 1

    def failing():
        yield 2
        raise ValueError("as it should")

    with pytest.raises(ValueError, match="as it should"):
        for _ in side_by_side([endless, failing], 2, ended.set):
            pass
    assert ended.is_set()


def test_who_wants_no_more_ends_the_work_that_is_under_way():
    ended = threading.Event()
    begun = []

    def endless():
        begun.append(1)
        while not ended.is_set():
            yield 1

    running = side_by_side([endless, endless, endless], 2, ended.set)
    next(running)
    running.close()
    assert ended.is_set() and len(begun) <= 2


def test_results_come_in_the_order_of_the_calls():
    barrier = threading.Barrier(2, timeout=20)

    def call(value):
        barrier.wait()  # Which they pass only together.
        return value

    assert results([lambda: call("a"), lambda: call("b")]) == ["a", "b"]
