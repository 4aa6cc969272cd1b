"""Damage: found, named, never printed as data, never repaired by throwing something away."""

import json
import os
import shutil

import pytest

from mk.records.record_batch import HEADER_SIZE, parse_header
from mk.storage import flat_json


def flip(path, position, mask=0x40):
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes((byte ^ mask,)))


def contents(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != "state"}


@pytest.fixture
def three(mk, made_once):
    """Two partitions with three batches each: one, two, three; and the same with `other `."""
    return made_once(mk, make_three)


def make_three(mk):
    mk.ok("topics", "create", "t", "-p", 2)
    for word in ("one", "two", "three"):
        mk.ok("produce", "t", "-p", 0, word)
        mk.ok("produce", "t", "-p", 1, f"other {word}")


def second_batch(mk):
    return mk.batches("t")[1].position


PLACES = {
    "magic": 0,
    "length": 7,
    "payload checksum": 9,
    "base offset": 31,
    "epoch": 63,
    "durable offset": 95,
    "chain": 98,
    "header checksum": 126,
    "value": HEADER_SIZE + 1,
    "newline": HEADER_SIZE + 3,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_bit_below_the_durable_end(three, place):
    (segment,) = three.segments("t", 0)
    position = second_batch(three)
    flip(segment, position + PLACES[place])
    before = contents(three.directory)
    for words in ([], ["-J"], ["-f", "kv"]):
        done = three("consume", "t", "-p", 0, *words)
        assert done.status == 65
        assert done.out.count(b"one") == done.out.count(b"\n") == 1, "what came before was printed"
        first = done.err.splitlines()[0]
        assert f"{segment} is damaged at byte {position}, offset 1" in first
    assert three.ok("consume", "t", "-p", 1) == b"other one\nother two\nother three\n"
    assert three("consume", "t").status == 65
    # It says how to read on behind the damage where that works: behind a damaged header, nothing can be found here.
    behind = three("consume", "t", "-p", 0, "-o", 2)
    if place in ("value", "newline"):
        assert "with `-o 2`" in done.err
        assert (behind.status, behind.out) == (0, b"three\n")
    else:
        assert " -o " not in done.err
        assert (behind.status, behind.out) == (65, b"")
    assert three.ok("consume", "t", "-p", 0, "-n", 1) == b"one\n"
    assert contents(three.directory) == before


def test_a_flipped_bit_of_a_large_batch(mk):
    """Large payloads take another way to the output."""
    mk.ok("produce", "t", stdin=b"a" * 99 + b"\n")
    mk.ok("produce", "t", stdin=(b"b" * 99 + b"\n") * 5000)
    (segment,) = mk.segments("t")
    last = mk.batches("t")[-1]
    flip(segment, last.position + HEADER_SIZE + 50)
    done = mk("consume", "t")
    assert done.status == 65
    assert set(done.out) == set(b"ab\n")
    assert done.out.count(b"\n") == 1 + sum(batch.record_count for batch in mk.batches("t")[1:-1])


@pytest.mark.parametrize("damaged", [1, 2, 3, 4])
def test_reading_on_behind_a_damaged_header(mk, damaged):
    """The index, or the next segment, says where a batch begins again."""
    mk.ok("topics", "create", "t", "-c", "segment.bytes=200000")
    for number in range(6):
        mk.ok("produce", "t", f"{number} " + "x" * 40_000)
    first, second = mk.segments("t")
    assert int(second.name[:20]) == 4
    path, position = (first if damaged < 4 else second), mk.batches("t")[damaged].position
    flip(path, position + 30)
    done = mk("consume", "t")
    assert done.status == 65
    assert f"{path} is damaged at byte {position}, offset {damaged}" in done.err
    if damaged == 4:
        assert " -o " not in done.err, "no entry of the index lies behind it"
        return
    resume = int(done.err.split("with `-o ")[1].split("`")[0])
    assert damaged < resume <= 4
    assert mk.ok("consume", "t", "-o", resume).startswith(b"%d xx" % resume)


@pytest.mark.parametrize("words", [["-z", "zstd"], ["-K", ":"], ["-z", "zstd", "-K", ":"]])
def test_a_flipped_bit_in_every_kind_of_batch(mk, words):
    data = b"".join(b"%d:value %d\n" % (number, number) for number in range(1000))
    mk.ok("produce", "t", *words, stdin=data)
    (segment,) = mk.segments("t")
    flip(segment, segment.stat().st_size - 10)
    for form in ([], ["-J"], ["-0"]):
        done = mk("consume", "t", *form)
        assert (done.status, done.out) == (65, b"")


def test_a_producer_that_has_no_cause_to_look_appends_behind_damage(three):
    """The size is what `state` says: nothing tells an append of damage, and looking each time would cost everybody."""
    (segment,) = three.segments("t", 0)
    flip(segment, second_batch(three) + HEADER_SIZE)
    three.ok("produce", "t", "-p", 0, "four")
    assert three.ok("consume", "t", "-p", 0, "-o", 2) == b"three\nfour\n"
    assert three("consume", "t", "-p", 0).status == 65


def test_a_producer_that_has_to_look_refuses_damage(three):
    """With both slots of `state` gone, all segments are read: what is damaged there is not built upon."""
    (segment,) = three.segments("t", 0)
    position = second_batch(three)
    flip(segment, position + HEADER_SIZE)
    state = three.partition("t", 0) / "state"
    state.write_bytes(b"\0" * state.stat().st_size)
    before = contents(three.directory)
    done = three("produce", "t", "-p", 0, "four")
    assert done.status == 65
    assert f"{segment} is damaged at byte {position}, offset 1" in done.err
    assert "0 records stored" in done.err
    assert contents(three.directory) == before
    three.ok("produce", "t", "-p", 1, "other four")


def test_both_slots_of_state_damaged(three):
    state = three.partition("t", 0) / "state"
    state.write_bytes(b"\xff" * state.stat().st_size)
    done = three("consume", "t", "-p", 0)
    assert (done.status, done.out) == (65, b"")
    assert str(state) in done.err
    assert three("topics", "describe", "t").status == 65
    assert three.ok("consume", "t", "-p", 1) == b"other one\nother two\nother three\n"
    assert "mk produce" in done.err, "it says what rebuilds it"
    three.ok("produce", "t", "-p", 0, "four")
    assert three.ok("consume", "t", "-p", 0) == b"one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize("slot", [0, 4096])
def test_one_slot_of_state_damaged(three, slot):
    """The other one is at most one append old, and the log itself tells the rest."""
    state = three.partition("t", 0) / "state"
    flip(state, slot + 20)
    out = three.ok("consume", "t", "-p", 0)
    assert out in (b"one\ntwo\n", b"one\ntwo\nthree\n")
    three.ok("produce", "t", "-p", 0, "four")
    assert three.ok("consume", "t", "-p", 0) == b"one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize("size", [0, 100, 512, 4096, 4500])
def test_state_cut_short(three, size):
    state = three.partition("t", 0) / "state"
    os.truncate(state, size)
    assert three("consume", "t", "-p", 0).status in (0, 65)
    three.ok("produce", "t", "-p", 0, "four")
    assert three.ok("consume", "t", "-p", 0) == b"one\ntwo\nthree\nfour\n"


def test_state_missing(three):
    state = three.partition("t", 0) / "state"
    state.unlink()
    for words in (["consume", "t", "-p", 0], ["produce", "t", "-p", 0, "four"], ["topics", "offsets", "t"]):
        done = three(*words)
        assert done.status == 65
        assert f"{state} is damaged" in done.err
        assert "missing" in done.err


def test_state_of_another_partition_of_another_topic(three):
    three.ok("produce", "u", "x")
    shutil.copy(three.partition("u") / "state", three.partition("t", 0) / "state")
    for words in (["consume", "t", "-p", 0], ["produce", "t", "-p", 0, "four"]):
        done = three(*words)
        assert done.status == 65
        assert "belongs to topic id" in done.err


@pytest.fixture
def rolled(mk, made_once):
    """Twenty batches, a segment for each two of them."""
    return made_once(mk, make_rolled)


def make_rolled(mk):
    mk.ok("topics", "create", "t", "-c", "segment.bytes=4096")
    for number in range(20):
        mk.ok("produce", "t", f"{number} " + "x" * 1800)
    assert len(mk.segments("t")) == 10


def test_a_missing_segment_in_the_middle(rolled):
    gone = rolled.segments("t")[4]
    gone.unlink()
    done = rolled("consume", "t")
    assert done.status == 65
    assert done.out.count(b"\n") == 8
    assert "offset 8" in done.err
    assert rolled("consume", "t", "-o", 9).status == 65
    assert rolled.ok("consume", "t", "-o", 10).count(b"\n") == 10
    rolled.ok("produce", "t", "more")


def test_a_missing_last_segment(rolled):
    gone = rolled.segments("t")[-1]
    gone.unlink()
    done = rolled("consume", "t")
    assert done.status == 65
    assert done.out.count(b"\n") == 18
    assert "offset 18" in done.err
    assert "the segment ends there" in done.err
    done = rolled("produce", "t", "more")
    assert done.status == 65
    assert str(gone) in done.err
    assert "missing" in done.err
    assert not gone.exists()


def test_a_missing_first_segment_is_as_if_removed_by_retention(rolled):
    """Nothing on disk tells it from one that retention took: what is missing is said, and the rest printed."""
    rolled.segments("t")[0].unlink()
    done = rolled("consume", "t")
    assert done.out.count(b"\n") == 18
    assert "offsets 0 to 1 are gone" in done.err
    assert rolled("consume", "t", "-q").err == ""


def rolled_batch_size(path):
    return HEADER_SIZE + parse_header(path.read_bytes()).payload_length


def test_a_sealed_segment_cut_short(rolled):
    path = rolled.segments("t")[4]
    os.truncate(path, path.stat().st_size - 1)
    done = rolled("consume", "t")
    assert done.status == 65
    assert done.out.count(b"\n") == 9
    assert f"{path} is damaged at byte {rolled_batch_size(path)}, offset 9" in done.err
    assert rolled.ok("consume", "t", "-o", 10).count(b"\n") == 10


def test_a_sealed_segment_emptied(rolled):
    path = rolled.segments("t")[4]
    os.truncate(path, 0)
    done = rolled("consume", "t")
    assert done.status == 65
    assert done.out.count(b"\n") == 8
    assert str(path) in done.err


def test_bytes_behind_the_end_of_a_sealed_segment_are_ignored(rolled):
    with rolled.segments("t")[4].open("ab") as file:
        file.write(rolled.segments("t")[5].read_bytes())
    assert rolled.ok("consume", "t").count(b"\n") == 20


def test_the_active_segment_cut_short(three):
    (segment,) = three.segments("t", 0)
    os.truncate(segment, second_batch(three))
    done = three("consume", "t", "-p", 0)
    assert done.status == 65
    assert done.out == b"one\n"
    before = contents(three.directory)
    done = three("produce", "t", "-p", 0, "four")
    assert done.status == 65
    assert "state is newer than the data" in done.err
    assert contents(three.directory) == before


def test_an_index_is_never_trusted(rolled):
    for path in rolled.partition("t").glob("*.index"):
        path.write_bytes(os.urandom(64))
    for offset in range(20):
        assert rolled.ok("consume", "t", "-o", offset, "-n", 1).startswith(b"%d " % offset)
    rolled.ok("produce", "t", "more")
    for path in rolled.partition("t").glob("*.index"):
        path.unlink()
    for offset in range(0, 20, 7):
        assert rolled.ok("consume", "t", "-o", offset, "-n", 1).startswith(b"%d " % offset)
    rolled.ok("produce", "t", "still more")


def test_epochs_damaged(three):
    """Readers do not need it to read; a writer must know who leads, and refuses."""
    path = three.partition("t", 0) / "epochs"
    flip(path, 3)
    assert three.ok("consume", "t", "-p", 0) == b"one\ntwo\nthree\n"
    done = three("produce", "t", "-p", 0, "four")
    assert done.status == 65
    assert str(path) in done.err
    three.ok("produce", "t", "-p", 1, "other four")


@pytest.mark.parametrize("how", ["flipped", "empty", "garbage", "missing"])
def test_topic_json_damaged(three, how):
    path = three.directory / "topics" / "t" / "topic.json"
    if how == "flipped":
        flip(path, 20)
    elif how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else os.urandom(100))
    before = contents(three.directory)
    for words in (["consume", "t"], ["produce", "t", "four"], ["topics", "describe", "t"], ["topics", "offsets", "t"]):
        done = three(*words)
        assert done.status == (66 if how == "missing" else 65)
        assert "topic.json" in done.err
        assert done.out == b""
    assert contents(three.directory) == before


