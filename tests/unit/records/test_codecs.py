from __future__ import annotations

import tracemalloc

import pytest

from mk.records.codecs import (
    GZIP,
    LZ4,
    MAX_RAW_BYTES,
    NONE,
    ZSTD,
    CodecError,
    compress,
    crc32c,
    decompress,
    pack,
    unpack,
)

CODECS = pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])


def test_the_checksum_is_crc_32c_and_can_be_continued() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283
    assert crc32c(memoryview(b"123456789")) == 0xE3069283


@CODECS
@pytest.mark.parametrize(
    "data", [b"", b"a", b"abc" * 1_000, b"".join(b"%d," % number for number in range(200_000))], ids=len
)
def test_what_was_compressed_comes_out(codec: int, data: bytes) -> None:
    assert decompress(codec, compress(codec, data), len(data)) == data
    assert decompress(codec, memoryview(compress(codec, memoryview(data))), len(data)) == data


@CODECS
def test_another_length_than_announced_is_refused(codec: int) -> None:
    packed = compress(codec, b"abc" * 100)
    for length in (0, 299, 301):
        with pytest.raises(CodecError):
            decompress(codec, packed, length)


@CODECS
def test_a_bomb_is_refused_before_it_is_opened(codec: int) -> None:
    bomb = compress(codec, bytes(32 << 20))
    for length in (1 << 30, MAX_RAW_BYTES + 1):
        tracemalloc.start()
        with pytest.raises(CodecError):
            decompress(codec, bomb, length)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
        tracemalloc.stop()


@CODECS
def test_a_bomb_that_announces_little_costs_little(codec: int) -> None:
    bomb = compress(codec, bytes(32 << 20))
    tracemalloc.start()
    with pytest.raises(CodecError):
        decompress(codec, bomb, 100_000)
    # What was announced, what the decoder gathers, and what it has not taken yet.
    assert tracemalloc.get_traced_memory()[1] < 300_000 + 2 * len(bomb)
    tracemalloc.stop()


@CODECS
@pytest.mark.parametrize("damage", ["cut", "extended", "twice", "flipped", "other", "empty"])
def test_a_damaged_frame_is_refused(codec: int, damage: str) -> None:
    packed = bytearray(compress(codec, bytes(range(200)) * 3))
    changed = {
        "cut": packed[:-1],
        "extended": packed + b"x",
        "twice": packed + packed,
        "flipped": packed[:2] + b"\0" + packed[3:],
        "other": bytearray(b"not a frame at all"),
        "empty": bytearray(),
    }[damage]
    with pytest.raises(CodecError):
        decompress(codec, bytes(changed), 600)


def test_an_unknown_codec_is_refused() -> None:
    for codec in (NONE, 2, 5, 7):
        with pytest.raises(CodecError):
            decompress(codec, b"x", 1)
        with pytest.raises(CodecError):
            compress(codec, b"x")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x81\xc0\xc0", b"\xa1a", b"\xd4\x01\x00", b"\x92\xc0", b"\xc0\xc0", b"\x91" * 2000],
    ids=["empty", "never used", "map", "text", "extension", "cut", "two values", "deep"],
)
def test_msgpack_of_anything_but_lists_bytes_integers_and_nil_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        unpack(data)


def test_lists_bytes_integers_and_nil_come_back() -> None:
    value = [[b"a", None], [1, -5, 1 << 40], None]
    assert unpack(pack(value)) == value
