"""A clock that is years off, or jumps by years between commands and while they run: nothing removed that should stay, no member
fenced, nothing lost."""

import datetime
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from processes import ENVIRONMENT, MK, LineSource, create_topic, kill_all, must, run, wait_until

from tests.proof.figures import count

YEARS = ["-10y", "+10y", "-3650d", "+1d", "-1d"]


def library():
    """Return the path of faketime's library, "" where there is none that works."""
    found = sorted(Path("/usr").glob("lib*/**/faketime/libfaketimeMT.so.1"))
    if not found or shutil.which("faketime") is None:
        return ""
    done = subprocess.run(
        ["date", "+%Y"],
        env={**ENVIRONMENT, "LD_PRELOAD": str(found[0]), "FAKETIME": "-10y"},
        capture_output=True,
        text=True,
    )
    return str(found[0]) if done.stdout.strip() == str(datetime.date.today().year - 10) else ""


LIBRARY = library()
pytestmark = pytest.mark.skipif(not LIBRARY, reason="needs faketime")


def at(when, *, monotonic=False):
    """Return the words that put a command into another time. monotonic: the clock that no human sets goes with it."""
    words = ["env", f"LD_PRELOAD={LIBRARY}", f"FAKETIME={when}", "FAKETIME_NO_CACHE=1"]
    return (*words, *([] if monotonic else ["FAKETIME_DONT_FAKE_MONOTONIC=1"]))


# faketime's library has what sleeps end with EINVAL, or never. So of processes that go on, Python's own clock is set.
SET_CLOCK = """
import os, time
_ns = time.time_ns
def _offset():
    with open(os.environ["CLOCK"]) as file:
        return int(file.read())
time.time_ns = lambda: _ns() + _offset() * 1_000_000_000
time.time = lambda: time.time_ns() / 1e9
_gmtime, _localtime = time.gmtime, time.localtime
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
"""
YEAR = 365 * 86_400


class Clock:
    """A clock that processes see instead of the true one, until it is set again."""

    def __init__(self, place, seconds=0):
        place.mkdir()
        self._place = place
        (place / "sitecustomize.py").write_text(SET_CLOCK)
        self.set(seconds)

    def set(self, seconds):
        new = self._place / "new"
        new.write_text(f"{seconds}\n")
        new.rename(self._place / "clock")

    @property
    def environment(self):
        return {"PYTHONPATH": str(self._place), "CLOCK": str(self._place / "clock")}


@pytest.fixture
def running():
    processes = []
    yield processes
    kill_all(processes)


def started(running, log, clock, *words):
    process = subprocess.Popen(
        [MK, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, **clock.environment, "MK_DIR": str(log)},
        bufsize=0,
    )
    running.append(process)
    return process


@pytest.mark.parametrize("monotonic", [False, True], ids=["wall clock", "both clocks"])
@pytest.mark.every_case
def test_jumps_between_commands_lose_nothing_and_remove_nothing_too_soon(tmp_path, monotonic, thoroughness):
    log = tmp_path / "log"
    create_topic(log, "t", segment_bytes=4096, retention_ms=7 * 86_400_000)
    must(log, "produce", "t", stdin=b"".join(b"%03d %s\n" % (number, b"x" * 60) for number in range(200)))
    expected = must(log, "consume", "t").stdout.splitlines()
    for turn in range(thoroughness.pick(2, 8)):
        for when in YEARS[turn % 2 :: 2] if not thoroughness.is_full else YEARS:
            if monotonic and (when == "+10y" or turn):
                # Where both clocks say so, the years have passed: also from a turn to the next, where the first one went back. Of
                # no machine does the clock that nobody sets go back without another boot.
                continue
            before = at(when, monotonic=monotonic)
            value = f"turn {turn} at {when}"
            must(log, "produce", "t", value, prefix=before)
            expected.append(value)
            assert must(log, "consume", "t", "-o", "-1", prefix=before).stdout.rstrip("\n") == value
            must(log, "topics", "verify", "t", prefix=before)
            # A clock that has gone on by years while the machine has by seconds is not believed; and before they were made,
            # no record is old.
            must(log, "topics", "clean", prefix=before)
            assert must(log, "consume", "t").stdout.splitlines() == expected, when
            count("faults")
    must(log, "topics", "clean")
    assert must(log, "consume", "t").stdout.splitlines() == expected
    count("acknowledged", len(expected))


