"""`mk topics repair` as a process: it loses what is lost already, says which offsets, and may itself be killed anywhere."""

import json
import shutil
import subprocess

import pytest
from history import read_state, verify
from injection import kill_at, needs_strace, points_of, to_kill_at
from processes import create_topic, must, run

from mk.records.codecs import crc32c
from tests.proof.figures import count

REPAIR = ["topics", "repair", "t", "--yes"]


def consumed(directory, topic="t"):
    return {
        record["offset"]: (record["key"], record["payload"])
        for record in map(json.loads, must(directory, "consume", topic, "-J").stdout.splitlines())
    }


def filled(directory, *words, batches=12):
    """Make a topic of some segments. Returns its records."""
    create_topic(directory, "t", segment_bytes=4096, min_free=0)
    for number in range(batches):
        lines = "".join(f"k{line}:{number}-{line}{'x' * 100}\n" for line in range(6))
        must(directory, "produce", "t", "-K", ":", *words, stdin=lines.encode())
    return consumed(directory)


def segments(directory):
    return sorted((directory / "topics/t/0").glob("*.log"))


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(bytes(data))


def lost_by(document):
    return {offset for row in document for first, last in row["lost"] for offset in range(first, last + 1)}


def check_repaired(directory, records, lost, tmp_path):
    """What was not lost is there, verifies, is appended to, and is copied, and no offset is given out again."""
    assert consumed(directory) == {offset: record for offset, record in records.items() if offset not in lost}
    verify(directory, "t")
    must(directory, "produce", "t", "-k", "k", "after")
    end = max(records) + 1
    assert consumed(directory)[end] == ("k", "after")
    copy = tmp_path / "copy"
    must(directory, "replicate", str(directory), str(copy))
    assert consumed(copy) == consumed(directory)
    verify(copy, "t")
    must(directory, "replicate", "--verify", str(directory), str(copy))
    shutil.rmtree(copy)


@pytest.mark.parametrize("words", [(), ("-z", "zstd")], ids=["plain", "zstd"])
def test_a_flipped_byte_costs_its_batch_and_nothing_else(tmp_path, thoroughness, words):
    template, directory = tmp_path / "template", tmp_path / "log"
    records = filled(template, *words)
    places = [(path.name, at) for path in segments(template) for at in range(0, path.stat().st_size, 131)]
    for name, position in thoroughness.of(places, 2, kind=lambda place: place[0]):
        if directory.exists():
            shutil.rmtree(directory)
        shutil.copytree(template, directory)
        flip(directory / "topics/t/0" / name, position)
        plan = json.loads(must(directory, "topics", "repair", "t", "--dry-run", "--json").stdout)
        refused = run(directory, "topics", "repair", "t")
        assert refused.status == 2, refused
        assert "--yes" in refused.stderr
        epoch = read_state(directory, "t")["leader_epoch"]
        done = json.loads(must(directory, *REPAIR, "--json").stdout)
        lost = lost_by(done)
        assert lost == lost_by(plan)
        assert len(lost) == 6, (name, position, lost)
        assert int(read_state(directory, "t")["leader_epoch"]) > int(epoch)
        (kept,) = [name for row in done for name in row["kept"]]
        assert (directory / "quarantine" / kept).stat().st_size > 0
        check_repaired(directory, records, lost, tmp_path)
        assert "nothing to repair" in must(directory, *REPAIR).stderr


@needs_strace
@pytest.mark.parametrize("number", [0, -1], ids=["sealed", "active"])
def test_killed_at_any_call_the_next_repair_finishes(tmp_path, thoroughness, number):
    template, directory = tmp_path / "template", tmp_path / "log"
    records = filled(template)
    flip(segments(template)[number], 300)
    shutil.copytree(template, directory)
    points = points_of(directory, REPAIR)
    lost = {offset for offset in records if offset not in consumed(directory)}
    assert len(lost) == 6
    for point in to_kill_at(points, thoroughness, count=4):
        shutil.rmtree(directory)
        shutil.copytree(template, directory)
        kill_at(point, directory, REPAIR)
        must(directory, *REPAIR)
        check_repaired(directory, records, lost, tmp_path)
        assert list((directory / "quarantine").iterdir()), point
        count("kills")


