"""What a fail-over cut off, produced again: which records, where, as they were, and each once."""

import os
import socket
from collections import Counter
from pathlib import Path

import pytest

import mk
from mk.errors import DataError, NoSuchTopicError, NotFoundError, NotLeaderError
from mk.replication import salvage as salvage_module
from mk.replication.promotion import Promotion
from mk.replication.salvage import Salvage, derived_name, local_path
from mk.replication.status import replication_status
from mk.storage.follower_log import FollowerLog
from mk.storage.partition_log import PartitionLog
from tests.unit.replication.leaders import consume, follow, make_directory, produce


def promote(directory):
    promotion = Promotion(directory, None)
    promotion.promote()
    assert promotion.failures == []


def salvage(directory, *names, into=None):
    """Run it, and return its rows by file name, without the files that were not concerned."""
    plan = Salvage(directory, names, into=into)
    failures = plan.run(mk.connect)
    if failures:
        raise failures[0]
    return {row["name"]: row for row in plan.to_do}


def fail_over(first, second, *, before=(b"a",), **options):
    """Have the second lead what the first had, with records of `options` in the first that the second never saw."""
    produce(first, *before, partition=0)
    follow(first, second)
    for one in options.pop("lost", ()):
        produce(first, *one, partition=0, **options)
    promote(second)


def quarantine(directory):
    return sorted(os.listdir(f"{directory.path}/quarantine"))


def test_records_are_as_they_were_and_in_their_order(first, second):
    produce(first, b"a", partition=0)
    follow(first, second)
    with mk.connect(first.path) as cluster:
        for compression in ("none", "zstd"):
            with cluster.producer("t", partition=0, compression=compression) as producer:
                producer.send_lines(b"one\ntwo\n", key=b"k", timestamp_ms=1_700_000_000_000)
                producer.flush()
                producer.send(b"with\nnewline", b"\xff", ((b"h", None), (b"h", b"1")), 1_600_000_000_000)
                producer.send(None, b"gone", (), 1_500_000_000_000)
        with cluster.consumer(["t"]) as consumer:
            lost = [(r.key, r.value, r.headers, r.timestamp_ms) for r in consumer][1:]
    assert len(lost) == 8
    promote(second)
    produce(second, b"meanwhile", partition=0)
    follow(second, first)
    (row,) = salvage(first).values()
    assert (row["wanted"], row["stored"], row["stored_before"], row["target"]) == (8, 8, 0, second.path)
    with mk.connect(second.path) as cluster, cluster.consumer(["t"]) as consumer:
        found = [(r.key, r.value, r.headers, r.timestamp_ms) for r in consumer if r.partition == 0]
    assert found[2:] == lost
    assert [value for _, value, _, _ in found[:2]] == [b"a", b"meanwhile"]
    assert quarantine(first) == [row["name"]] and row["name"].endswith(".log.salvaged")


def test_a_salvaged_file_is_done_and_naming_it_changes_nothing(first, second):
    fail_over(first, second, lost=[[b"x", b"y"]])
    follow(second, first)
    (name,) = quarantine(first)
    salvage(first)
    assert salvage(first) == {}
    assert salvage(first, name) == {}
    assert salvage(first, f"/somewhere/{name}.salvaged") == {}
    assert consume(second)[0] == [b"a", b"x", b"y"]
    with pytest.raises(NotFoundError):
        Salvage(first, ["t-0-9-9-00000000.log"])


