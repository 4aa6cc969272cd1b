"""Every way to read a topic gives, of one that was compacted, what it would give of the records that are left."""

import json
import random

import pytest
from running import Mk, read_until
from test_remote import Remote, fake_ssh

PARTITIONS = 2
START_MS = 1_700_000_000_000


def make(mk: Mk) -> None:
    """A topic of two partitions with keys, tombstones, headers, empty keys and keys that are null, in all kinds of batches,
    in many segments; compacted twice, with a part behind that was never."""
    chosen = random.Random(7)
    mk.ok("topics", "create", "t", "-p", PARTITIONS, "-c", "segment.bytes=4k")
    clock = START_MS
    for number in range(30):
        if number == 2:
            mk.ok("topics", "alter", "t", "-c", "cleanup.policy=compact", "-c", "min.cleanable.dirty.ratio=1")
        rows = []
        for _ in range(60):
            clock += chosen.randrange(3)
            key = (
                None
                if number < 2 and chosen.random() < 0.2
                else chosen.choice(["", "é", *(f"k{n}" for n in range(40))])
            )
            row = {"key": key, "ts": clock, "payload": f"{number}-{len(rows)} " + "x" * chosen.randrange(60)}
            if chosen.random() < 0.15:
                row["payload"] = None
            if chosen.random() < 0.3:
                row["headers"] = [["n", str(len(rows) % 7)]]
            rows.append(row)
        codec = chosen.choice(["none", "zstd", "gzip"])
        mk.ok("produce", "t", "-J", "-z", codec, stdin="".join(json.dumps(row) + "\n" for row in rows).encode())
        # Plain lines with one key for all of them.
        clock += 1
        mk.ok("produce", "t", "-k", f"k{number}", "--timestamp", clock, stdin=b"line 1\nline 2\n", env={"TZ": "UTC"})
        if number in (12, 24):
            mk.ok("topics", "compact", "t", "-q")


def make_all(mk: Mk) -> None:
    make(mk)
    # Before anything else happens to it, what is in it, so that there is something to compare with.
    mk.directory.joinpath("all").write_bytes(mk.ok("consume", "t", "-J"))


@pytest.fixture
def compacted(mk, made_once):
    return made_once(mk, make_all)


@pytest.fixture
def records(compacted):
    """The records that are left, of each partition in the order of offsets."""
    found = [json.loads(line) for line in compacted.directory.joinpath("all").read_bytes().splitlines()]
    for partition in range(PARTITIONS):
        offsets = [record["offset"] for record in found if record["partition"] == partition]
        assert offsets == sorted(set(offsets))
    return found


@pytest.fixture(params=["here", "there"])
def side(request, compacted, tmp_path):
    return compacted if request.param == "here" else Remote(compacted, fake_ssh(tmp_path))


def of(records, partition=None):
    return [(r["partition"], r["offset"]) for r in records if partition in (None, r["partition"])]


def read(mk, *words):
    """Return partition and offset of what a command prints."""
    rows = mk.ok("consume", "t", *words, "-f", "%p %o\\n").split(b"\n")[:-1]
    return [tuple(map(int, row.split())) for row in rows]


def test_what_is_left_is_the_last_of_each_key_and_all_without_one(mk):
    """Against the records as they were before: the only test here that does not believe what is printed."""
    mk.ok("topics", "create", "t", "-p", PARTITIONS, "-c", "segment.bytes=4k")
    rows = [
        {
            "key": None if n % 11 == 0 else f"k{n * n % 17}",
            "ts": START_MS + n,
            "payload": None if n % 5 == 0 else str(n),
        }
        for n in range(400)
    ]
    mk.ok("produce", "t", "-J", stdin="".join(json.dumps(row) + "\n" for row in rows).encode())
    before = [json.loads(line) for line in mk.ok("consume", "t", "-J").splitlines()]
    mk.ok("topics", "alter", "t", "-c", "cleanup.policy=compact")
    mk.ok("topics", "compact", "t")
    last = {(record["partition"], record["key"]): record["offset"] for record in before}
    expected = [r for r in before if r["key"] is None or last[r["partition"], r["key"]] == r["offset"]]
    assert [json.loads(line) for line in mk.ok("consume", "t", "-J").splitlines()] == expected
    assert len(expected) < 80 < len([r for r in before if r["key"] is not None])
    assert "no damage" in mk.ok("topics", "verify", "t").decode()