def test_a_missing_segment_is_covered(tmp_path):
    records = filled(tmp_path / "log")
    gone = segments(tmp_path / "log")[1]
    base, following = int(gone.stem), int(segments(tmp_path / "log")[2].stem)
    gone.unlink()
    result = must(tmp_path / "log", *REPAIR)
    assert f"offsets {base} to {following - 1} are lost" in result.stderr
    check_repaired(tmp_path / "log", records, set(range(base, following)), tmp_path)


def test_a_segment_that_was_cut_short_is_covered_to_its_end(tmp_path):
    records = filled(tmp_path / "log")
    path = segments(tmp_path / "log")[-1]
    path.write_bytes(path.read_bytes()[:-10])
    assert run(tmp_path / "log", "produce", "t", "-k", "k", "x").status == 65
    done = json.loads(must(tmp_path / "log", *REPAIR, "--json").stdout)
    assert lost_by(done) == set(sorted(records)[-6:])
    check_repaired(tmp_path / "log", records, lost_by(done), tmp_path)


def test_damage_in_several_places_is_all_named(tmp_path):
    records = filled(tmp_path / "log")
    for path in segments(tmp_path / "log"):
        flip(path, 20)
    done = json.loads(must(tmp_path / "log", *REPAIR, "--json").stdout)
    assert len(lost_by(done)) == 6 * len(segments(tmp_path / "log")[:-1])
    check_repaired(tmp_path / "log", records, lost_by(done), tmp_path)


@pytest.mark.parametrize("number", [0, -1], ids=["in the middle", "at the end"])
def test_a_batch_that_only_a_newer_mk_can_read_is_kept_as_it_is(tmp_path, number):
    filled(tmp_path / "log")
    path = segments(tmp_path / "log")[0]
    data = bytearray(path.read_bytes())
    positions = [at for at in range(len(data)) if data[at : at + 4] == b"\x8aMK\x01"]
    newer, damaged = positions[1:][number], positions[0]
    size = 128 + int.from_bytes(data[newer + 4 : newer + 8], "big")
    data[newer + 16] |= 0x80
    data[newer + 124 : newer + 128] = crc32c(bytes(data[newer : newer + 124])).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    assert "nothing to repair" in must(tmp_path / "log", *REPAIR).stderr
    assert path.read_bytes() == bytes(data)
    flip(path, damaged + 200)
    result = must(tmp_path / "log", *REPAIR)
    assert "offsets 0 to 5 are lost" in result.stderr
    assert "a newer mk can read it" in result.stderr
    assert bytes(data[newer : newer + size]) in path.read_bytes()


@pytest.mark.every_case
@pytest.mark.parametrize("name", ["state", "epochs", "topic.json"])
@pytest.mark.parametrize("how", ["spoiled", "missing"])
def test_small_files_are_made_again(tmp_path, name, how):
    records = filled(tmp_path / "log")
    path = tmp_path / "log/topics/t" / (name if name == "topic.json" else f"0/{name}")
    if how == "spoiled":
        path.write_bytes(b"\xff" * path.stat().st_size)
    else:
        path.unlink()
    must(tmp_path / "log", "topics", "repair", "t", "--dry-run")
    result = must(tmp_path / "log", *REPAIR)
    assert "made again" in result.stderr
    if name == "topic.json":
        # Its settings are lost: nothing goes by those that take their place.
        (topic,) = json.loads(must(tmp_path / "log", "topics", "describe", "t", "--json").stdout)
        assert topic["overrides"] == {"retention.ms": -1, "retention.bytes": -1}
    check_repaired(tmp_path / "log", records, set(), tmp_path)


def test_failed_goes_when_the_disk_takes_what_it_is_given(tmp_path):
    records = filled(tmp_path / "log")
    (tmp_path / "log/topics/t/0/FAILED").write_text("2026-11-01T00:00:00Z no\n")
    assert run(tmp_path / "log", "produce", "t", "-k", "k", "x").status == 74
    result = must(tmp_path / "log", *REPAIR)
    assert "FAILED is removed" in result.stderr
    check_repaired(tmp_path / "log", records, set(), tmp_path)


@needs_strace
def test_failed_stays_while_the_disk_refuses(tmp_path):
    filled(tmp_path / "log", batches=1)
    (tmp_path / "log/topics/t/0/FAILED").write_text("2026-11-01T00:00:00Z no\n")
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"]
    result = run(tmp_path / "log", *REPAIR, prefix=words)
    assert result.status == 74, result
    assert "refuses still" in result.stderr
    assert (tmp_path / "log/topics/t/0/FAILED").exists()