@pytest.mark.parametrize("producer_id", [None, "loader"])
def test_killed_behind_any_append_it_stores_the_rest_and_nothing_twice(first, second, monkeypatch, producer_id):
    lost = [[b"%d.%d" % (run, number) for number in range(3)] for run in range(5)]
    produce(first, b"a", partition=0)
    follow(first, second)
    sent = []
    for one in lost:
        sent += one
        produce(first, *(sent if producer_id else one), partition=0, producer_id=producer_id)
    promote(second)
    follow(second, first)
    monkeypatch.setattr(salvage_module, "_RUN_BATCHES", 1)

    class Killed(BaseException):
        pass

    append = PartitionLog.append
    for survived in (0, 1, 0):
        left = [survived]

        def append_or_die(log, batches, durability, left=left):
            result = append(log, batches, durability)
            if not left[0]:
                raise Killed
            left[0] -= 1
            return result

        monkeypatch.setattr(PartitionLog, "append", append_or_die)
        with pytest.raises(Killed):
            salvage(first)
        monkeypatch.setattr(PartitionLog, "append", append)
    assert not quarantine(first)[0].endswith(".salvaged")
    (row,) = salvage(first).values()
    assert row["stored"] + row["stored_before"] == 15 and row["stored_before"] >= 3
    assert consume(second)[0] == [b"a", *(value for one in lost for value in one)]
    if producer_id:
        produce(second, *(value for one in lost for value in one), partition=0, producer_id=producer_id)
        assert len(consume(second)[0]) == 16


def test_what_its_producer_has_sent_again_is_left_out_record_by_record(first, second):
    keys = [b"%d" % (number % 7) for number in range(60)]
    values = [b"%d" % number for number in range(60)]
    produce(first, *values[:10], keys=keys, producer_id="loader")
    follow(first, second)
    produce(first, *values[:50], keys=keys, producer_id="loader")
    promote(second)
    produce(second, *values[:33], keys=keys, producer_id="loader")
    follow(second, first)
    rows = salvage(first).values()
    assert sum(row["stored"] for row in rows) == 17
    assert sum(row["stored_before"] for row in rows) == 23
    found = consume(second)
    assert Counter(sum(found.values(), [])) == Counter(values[:50])
    for partition in found.values():
        assert partition == sorted(partition, key=int)
    produce(second, *values, keys=keys, producer_id="loader")
    assert Counter(sum(consume(second).values(), [])) == Counter(values)


def test_where_a_producer_sent_something_else_nothing_is_guessed(first, second):
    keys = [b"%d" % (number % 7) for number in range(60)]
    values = [b"%d" % number for number in range(60)]
    follow(first, second)
    produce(first, *values, keys=keys, producer_id="loader")
    promote(second)
    produce(second, *[b"other"] * 30, keys=keys, producer_id="loader")
    follow(second, first)
    before = consume(second)
    with pytest.raises(DataError, match="cannot be salvaged from offset 0"):
        salvage(first)
    assert consume(second) == before
    assert not any(name.endswith(".salvaged") for name in quarantine(first))
    # What the error says to do.
    produce(second, *[b"other"] * 60, keys=keys, producer_id="loader")
    rows = salvage(first).values()
    assert sum(row["stored_before"] for row in rows) == 60


def test_a_pin_that_was_made_after_the_last_replication_goes_along(first, second):
    fail_over(first, second, lost=[[b"x"]], producer_id="late")
    follow(second, first)
    salvage(first)
    produce(second, b"x", b"y", partition=0, producer_id="late")
    assert consume(second)[0] == [b"a", b"x", b"y"]


def test_where_the_directory_leads_again_the_records_go_back_into_it(first, second):
    fail_over(first, second, lost=[[b"x"]])
    follow(second, first)
    promote(first)
    (row,) = salvage(first).values()
    assert row["target"] == first.path
    assert consume(first)[0] == [b"a", b"x"]


def test_what_a_recovery_cut_off_is_produced_only_by_name(first, second):
    produce(first, b"a", b"b", partition=0)
    data = Path(f"{first.path}/topics/t/0/{0:020d}.log").read_bytes()
    produce(first, b"c", partition=0)
    tail = Path(f"{first.path}/topics/t/0/{0:020d}.log").read_bytes()[len(data) :]
    # As a recovery keeps it: the end of the log, of the epoch that the log is of, and half of a batch behind it.
    name = "t-0-2-0-0badcafe.log"
    with open(f"{first.path}/quarantine/{name}", "wb") as file:
        file.write(tail + tail[:70])
    assert salvage(first) == {}
    (row,) = replication_status(first)["quarantine"]
    assert (row["records"], row["diverged_records"], row["salvaged"]) == (1, 0, False)
    (row,) = salvage(first, name).values()
    assert row["stored"] == 1
    assert consume(first)[0] == [b"a", b"b", b"c", b"c"]


