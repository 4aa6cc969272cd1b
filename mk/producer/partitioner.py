"""Which partition a key belongs to: the same one that other Kafka clients choose.

Pure: bytes and a partition count in, a number out. Records without a key are not its business.
"""

from __future__ import annotations

from zlib import crc32

from mk.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMES = ("crc32", "murmur2")

_MURMUR2_SEED = 0x9747B28C
_MURMUR2_M = 0x5BD1E995
# Hashes kept by the murmur2 partitioner, in keys. Keys repeat, and a look-up costs a tenth of the hash; bounded, so that
# a stream of ever new keys does not fill the memory (some 8 MiB with keys of 20 bytes).
_KEPT_HASHES = 65536


def partitioner(name: str) -> Callable[[bytes, int], int]:
    """Return the function (key, partitions) -> partition, 0 up to partitions - 1, of that name. Raises as key_hash does."""
    hash_of = key_hash(name)
    return lambda key, partitions: hash_of(key) % partitions if partitions > 1 else 0


def key_hash(name: str) -> Callable[[bytes], int]:
    """Return the function key -> number, 0 or more, which modulo the partitions is the partition.

    crc32: librdkafka's `consistent`, for keys produced by kcat and every librdkafka client.
    murmur2: the Java clients' default.

    Raises:
        ConfigurationError: there is no partitioner of that name.
    """
    if name == "crc32":
        return crc32
    if name == "murmur2":
        return _remembered_murmur2()
    raise ConfigurationError(
        f"no partitioner {name}",
        why=f"known are {' and '.join(NAMES)}",
        fix="correct the partitioner of the topic",
        name=name,
    )


def spread(
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    hash_of: Callable[[bytes], int],
    partitions: int,
    null_key_partition: int,
) -> tuple[list[list[bytes | None]], list[list[bytes | None]]]:
    """Return the keys and the values of each partition, of parallel keys and values.

    Nothing is remembered of a key: a look-up among 100,000 of them costs five times as much as crc32 and the modulo.
    """
    keys_of: list[list[bytes | None]] = [[] for _ in range(partitions)]
    values_of: list[list[bytes | None]] = [[] for _ in range(partitions)]
    for key, value in zip(keys, values):
        target = null_key_partition if key is None else hash_of(key) % partitions
        keys_of[target].append(key)
        values_of[target].append(value)
    return keys_of, values_of


def crc32_partition(key: bytes, partitions: int) -> int:
    """Return the partition that librdkafka's `consistent` partitioner gives the key."""
    return crc32(key) % partitions if partitions > 1 else 0


def murmur2_partition(key: bytes, partitions: int) -> int:
    """Return the partition that Java's default partitioner gives the key."""
    # The sign bit is masked, not the absolute value taken: that is what Java's toPositive() does.
    return (murmur2(key) & 0x7FFFFFFF) % partitions if partitions > 1 else 0


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of the bytes with Java's seed, unsigned.

    Algorithm: Austin Appleby's MurmurHash2; words are little-endian.
    """
    m = _MURMUR2_M
    mask = 0xFFFFFFFF
    length = len(data)
    whole = length & ~3
    h = _MURMUR2_SEED ^ length
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ (k >> 24)) * m & mask)
    if whole != length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


def _remembered_murmur2() -> Callable[[bytes], int]:
    """Return murmur2 without its sign, as murmur2_partition takes it, with a memory of the keys seen last."""
    hashes: dict[bytes, int] = {}

    def hash_of(key: bytes) -> int:
        positive = hashes.get(key)
        if positive is None:
            if len(hashes) >= _KEPT_HASHES:
                hashes.clear()
            positive = hashes[key] = murmur2(key) & 0x7FFFFFFF
        return positive

    return hash_of
