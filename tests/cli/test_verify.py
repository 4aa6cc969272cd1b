"""`mk topics verify` and `mk topics dump` as processes."""

import json
import os
import shutil

import pytest
from running import read_to_end

from mk.cluster import connect
from mk.maintenance.dump import is_damage
from mk.records.record_batch import HEADER_SIZE


def flip(path, position, mask=0x40):
    data = bytearray(path.read_bytes())
    data[position] ^= mask
    path.write_bytes(data)


@pytest.fixture
def filled(mk, made_once):
    """Topic t: two partitions with batches of several kinds; topic u: one record."""
    return made_once(mk, make_filled)


def make_filled(mk):
    mk.ok("topics", "create", "t", "-p", 2, "-c", "segment.bytes=4096")
    for number in range(4):
        mk.ok("produce", "t", "-p", 0, f"{number} " + "x" * 1500)
        mk.ok("produce", "t", "-p", 1, "-k", "user", f"one {number}", f"two {number}")
    mk.ok("produce", "t", "-p", 1, "-K", ":", stdin=b"a:1\nb:2\n")
    mk.ok("produce", "t", "-p", 1, "-z", "zstd", stdin=b"same\n" * 100)
    mk.ok("produce", "u", "only")


def findings(mk, *words, status=65):
    done = mk("topics", "verify", "--json", *words)
    assert done.status == status, done
    return json.loads(done.out)["findings"]


def contents(directory):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.rglob("*") if path.is_file()}


def test_an_undamaged_log_is_a_line_a_topic_and_nothing_is_written(filled):
    before = contents(filled.directory)
    out = filled.ok("topics", "verify").decode().splitlines()
    assert [line.split(":")[0] for line in out] == ["t", "u"]
    assert out[0].endswith(" 114 records, no damage")
    assert out[1].startswith("u: 1 partition, ")
    assert contents(filled.directory) == before
    document = json.loads(filled.ok("topics", "verify", "--json"))
    assert document["damage"] == 0 and document["findings"] == []
    assert [topic["records"] for topic in document["topics"]] == [114, 1]


def test_damage_is_told_with_file_partition_position_and_offsets(filled):
    segment = filled.segments("t", 1)[0]
    batch = filled.batches("t", 1)[2]
    flip(segment, batch.position + HEADER_SIZE + 3)
    flip(segment, filled.batches("t", 1)[4].position + 50)
    done = filled("topics", "verify")
    assert done.status == 65
    assert "damaged-batch" in done.out.decode()
    assert "t: 2 partitions" in done.out.decode() and "2 of damage" in done.out.decode()
    assert "nothing was changed" in done.err and "Traceback" not in done.err
    first, second = findings(filled)
    assert first == {
        "topic": "t",
        "partition": 1,
        "kind": "damaged-batch",
        "severity": "damage",
        "path": str(segment.relative_to(filled.directory)),
        "found": "the batch there has another checksum than its bytes",
        "position": batch.position,
        "offset": 4,
        "last_offset": 5,
    }
    assert (second["offset"], second["last_offset"]) == (8, 9)
    assert filled("topics", "verify", "-q").err == ""
    assert filled("topics", "verify", "u").status == 0
    assert filled("topics", "verify", "t", "-p", 0).status == 0
    assert filled("topics", "verify", "t", "-p", 1).status == 65


def test_quiet_prints_what_somebody_should_look_at_and_nothing_else(filled):
    done = filled("topics", "verify", "-q")
    assert (done.status, done.out, done.err) == (0, b"", "")
    segment = filled.segments("u", 0)[0]
    segment.with_suffix(".index").write_bytes(b"stale" * 8)
    assert "note" in filled.ok("topics", "verify").decode()
    assert filled.ok("topics", "verify", "-q") == b""
    flip(filled.segments("t", 1)[0], filled.batches("t", 1)[2].position + HEADER_SIZE + 3)
    done = filled("topics", "verify", "-q")
    assert (done.status, done.err) == (65, "")
    assert "damaged-batch" in done.out.decode() and "u: " not in done.out.decode()
    assert json.loads(filled("topics", "verify", "-q", "--json").out)["damage"] == 1


def test_which_topics(filled):
    def topics(*words):
        return [topic["topic"] for topic in json.loads(filled.ok("topics", "verify", "--json", *words))["topics"]]

    assert topics() == ["t", "u"]
    assert topics("u") == ["u"]
    assert topics("-r", "^t") == ["t"]
    assert topics("-r", "none such") == []
    assert topics("-p", 1) == ["t"], "of all topics, those that have it"
    assert filled("topics", "verify", "nope").status == 66
    assert filled("topics", "verify", "u", "-p", 1).status == 66
    assert filled("topics", "verify", "-r", "(").status == 2