def test_what_was_put_aside_to_fetch_a_partition_anew_has_not_diverged(first, second):
    produce(first, b"a", b"b", partition=0)
    follow(first, second)
    produce(first, b"c", partition=0)
    source, topic = first.open_topic("t"), second.open_topic("t")
    log = FollowerLog(topic, 0)
    log.restart(source.read_epochs(0), 2)
    log.close()
    source.close()
    topic.close()
    (row,) = replication_status(second)["quarantine"]
    assert (row["records"], row["diverged_records"]) == (2, 0)
    assert salvage(second) == {}


def test_into_another_directory_by_the_users_word_alone(first, second, tmp_path):
    fail_over(first, second, lost=[[b"x"]])
    follow(second, first)
    third = make_directory(tmp_path / "third")
    with pytest.raises(NoSuchTopicError):
        salvage(first, into=third.path)
    third.create_topic("t", partitions=1, partitioner="crc32", overrides={}, wait_ms=0)
    (row,) = salvage(first, into=third.path).values()
    assert row["target"] == third.path
    assert consume(third) == {0: [b"x"]}
    assert 0 not in consume(second) or consume(second)[0] == [b"a"]
    third.close()


def test_a_leader_that_is_another_topics_or_no_leader_is_refused(first, second, tmp_path):
    fail_over(first, second, lost=[[b"x"]])
    follow(second, first)
    third = make_directory(tmp_path / "third")
    follow(second, third)
    plan = Salvage(first, [])
    (refused,) = plan.run(lambda _: mk.connect(third.path))
    assert isinstance(refused, NotLeaderError)
    third.delete_topic("t", wait_ms=0)
    third.create_topic("t", partitions=2, partitioner="crc32", overrides={}, wait_ms=0)
    (refused,) = Salvage(first, []).run(lambda _: mk.connect(third.path))
    assert isinstance(refused, DataError) and "another one than here" in refused.what
    assert consume(third) == {}
    third.close()
    assert [name.endswith(".log") for name in quarantine(first)] == [True]


def test_a_leader_whose_address_nobody_told_is_asked_for(first, second):
    fail_over(first, second, lost=[[b"x"]])
    follow(second, first)
    os.unlink(f"{first.path}/replicas/{second.directory_id}/replica.json")
    plan = Salvage(first, [])
    (row,) = plan.to_do
    assert row["target"] is None and "--into" in row["problem"]
    (refused,) = plan.run(mk.connect)
    assert refused.exit_status == 66


def test_an_address_is_a_path_where_it_is_of_this_host_and_the_directory_is_that_one(first, tmp_path):
    here = socket.gethostname()
    assert local_path(f"{here}:{first.path}", first.directory_id) == first.path
    assert local_path(f"{here}:{first.path}", "0" * 32) == f"{here}:{first.path}"
    assert local_path(f"{here}:{tmp_path}/none", first.directory_id) == f"{here}:{tmp_path}/none"
    assert local_path(f"elsewhere:{first.path}", first.directory_id) == f"elsewhere:{first.path}"
    assert local_path("", first.directory_id) == ""


def test_the_producer_id_of_a_file_is_the_same_before_and_behind_its_mark_and_never_too_long():
    assert derived_name("t-0-2-0-0badcafe.log") == "salvage-t-0-2-0-0badcafe.log"
    assert derived_name("t-0-2-0-0badcafe.log.salvaged") == "salvage-t-0-2-0-0badcafe.log"
    long = "t" * 200 + "-0-2-0-0badcafe.log"
    assert len(derived_name(long)) < 100
    assert derived_name(long) == derived_name(f"{long}.salvaged") != derived_name("u" + long[1:])
