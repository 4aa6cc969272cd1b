from __future__ import annotations

import pytest

from mk.records.codecs import MAX_RAW_BYTES, NONE, ZSTD, CodecError, compress, crc32c, decompress, pack, unpack


def test_the_checksum_is_crc_32c_and_can_be_continued() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283
    assert crc32c(memoryview(b"123456789")) == 0xE3069283


@pytest.mark.parametrize("data", [b"", b"a", b"abc" * 1_000], ids=len)
def test_what_was_compressed_comes_out(data: bytes) -> None:
    assert decompress(ZSTD, compress(ZSTD, data), len(data)) == data


def test_another_length_than_announced_is_refused() -> None:
    packed = compress(ZSTD, b"abc" * 100)
    for length in (0, 299, 301):
        with pytest.raises(CodecError):
            decompress(ZSTD, packed, length)


def test_a_bomb_is_refused_before_it_is_opened() -> None:
    bomb = compress(ZSTD, bytes(32 << 20))
    for length in (32 << 20, MAX_RAW_BYTES + 1):
        with pytest.raises(CodecError):
            decompress(ZSTD, bomb, length)


@pytest.mark.parametrize("damage", ["cut", "extended", "flipped", "other"])
def test_a_damaged_frame_is_refused(damage: str) -> None:
    packed = bytearray(compress(ZSTD, bytes(range(200)) * 3))
    changed = {
        "cut": packed[:-1],
        "extended": packed + b"x",
        "flipped": packed[:2] + b"\0" + packed[3:],
        "other": bytearray(b"not zstd at all"),
    }[damage]
    with pytest.raises(CodecError):
        decompress(ZSTD, bytes(changed), 600)


def test_an_unknown_codec_is_refused() -> None:
    for codec in (NONE, 1, 2, 3, 7):
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