def test_from_every_offset_also_one_that_is_gone(side, records):
    chosen = random.Random(3)
    for partition in range(PARTITIONS):
        here = of(records, partition)
        end = here[-1][1] + 1
        assert end > 2 * len(here), "there are no gaps to speak of"
        for offset in [0, end - 1, end, *(chosen.randrange(end) for _ in range(4))]:
            assert read(side, "-p", partition, "-o", offset) == [place for place in here if place[1] >= offset]
            assert read(side, "-p", partition, "-o", offset, "-n", 2) == [p for p in here if p[1] >= offset][:2]
        assert read(side, "-p", partition, "-o", f"{end // 3}:{end // 2}") == [
            place for place in here if end // 3 <= place[1] < end // 2
        ]
        assert read(side, "-p", partition, "-o", "-30") == [place for place in here if place[1] >= end - 30]


def test_the_newest_are_counted_by_records_and_not_by_offsets(side, records):
    for count in (1, 7, 40, len(records), len(records) + 5):
        for partition in range(PARTITIONS):
            assert read(side, "-p", partition, "--tail", count) == of(records, partition)[-count:]
        found = read(side, "--tail", count)
        assert len(found) == min(count, len(records))
        # Of both partitions together: those of the largest times.
        newest = sorted((r["ts"] for r in records), reverse=True)[:count]
        times = {(r["partition"], r["offset"]): r["ts"] for r in records}
        assert sorted((times[place] for place in found), reverse=True) == newest


def test_backwards_and_merged(side, records):
    for partition in range(PARTITIONS):
        assert read(side, "-p", partition, "--reverse") == of(records, partition)[::-1]
        assert read(side, "-p", partition, "--reverse", "-n", 3) == of(records, partition)[::-1][:3]
    merged = sorted(records, key=lambda r: (r["ts"], r["partition"], r["offset"]))
    times = {(r["partition"], r["offset"]): r["ts"] for r in records}
    found = read(side, "--merge")
    assert sorted(found) == sorted(of(merged))
    assert [times[place] for place in found] == [r["ts"] for r in merged]
    back = read(side, "--merge", "--reverse", "-n", 20)
    assert [times[place] for place in back] == [r["ts"] for r in merged][::-1][:20]


def test_what_is_searched_for(side, records):
    def matching(test):
        return of([record for record in records if test(record)])

    assert read(side, "-G", "v=^2[0-9]*-") == matching(lambda r: (r["payload"] or "").startswith("2"))
    assert read(side, "-G", "k=^k1") == matching(lambda r: (r["key"] or "").startswith("k1"))
    assert read(side, "-G", "!k=.") == matching(lambda r: not r["key"])
    assert read(side, "-G", "h:n=3") == matching(lambda r: ["n", "3"] in r["headers"])


