import pytest

from tests.unit.replication.leaders import make_directory


@pytest.fixture
def first(tmp_path):
    """A log directory with a topic t of two partitions, which it leads."""
    directory = make_directory(tmp_path / "first")
    directory.create_topic("t", partitions=2, partitioner="crc32", overrides={}, wait_ms=0)
    yield directory
    directory.close()


@pytest.fixture
def second(tmp_path):
    directory = make_directory(tmp_path / "second")
    yield directory
    directory.close()
