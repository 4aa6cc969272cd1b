from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from mk.records.record_batch import HEADER_SIZE, MAGIC, encode_lines
from mk.storage import files
from mk.storage.log_segment import UNKNOWN_CHAIN, find_headers, list_segments, segment_name, validate
from mk.storage.partition_state import LogEnd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = LogEnd(0, 0, 0, -1)


@contextmanager
def segment(data: bytes) -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.fileno()


def log_of(values: list[bytes], epochs: list[int] | None = None) -> list[bytes]:
    """Return batches of one record each, chained."""
    batches, chain = [], 0
    for offset, value in enumerate(values):
        batch = encode_lines(value + b"\n", count=1, timestamp_ms=100 + offset)
        chain = batch.chain_after(chain)
        header = batch.stamp(offset, epochs[offset] if epochs else 0, 0, chain)
        batches.append(header + b"".join(map(bytes, batch.payload)))
    return batches


def test_whole_batches_are_followed_to_their_end() -> None:
    batches = log_of([b"a", b"bb", b"ccc"], [0, 0, 3])
    data = b"".join(batches)
    with segment(data) as fd:
        end, fault, epochs = validate(fd, START, len(data))
        assert (end.position, end.offset, end.max_timestamp, fault) == (len(data), 3, 102, "")
        assert epochs == [(0, 0), (3, 2)]
        middle, _, _ = validate(fd, START, len(data), stop_offset=2)
        assert (middle.position, middle.offset) == (len(batches[0] + batches[1]), 2)
        again, fault, epochs = validate(fd, middle, len(data), 0)
        assert str(again) == str(end) and epochs == [(3, 2)]


def test_following_stops_in_front_of_whatever_does_not_prove_itself() -> None:
    good = log_of([b"a", b"b", b"c"])
    first = len(good[0])
    flipped = bytearray(good[1])
    flipped[-1] ^= 1
    cases = {
        "no batch header": good[0] + bytes(200) + good[1],
        "checksum": good[0] + bytes(flipped) + good[2],
        "begins at offset 2": good[0] + good[2],
        "begins at offset 0": good[0] + good[0],
        "cut short": good[0] + good[1][:-1],
        "continue": good[0] + log_of([b"x", b"b"])[1],
    }
    for wanted, data in cases.items():
        with segment(data) as fd:
            end, fault, _ = validate(fd, START, len(data))
            assert (end.position, end.offset) == (first, 1), wanted
            assert wanted in fault


def test_an_epoch_that_falls_is_from_another_life_of_the_file() -> None:
    data = b"".join(log_of([b"a", b"b"], [5, 4]))
    with segment(data) as fd:
        end, fault, _ = validate(fd, START, len(data))
        assert end.offset == 1 and "epoch 4" in fault
        end, fault, _ = validate(fd, START, len(data), 6)
        assert end.offset == 0 and "epoch 5" in fault


def test_without_a_known_chain_the_first_batch_is_believed() -> None:
    batches = log_of([b"a", b"b", b"c"])
    with segment(b"".join(batches[1:])) as fd:
        end, fault, _ = validate(fd, LogEnd(0, 1, UNKNOWN_CHAIN, -1), len(batches[1] + batches[2]))
        assert (end.offset, fault) == (3, "")


def test_headers_are_found_behind_damage_and_not_inside_of_values() -> None:
    inner = log_of([b"inner"])[0]
    batch = encode_lines(inner.replace(b"\n", b"") + b"\n", count=1, timestamp_ms=0)
    outer = batch.stamp(0, 0, 0, 0) + b"".join(map(bytes, batch.payload))
    with segment(b"garbage" + outer + bytes(50) + log_of([b"x", b"y"])[1]) as fd:
        found = [(position, header.base_offset) for position, header in find_headers(fd, 0, files.size(fd))]
        assert found == [(7, 0), (7 + len(outer) + 50, 1)]
        assert list(find_headers(fd, 8, 8 + HEADER_SIZE - 1)) == []


def test_headers_are_found_wherever_a_read_ends() -> None:
    header = log_of([b"z"])[0]
    for at in ((1 << 20) - HEADER_SIZE - 1, (1 << 20) - 60, (1 << 20) - 1, 1 << 20, (1 << 20) + 1):
        with segment(b"\x8a" * at + header) as fd:
            assert [position for position, _ in find_headers(fd, 0, files.size(fd))] == [at]


def test_a_value_full_of_what_looks_like_headers_costs_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    pread = files.pread

    def count(fd: int, size_bytes: int, position: int) -> bytes:
        read.append(size_bytes)
        return pread(fd, size_bytes, position)

    with segment(MAGIC * (1 << 19)) as fd:
        monkeypatch.setattr(files, "pread", count)
        assert list(find_headers(fd, 0, files.size(fd))) == []
        assert sum(read) < 2 * files.size(fd)


def test_segments_are_listed_by_their_names_and_foreign_names_ignored(tmp_path: Path) -> None:
    for name in (
        segment_name(20),
        segment_name(3),
        segment_name(3, ".index"),
        "x" * 20 + ".log",
        "1.log",
        "state",
        segment_name(7) + ".deleted",
    ):
        (tmp_path / name).touch()
    fd = files.open_directory(str(tmp_path))
    assert list_segments(fd) == [3, 20]
    os.close(fd)
    assert segment_name(42) == "00000000000000000042.log"