@pytest.mark.parametrize("how", ["flipped", "empty", "garbage"])
def test_mk_json_damaged(three, how):
    path = three.directory / "mk.json"
    if how == "flipped":
        flip(path, 20)
    else:
        path.write_bytes(b"" if how == "empty" else os.urandom(100))
    for words in (["consume", "t"], ["produce", "t", "four"], ["topics"], ["topics", "create", "u"]):
        done = three(*words)
        assert (done.status, done.out) == (65, b"")
        assert str(path) in done.err


@pytest.mark.parametrize("name", ["mk.json", "topics/t/topic.json"])
def test_a_newer_format_is_refused_with_nothing_changed(three, name, monkeypatch):
    path = three.directory / name
    fields = {key: value for key, value in flat_json.decode(path.read_bytes(), "").items() if key != "format"}
    monkeypatch.setattr(flat_json, "FORMAT_VERSION", 2)
    path.write_bytes(flat_json.encode(fields))
    before = contents(three.directory)
    for words in (["consume", "t"], ["produce", "t", "four"], ["topics", "describe", "t"]):
        done = three(*words)
        assert (done.status, done.out) == (78, b"")
        assert f"{path} has format version 2; this mk knows up to 1" in done.err
        assert "newer mk" in done.err
    assert contents(three.directory) == before


