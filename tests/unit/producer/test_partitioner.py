from collections import Counter

import pytest

from mk.errors import ConfigurationError
from mk.producer.partitioner import NAMES, crc32_partition, murmur2, murmur2_partition, partitioner

LONG = b"this is another string with more length to it perhaps"

# Kafka: clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2. Java's ints are signed.
KAFKA_MURMUR2 = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]

# librdkafka: tests/0048-partitioner.c, do_test_partitioners; the number before `% partitions`.
LIBRDKAFKA_CRC32 = [(b"", 0), (b"23456", 0xB1B451D7), (LONG, 0xB0150DF7), (b"hejsan", 0xD077037E)]
LIBRDKAFKA_MURMUR2 = [(b"", 0x106E08D9), (b"23456", 0x058D780F), (LONG, 0x4F7703DA), (b"hejsan", 0x5EC19395)]

# librdkafka: src/rdmurmur2.c, its unit test against Java's results; their sign bit is already masked.
LIBRDKAFKA_JAVA_MURMUR2 = [(b"kafka", 1348980580), (b"amqp", 767747138), (b"giberish123456789", 257239820)]


@pytest.mark.parametrize(("key", "expected"), KAFKA_MURMUR2)
def test_murmur2_agrees_with_kafkas_vectors(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0xFFFFFFFF


@pytest.mark.parametrize(("key", "expected"), LIBRDKAFKA_JAVA_MURMUR2)
def test_murmur2_agrees_with_librdkafkas_vectors_from_java(key: bytes, expected: int) -> None:
    assert murmur2(key) & 0x7FFFFFFF == expected


@pytest.mark.parametrize("partitions", [1, 2, 7, 8, 17, 1000])
@pytest.mark.parametrize(("key", "number"), LIBRDKAFKA_CRC32)
def test_crc32_agrees_with_librdkafkas_consistent_partitioner(key: bytes, number: int, partitions: int) -> None:
    assert partitioner("crc32")(key, partitions) == number % partitions
    assert crc32_partition(key, partitions) == number % partitions


@pytest.mark.parametrize("partitions", [1, 2, 7, 8, 17, 1000])
@pytest.mark.parametrize(("key", "number"), LIBRDKAFKA_MURMUR2)
def test_murmur2_agrees_with_librdkafkas_murmur2_partitioner(key: bytes, number: int, partitions: int) -> None:
    assert partitioner("murmur2")(key, partitions) == number % partitions
    assert murmur2_partition(key, partitions) == number % partitions


def test_murmur2_masks_the_sign_as_java_does() -> None:
    # -973932308 is negative: its absolute value would give another partition.
    assert murmur2_partition(b"21", 1000) == 1173551340 % 1000 != 973932308 % 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_key_keeps_its_partition_when_many_keys_pass(name: str) -> None:
    partition = partitioner(name)
    before = {key: partition(key, 8) for key in (b"%d" % number for number in range(100))}
    counts = Counter(partition(b"user-%d" % number, 8) for number in range(150_000))
    assert before == {key: partition(key, 8) for key in before}
    assert sorted(counts) == list(range(8))
    assert min(counts.values()) > 150_000 / 8 * 0.9


@pytest.mark.parametrize("name", NAMES)
def test_one_key_in_topics_of_different_size(name: str) -> None:
    partition = partitioner(name)
    first = {partitions: partition(b"key", partitions) for partitions in (16, 8, 4, 2, 1)}
    assert [first[8], first[4], first[2], first[1]] == [first[16] % 8, first[16] % 4, first[16] % 2, 0]


def test_an_unknown_partitioner_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="no partitioner fnv1a"):
        partitioner("fnv1a")
