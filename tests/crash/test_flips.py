"""Each bit of each file flipped, each file cut at each byte, each sector zeroed: named, or without any effect on what is read.

Beside what tests/unit/maintenance/test_any_damage.py holds `verify` to: here it is readers, look-ups, groups and producers.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from bisect import bisect_right
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from mk.errors import CorruptBatchError, MkError
from mk.maintenance.verify import verify_topic
from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.storage import host
from mk.storage.partition_state import SLOT_DISTANCE, SLOT_SIZE, decode_slot
from tests.crash.flipped import FACTS, OLD_COMMIT, TOPIC, FlippedLog
from tests.proof.figures import count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.crash.flipped import Seen
    from tests.thinning import Thoroughness

SECTOR = 512
_MAX_GROWTH_KIB = 64 << 10
_MAX_SECONDS = 1.0
_FACTS = {
    "state": ["batches", "times", "commit", "sequences"],
    "epochs": ["batches", "commit"],
    "topic.json": ["settings", "batches"],
    "mk.json": ["settings", "cursor"],
    "cleaned": ["cleanings", "batches"],
    "journal": ["group"],
    "cursor": ["cursor"],
    ".index": ["times", "keys", "batches"],
    ".producers": ["sequences", "batches"],
    "claims": ["commit", "group"],
    "members": ["member", "group"],
    "producers": ["batches", "sequences"],
}
"""What is looked at when a file is damaged, by its name, its suffix, or the directory that it is in."""


@pytest.fixture(scope="module")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlippedLog]:
    """A log of some 2 KiB of batches, in four segments."""
    with of_one_boot():
        log = FlippedLog(tmp_path_factory.mktemp("small"), rounds=2, filling_bytes=20, segment_bytes=1200)
        yield log
        log.close()


@pytest.fixture(scope="module")
def large_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlippedLog]:
    """One of 64 KiB."""
    with of_one_boot():
        log = FlippedLog(tmp_path_factory.mktemp("large"), rounds=5, filling_bytes=1800, segment_bytes=22_000)
        yield log
        log.close()


@contextmanager
def of_one_boot() -> Iterator[None]:
    real, host._boot_id = host._boot_id, "boot-1"
    yield
    host._boot_id = real


@pytest.fixture
def log(request: pytest.FixtureRequest, thoroughness: Thoroughness) -> FlippedLog:
    """The log of a sweep over segments."""
    return request.getfixturevalue("large_log" if thoroughness.is_full else "small_log")


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    """Do not wait until somebody else has finished writing: nobody is."""
    with mock.patch("time.sleep", lambda seconds: None):
        yield


@contextmanager
def damaged(path: Path, whole: bytes, changed: bytes, first: int) -> Iterator[None]:
    """Give a file other content, which differs from byte `first` on, in one sector at most, for a `with` block.

    Only that is written: it stays the same file.
    """
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, changed[first : first + SECTOR], first)
        if len(changed) != len(whole):
            os.ftruncate(fd, len(changed))
        begun = time.process_time()
        yield
        assert time.process_time() - begun < _MAX_SECONDS
    finally:
        os.pwrite(fd, whole[first:] if len(changed) != len(whole) else whole[first : first + SECTOR], first)
        os.close(fd)


Case = tuple[str, int, bytes]
"""What was done, from which byte on it shows, and the content."""


def flips(content: bytes) -> Iterator[Case]:
    for at in range(len(content)):
        for bit in range(8):
            yield f"bit {bit} of byte {at}", at, content[:at] + bytes((content[at] ^ 1 << bit,)) + content[at + 1 :]


def cuts(content: bytes) -> Iterator[Case]:
    for size in range(len(content)):
        yield f"cut to {size} bytes", size, content[:size]


def zeroed(content: bytes) -> Iterator[Case]:
    for at in range(0, len(content), SECTOR):
        changed = content[:at] + bytes(len(content[at : at + SECTOR])) + content[at + SECTOR :]
        if changed != content:
            same = next(byte for byte, value in enumerate(content[at:]) if value)
            yield f"zeros at {at}", at + same, changed


DAMAGE = {"flips": flips, "cuts": cuts, "zeroed sectors": zeroed}


@pytest.fixture(params=DAMAGE)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def of(cases: Iterator[Case], every: int, place: int) -> Iterator[Case]:
    """Yield every so many of the cases, another one of them for each place."""
    return (case for number, case in enumerate(cases) if number % every == place % every)


class Placed:
    """The batches of one segment: each one's number among all, and where it ends."""

    def __init__(self, content: bytes, first: int) -> None:
        self.ends = []
        position = 0
        while position < len(content):
            batch = parse_header(content, position)
            assert batch is not None
            position += HEADER_SIZE + batch.payload_length
            self.ends.append(position)
        self.first = first

    def at(self, position: int) -> int:
        """Return the number of the batch that holds a byte."""
        return self.first + bisect_right(self.ends, position)

    def start_of(self, number: int) -> int:
        return ([0, *self.ends])[number - self.first]