def test_a_json_file_with_settings_of_a_newer_mk_is_read(three):
    """A field that this mk does not know is not its business."""
    path = three.directory / "topics" / "t" / "topic.json"
    fields = {key: value for key, value in flat_json.decode(path.read_bytes(), "").items() if key != "format"}
    path.write_bytes(flat_json.encode({**fields, "local.retention.ms": 5}))
    three.ok("produce", "t", "-p", 0, "four")
    assert three.ok("consume", "t", "-p", 0, "-o", 3) == b"four\n"


def test_json_errors_have_the_facts(three):
    (segment,) = three.segments("t", 0)
    position = second_batch(three)
    flip(segment, position + HEADER_SIZE)
    done = three("consume", "t", "-p", 0, "--json")
    facts = json.loads(done.err)["facts"]
    assert (facts["path"], facts["position"], facts["offset"]) == (str(segment), position, 1)


def test_a_torn_tail_is_cut_and_kept(three):
    """Bytes above what was acknowledged are an append that never ended."""
    (segment,) = three.segments("t", 0)
    whole = segment.read_bytes()
    torn = whole[second_batch(three) :][:-2]
    with segment.open("ab") as file:
        file.write(torn)
    assert three.ok("consume", "t", "-p", 0) == b"one\ntwo\nthree\n"
    three.ok("produce", "t", "-p", 0, "four")
    assert three.ok("consume", "t", "-p", 0) == b"one\ntwo\nthree\nfour\n"
    (evidence,) = (three.directory / "quarantine").iterdir()
    assert evidence.read_bytes() == torn
    assert evidence.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("size", [1, 127, 128, 5000])
def test_a_tail_of_zeros_is_cut(three, size):
    (segment,) = three.segments("t", 0)
    with segment.open("ab") as file:
        file.write(bytes(size))
    assert three.ok("consume", "t", "-p", 0) == b"one\ntwo\nthree\n"
    three.ok("produce", "t", "-p", 0, "four")
    assert three.ok("consume", "t", "-p", 0) == b"one\ntwo\nthree\nfour\n"
    assert list((three.directory / "quarantine").iterdir()) == []
