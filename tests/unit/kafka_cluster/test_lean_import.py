"""The library is loaded without what a command does not need."""

import subprocess
import sys

import pytest

pytest.importorskip("confluent_kafka")


def test_a_command_loads_the_library_without_asyncio_and_can_use_it():
    program = """
import sys
from mk.kafka_cluster.lean_import import import_lean
import_lean()
assert "asyncio" not in sys.modules
import confluent_kafka, confluent_kafka.admin
confluent_kafka.Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
from confluent_kafka.serializing_producer import SerializingProducer
print(SerializingProducer.__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("SerializingProducer\n", "")