def test_times(side, records):
    times = sorted({record["ts"] for record in records})
    for time_ms in (times[0], times[len(times) // 3], times[-1], times[len(times) // 2] + 1, times[-1] + 1):
        for partition in range(PARTITIONS):
            here = [record for record in records if record["partition"] == partition]
            first = next((at for at, record in enumerate(here) if record["ts"] >= time_ms), len(here))
            assert read(side, "-p", partition, "-o", f"@{time_ms}") == of(here[first:])
            assert read(side, "-p", partition, "--since", time_ms) == of(here[first:])
            assert read(side, "-p", partition, "--until", time_ms) == of(here[:first])


def test_the_last_record_of_each_key(compacted, records):
    last = {}
    for record in records:
        if record["key"] is not None:
            last[record["key"]] = record
    for key, record in list(last.items())[:12]:
        done = compacted("topics", "get", "t", key)
        if record["payload"] is None:
            assert done.status == 3 and f"offset {record['offset']}" in done.err
        else:
            assert (done.status, done.out) == (0, record["payload"].encode() + b"\n")
    assert compacted("topics", "get", "t", "never").status == 3


def test_a_group_reads_each_record_once_from_wherever_it_stands(compacted, records):
    found = []
    while got := read(compacted, "-g", "g", "-n", 17):
        found += got
        assert len(found) <= len(records)
    assert sorted(found) == sorted(of(records))
    (described,) = json.loads(compacted.ok("groups", "describe", "g", "--json"))
    assert described["lag"] == 0


def test_a_group_that_stood_where_there_is_nothing_any_more_goes_on_behind_it(mk):
    mk.ok("topics", "create", "t", "-c", "cleanup.policy=compact")
    mk.ok("produce", "t", "-k", "a", stdin=b"".join(b"%d\n" % n for n in range(100)))
    assert mk.ok("consume", "t", "-g", "g", "-n", 40).splitlines()[-1] == b"39"
    cursor = mk.directory.parent / "cursor"
    assert mk.ok("consume", "t", "--cursor-file", cursor, "-n", 40).splitlines()[-1] == b"39"
    mk.ok("produce", "t", "-k", "b", "last")
    mk.ok("topics", "compact", "t")
    # Lag is a difference of offsets, as in Kafka: no less than there are records.
    (described,) = json.loads(mk.ok("groups", "describe", "g", "--json"))
    assert described["lag"] == 61
    for words in (("-g", "g"), ("--cursor-file", cursor)):
        done = mk("consume", "t", *words)
        assert (done.status, done.out, done.err) == (0, b"99\nlast\n", "")
    (described,) = json.loads(mk.ok("groups", "describe", "g", "--json"))
    assert described["lag"] == 0
    assert mk.ok("consume", "t", "-o", "group:g") == b""


def test_commands_get_what_is_left_with_its_offsets(compacted, records):
    out = compacted.ok("consume", "t", "-p", 0, "--exec", "sh -c 'echo $MK_REC_OFFSET'", "--batch", 1, "-n", 15)
    assert [int(line) for line in out.splitlines()] == [offset for _, offset in of(records, 0)][:15]


def test_a_follower_goes_on_over_what_is_compacted_before_and_behind_it(mk):
    mk.ok("topics", "create", "t", "-c", "cleanup.policy=compact")
    mk.ok("produce", "t", "-K", ":", stdin=b"".join(b"k%d:%d\n" % (n % 5, n) for n in range(500)))
    mk.ok("topics", "compact", "t")
    with mk.start("consume", "t", "-F", "-f", "%o\\n") as follower:
        read_until(follower.stdout.fileno(), b"499\n")
        for round in range(1, 4):
            mk.ok("produce", "t", "-K", ":", stdin=b"".join(b"k%d:%d\n" % (n % 5, n) for n in range(500)))
            mk.ok("topics", "compact", "t")
            read_until(follower.stdout.fileno(), b"%d\n" % (500 * round + 499))
        assert follower.poll() is None


def test_trim_removes_up_to_an_offset_that_is_gone(compacted, records):
    here = of(records, 0)
    gap = next(a + 1 for (_, a), (_, b) in zip(here[5:], here[6:]) if b > a + 1)
    compacted.ok("topics", "trim", "t", "-p", 0, "--to", gap, "--yes")
    assert compacted.offsets("t")[0][0] == gap
    assert read(compacted, "-p", 0) == [place for place in here if place[1] >= gap]
    done = compacted("consume", "t", "-p", 0, "-o", 0, "-n", 1, "-f", "%o\\n")
    assert int(done.out) >= gap
    compacted.ok("topics", "compact", "t")
    assert "no damage" in compacted.ok("topics", "verify", "t").decode()


def test_a_copy_by_records_has_what_is_left(compacted, records):
    compacted.ok("topics", "create", "u", "-p", PARTITIONS, "-c", "cleanup.policy=delete", "-c", "retention.ms=-1")
    compacted.ok("produce", "u", "-J", "--keep-partition", stdin=compacted.directory.joinpath("all").read_bytes())
    names = ("partition", "key", "payload", "ts", "headers")

    def rows(data):
        found = [tuple(json.dumps(json.loads(line)[name]) for name in names) for line in data.splitlines()]
        return sorted(found, key=lambda row: row[0])  # The order of each partition stays.

    assert rows(compacted.ok("consume", "u", "-J")) == rows(compacted.directory.joinpath("all").read_bytes())
