"""Any bit of any file flipped, any file cut anywhere, any file gone or exchanged: `verify` names it, or it is harmless.

Harmless means one of the cases of `is_harmless`, or that the bytes mean the same; a consumer then gets exactly what was stored.
Whatever was done, a consumer never gets anything else than what was stored.
"""

from __future__ import annotations

import itertools
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from mk.errors import MkError
from mk.maintenance.findings import DAMAGE, Report
from mk.storage import host
from tests.unit.maintenance.sample_log import TOPIC, Records, build, consume, flip, headers, verify

if TYPE_CHECKING:
    from pathlib import Path

    from tests.thinning import Thoroughness

PARTITIONS = range(2)


class Sample:
    """A log, what is stored in it, and the files it is made of. `now` is the boot in which it is looked at."""

    def __init__(self, path: Path, now: str, *, producers: bool) -> None:
        build(path, producers=producers)
        host._boot_id = now
        self.path = path
        self.rebooted = now != "boot-2"
        self.stored: list[Records] = []
        for partition in PARTITIONS:
            records, error = consume(path, partition)
            assert error is None
            assert len(records) > 60
            self.stored.append(records)
        clean = verify(path)
        assert clean.findings == []
        assert clean.records == sum(map(len, self.stored))
        self.topic_path = path / "topics" / TOPIC
        self.files = sorted(file for file in self.topic_path.rglob("*") if file.is_file())
        self._durable = {file: self._durable_position(file) for file in self.segments()}

    def segments(self) -> list[Path]:
        return [file for file in self.files if file.suffix == ".log"]

    def others(self) -> list[Path]:
        return [file for file in self.files if file.suffix != ".log"]

    def durable_position(self, segment: Path) -> int:
        """Return up to which byte a segment has to be whole: under another boot, what was not synced may be gone."""
        return self._durable[segment]

    def _durable_position(self, segment: Path) -> int:
        whole = segment.stat().st_size
        active = max(file for file in self.segments() if file.parent == segment.parent)
        return headers(segment)[-1].position if self.rebooted and segment == active else whole

    def check(self, changed: Path, what: str) -> Report | None:
        """Verify and consume with `changed` changed; fail unless what is seen of it is right."""
        name = str(changed.relative_to(self.path))
        try:
            report = verify(self.path)
        except MkError as error:
            assert changed.name == "topic.json", f"{what}: {error}"
            assert error.exit_status in (65, 66, 78), f"{what}: {error}"
            return None
        named = [finding for finding in report.findings if finding.path == name]
        damage = [finding for finding in report.findings if finding.severity == DAMAGE]
        complete = True
        for partition, stored in enumerate(self.stored):
            records, error = consume(self.path, partition)
            for offset, record in records.items():
                assert stored[offset] == record, f"{what}: offset {offset} of {partition} came out changed"
            complete = complete and error is None and records == stored
            if error is not None:
                assert damage or changed.name == "state", f"{what}: consumers stop, and verify finds no damage"
        assert named or damage or complete, f"{what}: data is missing, and verify says nothing of it"
        assert named or damage or self.is_harmless(changed), f"{what}: not named, and not harmless"
        return report

    def is_harmless(self, changed: Path) -> bool:
        """Tell whether a change of this file may go unseen: bytes that mean nothing, or that mean the same.

        state: what is between the slots and behind their checksums. Text files: a letter of a checksum in upper case, a
        last newline that is another white space. Indexes: hints that are missing.
        """
        is_json = changed.name == "topic.json" or changed.parent.name == "producers"
        return is_json or changed.name in ("state", "epochs") or changed.suffix in (".index", ".producers")


@pytest.fixture(scope="module", params=["this boot", "another boot", "with producer ids"])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    path = tmp_path_factory.mktemp("sample") / "log"
    now = "boot-3" if request.param == "another boot" else "boot-2"
    # It is made before `boot` looks what to give back, which would be a boot of this sample for all tests that come later.
    real = host._boot_id
    try:
        return Sample(path, now, producers=request.param == "with producer ids")
    finally:
        host._boot_id = real


@pytest.fixture(autouse=True)
def boot_of_sample(boot: None, sample: Sample) -> None:
    host._boot_id = "boot-3" if sample.rebooted else "boot-2"


def check_flips(sample: Sample, places: list[tuple[Path, int, int]]) -> None:
    for file, position, bit in places:
        flip(file, position, 1 << bit)
        try:
            what = f"bit {bit} of byte {position} of {file.relative_to(sample.path)}"
            report = sample.check(file, what)
            if file.suffix == ".log":
                check_place(sample, report, file, position, what)
        finally:
            flip(file, position, 1 << bit)


def check_place(sample: Sample, report: Report | None, file: Path, position: int, what: str) -> None:
    """The damage is said to be at the batch that holds the byte, with its offsets."""
    flip_is_durable = position < sample.durable_position(file)
    assert report is not None
    found = [finding for finding in report.findings if finding.path == str(file.relative_to(sample.path))]
    assert len(found) == 1, f"{what}: {report.findings}"
    assert (found[0].severity == DAMAGE) == flip_is_durable, f"{what}: {found}"
    assert found[0].partition == int(file.parent.name)


def all_bits(files: list[Path]) -> list[tuple[Path, int, int]]:
    """Return (file, byte, bit) of every bit of some files."""
    return [(file, *divmod(number, 8)) for file in files for number in range(file.stat().st_size * 8)]


def file_of(place: tuple[Path, int] | tuple[Path, int, int]) -> Path:
    return place[0]


