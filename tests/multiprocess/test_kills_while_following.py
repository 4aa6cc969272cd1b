"""`mk produce --follow`: real processes, a file that is written, rotated and emptied, and kills at any moment."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from history import read_log
from injection import kill_at, needs_strace, points_of, to_kill_at
from processes import create_topic, end, kill_all, must, run, start, wait_until

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.crash import oracle  # noqa: E402
from tests.proof.figures import count

NAME = "shipper-1"


class Log:
    """A log that one program writes, and somebody rotates. written: all whole lines, in the order of the writes."""

    def __init__(self, path):
        self.path = path
        self.written = []
        self._lines = 0

    def append(self, count=1, *, to=None, width=30):
        lines = []
        for _ in range(count):
            self._lines += 1
            lines.append(b"line %06d %s" % (self._lines, b"x" * (self._lines * 7 % width)))
        with open(to or self.path, "ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        self.written += lines

    def rotated(self, number):
        return self.path.with_name(f"{self.path.name}.{number}")

    def shift(self):
        """Make room for another .1, as rotation by rename does."""
        highest = 1
        while self.rotated(highest).exists():
            highest += 1
        for number in range(highest, 1, -1):
            self.rotated(number - 1).rename(self.rotated(number))

    def rename(self):
        self.shift()
        self.path.rename(self.rotated(1))

    def copytruncate(self):
        self.shift()
        shutil.copyfile(self.path, self.rotated(1))
        os.truncate(self.path, 0)


@pytest.fixture
def log(tmp_path):
    (tmp_path / "logs").mkdir()
    return Log(tmp_path / "logs" / "app.log")


@pytest.fixture
def shipper(tmp_path, log):
    """Return a function that starts the command; whatever still runs is killed at the end."""
    started = []

    def begin(*more, name=NAME, **keywords):
        words = ["produce", "t", "--follow", str(log.path), *(["--producer-id", name] if name else []), *more]
        started.append(start(tmp_path / "mk", *words, **keywords))
        return started[-1]

    begin.directory = tmp_path / "mk"
    create_topic(begin.directory, "t")
    yield begin
    kill_all(started)


def values(directory, partition=0):
    return [value for _, value in read_log(directory, "t", partition, quiet=False)]


def await_all(shipper, log):
    wait_until(lambda: len(values(shipper.directory)) >= len(log.written))
    assert values(shipper.directory) == log.written


def stop(process, number=signal.SIGTERM):
    process.send_signal(number)
    result = end(process)
    assert result.status == -number, result
    return result


def check_clean(directory):
    must(directory, "topics", "verify")
    oracle.verify(Path(directory) / "topics" / "t" / "0")


@pytest.mark.parametrize("name", [NAME, None])
def test_what_is_written_is_a_record_when_its_line_ends(shipper, log, name):
    log.append(3)
    process = shipper("-v", name=name)
    await_all(shipper, log)
    log.append(2)
    await_all(shipper, log)
    with open(log.path, "ab") as file:
        file.write(b"half a")
    log_end = len(log.written)
    with open(log.path, "ab") as file:
        file.flush()
        assert len(values(shipper.directory)) == log_end
        file.write(b" line\n")
    log.written.append(b"half a line")
    await_all(shipper, log)
    result = stop(process)
    assert [line.split()[0] for line in result.stderr.splitlines()] == ["t"] * 3
    check_clean(shipper.directory)


def test_a_line_is_stored_within_milliseconds(shipper, log):
    log.append()
    shipper()
    await_all(shipper, log)
    took = []
    for _ in range(10):
        before = time.monotonic()
        log.append()
        wait_until(lambda: len(values(shipper.directory)) == len(log.written))
        took.append(time.monotonic() - before)
    assert min(took) < 0.25, took  # Polling would take half a second now and then, and a quarter on average.


def test_a_file_that_is_not_there_yet_is_waited_for(shipper, log):
    process = shipper()
    assert process.stderr.readline() == b"mk: waiting for %s\n" % os.fsencode(log.path)
    log.append(2)
    await_all(shipper, log)


def test_lines_that_come_late_to_a_renamed_file_stand_where_they_were_seen(shipper, log):
    log.append(3)
    process = shipper()
    await_all(shipper, log)
    log.rename()
    log.append(2, to=log.rotated(1))
    await_all(shipper, log)
    log.path.touch()
    log.append(2, to=log.rotated(1))
    await_all(shipper, log)
    log.append(2)
    await_all(shipper, log)
    log.append(1, to=log.rotated(1))  # After the next file was begun.
    await_all(shipper, log)
    log.append(1)
    await_all(shipper, log)
    process.kill()
    process.wait()
    log.append(1, to=log.rotated(1))  # While nobody looks.
    shipper()
    await_all(shipper, log)
    check_clean(shipper.directory)


@pytest.mark.parametrize("killed", [False, True])
def test_the_last_line_of_a_rotated_file_needs_no_newline(shipper, log, killed):
    log.append(2)
    process = shipper()
    await_all(shipper, log)
    with open(log.path, "ab") as file:
        file.write(b"the end")
    log.rename()
    log.written.append(b"the end")
    log.append(1)
    await_all(shipper, log)
    if killed:
        process.kill()
        process.wait()
        with open(log.rotated(1), "ab") as file:
            file.write(b" of it\n")  # Another record: the one before it was counted already.
        log.written.append(b" of it")
        shipper()
        await_all(shipper, log)
    check_clean(shipper.directory)


def test_an_emptied_file_is_read_from_its_start_and_said_so(shipper, log):
    log.append(5)
    process = shipper()
    await_all(shipper, log)
    os.truncate(log.path, 0)
    line = process.stderr.readline().decode()
    assert "was emptied: going on from its start" in line
    assert "lost" in line
    log.append(1)
    await_all(shipper, log)
    # Filled with as many bytes as before, in place.
    size = log.path.stat().st_size
    log.written.append(b"y" * (size - 1))
    with open(log.path, "r+b") as file:
        file.write(log.written[-1] + b"\n")
    await_all(shipper, log)


def test_a_file_that_another_of_the_same_size_replaces_is_read(shipper, log):
    log.append(1)
    shipper()
    await_all(shipper, log)
    size = log.path.stat().st_size
    other = log.path.with_name("other")
    other.write_bytes(b"z" * (size - 1) + b"\n")
    other.rename(log.path)
    log.written.append(b"z" * (size - 1))
    await_all(shipper, log)
    log.path.unlink()
    log.append(1)
    await_all(shipper, log)


def test_a_copy_that_was_made_before_a_file_was_emptied_has_what_is_missing(shipper, log):
    log.append(5)
    process = shipper()
    await_all(shipper, log)
    process.send_signal(signal.SIGSTOP)
    log.append(5)
    log.copytruncate()
    log.append(2)
    process.send_signal(signal.SIGCONT)
    await_all(shipper, log)
    process.kill()
    process.wait()
    for _ in range(3):
        log.append(4)
        log.copytruncate()
    log.append(1)
    shipper()
    await_all(shipper, log)
    check_clean(shipper.directory)


def test_rotated_several_times_while_nobody_followed(shipper, log):
    log.append(5)
    process = shipper()
    await_all(shipper, log)
    stop(process)
    for _ in range(12):
        log.append(3)
        log.rename()
    log.append(1)
    process = shipper()
    await_all(shipper, log)
    stop(process)
    log.rename()  # And nothing at the path now.
    log.append(1, to=log.rotated(1))
    process = shipper()
    await_all(shipper, log)
    log.append(1)
    await_all(shipper, log)
    check_clean(shipper.directory)


def test_a_rotated_file_that_is_compressed_stops_it_until_it_is_back(shipper, log):
    log.append(40)
    process = shipper()
    await_all(shipper, log)
    stop(process)
    log.append(3)
    log.rename()
    log.append(3)
    subprocess.run(["gzip", log.rotated(1)], check=True)
    result = end(shipper())
    assert result.status == 65
    assert "is gone" in result.stderr
    assert "--accept-gap" in result.stderr
    assert values(shipper.directory) == log.written[:40]
    subprocess.run(["gunzip", f"{log.rotated(1)}.gz"], check=True)
    process = shipper()
    await_all(shipper, log)
    stop(process)
    # One of those in between.
    for _ in range(3):
        log.append(2)
        log.rename()
    subprocess.run(["gzip", log.rotated(2)], check=True)
    log.append(1)
    result = end(shipper())
    assert result.status == 65
    assert f"missing or compressed: {log.path.name}.2.gz" in result.stderr
    subprocess.run(["gunzip", f"{log.rotated(2)}.gz"], check=True)
    shipper()
    await_all(shipper, log)
    check_clean(shipper.directory)


def test_a_gap_that_is_accepted_is_named_and_nothing_behind_it_is_lost_or_doubled(shipper, log):
    log.append(40)
    process = shipper()
    await_all(shipper, log)
    process.kill()
    process.wait()
    known = list(log.written)
    log.append(3)
    log.rename()
    log.rotated(1).unlink()
    log.append(3)
    process = shipper("--accept-gap")
    assert b"lines may be missing" in process.stderr.readline()
    log.written = known + log.written[-3:]
    await_all(shipper, log)
    process.kill()
    process.wait()
    log.append(1)
    shipper()  # Accepted once, and for all.
    await_all(shipper, log)
    check_clean(shipper.directory)


def test_a_short_log_that_was_emptied_meanwhile_is_a_gap_like_others(shipper, log):
    log.append(5)
    process = shipper()
    await_all(shipper, log)
    process.kill()
    process.wait()
    known = list(log.written)
    log.append(3)
    log.path.write_bytes(b"")
    log.append(1)
    assert end(shipper()).status == 65
    process = shipper("--accept-gap")
    log.written = known + log.written[-1:]
    await_all(shipper, log)
    check_clean(shipper.directory)


def test_one_process_at_a_time_follows_under_a_name(shipper, log):
    log.append(2)
    process = shipper()
    await_all(shipper, log)
    result = end(shipper("--lock-wait", "100ms"))
    assert result.status == 75
    assert str(process.pid) in result.stderr
    waiting = shipper()
    process.kill()
    log.append(1)
    await_all(shipper, log)
    stop(waiting)


def test_a_name_is_for_files_that_are_followed_or_for_other_input(shipper, log):
    log.append(2)
    process = shipper()
    await_all(shipper, log)
    stop(process)
    for words in (["value"], []):
        result = run(shipper.directory, "produce", "t", "--producer-id", NAME, *words, stdin=b"x\n")
        assert result.status == 2
        assert "follows files" in result.stderr
    must(shipper.directory, "produce", "t", "--producer-id", "plain", stdin=b"x\n")
    result = end(shipper(name="plain"))
    assert result.status == 2
    assert "used without --follow" in result.stderr
    other = log.path.with_name("other.log")
    other.write_bytes(b"x\n" * 100)
    result = run(shipper.directory, "produce", "t", "--follow", str(other), "--producer-id", NAME)
    assert result.status == 2
    assert f"follows {log.path}, not {other}" in result.stderr


def test_a_directory_of_logs_that_moves_is_the_same_input(shipper, log):
    log.append(30)
    process = shipper()
    await_all(shipper, log)
    stop(process)
    log.append(1)
    log.rename()
    log.path.parent.rename(log.path.parent.with_name("moved"))
    log.path = log.path.parent.with_name("moved") / log.path.name
    log.append(1)
    shipper()
    await_all(shipper, log)


def life(shipper, log, seed, cycles, *more):
    """Write, rotate and kill at random, and compare at the end."""
    chosen = random.Random(seed)
    process = shipper(*more)
    log.append(20)
    await_all(shipper, log)  # What was rotated away before the first look is nobody's business.
    for _ in range(cycles):
        for _ in range(chosen.randrange(4)):
            log.append(chosen.choice((1, 3, 50, 2000)))
            time.sleep(chosen.random() * 0.01)  # Not to wait for anything: to be elsewhere in the command.
        what = chosen.random()
        if what < 0.4:
            log.rename()
            if chosen.random() < 0.3:
                log.append(2, to=log.rotated(1))
            log.append(chosen.choice((2, 30)))
        elif what < 0.6:
            log.copytruncate()
            log.append(20)  # Enough to be told by its first lines.
        if chosen.random() < 0.6:
            time.sleep(chosen.random() * 0.4)
            process.kill()
            assert end(process).status in (-signal.SIGKILL, 0)
            if chosen.random() < 0.3:
                log.rename()
                log.append(5)
            process = shipper(*more)
    wait_until(lambda: process.poll() is not None or len(values(shipper.directory)) >= len(log.written), 15)
    assert process.poll() is None, end(process)
    assert values(shipper.directory) == log.written
    stop(process)
    check_clean(shipper.directory)


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_over_many_rotations_each_line_is_there_once_and_in_order(shipper, log, seed):
    life(shipper, log, seed, 12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_killed_at_random_for_longer(shipper, log, seed):
    life(shipper, log, seed, 60)


def rotation(log):
    log.append(2)
    log.rename()
    log.append(2)
    log.rename()
    log.append(2)


def emptied(log):
    log.append(2)
    log.copytruncate()
    log.append(3)


@needs_strace
@pytest.mark.parametrize(
    "happens",
    [None, pytest.param(rotation, marks=pytest.mark.slow), pytest.param(emptied, marks=pytest.mark.slow)],
    ids=["first use", "rotation", "emptied"],
)
def test_killed_at_any_call_that_changes_something_it_goes_on_where_the_topic_ends(
    tmp_path, log, happens, thoroughness
):
    template, directory = tmp_path / "template", tmp_path / "mk"
    create_topic(template, "t")
    words = ["produce", "t", "--follow", str(log.path), "--producer-id", NAME, "-q", "-n"]
    log.append(6)
    if happens is not None:
        must(template, *words, "6")
        happens(log)

    def missing():
        return str(len(log.written) - len(values(directory)))

    shutil.copytree(template, directory)
    command = [*words, missing()]
    points = to_kill_at(points_of(directory, command), thoroughness)
    assert values(directory) == log.written
    for point in points:
        shutil.rmtree(directory)
        shutil.copytree(template, directory)
        kill_at(point, directory, command)
        if missing() != "0":
            must(directory, *words, missing())
        assert values(directory) == log.written, point
    must(directory, "topics", "verify")
    count("kills", len(points))
    print(f"{len(points)} kills")


LOGROTATE = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
CONFIGURATIONS = {
    "rename": "rotate 100\ncreate",
    "by date": "rotate 100\ncreate\ndateext\ndateformat -%Y%m%d-%s",
    "before the extension": "rotate 100\ncreate\nextension .log",
    "copytruncate": "rotate 100\ncopytruncate",
    "compressed later": "rotate 100\ncreate\ncompress\ndelaycompress",
}


@pytest.mark.skipif(LOGROTATE is None, reason="needs logrotate")
@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_what_logrotate_does_costs_no_line(shipper, log, tmp_path, kind):
    configuration = tmp_path / "logrotate.conf"
    configuration.write_text(f"su root root\n{log.path} {{\n{CONFIGURATIONS[kind]}\n}}\n")
    configuration.chmod(0o600)
    if os.geteuid():
        configuration.write_text(configuration.read_text().removeprefix("su root root\n"))

    def rotate():
        before = set(os.listdir(log.path.parent))
        command = [LOGROTATE, "-f", "-s", str(tmp_path / "status"), str(configuration)]
        # By date it says a name once a second, and does nothing when that is taken.
        wait_until(lambda: subprocess.run(command, check=False) and set(os.listdir(log.path.parent)) != before)

    log.append(20)
    process = shipper()
    await_all(shipper, log)
    rotate()
    log.append(20)
    await_all(shipper, log)
    process.send_signal(signal.SIGKILL)
    process.wait()
    log.append(3)
    rotate()
    log.append(20)
    if kind != "compressed later":  # The second rotation would compress what was not read yet.
        rotate()
        log.append(2)
    shipper()
    await_all(shipper, log)
    check_clean(shipper.directory)
