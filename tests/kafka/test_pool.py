"""The brokers that tests share: one test has one, clean, and nothing of them is left when pytest is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kafka.fixtures import ROOT, BrokerPool, skipped_where_unavailable
from tests.kafka.jars import jars, java

kafka = pytest.importorskip("confluent_kafka")
admin = pytest.importorskip("confluent_kafka.admin")

SECONDS = 60

pytestmark = pytest.mark.kafka


def wait_until(is_so):
    limit = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.05)


def create(words, *topics):
    client = admin.AdminClient(words)
    for made in client.create_topics([admin.NewTopic(topic, 1) for topic in topics]).values():
        made.result(SECONDS)


def topics_and_groups(words):
    client = admin.AdminClient(words)
    topics = [name for name in client.list_topics(timeout=SECONDS).topics if not name.startswith("__")]
    return sorted(topics), [group.group_id for group in client.list_consumer_groups().result(SECONDS).valid]


@pytest.fixture
def pool_of_one(tmp_path, monkeypatch):
    """A pool with a single broker, so that each lease is of it."""
    monkeypatch.setattr("tests.kafka.fixtures._SIZE", 1)
    pool = BrokerPool(tmp_path)
    with skipped_where_unavailable():
        yield pool
    pool.close()


def test_what_a_test_leaves_behind_is_gone_when_the_next_one_has_the_broker(pool_of_one):
    with pool_of_one.lease() as first:
        create(first.client(), "left", "left-too")
        member = kafka.Consumer({**first.client(), "group.id": "g", "auto.offset.reset": "earliest"})
        member.subscribe(["left"])
        wait_until(lambda: member.poll(0.1) or member.assignment())
        member.commit(offsets=[kafka.TopicPartition("left", 0, 0)], asynchronous=False)
        member.close()
        assert topics_and_groups(first.client()) == (["left", "left-too"], ["g"])
    with pool_of_one.lease() as second:
        assert second.address == first.address
        assert topics_and_groups(second.client()) == ([], [])


@pytest.mark.slow
def test_a_broker_with_a_group_whose_member_lives_on_is_replaced(pool_of_one):
    with pool_of_one.lease() as first:
        create(first.client(), "left")
        member = kafka.Consumer({**first.client(), "group.id": "g", "log_level": 0})
        member.subscribe(["left"])
        wait_until(lambda: member.poll(0.1) or member.assignment())
    with pool_of_one.lease() as second:
        assert second.address != first.address
        assert topics_and_groups(second.client()) == ([], [])
    member.close()


@pytest.mark.slow
def test_two_tests_at_once_have_two_brokers(broker_pool):
    with skipped_where_unavailable(), broker_pool.lease() as one, broker_pool.lease() as other:
        create(one.client(), "t")
        assert topics_and_groups(other.client()) == ([], [])


def run_pytest(directory: Path, test: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start pytest on a test of its own, which has the fixtures."""
    (directory / "pytest.ini").write_text("[pytest]\n")
    (directory / "test_it.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "tests.kafka.fixtures", "-p", "no:cacheprovider"]
    command += [
        "-c",
        str(directory / "pytest.ini"),
        f"--basetemp={directory}/base",
        *words,
        str(directory / "test_it.py"),
    ]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def outcome_of(process):
    said, _ = process.communicate(timeout=2 * SECONDS)
    return process.returncode, said.decode()


USES_A_BROKER = """
def test_it(broker):
    print(broker.address)
"""

WAITS_WITH_BROKERS = """
import os, time
from pathlib import Path

def test_it(broker, make_broker):
    from confluent_kafka.admin import AdminClient
    AdminClient(broker.client()).list_topics(timeout=30)
    own = make_broker()
    Path(os.environ["READY"]).write_text(f"{own.address} {broker.address}")
    time.sleep(600)
"""


def java_is_here():
    with skipped_where_unavailable():
        java(), jars()


def listens(address):
    # Of each JVM the command line has its directory, and not its port; who listens is in the kernel's table.
    port = int(address.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    return any(
        line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines[1:] if ":" in line
    )


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.slow), "2"])
def test_no_broker_is_left_when_pytest_is_killed(tmp_path, workers):
    java_is_here()
    ready = tmp_path / "ready"
    process = run_pytest(tmp_path, WAITS_WITH_BROKERS, "-n", workers, READY=str(ready))
    try:
        wait_until(lambda: ready.exists() and ready.read_text())
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    addresses = ready.read_text().split()
    wait_until(lambda: not any(map(listens, addresses)))


def test_the_broker_of_the_environment_is_used_and_left_running(tmp_path, make_broker):
    other = make_broker()
    assert outcome_of(run_pytest(tmp_path, USES_A_BROKER, "-s", MK_TEST_KAFKA=other.address))[0] == 0
    assert topics_and_groups(other.client()) == ([], [])
    create(other.client(), "of-somebody")
    status, said = outcome_of(run_pytest(tmp_path, USES_A_BROKER, MK_TEST_KAFKA=other.address))
    assert status == 1 and "the broker of MK_TEST_KAFKA has topics, and tests delete all: of-somebody" in said
    assert topics_and_groups(other.client()) == (["of-somebody"], [])


def test_where_java_or_maven_is_missing_tests_are_skipped_and_say_so(tmp_path):
    (tmp_path / "bin").mkdir()
    nothing = {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "MK_TEST_KAFKA": ""}
    status, said = outcome_of(run_pytest(tmp_path, USES_A_BROKER, JAVA_HOME="", **nothing))
    assert status == 0 and "no Kafka: there is no Java" in said
    old = tmp_path / "bin/java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    status, said = outcome_of(run_pytest(tmp_path, USES_A_BROKER, JAVA_HOME="", **nothing))
    assert status == 0 and "no Kafka: Kafka needs Java 17 or newer" in said
    old.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-15' >&2\n")
    status, said = outcome_of(run_pytest(tmp_path, USES_A_BROKER, JAVA_HOME="", **nothing))
    assert status == 0 and "no Kafka: there is no Maven, and no jars of Kafka" in said
