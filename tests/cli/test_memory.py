"""Memory stays within 60 MB, whatever the input: measured as the peak of a whole process."""

import os
import subprocess
from pathlib import Path

import pytest
from running import measured

MIB = 1 << 20
LIMIT_KIB = 60 * 1000 * 1000 // 1024
# A value of 16 MB as JSON is text, quoted text, an object and bytes again, each of them as large.
LIMIT_OF_LARGE_JSON_KIB = 2 * LIMIT_KIB

LINES = "yes 'a line of some hundred bytes, as a log file has them, with a number: 0123456789 and a word or two at the end' | head -c {}M"
KEYED = "seq 1 100000000 | sed 's/$/:a value of some bytes 0123456789012345678901234567890123456789/' | head -c {}M"
SHORT = "yes '' | head -c {}K"
LONG = "for i in $(seq {}); do head -c 16000000 /dev/zero | tr '\\0' x; echo; done"
RANDOM = "head -c {}M /dev/urandom"


def peak_kib(mk, *words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
    """Run a command and return its peak of resident memory."""
    done, peak = measured(mk, words, stdin=stdin, stdout=stdout)
    assert done.returncode == (1 if "--skip-bad" in words else 0)
    return peak


def produce(mk, source, *words):
    with subprocess.Popen(["bash", "-c", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as feeder:
        peak = peak_kib(mk, "produce", "t", "-q", *words, stdin=feeder.stdout)
        feeder.stdout.close()
        feeder.wait()
    return peak


CASES = {
    "lines": (LINES, 20, 200, []),
    "one key": (LINES, 20, 200, ["-k", "key"]),
    "zstd": (LINES, 20, 200, ["-z", "zstd"]),
    "keys": (KEYED, 10, 200, ["-K", ":"]),
    "keys, many partitions": (KEYED, 10, 100, ["-K", ":", "--partitions", "64"]),
    "short lines": (SHORT, 500, 10000, []),
    "short lines with keys": (SHORT, 500, 5000, ["-K", ":"]),
    "long lines": (LONG, 2, 12, []),
    "long lines, zstd": (LONG, 2, 12, ["-z", "zstd"]),
    "random": (RANDOM, 20, 200, []),
    "gzip": (LINES, 20, 200, ["-z", "gzip"]),
    "lz4": (LINES, 20, 200, ["-z", "lz4"]),
    "long lines, lz4": (LONG, 2, 12, ["-z", "lz4"]),
    "NUL": (LINES + " | tr '\\n' '\\0'", 20, 200, ["-0"]),
    "NUL, many empty": (SHORT + " | tr '\\n' '\\0'", 500, 10000, ["-0"]),
    "spaces": (LINES, 3, 100, ["-D", " "]),
    "a delimiter that overlaps itself": (SHORT, 1000, 20000, ["-D", r"\n\n"]),
    "headers": (LINES, 20, 200, ["-H", "trace=1234567890"]),
    "headers of short lines": (SHORT, 500, 5000, ["-H", "trace=1234567890"]),
    "nulls": (SHORT, 500, 10000, ["-Z"]),
    "passed on": (LINES, 20, 200, ["-T"]),
    "skipped": ("for i in $(seq {}); do head -c 64M /dev/zero; echo; echo ok; done", 1, 4, ["--skip-bad"]),
}


@pytest.mark.parametrize("case", CASES)
def test_as_much_input_as_there_may_be(mk, case, thoroughness):
    """Of the sample, less input, which is still many batches, and in two forms."""
    source, some, much, words = CASES[case]
    assert produce(mk, source.format(thoroughness.pick(some, much)), *words) < LIMIT_KIB
    plain = ["-0"] if len(case) % 2 else []
    for form in thoroughness.pick([plain, ["-J"]], [[], ["-J"], ["-f", "kv"], ["-0"]]):
        limit = LIMIT_OF_LARGE_JSON_KIB if form == ["-J"] and "long" in case else LIMIT_KIB
        assert peak_kib(mk, "consume", "t", *form) < limit, form


@pytest.mark.parametrize("options", [[], ["-z", "zstd"], ["-k", "key", "-H", "h=1"], ["-T"]])
def test_a_whole_input_of_16_mb(mk, options):
    """It is there as it is read, as a value, and up to twice while it is packed."""
    lines = "head -c 16000000 /dev/zero | tr '\\0' x | fold -w 100"
    for source in (f"{lines} | tr -d '\\n'", f"{lines} | head -c 16000000"):
        assert produce(mk, source, "--whole", *options) < LIMIT_KIB + 2 * 16_000_000 // 1024
    assert mk.offsets("t") == [(0, 2)]


def test_following_to_a_pipe_that_nobody_reads(mk):
    """A slow reader makes the consumer wait, and not grow."""
    produce(mk, LINES.format(50))
    with mk.start("consume", "t", "-F") as consumer:
        assert os.read(consumer.stdout.fileno(), 1) == b"a"
        for _ in range(20):
            mk.ok("produce", "t", "more")
        status = Path(f"/proc/{consumer.pid}/status").read_text()
    (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert peak < LIMIT_KIB


@pytest.mark.slow
@pytest.mark.parametrize("case", ["lines", "keys", "short lines", "short lines with keys", "headers of short lines"])
def test_merging_reversing_and_searching(mk, case):
    source, size, _, words = CASES[case]
    mk.ok("topics", "create", "t", "-p", 3)
    for partition in [()] if "-K" in words else [("-p", number) for number in range(3)]:
        assert produce(mk, source.format(size), *words, *partition) < LIMIT_KIB
    for form in ([], ["-J"]):
        for selection in (
            ["--merge"],
            ["--reverse"],
            ["--reverse", "--merge"],
            ["-G", "!v=^$"],
            ["-G", "v=", "--merge"],
            ["--cursor-file", mk.directory.parent / f"cursor{len(form)}"],
        ):
            assert peak_kib(mk, "consume", "t", *selection, *form) < LIMIT_KIB, (selection, form)
