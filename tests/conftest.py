"""What holds for all tests: signals mean to the commands under test what they mean in a terminal; how thorough they are; an
sshd and a Kafka."""

import os
import random
import signal

import pytest

from tests.kafka.fixtures import authority, broker, broker_pool, make_broker, make_brokers  # noqa: F401  fixtures
from tests.sshd import sshd  # noqa: F401  a fixture
from tests.thinning import FULL, SAMPLE, Thoroughness, leave_cases_to_the_slow, leave_most_of_kafka_to_the_slow

# A shell starts what it puts into the background with some of them ignored, and nohup does; a command keeps that, and a test
# that stops one by a signal would wait for ever.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(params=[pytest.param(SAMPLE, id="sample"), pytest.param(FULL, id="full", marks=pytest.mark.slow)])
def thoroughness(request: pytest.FixtureRequest) -> Thoroughness:
    """How much of a sweep is taken; see thinning.py."""
    return request.param


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
