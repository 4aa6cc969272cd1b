"""A topic with two partitions and ten records in the first, for tests of claims on it."""

import pytest

import mk
from mk.groups.claim_directory import make_claims
from mk.storage.log_directory import LogDirectory


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "log"
    with mk.connect(str(path), create=True) as cluster:
        cluster.create_topic("t", partitions=2)
        with cluster.producer("t", partition=0) as producer:
            for number in range(10):
                producer.send(b"%d" % number)
    opened = LogDirectory(str(path))
    yield opened
    opened.close()


@pytest.fixture
def topic(directory):
    opened = directory.open_topic("t")
    yield opened
    opened.close()


@pytest.fixture
def claims(topic):
    opened = make_claims(topic, "billing")
    yield opened
    opened.close()
