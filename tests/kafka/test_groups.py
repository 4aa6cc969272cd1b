"""Groups on a Kafka: members share partitions, beside kcat and Java; nothing is lost, and nothing is read twice without a kill."""

import json
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest

import mk as api
from mk.consumer.consumer import Consumer
from tests.cli.running import Mk, read_until

kafka = pytest.importorskip("confluent_kafka")
admin = pytest.importorskip("confluent_kafka.admin")

SECONDS = 30
PLACE = "%p %o %k %s\n"


@pytest.fixture
def mk(tmp_path, broker):
    """The command line on a broker without topics."""
    made = Mk(tmp_path / "files")
    made.directory.mkdir()
    made.environment["MK_DIR"] = broker.url
    made.broker = broker
    return made


def create(mk, topic, partitions=1):
    client = admin.AdminClient(mk.broker.client())
    config = {"retention.ms": "-1"}  # Records of long ago stay.
    client.create_topics([admin.NewTopic(topic, partitions, config=config)])[topic].result(SECONDS)


def produce(mk, topic, count, *, first=0, keys=20, pause=0.0):
    """Produce `count` numbers, each with the key that is its remainder."""
    producer = kafka.Producer({**mk.broker.client(), "linger.ms": 5, "enable.idempotence": True, "log_level": 0})
    for number in range(first, first + count):
        producer.produce(topic, b"%d" % number, key=b"k%d" % (number % keys))
        if pause:
            producer.poll(pause)
    assert producer.flush(SECONDS) == 0


def described(mk, group):
    (document,) = json.loads(mk.ok("groups", "describe", group, "--json"))
    return document


def committed(mk, group):
    return {(row["topic"], row["partition"]): row["committed_offset"] for row in described(mk, group)["offsets"]}


def wait_until(is_so, seconds=SECONDS):
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit, "it did not become so in time"
        time.sleep(0.05)


def members_of(mk, group):
    done = mk("groups", "describe", group, "--json")
    return json.loads(done.out)[0]["members"] if done.status == 0 else []


def lag_of(mk, group):
    done = mk("groups", "describe", group, "--json")
    return json.loads(done.out)[0]["lag"] if done.status == 0 else None


class Members:
    """Members of one group that print into files, so that nothing keeps them from it."""

    def __init__(self, mk, *words):
        self.mk = mk
        self.words = words
        self.processes = []
        self._files = []

    def start(self, *more):
        path = self.mk.directory / f"member-{len(self.processes)}"
        self._files.append(path)
        with open(path, "wb") as out, open(f"{path}.err", "wb") as err:
            process = subprocess.Popen(
                [self.mk.program, "consume", *self.words, *more, "-f", PLACE],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.mk.environment,
            )
        self.processes.append(process)
        return process

    def printed(self):
        """Return of each member its records, as partition, offset, key and value. A line that a kill cut off is left out."""
        found = []
        for path in self._files:
            lines = path.read_bytes().split(b"\n")[:-1]
            found.append([(int(p), int(o), k, int(v)) for p, o, k, v in map(bytes.split, lines)])
        return found

    def said(self):
        return [(path.parent / f"{path.name}.err").read_text() for path in self._files]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for process in self.processes:
            process.kill()
            process.wait()


def numbers(printed):
    """Return the values of all records, each as often as it was printed."""
    return [record[3] for records in printed for record in records]


def check_all(found, count):
    """Each number below `count` was read, and none of them twice."""
    counted = Counter(found)
    assert [number for number in range(count) if number not in counted][:10] == []
    assert [number for number, times in counted.items() if times > 1][:10] == []
    assert len(counted) == count


def check_order(printed):
    """Each member has read the records of a partition in the order of their offsets."""
    for records in printed:
        last = {}
        for partition, offset, _, _ in records:
            assert offset > last.get(partition, -1)
            last[partition] = offset


def test_members_that_drain_share_the_partitions_and_each_record_is_read_once(mk):
    create(mk, "t", 6)
    produce(mk, "t", 6000)
    with Members(mk, "t", "-g", "g") as members:
        for _ in range(3):
            members.start()
        assert [process.wait(SECONDS) for process in members.processes] == [0, 0, 0]
        printed = members.printed()
    check_all(numbers(printed), 6000)
    check_order(printed)
    assert lag_of(mk, "g") == 0