def test_a_flipped_bit_of_a_segment_is_found_where_it_is(sample: Sample, thoroughness: Thoroughness) -> None:
    """Every bit; of the sample, one of each byte of a header, and some of all else."""
    places = thoroughness.of(all_bits(sample.segments()), 80, kind=file_of)
    if not thoroughness.is_full:
        file = sample.segments()[0]
        second = headers(file)[1].position
        places += [(file, second + byte, byte * 5 % 8) for byte in range(128)]
    check_flips(sample, places)


def test_a_flipped_bit_of_another_file_is_named_or_harmless(sample: Sample, thoroughness: Thoroughness) -> None:
    check_flips(sample, thoroughness.of(all_bits(sample.others()), 160, kind=file_of))


def test_a_file_cut_short_anywhere(sample: Sample, thoroughness: Thoroughness) -> None:
    cuts = [(file, size) for file in sample.files for size in range(file.stat().st_size)]
    for file, size in thoroughness.of(cuts, 130, kind=file_of):
        whole = file.read_bytes()
        durable = sample.durable_position(file) if file.suffix == ".log" else 0
        ends = [] if file.suffix != ".log" else [batch.position for batch in headers(file)]
        file.write_bytes(whole[:size])
        try:
            if file.suffix == ".log" and size >= durable:
                # Not synced, and another boot: it may be gone, and a batch that is gone whole leaves no trace.
                report = verify(sample.path)
                assert report.count(DAMAGE) == 0
                assert size in ends or report.findings
                continue
            report = sample.check(file, f"{file.relative_to(sample.path)} cut to {size} bytes")
            if file.suffix == ".log":
                assert report is not None
                assert report.count(DAMAGE) >= 1
                damage = [finding for finding in report.findings if finding.severity == DAMAGE]
                assert str(file.relative_to(sample.path)) in damage[0].path + damage[0].found or not size
        finally:
            file.write_bytes(whole)


def test_a_file_that_is_gone(sample: Sample) -> None:
    for file in sample.files:
        aside = sample.path / "aside"
        file.rename(aside)
        try:
            report = sample.check(file, f"{file.relative_to(sample.path)} is gone")
            name = str(file.relative_to(sample.path))
            if file.parent.name == "producers":
                assert report is not None
                assert [finding.kind for finding in report.findings if finding.path == name] == ["missing-pin"]
            elif file.suffix in (".log", "") and report is not None:
                damage = [finding for finding in report.findings if finding.severity == DAMAGE]
                assert name in [finding.path for finding in damage], f"{file}: {report.findings}"
                if file.suffix == ".log":
                    (finding,) = [finding for finding in damage if finding.path == name]
                    assert (finding.kind, finding.offset) == ("missing-segment", int(file.stem))
        finally:
            aside.rename(file)


def test_two_files_of_different_partitions_exchanged(sample: Sample) -> None:
    """Readers do not compare chains, and hand out whole batches that stand where they are due: verify alone tells."""
    zero = {file.name: file for file in sample.files if file.parent.name == "0"}
    one = {file.name: file for file in sample.files if file.parent.name == "1"}
    for name in zero.keys() & one.keys():
        if zero[name].read_bytes() == one[name].read_bytes():
            continue
        exchange(zero[name], one[name])
        try:
            report = verify(sample.path)
            if name.endswith((".log", "state", ".producers")):
                assert {finding.partition for finding in report.findings} == {0, 1}, name
                assert report.count(DAMAGE) >= 2 or name.endswith(".producers"), name
            else:
                assert report.findings, name
        finally:
            exchange(zero[name], one[name])


def exchange(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def test_several_places_at_once_are_all_named(sample: Sample) -> None:
    chance = random.Random(7)
    files = sample.segments()
    for _ in range(30):
        file = chance.choice(files)
        whole = file.read_bytes()
        durable = sample.durable_position(file)
        batches = [batch for batch in headers(file) if batch.position < durable]
        hit = chance.sample(batches, min(2, len(batches)))
        try:
            for batch in hit:
                flip(file, batch.position + chance.randrange(batch.size_bytes), 1 << chance.randrange(8))
            report = verify(sample.path)
            lost = {
                offset
                for finding in report.findings
                if finding.severity == DAMAGE and finding.last_offset is not None and finding.offset is not None
                for offset in range(finding.offset, finding.last_offset + 1)
            }
            assert lost == {offset for b in hit for offset in range(b.base_offset, b.next_offset)}
        finally:
            file.write_bytes(whole)


def test_bytes_of_another_life_written_over_a_part(sample: Sample, thoroughness: Thoroughness) -> None:
    chance = random.Random(11)
    for file in sample.segments():
        whole = file.read_bytes()
        for _ in range(thoroughness.pick(2, 6)):
            start = chance.randrange(len(whole))
            length = chance.randrange(1, 300)
            for patch in (bytes(length), chance.randbytes(length), whole[:length]):
                changed = (whole[:start] + patch + whole[start + length :])[: len(whole)]
                if changed == whole:
                    continue
                file.write_bytes(changed)
                try:
                    if start < sample.durable_position(file):
                        report = sample.check(file, f"{length} bytes over {file} at {start}")
                        assert report is not None
                        assert report.count(DAMAGE), (file, start, length)
                finally:
                    file.write_bytes(whole)


def test_nothing_of_the_sample_was_changed(sample: Sample, tmp_path: Path) -> None:
    """What the tests above leave behind is what they found: verify and consume write nothing."""
    assert verify(sample.path).findings == []
    copy = tmp_path / "copy"
    shutil.copytree(sample.path, copy)
    for file, again in itertools.pairwise([sample.path, copy]):
        assert verify(file).document() == verify(again).document()