def test_a_copy_is_cut_back_and_gets_the_rest_from_its_leader(tmp_path):
    directory, copy = tmp_path / "log", tmp_path / "copy"
    records = filled(directory)
    must(directory, "replicate", str(directory), str(copy))
    flip(segments(copy)[1], 40)
    result = must(copy, *REPAIR)
    assert "brings the rest" in result.stderr
    must(directory, "replicate", str(directory), str(copy))
    assert consumed(copy) == records
    verify(copy, "t")
    must(directory, "replicate", "--verify", str(directory), str(copy))


def test_an_existing_copy_follows_its_repaired_leader(tmp_path):
    directory, copy = tmp_path / "log", tmp_path / "copy"
    filled(directory)
    must(directory, "replicate", str(directory), str(copy))
    for path in (segments(directory)[0], segments(directory)[-1]):
        flip(path, 40)
    must(directory, *REPAIR)
    must(directory, "produce", "t", "-k", "k", "after")
    must(directory, "replicate", str(directory), str(copy))
    assert max(consumed(copy)) == max(consumed(directory))
    verify(copy, "t")


def test_an_older_copy_is_accepted_and_a_follower_that_was_ahead_follows_again(tmp_path):
    directory, copy = tmp_path / "log", tmp_path / "copy"
    records = filled(directory)
    must(directory, "topics", "snapshot", str(tmp_path / "snapshot"))
    must(directory, "produce", "t", "-k", "k", "lost with the host")
    must(directory, "replicate", str(directory), str(copy))
    shutil.rmtree(directory)
    subprocess.run(["cp", "-a", str(tmp_path / "snapshot"), str(directory)], check=True)
    assert run(directory, "replicate", str(directory), str(copy)).status in (65, 75)
    must(directory, "topics", "repair", "--restored", "--yes")
    must(directory, "produce", "t", "-k", "k", "anew")
    must(directory, "replicate", str(directory), str(copy))
    expected = {**records, max(records) + 1: ("k", "anew")}
    assert consumed(directory) == consumed(copy) == expected
    kept = must(copy, "replicate", "salvage", "--dry-run", "--json").stdout
    assert json.loads(kept)


@pytest.mark.parametrize("how", ["snapshot", "quiet copy"])
def test_an_older_copy_that_is_whole_leads_on_at_once(tmp_path, how):
    directory, copy, old = tmp_path / "log", tmp_path / "copy", tmp_path / "old"
    records = filled(directory, batches=2)
    if how == "snapshot":
        must(directory, "topics", "snapshot", str(old))
    else:
        shutil.copytree(directory, old)
    must(directory, "produce", "t", "-k", "k", "lost with the host")
    must(directory, "replicate", str(directory), str(copy))
    shutil.rmtree(directory)
    shutil.copytree(old, directory)
    assert run(directory, "replicate", str(directory), str(copy)).status == 65
    must(directory, "topics", "repair", "--restored", "--yes")
    must(directory, "replicate", str(directory), str(copy))
    assert consumed(directory) == consumed(copy) == records
    must(directory, "produce", "t", "-k", "k", "anew")
    must(directory, "replicate", str(directory), str(copy))
    assert consumed(copy) == {**records, max(records) + 1: ("k", "anew")}
    verify(copy, "t")


def test_damaged_epochs_of_a_copy_are_not_made_again(tmp_path):
    directory, copy = tmp_path / "log", tmp_path / "copy"
    filled(directory, batches=1)
    must(directory, "replicate", str(directory), str(copy))
    (copy / "topics/t/0/epochs").unlink()
    result = run(copy, *REPAIR)
    assert result.status == 65, result
    assert "replicate it again" in result.stderr
    assert not (copy / "topics/t/0/epochs").exists()


def test_a_copy_made_file_by_file_is_accepted_as_it_is(tmp_path):
    directory = tmp_path / "log"
    records = filled(directory)
    path = segments(directory)[-1]
    path.write_bytes(path.read_bytes()[:-10])
    result = must(directory, "topics", "repair", "t", "--restored", "--yes")
    lost = set(sorted(records)[-6:])
    assert "given out again" in result.stderr
    assert consumed(directory) == {offset: record for offset, record in records.items() if offset not in lost}
    verify(directory, "t")
    must(directory, "produce", "t", "-k", "k", "anew")
    assert consumed(directory)[min(lost)] == ("k", "anew")
    verify(directory, "t")