@pytest.mark.every_case
def test_damage_in_a_segment_is_named_with_its_offset_and_never_read(
    log: FlippedLog, kind: str, thoroughness: Thoroughness
) -> None:
    first = struck = 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    every = thoroughness.pick({"flips": 211, "cuts": 31, "zeroed sectors": 1}[kind], 1)
    for place, segment in enumerate(log.segments()):
        content = segment.read_bytes()
        placed = Placed(content, first)
        first += len(placed.ends)
        for number, (what, at, changed) in enumerate(of(DAMAGE[kind](content), every, place)):
            with damaged(segment, content, changed, at):
                what = f"{segment.name}: {what}"
                hit = placed.at(at)
                # From the start of the log now and then, else from the start of the segment.
                error = check_read(log, hit, placed.first if number % 16 else 0, what)
                assert error.facts["path"] == str(segment), what
                assert error.facts["position"] == placed.start_of(hit), what
                if number % thoroughness.pick(8, 64) == 0:
                    if kind != "cuts":
                        check_reading_on(log, hit, error, what)
                    check_look_ups(log, hit, what)
                if number % thoroughness.pick(32, 2048) == 0:
                    check_append(log, segment, changed, hit, what)
            struck += 1
    assert first == len(log.batches)
    assert log.read() == (log.batches, None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < _MAX_GROWTH_KIB
    count("flips", struck)


def check_read(log: FlippedLog, hit: int, start: int, what: str) -> CorruptBatchError:
    """A reader is given all in front of the damaged batch, and then told which one that is."""
    found, error = log.read_on(base_of(log.batches[start]))
    assert found == log.batches[start:hit], what
    assert isinstance(error, CorruptBatchError), f"{what}: {error}"
    assert error.facts["offset"] == base_of(log.batches[hit]), what
    return error


def base_of(batch: Seen) -> int:
    assert isinstance(batch[0], int)
    return batch[0]


def check_reading_on(log: FlippedLog, hit: int, error: CorruptBatchError, what: str) -> None:
    """Where the error says that reading can go on, it does, with what is stored there."""
    readable_from = error.facts["readable_from"]
    assert isinstance(readable_from, int)
    if readable_from < 0:
        return
    found, _ = log.read(readable_from)
    bases = [base_of(batch) for batch in log.batches]
    assert readable_from in (*bases, log.batches[-1][1]), what
    assert readable_from > bases[hit], what
    rest = [batch for batch in log.batches if base_of(batch) >= readable_from]
    assert found == rest[: len(found)], what
    assert found or not rest, what


def check_look_ups(log: FlippedLog, hit: int, what: str) -> None:
    """A look-up finds what it finds otherwise, or is refused; by time, it may lead to the damage, which is named there."""
    clean = log.clean
    now = log.look(["times", "keys", "records"])
    base = base_of(log.batches[hit])
    times = now["times"]
    if isinstance(times, list):
        for found, wanted in zip(times, clean["times"]):  # type: ignore[call-overload]
            assert found == wanted or base <= found <= wanted, f"{what}: {found}, not {wanted}"
    assert isinstance(now["keys"], MkError) or now["keys"] == clean["keys"], what
    assert isinstance(now["records"], CorruptBatchError), what


def check_append(log: FlippedLog, path: Path, changed: bytes, hit: int, what: str) -> None:
    """An append to a damaged log is refused, or goes to its end; in either case nothing of the damaged file goes."""
    copy = log.path.with_name("copy")
    try:
        found, error, refusal = log.append_in_a_copy(copy)
        assert (copy / path.relative_to(log.path)).read_bytes()[: len(changed)] == changed, what
        assert isinstance(error, CorruptBatchError) or refusal is not None, what
        assert found == log.batches[: len(found)] and len(found) <= hit, what
    finally:
        shutil.rmtree(copy)


@pytest.mark.every_case
def test_damage_in_another_file_changes_nothing_that_is_seen_or_is_named(
    small_log: FlippedLog, kind: str, thoroughness: Thoroughness
) -> None:
    log = small_log
    struck = 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    every = thoroughness.pick({"flips": 431, "cuts": 61, "zeroed sectors": 1}[kind], 1)
    for place, file in enumerate(log.others()):
        content = file.read_bytes()
        facts = facts_of(file)
        for number, (what, at, changed) in enumerate(of(DAMAGE[kind](content), every, place)):
            with damaged(file, content, changed, at):
                what = f"{file.name}: {what}"
                for name, value in log.look(facts).items():
                    wanted = log.clean[name]
                    assert (
                        isinstance(value, MkError)
                        or value == wanted
                        or may_be(log, file, name, value, content)
                        or (file.suffix == ".index" and name == "times" and is_named(log, file))
                    ), f"{what}: {name} is {value}, not {wanted}"
                if number % thoroughness.pick(32, 1024) == 0 and file != log.cursor:
                    check_append_elsewhere(log, file, what)
            struck += 1
    assert log.look(FACTS) == log.clean
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < _MAX_GROWTH_KIB
    count("flips", struck)


def facts_of(file: Path) -> list[str]:
    for name in (file.name, file.suffix, file.parent.name, file.parent.parent.name):
        if name in _FACTS:
            return _FACTS[name]
    raise AssertionError(f"nothing looks at {file}")


def may_be(log: FlippedLog, file: Path, name: str, value: object, content: bytes) -> bool:
    """Tell whether that is what this damage may cost, as man/mk-format.5 has it.

    Of two slots the older one is left: a commit fewer, or a batch fewer that readers see before the next append. What a
    cleaning, a member, a change by hand or a cut-off tail said is not known any more.
    """
    if file.name == "state":
        older = min(
            (slot for at in (0, SLOT_DISTANCE) if (slot := decode_slot(content[at : at + SLOT_SIZE])) is not None),
            key=lambda slot: slot.sequence,
        )
        if name == "batches":
            assert isinstance(value, list)
            return value == [batch for batch in log.batches if batch[1] <= older.high_watermark]
        if name == "times":
            assert isinstance(value, list)
            return all(
                found in (wanted, older.high_watermark)
                for found, wanted in zip(value, log.clean["times"])  # type: ignore[call-overload]
            )
        return name == "sequences"
    if "claims" in file.parts:
        assert isinstance(log.clean["group"], tuple)
        changes = log.clean["group"][1]
        return value in (OLD_COMMIT, ([OLD_COMMIT], changes)) or value == ([None], changes)
    if name == "cleanings":
        return value == []
    if name == "member":
        assert isinstance(value, tuple)
        known = log.clean["member"]
        assert isinstance(known, tuple)
        return all(found in (None, wanted) for found, wanted in zip(value, known))
    if file.name == "journal":
        assert isinstance(value, tuple)
        return value[1] == []
    return False


def is_named(log: FlippedLog, file: Path) -> bool:
    """Tell whether `verify` names a file. So it does where a time in an index is too low, and look-ups by time begin too late."""
    with log.opened() as topic:
        findings = verify_topic(topic.directory, TOPIC).findings
    return str(file.relative_to(log.path)) in [finding.path for finding in findings]


def check_append_elsewhere(log: FlippedLog, file: Path, what: str) -> None:
    """An append is refused, or what was stored is read in front of it."""
    copy = log.path.with_name("copy")
    try:
        found, error, refusal = log.append_in_a_copy(copy)
        if refusal is None:
            assert error is None, f"{what}: {error}"
            assert found[:-1] == log.batches, what
        elif error is None and file.name != "state":
            assert found == log.batches, what
    finally:
        shutil.rmtree(copy)