def test_members_that_come_and_go_under_load_lose_nothing_and_read_nothing_twice(mk):
    create(mk, "t", 5)
    count = 8000
    writer = threading.Thread(target=produce, args=(mk, "t", count), kwargs={"pause": 0.001})
    with Members(mk, "t", "-g", "g", "-F") as members:
        members.start()
        writer.start()
        for _ in range(3):
            wait_until(lambda: sum(map(len, members.printed())) > 0)
            time.sleep(0.7)
            members.start()
            time.sleep(0.7)
            leaving = members.processes[-2]
            leaving.send_signal(signal.SIGTERM)
            assert leaving.wait(SECONDS) == -signal.SIGTERM
        writer.join()
        wait_until(lambda: sum(map(len, members.printed())) >= count)
        members.processes[-1].send_signal(signal.SIGTERM)
        members.processes[-1].wait(SECONDS)
        printed = members.printed()
    check_all(numbers(printed), count)
    assert sum(map(bool, printed)) >= 3
    check_order(printed)
    by_key = {}
    for _, _, key, value in sorted(record for records in printed for record in records):
        by_key.setdefault(key, []).append(value)
    bad = {key: [(a, b) for a, b in zip(values, values[1:]) if a > b][:3] for key, values in by_key.items()}
    assert not any(bad.values()), bad
    assert lag_of(mk, "g") == 0


def test_a_member_that_is_killed_repeats_only_what_it_had_not_committed(mk):
    create(mk, "t", 4)
    count = 6000
    writer = threading.Thread(target=produce, args=(mk, "t", count), kwargs={"pause": 0.001})
    with Members(mk, "t", "-g", "g", "-F", "--session-timeout", "6s") as members:
        members.start()
        members.start()
        writer.start()
        for _ in range(2):
            wait_until(lambda: all(members.printed()[-2:]))
            time.sleep(0.5)
            killed = members.processes[-2]
            killed.kill()
            killed.wait()
            members.start()
            wait_until(lambda: len(members_of(mk, "g")) == 2)
        writer.join()
        wait_until(lambda: lag_of(mk, "g") == 0)
        for process in members.processes[-2:]:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
        printed = members.printed()
    counted = Counter(record[3] for records in printed for record in records)
    assert [number for number in range(count) if number not in counted][:10] == []
    check_order(printed)
    # Each of the two that were killed repeats what it had not committed, and nobody else.
    assert max(counted.values()) <= 3


