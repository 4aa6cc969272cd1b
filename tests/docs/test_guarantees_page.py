"""mk-guarantees(7) against the code: exit statuses, file systems, numbers, and what damage costs."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mdoc_page import Page, plain

import mk
from mk import errors
from mk.groups import replicated_offsets
from mk.groups.claim import fence, take
from mk.groups.claim_directory import claim_name, make_claims
from mk.groups.committed_offset import CommittedOffset
from mk.groups.offset_reset import OffsetChange
from mk.storage import host, log_recovery, producer_state
from mk.storage.log_directory import LogDirectory
from mk.storage.partition_log import DEFERRED_SIGNALS
from mk.storage.replica_directory import note_source

PAGE = Page("mk-guarantees.7")
FORMAT_PAGE = Page("mk-format.5")
STATUS_ROWS = PAGE.table("EXIT STATUS", "status", "last append")


def test_mandoc_finds_nothing_to_complain_about():
    assert PAGE.complaints() == []


def test_the_sections_that_the_code_points_to_are_there():
    assert {"APPEND PROTOCOL", "RECOVERY", "ASSUMPTIONS"} <= set(PAGE.sections())


# Exit statuses.


def error_classes(error=errors.MkError):
    yield error
    for subclass in error.__subclasses__():
        yield from error_classes(subclass)


def test_every_exit_status_of_an_error_is_told():
    told = {int(status) for row in STATUS_ROWS for status in row["status"].split(", ")}
    raised = {error.exit_status for error in error_classes()}
    # 124 is for commands with a time limit; to produce has none.
    assert raised - {3, 124} <= told
    assert {status for status in told if 2 < status < 128} <= raised


def test_only_an_append_that_may_be_stored_is_indeterminate():
    last = {status: row["last append"] for row in STATUS_ROWS for status in row["status"].split(", ")}
    indeterminate = {int(status) for status, stored in last.items() if stored == "indeterminate"}
    bugs, disks, hosts = errors.MkError, errors.SyncFailedError, errors.PeerUnreachableError
    assert indeterminate == {bugs.exit_status, disks.exit_status, hosts.exit_status, 137}
    assert {last["0"], last["129"], last["130"], last["143"]} == {"stored"}


@pytest.mark.parametrize("page", [PAGE, FORMAT_PAGE], ids=["guarantees", "format"])
def test_every_exit_status_in_the_text_exists(page):
    known = {error.exit_status for error in error_classes()}
    numbers = re.findall(r"(?:\((?:else )?|missing |exit\s+status\s+|\bwith\s+|gets\s+|: )(\d\d)\b(?!\d)", page.source)
    found = {int(number) for number in numbers if int(number) > 60}
    assert len(found) > 2
    assert found <= known


# Lists and numbers.


def listed(name):
    """Return the comma-separated words between the comments `begin name` and `end name`."""
    block = re.search(rf'^\.\\" begin {name}\n(.*?)^\.\\" end {name}$', PAGE.source, flags=re.MULTILINE | re.DOTALL)
    return re.split(r",\s+", block[1].strip().removesuffix("."))


def test_the_network_file_systems_are_the_ones_that_are_refused():
    assert listed("network file systems") == sorted(host._NETWORK_FILE_SYSTEMS)
    assert [f"fuse.{name}" for name in listed("local fuse")] == sorted(host._LOCAL_FUSE)
    for name in (*host._NETWORK_FILE_SYSTEMS, "fuse.sshfs", "fuse.s3fs"):
        assert host.is_network_file_system(name)
    for name in (*host._LOCAL_FUSE, "ext4", "xfs", "btrfs", "tmpfs", "overlay", ""):
        assert not host.is_network_file_system(name)


def test_the_signals_that_are_held_off_are_the_ones_of_the_page():
    names = {signal.Signals(number).name for number in DEFERRED_SIGNALS}
    for title in ("Being killed", "APPEND PROTOCOL"):
        assert set(re.findall(r"\bSIG[A-Z]+\b", PAGE.section(title))) == names


def test_the_tries_of_recovery_are_the_constants():
    text = PAGE.section("RECOVERY").replace("\n", " ")
    pause_ms = int(log_recovery._UNCACHED_PAUSE_SECONDS * 1000)
    assert f"within {log_recovery._UNCACHED_TRIES} tries {pause_ms} ms apart" in text
    assert f"On {' and '.join(log_recovery._MEMORY_FILE_SYSTEMS)}, where memory" in text


def test_the_levels_of_acks_are_the_ones_of_the_producer():
    from mk.producer.producer import _DURABILITY

    assert [int(row["acks"]) for row in PAGE.table("Durability", "acks")] == sorted(_DURABILITY)


# What damage costs: a case for each row of the table in mk-format(5).


class Log:
    """A topic of two partitions, each of three segments of one batch each, with 6 records in it."""

    def __init__(self, root):
        self.location = str(root / "log")
        self.topic = root / "log/topics/t"
        self.partition = self.topic / "0"
        self.records = [b"%d" % number * 3000 for number in range(3)]
        with mk.connect(self.location, create=True) as cluster:
            cluster.create_topic("t", partitions=2, config={"segment.bytes": 4096})
            for partition in range(2):
                with cluster.producer("t", partition=partition) as producer:
                    for value in self.records:
                        producer.send(value)
                        producer.flush()
        assert self.segments == [0, 1, 2]

    @property
    def segments(self):
        return sorted(int(path.stem) for path in self.partition.glob("*.log"))

    def consume(self, partition=0, offset=None):
        spec = None if offset is None else mk.parse_offset_spec(str(offset))
        with mk.connect(self.location) as cluster:
            self.skipped = []

            def on_skip(topic, partition, first, last):
                self.skipped.append((topic, partition, first, last))

            with cluster.consumer(["t"], partitions=[partition], offset=spec, on_skip=on_skip) as consumer:
                return [record.value for record in consumer]

    def produce(self, partition=0, producer_id=None):
        with (
            mk.connect(self.location) as cluster,
            cluster.producer("t", partition=partition, producer_id=producer_id) as producer,
        ):
            producer.send(b"more")

    def flip(self, path, position):
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Log(tmp_path)


def status_of(action, *arguments):
    with pytest.raises(errors.MkError) as caught:
        action(*arguments)
    return caught.value.exit_status


def cost_of(damaged):
    costs = {row["damaged"]: row["cost"] for row in FORMAT_PAGE.table("DAMAGE", "damaged")}
    return costs[damaged]


def test_every_kind_of_damage_has_a_case_here():
    source = Path(__file__).read_text()
    for row in FORMAT_PAGE.table("DAMAGE", "damaged"):
        assert f'cost_of("{row["damaged"]}")' in source


def test_cost_of_a_damaged_mk_json(log):
    path = Path(log.location) / "mk.json"
    log.flip(path, 20)
    assert "(65)" in cost_of("mk.json")
    assert status_of(log.consume) == 65
    path.unlink()
    assert "(66)" in cost_of("mk.json")
    assert status_of(log.consume) == 66


def test_cost_of_a_damaged_topic_json(log):
    with mk.connect(log.location) as cluster:
        cluster.create_topic("other")
    log.flip(log.topic / "topic.json", 20)
    assert "(65, missing 66)" in cost_of("topic.json")
    assert status_of(log.consume) == 65
    (log.topic / "topic.json").unlink()
    assert status_of(log.consume) == 66
    with mk.connect(log.location) as cluster:
        assert list(cluster.consumer(["other"])) == []


def test_cost_of_a_missing_lock_file(log):
    for path in Path(log.location, "locks").glob("*/0"):
        path.unlink()
    assert "(65)" in cost_of("lock file")
    assert status_of(log.produce) == 65
    assert log.consume() == log.records
    log.produce(partition=1)


@pytest.mark.parametrize("position", [0, 4096])
def test_cost_of_one_damaged_slot_of_state(log, position):
    log.flip(log.partition / "state", position + 10)
    assert cost_of("state, one slot").startswith("nothing")
    log.produce()
    assert log.consume() == [*log.records, b"more"]


def test_cost_of_two_damaged_slots_of_state(log):
    for position in (0, 4096):
        log.flip(log.partition / "state", position + 10)
    assert "(65)" in cost_of("state, both slots")
    assert status_of(log.consume) == 65
    log.produce()
    assert log.consume() == [*log.records, b"more"]


def test_cost_of_damaged_epochs(log):
    log.flip(log.partition / "epochs", 6)
    assert "(65)" in cost_of("epochs")
    assert status_of(log.produce) == 65
    assert log.consume() == log.records
    log.produce(partition=1)


@pytest.mark.parametrize(("damaged", "position"), [("header of a batch", 40), ("payload of a batch", 200)])
def test_cost_of_a_damaged_batch(log, damaged, position):
    assert cost_of("header of a batch").startswith("readers stop at that batch (65)")
    assert cost_of("payload of a batch").startswith("readers stop at that batch (65)")
    log.flip(log.partition / f"{1:020d}.log", position)
    with mk.connect(log.location) as cluster, cluster.consumer(["t"], partitions=[0]) as consumer:
        records = iter(consumer)
        assert next(records).value == log.records[0]
        with pytest.raises(errors.CorruptBatchError) as caught:
            next(records)
    assert caught.value.facts["path"].endswith(f"{1:020d}.log")
    assert (caught.value.facts["position"], caught.value.facts["offset"]) == (0, 1)
    assert log.consume(offset=2) == log.records[2:]
    assert log.consume(partition=1) == log.records


def test_cost_of_a_missing_segment(log):
    assert "readers stop (65)" in cost_of("a segment")
    (log.partition / f"{1:020d}.log").rename(log.partition / "kept")
    assert status_of(log.consume) == 65
    (log.partition / "kept").rename(log.partition / f"{1:020d}.log")
    (log.partition / f"{0:020d}.log").unlink()
    assert log.consume() == log.records[1:]
    assert log.skipped == [("t", 0, 0, 0)]
    (log.partition / f"{2:020d}.log").unlink()
    assert status_of(log.consume) == 65


@pytest.mark.parametrize("damage", ["missing", "random", "cut"])
def test_cost_of_a_damaged_index(log, damage):
    assert cost_of(".index").startswith("time")
    for path in log.partition.glob("*.index"):
        if damage == "missing":
            path.unlink()
        elif damage == "random":
            path.write_bytes(os.urandom(160))
        else:
            path.write_bytes(path.read_bytes()[:-3])
    for offset in range(3):
        assert log.consume(offset=offset) == log.records[offset:]
    log.produce()


def test_cost_of_a_damaged_pin(log):
    log.produce(producer_id="import-7")
    (pin,) = (log.topic / "producers").iterdir()
    log.flip(pin, 20)
    assert "(65)" in cost_of("a pin")
    with pytest.raises(errors.CorruptStateError):
        log.produce(producer_id="import-7")
    log.produce(producer_id="another")
    log.produce()
    pin.unlink()
    log.produce(producer_id="import-7")
    assert log.consume() == [*log.records, *[b"more"] * 3]


def test_cost_of_a_damaged_input_mark(log, tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"more\n" * 3)

    def follow():
        words = ["--follow", path, "--producer-id", "shipper-1", "-p", "0", "-n", "1", "-q"]
        command = [Path(sys.executable).with_name("mk"), "produce", "t", "-d", log.location, *words]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL, timeout=60).returncode

    assert follow() == 0
    (mark,) = (log.topic / "producers").glob("*.input")
    log.flip(mark, 20)
    assert "(65, or 2 if it is missing)" in cost_of("an input mark")
    assert follow() == 65
    mark.unlink()
    assert follow() == 2
    assert log.consume() == [*log.records, b"more"]


def test_cost_of_damaged_snapshots(log):
    log.produce(producer_id="import-7")
    snapshots = sorted(log.partition.glob("*.producers"))
    assert [path.stem for path in snapshots] == [f"{2:020d}"]
    log.flip(snapshots[0], 9)
    assert cost_of(".producers").startswith("time")
    log.produce(producer_id="import-7")
    assert log.consume() == [*log.records, b"more"]
    (log.partition / f"{0:020d}.log").unlink()
    assert "(65)" in cost_of(".producers")
    with pytest.raises(errors.CorruptStateError) as caught:
        log.produce(producer_id="import-7")
    assert caught.value.facts["path"] == str(snapshots[0])
    log.produce(partition=1)
    log.produce()
    assert log.consume() == [*log.records[1:], b"more", b"more"]


def test_when_a_snapshot_is_due_is_what_the_page_says():
    text = PAGE.section("Producers with an id").replace("\n", " ")
    mib = producer_state._SNAPSHOT_BYTES >> 20
    assert f"When {mib} MiB or {producer_state._SNAPSHOT_BATCHES} batches of the segment follow" in text


def test_cost_of_a_damaged_claim(log):
    directory = LogDirectory(log.location)
    topic = directory.open_topic("t")
    claims = make_claims(topic, "billing")
    claim = take(claims, 0)
    claim.commit(1, 0)
    claim.commit(2, 0)
    claim.close()
    path = Path(claims.path) / claim_name(0, 1)
    log.flip(path, 10)
    assert cost_of("a claim, one slot").startswith("nothing that was acknowledged, or the last commit")
    claim = take(claims, 0)
    assert claim.committed.offset in (1, 2)
    after = fence(claims, 0)
    after.commit(3, 0)
    after.close()
    claim.close()
    for position in (0, 4096):
        log.flip(path.with_name(claim_name(0, 2)), position + 10)
    assert "the generation before" in cost_of("a claim, both slots")
    take(claims, 0).close()
    path.unlink()
    path.with_name(claim_name(0, 2)).write_bytes(b"damaged")
    assert "(65)" in cost_of("a claim, both slots")
    assert status_of(take, claims, 0) == 65
    assert log.consume() == log.records
    for one in (claims, topic, directory):
        one.close()


def test_cost_of_a_damaged_line_of_a_journal(log):
    with mk.connect(log.location) as cluster:
        topic_id = cluster.describe_topic("t")["topic_id"]
        for before, after in ((-1, 1), (1, 2), (2, 3)):
            cluster.change_offsets("g", [OffsetChange("t", topic_id, 0, before, after)], kind="reset")
        log.flip(Path(log.location) / "groups/g/journal", 20)
        assert cost_of("a line of a journal").startswith(
            "that change of offsets cannot be taken back; all else goes on"
        )
        assert [change["change"] for change in cluster.group_changes("g")] == [2, 3]
        assert cluster.change_offsets("g", [OffsetChange("t", topic_id, 0, 3, 0)], kind="reset") == 4
        (finding,) = cluster.verify_groups()
    assert (finding.kind, finding.severity, finding.position) == ("damaged-journal", "warning", 0)


def test_cost_of_damage_in_replicas(log):
    other = "ab" * 16
    directory = LogDirectory(log.location)
    topic = directory.open_topic("t")
    note_source(directory, other, "h:/d", [(topic.topic_id, 0, 9)])
    offset = CommittedOffset("g", topic.topic_id, 0, 2, 0)
    replicated_offsets.store(directory, other, [offset], {offset.key: 2})
    place = Path(log.location, "replicas", other)
    log.flip(place / "source", 36)
    assert cost_of("a line in replicas/").startswith("nothing: the next replication writes it anew")
    with mk.connect(log.location) as cluster:
        assert [one.severity for one in cluster.verify_groups()] == ["note"]
        assert cluster.committed_offset("g", "t", 0) == 2
    log.flip(place / "groups/g", 36)
    assert "(65)" in cost_of("a line of a group in replicas/")
    with mk.connect(log.location) as cluster:
        assert status_of(cluster.committed_offset, "g", "t", 0) == 65
        assert [one.severity for one in cluster.verify_groups()] == ["note", "warning"]
    note_source(directory, other, "h:/d", [(topic.topic_id, 0, 9)])
    replicated_offsets.store(directory, other, [offset], {offset.key: 2})
    with mk.connect(log.location) as cluster:
        assert cluster.verify_groups() == []
        assert cluster.committed_offset("g", "t", 0) == 2
    topic.close()
    directory.close()


def test_cost_of_a_damaged_cursor_file(log):
    path = Path(log.location).with_name("cursor")
    with mk.connect(log.location) as cluster:

        def consume():
            with cluster.consumer(["t"], partitions=[0], cursor_file=str(path)) as consumer:
                return [record.value for record in consumer]

        assert consume() == log.records
        assert consume() == []
        log.flip(path, len("mk-cursor 1\ndirectory=0"))
        assert "(65)" in cost_of("a cursor file")
        assert status_of(consume) == 65
        path.unlink()
        assert consume() == log.records


def test_cost_of_a_missing_quarantine(log):
    assert cost_of("quarantine/") == "evidence"
    shutil.rmtree(Path(log.location) / "quarantine")
    log.produce()
    assert log.consume() == [*log.records, b"more"]


# The tail of a log.


def test_an_unfinished_append_is_cut_and_its_evidence_kept(log):
    segment = log.partition / f"{2:020d}.log"
    whole = segment.read_bytes()
    segment.write_bytes(whole + whole[:128] + b"torn")
    assert log.consume() == log.records
    log.produce()
    assert log.consume() == [*log.records, b"more"]
    (kept,) = Path(log.location, "quarantine").iterdir()
    name = plain(FORMAT_PAGE.section("QUARANTINE").split("\n.Pa ", 1)[1].split("\n")[0]).removesuffix(",")
    pattern = name.replace(".", r"\.")
    for place, form in (("topic", "t"), ("partition", "0"), ("offset", "3"), ("epoch", "0"), ("tag", "[0-9a-f]{8}")):
        pattern = pattern.replace(place, form, 1)
    assert re.fullmatch(pattern, f"quarantine/{kept.name}")
    assert kept.read_bytes() == whole[:128] + b"torn"
    with mk.connect(log.location) as cluster:
        assert cluster.offsets("t")[0]["leader_epoch"] == 1


def test_a_partition_with_failed_takes_nothing_and_is_read_on(log):
    (log.partition / "FAILED").write_text("2026-11-23T02:28:05Z the disk refused\n")
    assert status_of(log.produce) == errors.PartitionFailedError.exit_status == 74
    assert log.consume() == log.records