def test_a_tail_that_nobody_acknowledged_is_a_note(filled):
    (segment,) = filled.segments("u")
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:100])
    (finding,) = findings(filled, "u", status=0)
    assert (finding["kind"], finding["severity"], finding["offset"]) == ("unacknowledged-tail", "note", 1)
    assert filled.ok("topics", "verify", "u").decode().splitlines()[-1].endswith("no damage, 1 note")


def test_a_segment_that_is_missing_and_one_that_is_cut(filled):
    first, second = filled.segments("t", 0)
    os.truncate(first, first.stat().st_size - 1)
    (finding,) = findings(filled)
    assert (finding["kind"], finding["path"]) == ("truncated-segment", f"topics/t/0/{first.name}")
    assert (finding["offset"], finding["last_offset"]) == (1, 1)
    second.unlink()
    kinds = {(finding["kind"], finding["offset"], finding["last_offset"]) for finding in findings(filled)}
    assert ("missing-segment", 2, 3) in kinds


def test_a_copy_whose_state_is_newer_than_its_data(filled):
    (segment,) = filled.segments("u")
    whole = segment.read_bytes()
    filled.ok("produce", "u", "more")
    segment.write_bytes(whole)
    (finding,) = findings(filled)
    assert finding["kind"] == "state-newer-than-data"
    assert (finding["position"], finding["offset"], finding["last_offset"]) == (len(whole), 1, 1)


def test_small_files(filled):
    for name, kind in (("state", "damaged-state"), ("epochs", "damaged-file")):
        path = filled.partition("u") / name
        aside = path.rename(path.parent.parent.parent.parent / name)
        assert [finding["kind"] for finding in findings(filled, "u")] == [kind]
        aside.rename(path)
    path = filled.directory / "topics/u/topic.json"
    flip(path, 30)
    (finding,) = findings(filled)
    assert (finding["kind"], finding["path"], finding["partition"]) == ("damaged-file", "topics/u/topic.json", None)


def test_failed_locks_and_modes_are_warnings(filled):
    (filled.partition("u") / "FAILED").write_text("yesterday\n")
    shutil.rmtree(filled.directory / "locks")
    filled.segments("u")[0].chmod(0o666)
    (filled.partition("u") / "notes.txt").touch()
    found = {(finding["kind"], finding["severity"]) for finding in findings(filled, "u", status=0)}
    assert found == {
        ("failed", "warning"),
        ("missing-lock", "warning"),
        ("unsafe-mode", "warning"),
        ("unknown-file", "note"),
    }


def test_somebody_who_may_only_read(filled, for_reader):
    mk, as_reader = for_reader(filled)
    done = mk("topics", "verify", prefix=as_reader)
    assert (done.status, done.err) == (0, "")