def test_a_record_has_the_time_of_the_clock_that_its_producer_sees(tmp_path):
    log = tmp_path / "log"
    now = datetime.datetime.now(datetime.timezone.utc)
    for when, years in (("-10y", -10), ("+10y", 10)):
        must(log, "produce", "t", "--", when, prefix=at(when))
        stamp = json.loads(must(log, "consume", "t", "-o", "-1", "-J").stdout)["ts"]
        found = datetime.datetime.fromtimestamp(stamp / 1000, datetime.timezone.utc)
        assert abs((found - now).days / 365.25 - years) < 0.1, found


@pytest.mark.parametrize("years", [-10, 10])
@pytest.mark.every_case
def test_members_whose_clocks_are_years_apart_do_not_fence_each_other(tmp_path, running, years):
    """Each observes the others by a clock of its own, that nobody sets; and a heartbeat is a number, no time."""
    log = tmp_path / "log"
    create_topic(log, "t", 2)
    session = ("--session-timeout", "30s")
    words = ("consume", "t", "-g", "g", "-F", "-f", "%p %v\\n", *session)
    clocks = Clock(tmp_path / "here"), Clock(tmp_path / "there", years * YEAR)
    members = [started(running, log, clock, *words) for clock in clocks]

    def assigned():
        done = run(log, "groups", "describe", "g", "-m", "--json")
        (group,) = json.loads(done.stdout) if done.status == 0 else [{"members": []}]
        return sorted(member["partitions"] for member in group["members"])

    wait_until(lambda: assigned() == [1, 1])
    given = [set(), set()]
    for number in range(10):
        for partition in range(2):
            must(
                log,
                "produce",
                "t",
                "-p",
                str(partition),
                f"{partition}-{number}",
            )
    sources = [LineSource(member.stdout) for member in members]
    for source, of in zip(sources, given):
        for _ in range(10):
            of.add(source.next().decode())
    assert not given[0] & given[1]
    assert {line.split()[1] for line in given[0] | given[1]} == {f"{p}-{n}" for p in range(2) for n in range(10)}
    assert all(member.poll() is None for member in members)
    for member in members:
        member.terminate()
        assert b"fenced" not in member.stderr.read()
    must(log, "topics", "verify")
    assert must(log, "consume", "t", "-g", "g").stdout == ""
    count("commits", 20)


def test_a_clock_that_jumps_under_a_follower_a_producer_and_a_member(tmp_path, running):
    """The same processes see now this year, now another one: as when a clock is set, or a machine wakes up."""
    log, clock = tmp_path / "log", Clock(tmp_path / "clock")
    create_topic(log, "t", segment_bytes=4096)
    follower = started(running, log, clock, "consume", "t", "-F")
    member = started(running, log, clock, "consume", "t", "-g", "g", "-F", "--session-timeout", "30s")
    producer = started(running, log, clock, "produce", "t")
    sources = [LineSource(follower.stdout), LineSource(member.stdout)]
    expected = []
    for number, years in enumerate([0, 10, -10, 1, 0, -10, 10, 0]):
        clock.set(years * YEAR)
        for line in range(20):
            value = b"%d %d %d %s" % (number, years, line, b"x" * 60)
            expected.append(value)
            producer.stdin.write(value + b"\n")
            for source, process in zip(sources, (follower, member)):
                assert source.next() == value, process.stderr.read()
        count("faults")
    producer.stdin.close()
    assert producer.wait(60) == 0
    producer.stdin = None
    for process in (follower, member):
        process.terminate()
        assert not re.search(rb"fenced|skipped|removed", process.stderr.read())
    assert must(log, "consume", "t").stdout.encode().splitlines() == expected
    must(log, "topics", "verify")
    assert must(log, "consume", "t", "-g", "g").stdout == ""
    count("commits", len(expected))
