"""What a Kafka cluster has not is refused with words, whoever asks for it."""

import pytest

import mk
from mk.cli import definition
from mk.cli.kafka_location import _ONLY_OF_DIRECTORIES
from mk.kafka_cluster.cluster import ONLY_OF_DIRECTORIES, KafkaCluster


def methods_of_a_cluster():
    return {name for name in vars(mk.Cluster) if not name.startswith("_") and callable(getattr(mk.Cluster, name))}


def test_each_method_of_a_cluster_is_there_or_refused():
    assert {name for name in methods_of_a_cluster() if not hasattr(KafkaCluster, name)} == ONLY_OF_DIRECTORIES


def test_what_is_refused_says_what_there_is_instead():
    with mk.connect("kafka://127.0.0.1:1") as cluster, pytest.raises(mk.MkError) as caught:
        cluster.verify_topic("t")
    assert caught.value.exit_status == 2
    assert "nothing was done" in caught.value.fix


@pytest.mark.parametrize("path", _ONLY_OF_DIRECTORIES, ids=" ".join)
def test_each_command_that_is_refused_is_one(path):
    assert definition.command_at(path) is not None
