import fcntl
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mk.errors import RecordTooLargeError
from mk.formats.readers import LineReader, split_keys


class Pipe:
    """A real pipe: `reader_fd` for the reader, write() and close() for the other side."""

    def __init__(self) -> None:
        self.reader_fd, self._writer_fd = os.pipe()

    def write(self, data: bytes) -> None:
        assert os.write(self._writer_fd, data) == len(data)

    def widen(self, size_bytes: int) -> None:
        fcntl.fcntl(self._writer_fd, 1031, size_bytes)  # F_SETPIPE_SZ

    def feed(self, data: bytes) -> threading.Thread:
        """Write any amount from a thread, then close."""

        def run() -> None:
            with open(self._writer_fd, "wb", buffering=0, closefd=False) as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
            self.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def close(self) -> None:
        if self._writer_fd >= 0:
            os.close(self._writer_fd)
            self._writer_fd = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()
    os.close(pipe.reader_fd)


def blocks_of(reader: LineReader) -> list[bytes]:
    blocks = []
    while (block := reader.next_block()) is not None:
        blocks.append(bytes(block))
    return blocks


def test_lines_of_a_slow_pipe_come_out_as_they_are_written(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd)
    for line in (b"one\n", b"two\nthree\n", b"\n"):
        pipe.write(line)
        block = reader.next_block()
        assert block is not None and bytes(block) == line
    pipe.close()
    assert reader.next_block() is None
    assert reader.next_block() is None


def test_a_line_is_out_within_milliseconds_of_its_being_written(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd)
    delays = []
    for _ in range(20):
        written: list[float] = []

        def write(written: list[float] = written) -> None:
            written.append(time.monotonic())
            pipe.write(b"line\n")

        timer = threading.Timer(0.005, write)
        timer.start()
        reader.next_block()
        delays.append(time.monotonic() - written[0])
        timer.join()
    assert sorted(delays)[10] < 0.02


def test_a_part_of_a_line_waits_for_its_newline(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd)
    pipe.write(b"one\ntw")
    block = reader.next_block()
    assert block is not None and bytes(block) == b"one\n"
    pipe.write(b"o\nthree")
    block = reader.next_block()
    assert block is not None and bytes(block) == b"two\n"
    pipe.close()
    block = reader.next_block()
    assert block is not None and bytes(block) == b"three\n"
    assert reader.next_block() is None


@pytest.mark.parametrize(
    ("written", "blocks"),
    [
        (b"", []),
        (b"\n", [b"\n"]),
        (b"a", [b"a\n"]),
        (b"\n\n\n", [b"\n\n\n"]),
        (b"a\r\nb\r\n", [b"a\r\nb\r\n"]),
        (b"\xff\xfe\n\x00\x00\n", [b"\xff\xfe\n\x00\x00\n"]),
        (b"a\r", [b"a\r\n"]),
    ],
)
def test_values_are_kept_as_they_came(pipe: Pipe, written: bytes, blocks: list[bytes]) -> None:
    pipe.write(written) if written else None
    pipe.close()
    assert b"".join(blocks_of(LineReader(pipe.reader_fd))) == b"".join(blocks)


def test_a_fast_pipe_is_gathered_into_few_blocks(pipe: Pipe) -> None:
    # All of it is in the pipe before the first read: a writer that a busy machine stops for a moment is not fast.
    pipe.widen(1024 * 1024)
    data = (b"x" * 1023 + b"\n") * 512
    pipe.write(data)
    pipe.close()
    blocks = blocks_of(LineReader(pipe.reader_fd, batch_bytes=256 * 1024))
    assert b"".join(blocks) == data
    assert [len(block) for block in blocks] == [256 * 1024, 256 * 1024]


def test_a_pipe_of_any_speed_comes_through_whole(pipe: Pipe) -> None:
    data = b"".join(b"line %d\n" % number for number in range(400_000))
    thread = pipe.feed(data)
    blocks = blocks_of(LineReader(pipe.reader_fd, batch_bytes=1024 * 1024))
    thread.join()
    assert b"".join(blocks) == data
    assert all(block.endswith(b"\n") for block in blocks)
    assert max(map(len, blocks)) <= 1024 * 1024


