"""What holds for all tests: signals mean to the commands under test what they mean in a terminal; how thorough they are; an
sshd and a Kafka, of which no client outlives its test."""

import contextlib
import gc
import importlib
import os
import pkgutil
import random
import signal
import sys
import time

import pytest

import mk
from tests.kafka.fixtures import authority, broker, broker_pool, make_broker, make_brokers  # noqa: F401  fixtures
from tests.sshd import sshd  # noqa: F401  a fixture
from tests.thinning import FULL, SAMPLE, Thoroughness, leave_cases_to_the_slow, leave_most_of_kafka_to_the_slow

# A module that is imported while a test has set the clock, or the calls of the disk, would keep what that test has put there.
for module in pkgutil.walk_packages(mk.__path__, "mk."):
    if module.name != "mk.__main__" and not module.name.startswith("mk.kafka_cluster"):
        importlib.import_module(module.name)

# A shell starts what it puts into the background with some of them ignored, and nohup does; a command keeps that, and a test
# that stops one by a signal would wait for ever.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(params=[pytest.param(SAMPLE, id="sample"), pytest.param(FULL, id="full", marks=pytest.mark.slow)])
def thoroughness(request: pytest.FixtureRequest) -> Thoroughness:
    """How much of a sweep is taken; see thinning.py."""
    return request.param


@pytest.fixture(autouse=True)
def no_client_of_kafka_left() -> None:
    """Begin a test where no client of librdkafka is left of the one before.

    Its threads open and close sockets. A test that counts the descriptors of this process, and closes what a process that it
    plays had open, would close one of those, and librdkafka then that of somebody else.
    """
    if "confluent_kafka" not in sys.modules or not _threads_of_librdkafka():
        return
    gc.collect()  # What stands in a cycle, as with a callback.
    limit = time.monotonic() + 10
    while (left := _threads_of_librdkafka()) and time.monotonic() < limit:
        time.sleep(0.01)
    _left_over.update(left)  # Said once: one that failed is kept, with all that it had, until the end.
    assert not left, f"a test has left a client of Kafka open: {left}"


_left_over: set[str] = set()


def _threads_of_librdkafka() -> list[str]:
    """Return the name and number of each, but for those that were found to be left over before."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/self/task/{task}/comm") as comm:
            found.append(f"{comm.read().strip()} {task}")
    return [name for name in found if name.startswith("rdk:") and name not in _left_over]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"broker_pool", "make_broker", "make_brokers"}.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)
    leave_cases_to_the_slow(items)
    leave_most_of_kafka_to_the_slow(items)
    if order := os.environ.get("MK_PROOF_ORDER"):
        # A proof that will be stopped before its end: by lot, on which the processes of one run have to agree; the samples first.
        random.Random(order).shuffle(items)
        items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