def test_a_read_only_copy(filled, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(filled.directory, copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(path.stat().st_mode & ~0o222)
    assert filled("topics", "verify", "-d", copy).status == 0
    for path in [copy, *copy.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


def test_a_bar_only_on_a_terminal_and_only_on_long_work(filled, terminal):
    ours, theirs = terminal
    filled.ok("topics", "verify", stderr=theirs)
    os.close(theirs)
    assert read_to_end(ours) == b""


def test_control_characters_of_foreign_names_reach_no_terminal(filled):
    (filled.partition("u") / "\x1b]0;title\x07").touch()
    done = filled("topics", "verify", "u")
    assert done.status == 0
    assert b"\x1b" not in done.out and b"unknown-file" in done.out


def dump(mk, *words, status=0):
    done = mk("topics", "dump", "--json", *words)
    assert done.status == status, done
    return [json.loads(line) for line in done.out.splitlines()], done


def test_dump_shows_the_batches_of_a_topic(filled):
    items, _ = dump(filled, "t", "-p", 1)
    assert {item["type"] for item in items} == {"batch"}
    assert [item["base_offset"] for item in items] == [0, 2, 4, 6, 8, 10]
    # Two records of one command are lines if they came in the same millisecond.
    assert {item["kind"] for item in items[:4]} <= {"lines", "columns"}
    assert [item["kind"] for item in items[4:]] == ["columns", "lines"]
    assert items[-1]["codec"] == "zstd" and items[-1]["record_count"] == 100
    items, _ = dump(filled, "t", "-p", 1, "-o", 9)
    assert [item["base_offset"] for item in items] == [8, 10]
    items, _ = dump(filled, "t")
    assert len(items) == 10
    text = filled.ok("topics", "dump", "t", "-p", 0).decode()
    assert text.count("base_offset=") == 4 and text.count(".log:\n") == 2
    assert "xxx" not in text, "values are shown only when they are asked for"


def test_dump_records_are_those_of_consume(filled):
    items, _ = dump(filled, "t", "-p", 1, "--records")
    consumed = [json.loads(line) for line in filled.ok("consume", "t", "-p", 1, "-J").splitlines()]
    assert [item for item in items if "type" not in item] == consumed
    text = filled.ok("topics", "dump", "t", "-p", 1, "--records").decode()
    assert [json.loads(line) for line in text.splitlines() if line.startswith("    {")] == consumed


@pytest.mark.parametrize("cut", [25, 40])
def test_what_is_removed_during_a_dump_is_no_damage(mk, cut):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4k")
    for number in range(40):
        mk.ok("produce", "t", b"%d " % number + b"x" * 1500)
    with connect(str(mk.directory)) as cluster:
        items = cluster.dump_partition("t", 0)
        first = next(items)
        # Whole segments go, in front of which the dump stands, and at the end the one that was active.
        cluster.delete_records("t", 0, cut)
        mk.ok("produce", "t", "more")
        rest = list(items)
    assert [item for item in rest if is_damage(item)] == []
    assert first["base_offset"] == 0
    assert [item["base_offset"] for item in rest if item["base_offset"] >= cut] == [*range(cut, 40)]


def test_a_dump_shows_that_a_segment_is_missing_wherever_it_was(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4k")
    for number in range(12):
        mk.ok("produce", "t", b"%d " % number + b"x" * 1500)
    segments = mk.segments("t")
    for segment in (segments[0], segments[len(segments) // 2], segments[-1]):
        away = segment.rename(segment.with_suffix(".away"))
        items, _ = dump(mk, "t", status=65)
        assert len([item for item in items if item["type"] == "damage"]) == 1
        away.rename(segment)
    dump(mk, "t")


def test_dump_of_a_lone_file_shows_damage_in_its_place_and_goes_on(filled, tmp_path):
    copy = tmp_path / "somewhere.log"
    shutil.copy(filled.segments("t", 1)[0], copy)
    batch = filled.batches("t", 1)[1]
    flip(copy, batch.position + 20)
    items, done = dump(filled, copy, status=65)
    assert [item["type"] for item in items] == ["batch", "damage", "batch", "batch", "batch", "batch"]
    assert items[1]["position"] == batch.position and items[1]["offset"] == 2
    assert (items[1]["next_position"], items[1]["next_offset"]) == (items[2]["position"], 4)
    assert json.loads(done.err)["exit_status"] == 65
    done = filled("topics", "dump", copy)
    assert f"DAMAGE at byte {batch.position}, offset 2: there is no batch header" in done.out.decode()


def test_dump_of_the_small_files(filled):
    filled.ok("produce", "p", "--producer-id", "shop", stdin=b"a\nb\n")
    items, _ = dump(filled, filled.partition("t") / "state")
    assert [item["type"] for item in items] == ["slot", "slot"]
    items, _ = dump(filled, filled.partition("t") / "epochs")
    assert [(item["epoch"], item["first_offset"]) for item in items] == [(0, 0)]
    items, _ = dump(filled, filled.partition("t") / "00000000000000000000.index")
    assert [item["offset"] for item in items] == [2], "the entry that tells the end of a sealed segment"
    for name in ("state", "epochs"):
        path = filled.partition("t") / name
        path.write_bytes(b"\xff" * path.stat().st_size)
        items, _ = dump(filled, path, status=65)
        assert {item["type"] for item in items} == {"damage"}
        assert filled("topics", "dump", path, "--records").status == 2


def test_dump_of_what_is_not_there(filled, tmp_path):
    assert filled("topics", "dump", "nope").status == 66
    assert filled("topics", "dump", tmp_path / "nope").status == 66
    assert filled("topics", "dump", tmp_path).status == 2
    assert filled("topics", "dump", "t", "-p", 7).status == 66
    assert filled("topics", "dump", filled.segments("t", 0)[0], "-p", 0).status == 2
    os.mkfifo(tmp_path / "fifo")
    assert filled("topics", "dump", tmp_path / "fifo").status == 2


def test_dump_shows_control_characters_on_a_terminal_and_never_executes_them(filled, terminal):
    filled.ok("produce", "u", b"\x9b2J\x1b[2J\x7f")
    ours, theirs = terminal
    filled.ok("topics", "dump", "u", "--records", stdout=theirs)
    os.close(theirs)
    out = read_to_end(ours)
    assert b"offset" in out and not {b"\x1b", b"\x7f"} & {bytes((byte,)) for byte in out}


def test_dump_into_head_ends_quietly(filled):
    filled.ok("produce", "big", stdin=b"".join(b"%d\n" % number for number in range(200_000)))
    done = filled.shell("mk topics dump big --records | head -n 1; status")
    assert (done.status, done.err) == (141, "")