def test_kcat_is_a_member_of_the_same_group(mk):
    create(mk, "t", 4)
    produce(mk, "t", 4000)
    with Members(mk, "t", "-g", "g", "-F") as members:
        members.start()
        wait_until(lambda: lag_of(mk, "g") == 0)
        with open(mk.directory / "kcat", "wb") as out:
            kcat = subprocess.Popen(
                ["kcat", "-b", mk.broker.address, "-q", "-u", "-G", "g", "-f", "%p %o %k %s\n", "t"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
            )
        try:
            wait_until(lambda: sorted(len(one["assignment"]) for one in members_of(mk, "g")) == [1, 1])
            produce(mk, "t", 4000, first=4000)
            wait_until(
                lambda: sum(map(len, members.printed())) + (mk.directory / "kcat").read_bytes().count(b"\n") >= 8000
            )
        finally:
            kcat.terminate()
            kcat.wait(SECONDS)
        wait_until(lambda: [one["partitions"] for one in members_of(mk, "g")] == [4])
        members.processes[0].send_signal(signal.SIGTERM)
        members.processes[0].wait(SECONDS)
        ours = [record[3] for record in members.printed()[0]]
        theirs = [int(line.split()[3]) for line in (mk.directory / "kcat").read_bytes().splitlines()]
    assert theirs
    check_all(ours + theirs, 8000)


def test_kafkas_own_tools_see_what_is_committed_and_what_they_commit_is_gone_on_from(mk):
    create(mk, "t", 2)
    produce(mk, "t", 1000)
    ends = {("t", 0): None, ("t", 1): None}
    mk.ok("consume", "t", "-g", "g")
    told = mk.broker.tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", "g").stdout.decode()
    rows = [line.split() for line in told.splitlines() if line.startswith("g ")]
    assert {("t", int(row[2])): int(row[3]) for row in rows} == committed(mk, "g")
    assert {row[5] for row in rows} == {"0"}
    ends = committed(mk, "g")
    done = mk.broker.tool(
        "consumer.ConsoleConsumer", "--topic", "t", "--group", "j", "--from-beginning", "--max-messages", "300",
        "--consumer-property", "enable.auto.commit=true", "--timeout-ms", "20000",
    )  # fmt: skip
    theirs = [int(line) for line in done.stdout.split()]
    assert len(theirs) == 300
    wait_until(lambda: not members_of(mk, "j"))
    stands = committed(mk, "j")
    assert sum(offset or 0 for offset in stands.values()) == 300
    ours = [int(line) for line in mk.ok("consume", "t", "-g", "j").split()]
    check_all(theirs + ours, 1000)
    assert committed(mk, "j") == ends


SPELLINGS = {
    "start": 0,
    "end": 100,
    "40": 40,
    "-10": 90,
    "+7": 7,
    "start+8": 8,
    "end-9": 91,
    "committed": 50,
    "group:other": 30,
    "@1970-01-01T00:00:01Z": 0,
    "@2999-01-01": 100,
    "@1700000000060": 60,
    "1000": 100,
    "0:33,1:end": 33,
}


def test_a_group_is_moved_to_every_spelling_of_an_offset(mk):
    create(mk, "t", 2)
    producer = kafka.Producer(mk.broker.client())
    for number in range(100):
        producer.produce("t", b"%d" % number, partition=0, timestamp=1700000000000 + number)
    producer.flush(SECONDS)
    mk.ok("consume", "t", "-g", "other", "-n", "30")
    for to, expected in SPELLINGS.items():
        mk.ok("groups", "reset", "g", "t", "--to", "50", "--yes")
        mk.ok("groups", "reset", "g", "t", "--to", to, "--yes")
        assert committed(mk, "g")["t", 0] == expected, to
    mk.ok("groups", "reset", "g", "t", "--shift-by", "7", "--yes")
    assert mk.ok("consume", "t", "-g", "g") == b"".join(b"%d\n" % number for number in range(40, 100))


def test_a_group_with_a_member_is_not_moved_and_not_deleted(mk):
    create(mk, "t")
    produce(mk, "t", 10)
    with Members(mk, "t", "-g", "g", "-F") as members:
        members.start()
        wait_until(lambda: lag_of(mk, "g") == 0)
        for words in (["reset", "g", "t", "--to", "start"], ["delete", "g"]):
            done = mk("groups", *words, "--yes")
            assert done.status == 75
            assert "has a member that lives" in done.err
            assert "127.0.0.1" in done.err
        assert committed(mk, "g") == {("t", 0): 10}


def test_groups_are_listed_exported_imported_copied_and_deleted(mk):
    create(mk, "t", 2)
    produce(mk, "t", 100)
    mk.ok("consume", "t", "-g", "g")
    listed = mk.ok("groups", "export", "g")
    mk.ok("groups", "copy", "g", "h", "--yes")
    assert committed(mk, "h") == committed(mk, "g")
    mk.ok("groups", "reset", "g", "t:0", "--to", "3", "--yes")
    assert committed(mk, "g")["t", 0] == 3
    mk.ok("groups", "import", "-", "--yes", stdin=listed)
    assert committed(mk, "g") == committed(mk, "h")
    rows = json.loads(mk.ok("groups", "--json"))
    assert [(row["group"], row["state"], row["members"], row["lag"]) for row in rows] == [
        ("g", "Empty", 0, 0),
        ("h", "Empty", 0, 0),
    ]
    mk.ok("groups", "delete", "g", "h", "--yes")
    assert mk.ok("groups", "-q") == b""
    assert mk("groups", "describe", "g").status == 66
    assert mk("groups", "delete", "g", "--yes").status == 66


def test_what_kafka_does_not_offer_to_a_group_is_refused_with_a_reason(mk):
    create(mk, "t")
    produce(mk, "t", 1)
    done = mk("consume", "t", "-g", "g", "-p", "0")
    assert (done.status, done.out) == (2, b"")
    assert "-p and -g exclude each other" in done.err
    mk.ok("consume", "t", "-g", "g")
    for words in (["undo", "g", "--yes"], ["kick", "g", "1"], ["prune", "--idle", "1d", "--yes"]):
        done = mk("groups", *words)
        assert done.status == 2, done
        assert "does not work on a Kafka cluster" in done.err
    done = mk("groups", "delete", "g", "--topic", "t", "--yes")
    assert done.status == 2
    assert "kafka-consumer-groups.sh --delete-offsets" in done.err
    assert committed(mk, "g") == {("t", 0): 1}


def test_only_what_the_reader_of_a_pipe_took_is_committed(mk):
    create(mk, "t")
    produce(mk, "t", 1000)
    assert mk.shell("mk consume t -g g | head -3").out == b"0\n1\n2\n"
    assert committed(mk, "g") == {("t", 0): 3}
    assert mk.ok("consume", "t", "-g", "g", "-n", "2") == b"3\n4\n"
    assert mk.ok("consume", "t", "-g", "g", "--no-commit", "-n", "1") == b"5\n"
    assert committed(mk, "g") == {("t", 0): 5}


def test_a_signal_commits_what_was_printed_and_leaves_the_group(mk):
    create(mk, "t")
    produce(mk, "t", 10)
    for number in (signal.SIGTERM, signal.SIGINT):
        with mk.start("consume", "t", "-g", f"g{number}", "-F") as member:
            read_until(member.stdout.fileno(), b"9\n")
            begun = time.monotonic()
            member.send_signal(number)
            assert member.wait(SECONDS) == -number
            assert time.monotonic() - begun < 2
        assert committed(mk, f"g{number}") == {("t", 0): 10}
        assert members_of(mk, f"g{number}") == []


def test_a_command_that_runs_longer_than_the_session_keeps_its_partition(mk):
    create(mk, "t")
    produce(mk, "t", 2)
    words = ("consume", "t", "-g", "g", "--session-timeout", "6s")
    with mk.start(*words, "--exec", "sh -c 'sleep 8; cat; echo'") as member:
        time.sleep(7)
        assert len(members_of(mk, "g")) == 1
        out, err = member.communicate(timeout=SECONDS)
    assert (member.returncode, out, err) == (0, b"0\n1\n", b"")
    assert committed(mk, "g") == {("t", 0): 2}


def test_a_partition_that_goes_to_another_member_is_finished_and_committed_first(mk):
    create(mk, "t", 2)
    produce(mk, "t", 40, keys=40)
    words = ("t", "-g", "g", "--exec", "sh -c 'sleep 0.2; cat; echo'")
    with mk.start("consume", *words) as first:
        read_until(first.stdout.fileno(), b"\n")
        with mk.start("consume", *words) as second:
            outs = [member.communicate(timeout=60) for member in (first, second)]
    assert [(first.returncode, second.returncode), outs[0][1], outs[1][1]] == [(0, 0), b"", b""]
    assert outs[1][0], "the second one got nothing"
    numbers = [int(line) for out, _ in outs for line in out.split()]
    assert len(numbers) == 39 and len(set(numbers)) == 39  # One was read above.
    assert lag_of(mk, "g") == 0


@pytest.mark.parametrize("how", ["partition.assignment.strategy=cooperative-sticky", "group.protocol=consumer"])
def test_no_partition_is_left_between_two_members_that_drain_where_they_go_one_by_one(mk, how):
    create(mk, "t", 4)
    produce(mk, "t", 160, keys=40)
    # A partition is taken from the first one, which is long done with the others when it may come back.
    words = ("t", "-g", "g", "-X", how, "--exec", "sh -c 'sleep 0.1; cat; echo'")
    with mk.start("consume", *words) as first:
        read_until(first.stdout.fileno(), b"\n")
        with mk.start("consume", *words) as second:
            outs = [member.communicate(timeout=90) for member in (first, second)]
    assert [(first.returncode, second.returncode), outs[0][1], outs[1][1]] == [(0, 0), b"", b""]
    numbers = [int(line) for out, _ in outs for line in out.split()]
    assert len(numbers) == 159 and len(set(numbers)) == 159  # One was read above.
    assert lag_of(mk, "g") == 0


def test_a_command_that_fails_stops_at_its_record_and_a_dead_letter_is_stored_once(mk):
    create(mk, "t")
    create(mk, "dead")
    produce(mk, "t", 5)
    fail = "sh -c 'read n; test $n != 3'"
    done = mk("consume", "t", "-g", "g", "--exec", fail, "--retries", "0")
    assert done.status == 1, done
    assert committed(mk, "g") == {("t", 0): 3}
    mk.ok("consume", "t", "-g", "g", "--exec", fail, "--retries", "0", "--dlq", "dead")
    assert committed(mk, "g") == {("t", 0): 5}
    assert mk.ok("consume", "dead") == b"3\n"
    # As after a kill between the dead letter and the commit.
    mk.ok("groups", "reset", "g", "t", "--to", "3", "--yes")
    mk.ok("consume", "t", "-g", "g", "--exec", fail, "--retries", "0", "--dlq", "dead")
    assert mk.ok("consume", "dead") == b"3\n"


def test_who_skips_when_another_is_at_work_does_not_join(mk):
    create(mk, "t")
    produce(mk, "t", 3)
    with Members(mk, "t", "-g", "g", "-F") as members:
        members.start()
        wait_until(lambda: lag_of(mk, "g") == 0)
        done = mk("consume", "t", "-g", "g", "--or-skip")
        assert (done.status, done.out) == (0, b"")
        assert "has 1 other member" in done.err
    assert mk.ok("consume", "t", "-g", "h", "--or-skip") == b"0\n1\n2\n"


def test_a_pattern_takes_up_topics_that_appear(mk):
    create(mk, "a1")
    produce(mk, "a1", 3)
    with mk.start("consume", "-r", "^a", "-g", "g", "-F", "-f", "%t %s\n") as member:
        read_until(member.stdout.fileno(), b"a1 2\n")
        create(mk, "a2")
        create(mk, "b1")
        produce(mk, "b1", 1)
        produce(mk, "a2", 2)
        read_until(member.stdout.fileno(), b"a2 1\n")
    wait_until(lambda: {topic for topic, _ in committed(mk, "g")} == {"a1", "a2"})


@pytest.mark.parametrize(
    "words", [(), ("-X", "topic.metadata.refresh.interval.ms=20")], ids=["", "the group knows first"]
)
def test_partitions_that_are_added_are_read_from_their_beginning(mk, words):
    create(mk, "t")
    produce(mk, "t", 3)
    with mk.start("consume", "t", "-g", "g", "-F", *words) as member:
        read_until(member.stdout.fileno(), b"2\n")
        client = admin.AdminClient(mk.broker.client())
        client.create_partitions([admin.NewPartitions("t", 3)])["t"].result(SECONDS)
        producer = kafka.Producer(mk.broker.client())
        producer.produce("t", b"new", partition=2)
        producer.flush(SECONDS)
        read_until(member.stdout.fileno(), b"new\n")


def test_a_topic_that_is_deleted_ends_who_named_it(mk):
    create(mk, "t")
    produce(mk, "t", 1)
    with mk.start("consume", "t", "-g", "g", "-F") as member:
        read_until(member.stdout.fileno(), b"0\n")
        client = admin.AdminClient(mk.broker.client())
        client.delete_topics(["t"])["t"].result(SECONDS)
        _, err = member.communicate(timeout=SECONDS)
    assert member.returncode == 66, err
    assert b"no topic t" in err and err.count(b"error:") == 1


@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_members_share_by_the_strategy_that_the_user_names(mk, strategy):
    create(mk, "t", 4)
    produce(mk, "t", 2000)
    strategy = ("-X", f"partition.assignment.strategy={strategy}")
    with Members(mk, "t", "-g", "g", "-F", *strategy) as members:
        members.start()
        wait_until(lambda: sum(map(len, members.printed())) == 2000)
        members.start()
        wait_until(lambda: sorted(one["partitions"] for one in members_of(mk, "g")) == [2, 2])
        produce(mk, "t", 2000, first=2000)
        wait_until(lambda: lag_of(mk, "g") == 0)
        for process in members.processes:
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == -signal.SIGTERM
        printed = members.printed()
    assert all(printed)
    check_all(numbers(printed), 4000)
    check_order(printed)


def test_a_static_member_comes_back_to_its_partitions_without_being_missed(mk):
    create(mk, "t", 2)
    produce(mk, "t", 10)
    words = ("consume", "t", "-g", "g", "-X", "group.instance.id=one", "-f", "%s\n")
    assert len(mk.ok(*words).split()) == 10
    (member,) = members_of(mk, "g")
    assert (member["instance_id"], member["partitions"]) == ("one", 2)
    produce(mk, "t", 5, first=10)
    assert sorted(map(int, mk.ok(*words).split())) == [10, 11, 12, 13, 14]


def test_a_member_that_was_stopped_is_told_what_it_lost_and_goes_on(mk):
    create(mk, "t", 2)
    produce(mk, "t", 100)
    with Members(mk, "t", "-g", "g", "-F", "--session-timeout", "6s") as members:
        stopped = members.start()
        wait_until(lambda: lag_of(mk, "g") == 0)
        stopped.send_signal(signal.SIGSTOP)
        members.start()
        wait_until(lambda: [one["partitions"] for one in members_of(mk, "g")] == [2])
        produce(mk, "t", 100, first=100)
        wait_until(lambda: lag_of(mk, "g") == 0)
        stopped.send_signal(signal.SIGCONT)
        wait_until(lambda: sorted(one["partitions"] for one in members_of(mk, "g")) == [1, 1])
        produce(mk, "t", 100, first=200)
        wait_until(lambda: lag_of(mk, "g") == 0)
        for process in members.processes:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
        printed, said = members.printed(), members.said()
    assert "the brokers have taken partition" in said[0]
    assert any(record[3] >= 200 for record in printed[0])
    check_all(numbers(printed), 300)


def test_suspending_lets_go_of_the_partitions_and_going_on_takes_them_back(mk):
    create(mk, "t")
    produce(mk, "t", 3)
    with mk.start("consume", "t", "-g", "g", "-F") as member:
        read_until(member.stdout.fileno(), b"2\n")
        member.send_signal(signal.SIGTSTP)
        wait_until(lambda: not members_of(mk, "g"), 3)
        assert committed(mk, "g") == {("t", 0): 3}
        produce(mk, "t", 2, first=3)
        assert mk.ok("consume", "t", "-g", "g") == b"3\n4\n"
        member.send_signal(signal.SIGCONT)
        produce(mk, "t", 1, first=5)
        assert read_until(member.stdout.fileno(), b"5\n") == b"5\n"


def test_a_group_that_committed_in_a_topic_that_was_made_anew_is_told_so(mk):
    create(mk, "t")
    produce(mk, "t", 4)
    client = admin.AdminClient(mk.broker.client())
    group = [kafka.ConsumerGroupTopicPartitions("g", [kafka.TopicPartition("t", 0, 9)])]
    # The coordinator of a broker that has just started may not be there as yet.
    wait_until(
        lambda: client.alter_consumer_group_offsets(group)["g"].result(SECONDS).topic_partitions[0].error is None
    )
    done = mk("consume", "t", "-g", "g", "--on-truncation", "fail")
    assert (done.status, done.out) == (65, b"")
    assert "has committed offset 9 of partition 0 of t" in done.err
    done = mk("consume", "t", "-g", "g", "--on-truncation", "start")
    assert (done.status, done.out) == (0, b"0\n1\n2\n3\n")
    assert "reading on at 0" in done.err
    assert committed(mk, "g") == {("t", 0): 4}


def test_waiting_for_a_group_ends_when_it_has_read_all(mk):
    create(mk, "t", 2)
    produce(mk, "t", 100)
    done = mk("wait", "-g", "g", "t", "--lag", "0", "--timeout", "500ms", "--retry")
    assert done.status == 124, done
    with mk.start("wait", "-g", "g", "t", "--lag", "0", "--timeout", "20s", "--retry") as waiting:
        mk.ok("consume", "t", "-g", "g")
        assert waiting.wait(5) == 0


def test_a_group_whose_coordinator_is_away_is_69_within_the_time(mk, make_broker):
    broker = make_broker()
    mk.broker = broker
    mk.environment["MK_DIR"] = f"kafka://{broker.address}"
    create(mk, "t")
    produce(mk, "t", 3)
    with mk.start("consume", "t", "-g", "g", "-F", "--timeout", "60s", "-X", "mk.timeout.ms=2000") as member:
        read_until(member.stdout.fileno(), b"2\n")
        wait_until(lambda: committed(mk, "g") == {("t", 0): 3})
        broker.kill()
        begun = time.monotonic()
        _, err = member.communicate(timeout=SECONDS)
        assert member.returncode == 69, err
        assert time.monotonic() - begun < 10
        assert err.count(b"error:") == 1
    for words in (
        ["consume", "t", "-g", "g"],
        ["groups"],
        ["groups", "describe", "g"],
        ["groups", "reset", "g", "t", "--to", "start", "--yes"],
    ):
        begun = time.monotonic()
        done = mk(*words, "-X", "mk.timeout.ms=1500")
        assert done.status == 69, done
        assert time.monotonic() - begun < 6
        assert done.err.count("error:") == 1
    broker.start()
    assert committed(mk, "g") == {("t", 0): 3}


def test_a_broker_that_comes_back_in_time_is_gone_on_with(mk, make_broker):
    broker = make_broker()
    mk.broker = broker
    mk.environment["MK_DIR"] = f"kafka://{broker.address}"
    create(mk, "t", 2)
    produce(mk, "t", 100)
    with Members(mk, "t", "-g", "g", "-F", "-X", "mk.timeout.ms=30000") as members:
        members.start()
        wait_until(lambda: sum(map(len, members.printed())) == 100)
        broker.kill()
        time.sleep(1)
        broker.start()
        produce(mk, "t", 100, first=100)
        wait_until(lambda: lag_of(mk, "g") == 0)
        members.processes[0].send_signal(signal.SIGTERM)
        assert members.processes[0].wait(SECONDS) == -signal.SIGTERM
        (records,) = members.printed()
    assert {record[3] for record in records} == set(range(200))


def test_the_end_of_a_transaction_leaves_no_lag_behind(mk):
    create(mk, "t")
    producer = kafka.Producer({**mk.broker.client(), "transactional.id": "x", "log_level": 0})
    producer.init_transactions(SECONDS)
    for values in ([b"1", b"2"], [b"3"]):
        producer.begin_transaction()
        for value in values:
            producer.produce("t", value)
        producer.commit_transaction(SECONDS)
    assert mk.ok("consume", "t", "-g", "g", "-n", "2") == b"1\n2\n"
    assert committed(mk, "g") == {("t", 0): 2}
    producer.begin_transaction()
    producer.produce("t", b"never")
    producer.flush(SECONDS)
    assert mk.ok("consume", "t", "-g", "g") == b"3\n"
    producer.abort_transaction(SECONDS)
    assert mk.ok("consume", "t", "-g", "g") == b""
    assert lag_of(mk, "g") == 0


def test_topics_and_groups_that_only_a_kafka_can_name_are_written_read_moved_and_waited_for(mk):
    for topic in ("_schemas", "ends.with.a."):
        create(mk, topic)
        mk.ok("produce", topic, "one", "two")
        assert mk.ok("consume", topic, "-g", "a group: of Java") == b"one\ntwo\n"
        mk.ok("groups", "reset", "a group: of Java", topic, "--to", "1", "--yes")
        mk.ok("wait", "-g", "a group: of Java", topic, "--lag", "1")
        assert mk.ok("consume", topic, "-g", "a group: of Java") == b"two\n"
        mk.ok("wait", topic)
    assert mk("produce", "_none", "v").status == 2
    assert mk("produce", "", "v").status == 2


def test_what_was_fetched_and_given_to_nobody_is_not_committed(mk, monkeypatch):
    create(mk, "t")
    produce(mk, "t", 5)
    fetch = Consumer._fetch

    def interrupted(self, source):
        if fetch(self, source):
            raise KeyboardInterrupt  # As by ^C, right behind it.
        return []

    with api.connect(mk.environment["MK_DIR"]) as cluster:
        with monkeypatch.context() as patched:
            patched.setattr(Consumer, "_fetch", interrupted)
            with pytest.raises(KeyboardInterrupt), cluster.group_consumer("g", ["t"]) as consumer:
                next(iter(consumer))
        with cluster.group_consumer("g", ["t"]) as consumer:
            assert [record.value for record in consumer] == [b"%d" % number for number in range(5)]


def test_a_member_of_the_new_protocol_of_groups_shares_too(mk):
    create(mk, "t", 4)
    produce(mk, "t", 1000)
    with Members(mk, "t", "-g", "g", "-F", "-X", "group.protocol=consumer") as members:
        members.start()
        wait_until(lambda: sum(map(len, members.printed())) == 1000)
        members.start()
        wait_until(lambda: sorted(one["partitions"] for one in members_of(mk, "g")) == [2, 2])
        produce(mk, "t", 1000, first=1000)
        wait_until(lambda: lag_of(mk, "g") == 0)
        members.processes[0].send_signal(signal.SIGTERM)
        assert members.processes[0].wait(SECONDS) == -signal.SIGTERM
        wait_until(lambda: [one["partitions"] for one in members_of(mk, "g")] == [4])
        produce(mk, "t", 1000, first=2000)
        wait_until(lambda: lag_of(mk, "g") == 0)
        members.processes[1].send_signal(signal.SIGTERM)
        members.processes[1].wait(SECONDS)
        printed = members.printed()
    check_all(numbers(printed), 3000)
    check_order(printed)