def test_fast_input_that_pauses_is_given_out(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd)
    pipe.write(b"x" * 1023 + b"\n")
    data = (b"x" * 1023 + b"\n") * 63
    pipe.write(data)
    block = reader.next_block()
    assert block is not None and len(block) == 64 * 1024


def test_fast_input_is_given_out_when_the_flush_time_has_passed(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd, flush_ms=0)
    data = (b"x" * 1023 + b"\n") * 1024
    thread = pipe.feed(data)
    blocks = blocks_of(reader)
    thread.join()
    assert b"".join(blocks) == data
    assert len(blocks) > 1


def test_a_regular_file_is_read_in_full_blocks(tmp_path: Path) -> None:
    data = b"".join(b"line %d\n" % number for number in range(100_000)) + b"the last"
    (tmp_path / "input").write_bytes(data)
    with open(tmp_path / "input", "rb", buffering=0) as file:
        blocks = blocks_of(LineReader(file.fileno(), batch_bytes=256 * 1024))
    assert b"".join(blocks) == data + b"\n"
    assert len(blocks) == -(-len(data) // (256 * 1024 - 16))


def test_a_socket_is_read_like_a_pipe() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = LineReader(ours.fileno())
        theirs.sendall(b"one\n")
        block = reader.next_block()
        assert block is not None and bytes(block) == b"one\n"
        theirs.shutdown(socket.SHUT_WR)
        assert reader.next_block() is None


def test_a_terminal_is_read_line_by_line_up_to_its_end_of_input() -> None:
    ours, theirs = os.openpty()
    try:
        reader = LineReader(theirs)
        os.write(ours, b"one\n")
        block = reader.next_block()
        assert block is not None and bytes(block) == b"one\n"
        os.write(ours, b"\x04")
        assert reader.next_block() is None
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_descriptor_that_somebody_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.reader_fd, False)
    reader = LineReader(pipe.reader_fd)
    timer = threading.Timer(0.02, pipe.write, [b"late\n"])
    timer.start()
    block = reader.next_block()
    timer.join()
    assert block is not None and bytes(block) == b"late\n"


