"""Reading a range of a partition of a Kafka: what is not shown yet is waited for, and never left out."""

import threading

import pytest

pytest.importorskip("confluent_kafka")

from mk.errors import TryAgainError
from mk.kafka_cluster.client import Client
from mk.kafka_cluster.partition_scan import PartitionScan
from mk.transport.kafka_address import parse_kafka_address
from tests.kafka.replicating import Cluster

NOW = 1_700_000_000_000


@pytest.fixture
def cluster(broker):
    made = Cluster(broker)
    made.create("orders", retention_ms=-1)
    return made


@pytest.fixture
def scan(cluster):
    client = Client(parse_kafka_address(f"{cluster.url}?mk.timeout.ms=5000"))
    made = PartitionScan(client)
    yield made
    made.close()
    client.close()


def rows(first, stop):
    return [(0, None, b"%d" % number, (), NOW) for number in range(first, stop)]


def test_an_end_in_front_of_the_one_that_was_told_is_waited_at(cluster, scan):
    cluster.write("orders", rows(0, 5))
    found = []
    # As behind a new leader, which for a moment knows less of what is committed than the old one told.
    for messages in scan.read("orders", 0, 0, 10):
        found += [message.value() for message in messages]
        if len(found) == 5:
            threading.Timer(0.7, cluster.write, ("orders", rows(5, 10))).start()
    assert found == [b"%d" % number for number in range(10)]


def test_an_end_that_went_back_is_told_and_not_taken_for_a_hole(cluster, scan):
    cluster.write("orders", rows(0, 5))
    with pytest.raises(TryAgainError) as caught:
        list(scan.read("orders", 0, 0, 10))
    assert "ends at offset 5 now" in caught.value.why


def test_holes_up_to_the_end_are_read_over(cluster, scan):
    cluster.write("orders", rows(0, 5), transaction="commit")
    cluster.write("orders", rows(5, 9), transaction="abort")
    assert sum(map(len, scan.read("orders", 0, 0, 11))) == 5