def test_a_directory_is_refused_by_the_system(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            LineReader(fd).next_block()
    finally:
        os.close(fd)


def test_a_long_line_passes_whole(pipe: Pipe) -> None:
    data = b"short\n" + b"x" * (10 * 1024 * 1024) + b"\nshort\n"
    thread = pipe.feed(data)
    blocks = blocks_of(LineReader(pipe.reader_fd))
    thread.join()
    assert b"".join(blocks) == data


def test_blocks_are_small_again_after_a_long_line(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"x" * 5000 + b"\n" + b"short\n" * 5000)
    with open(tmp_path / "input", "rb", buffering=0) as file:
        blocks = blocks_of(LineReader(file.fileno(), max_line_bytes=8000, batch_bytes=1000))
    assert max(map(len, blocks[1:])) <= 1000


@pytest.mark.parametrize("last", [b"\n", b""])
def test_a_line_of_just_the_longest_length_is_accepted(pipe: Pipe, last: bytes) -> None:
    pipe.write(b"a\n" + b"x" * 100 + last)
    pipe.close()
    blocks = blocks_of(LineReader(pipe.reader_fd, max_line_bytes=100))
    assert b"".join(blocks) == b"a\n" + b"x" * 100 + b"\n"


@pytest.mark.parametrize("after", [b"", b"x" * 50, b"\n", b"\nb\nc\n"])
def test_too_long_a_line_is_refused_after_all_lines_before_it_are_out(pipe: Pipe, after: bytes) -> None:
    pipe.write(b"a\nb\n")
    reader = LineReader(pipe.reader_fd, max_line_bytes=100)
    block = reader.next_block()
    assert block is not None and bytes(block) == b"a\nb\n"
    pipe.write(b"c\n" + b"x" * 101 + after)
    pipe.close()
    block = reader.next_block()
    assert block is not None and bytes(block) == b"c\n"
    for _ in range(2):
        with pytest.raises(RecordTooLargeError) as caught:
            reader.next_block()
        assert caught.value.facts["place"] == "input line 4"
        assert caught.value.facts["max_bytes"] == 100
        assert caught.value.facts["size_bytes"] == 101 + len(after.split(b"\n")[0])


def test_too_long_a_line_is_found_in_the_middle_of_a_block(pipe: Pipe) -> None:
    short = b"12345678\n" * 100
    pipe.write(short + b"x" * 11 + b"\n" + short)
    pipe.close()
    reader = LineReader(pipe.reader_fd, max_line_bytes=10)
    got = b""
    with pytest.raises(RecordTooLargeError, match="input line 101"):
        while (block := reader.next_block()) is not None:
            got += block
    assert got == short


def test_a_block_that_was_cut_to_pieces_is_not_counted_twice(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd, max_line_bytes=10)
    pipe.write(b"a\nb\n")
    reader.next_block()
    reader.pieces(2)
    reader.pieces(100)
    pipe.write(b"x" * 11)
    with pytest.raises(RecordTooLargeError, match="input line 3"):
        reader.next_block()


def test_a_view_is_released_by_the_next_call(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd)
    pipe.write(b"one\n")
    block = reader.next_block()
    assert block is not None
    pipe.close()
    assert reader.next_block() is None
    with pytest.raises(ValueError, match="released"):
        block[0]


def test_a_slice_that_is_kept_does_not_keep_the_buffer_from_growing(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd)
    pipe.write(b"one\n")
    block = reader.next_block()
    assert block is not None
    kept = block[:3]
    data = b"x" * 200_000 + b"\n"
    thread = pipe.feed(data)
    block = reader.next_block()
    thread.join()
    assert block is not None and bytes(block) == data
    kept.release()


def test_pieces_end_at_lines_and_know_their_line_counts(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd)
    assert reader.pieces(10) == []
    pipe.write(b"a\nbb\n\n" + b"x" * 20 + b"\nc\n")
    reader.next_block()
    pieces = [(bytes(piece), lines) for piece, lines in reader.pieces(5)]
    assert pieces == [(b"a\nbb\n", 2), (b"\n", 1), (b"x" * 20 + b"\n", 1), (b"c\n", 1)]
    assert [lines for _, lines in reader.pieces(1000)] == [5]


class Interrupted(Exception):
    """What the handler of a test raises."""


@pytest.fixture
def on_alarm() -> Iterator[Callable[[Callable[[], None], float], None]]:
    """Call a function from a signal handler after some seconds."""
    previous = signal.getsignal(signal.SIGALRM)

    def arm(function: Callable[[], None], seconds: float) -> None:
        signal.signal(signal.SIGALRM, lambda *_: function())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def interrupt() -> None:
    raise Interrupted


def test_an_exception_out_of_a_read_leaves_everything_readable(
    pipe: Pipe, on_alarm: Callable[[Callable[[], None], float], None]
) -> None:
    reader = LineReader(pipe.reader_fd)
    pipe.write(b"one\ntw")
    reader.next_block()
    on_alarm(interrupt, 0.02)
    with pytest.raises(Interrupted):
        reader.next_block()
    assert bytes(reader.pending()) == b""
    pipe.write(b"o\n")
    block = reader.next_block()
    assert block is not None and bytes(block) == b"two\n"


def test_lines_gathered_when_an_exception_comes_are_pending(
    pipe: Pipe, on_alarm: Callable[[Callable[[], None], float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mk.formats.readers._PAUSE_MS", 10_000)
    reader = LineReader(pipe.reader_fd)
    data = (b"x" * 1023 + b"\n") * 64
    pipe.write(data)
    on_alarm(interrupt, 0.02)
    with pytest.raises(Interrupted):
        reader.next_block()
    assert bytes(reader.pending()) == data
    block = reader.next_block()
    assert block is not None and bytes(block) == data
    assert bytes(reader.pending()) == b""


def test_stop_in_a_wait_ends_the_input_after_the_whole_lines(
    pipe: Pipe, on_alarm: Callable[[Callable[[], None], float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mk.formats.readers._PAUSE_MS", 10_000)
    reader = LineReader(pipe.reader_fd)
    data = (b"x" * 1023 + b"\n") * 64
    fcntl.fcntl(pipe.reader_fd, fcntl.F_SETPIPE_SZ, 128 * 1024)
    pipe.write(data + b"part of a line")
    on_alarm(reader.stop, 0.02)
    block = reader.next_block()
    assert block is not None and bytes(block) == data
    assert reader.next_block() is None


def test_stop_in_a_read_ends_the_input(pipe: Pipe, on_alarm: Callable[[Callable[[], None], float], None]) -> None:
    reader = LineReader(pipe.reader_fd)
    pipe.write(b"part of a line")
    on_alarm(reader.stop, 0.02)
    assert reader.next_block() is None


def test_stop_between_two_blocks_takes_effect_at_the_next(pipe: Pipe) -> None:
    reader = LineReader(pipe.reader_fd)
    pipe.write(b"one\n")
    block = reader.next_block()
    reader.stop()
    reader.stop()
    assert block is not None and bytes(block) == b"one\n"
    pipe.write(b"two\n")
    assert reader.next_block() is None


def test_no_line_is_lost_or_doubled_by_many_interrupts(
    pipe: Pipe, on_alarm: Callable[[Callable[[], None], float], None]
) -> None:
    data = b"".join(b"line %d %s\n" % (number, b"x" * (number % 300)) for number in range(60_000))
    reader = LineReader(pipe.reader_fd, batch_bytes=256 * 1024)
    raising = False

    def maybe_interrupt() -> None:
        # Only inside next_block(): between its return and the assignment a block would be lost to this test.
        if raising and reader._waiting:
            raise Interrupted

    on_alarm(maybe_interrupt, 0.0003)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    thread = pipe.feed(data)
    got = []
    interrupts = 0
    # What is raised in a callback of the garbage collector, and hypothesis has one, goes nowhere.
    gc.disable()
    raising = True
    while True:
        try:
            block = reader.next_block()
        except Interrupted:
            interrupts += 1
            continue
        if block is None:
            break
        got.append(bytes(block))
    raising = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.enable()
    thread.join()
    assert b"".join(got) == data
    assert interrupts > 0


@pytest.mark.parametrize(
    ("block", "delimiter", "keys", "values"),
    [
        (b"", b"\t", [], []),
        (b"k\tv\n", b"\t", [b"k"], [b"v"]),
        (b"k\tv\tw\nl\tx\n", b"\t", [b"k", b"l"], [b"v\tw", b"x"]),
        (b"no key\nk\tv\n", b"\t", [None, b"k"], [b"no key", b"v"]),
        (b"two\tof\tthem\nnone\n", b"\t", [b"two", None], [b"of\tthem", b"none"]),
        (b"\t\n", b"\t", [b""], [b""]),
        (b"\n\n", b"\t", [None, None], [b"", b""]),
        (b"k::v::w\n:\n", b"::", [b"k", None], [b"v::w", b":"]),
        (b"k\xff\x00v\n", b"\xff\x00", [b"k"], [b"v"]),
        (b"k\tv\r\n", b"\t", [b"k"], [b"v\r"]),
    ],
)
def test_lines_are_split_at_their_first_delimiter(
    block: bytes, delimiter: bytes, keys: list[bytes | None], values: list[bytes]
) -> None:
    assert split_keys(block, delimiter) == (keys, values)
    assert split_keys(memoryview(block), delimiter) == (keys, values)
