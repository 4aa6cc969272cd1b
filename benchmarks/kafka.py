"""The same commands on a Kafka cluster, beside kcat, which is librdkafka as well: one broker, topics of one partition."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from bench import MK, NEIGHBOUR, Bench, Failed, Way
from latency import KCAT_RECORD, RECORDS_A_SECOND, record_to_reader
from neighbours import PROMPT_CONSUMER, PROMPT_PRODUCER, TUNED_CONSUMER, TUNED_PRODUCER, Kafka

SHARE = 2
"""This part of the lines is taken: a million, unless it is said otherwise."""

SEND, READ = "kcat -P -b $BROKER -p 0 -t $TOPIC", "kcat -C -q -b $BROKER -p 0 -o beginning -t"

TUNED_GROUP = f"{TUNED_CONSUMER} -X queued.min.messages=10000000 -X queued.max.messages.kbytes=2000000"
"""While the queue is full, which kcat in a group empties more slowly, librdkafka 2.0 fetches nothing for 0.7 s: not to be
measured here, so there is room for all."""


class Cluster:
    """The broker of the neighbours, for mk. In lines of sh it is KAFKA, for kcat BROKER, and its topic of now is TOPIC.

    HALF is the file of the lines, and `lines` their number.
    """

    def __init__(self, bench: Bench, kafka: Kafka) -> None:
        self._bench = bench
        self._kafka = kafka
        self.lines = bench.lines // SHARE
        bench.env.update(KAFKA=f"kafka://{kafka.broker}", BROKER=kafka.broker, HALF=str(bench.directory / "half"))
        bench.shell(f'head -n {self.lines} "$FILE" > "$HALF"')

    def without_topics(self) -> None:
        """Delete all topics of this run, and the groups that have read them; TOPIC is the name of another one."""
        for noun in ("groups", "topics"):
            self._bench.shell(f'"$MK" {noun} delete -r "{self._kafka.names}" --if-exists --yes -q -d "$KAFKA"')
        self._bench.env["TOPIC"] = self._kafka.new_name()
        self._bench.settle()

    def new_topic(self) -> None:
        """Have TOPIC be a new topic, the only one of this run."""
        self.without_topics()
        self._bench.shell('"$MK" topics create "$TOPIC" -p 1 -q -d "$KAFKA"')

    def filled(self) -> None:
        """Have TOPIC be a new topic that has the lines."""
        self.new_topic()
        self._bench.shell(f'{SEND} < "$HALF"')
        self._bench.settle()

    def holds(self, topic: str = "$TOPIC") -> None:
        """Check by kcat that a topic has as many records as there are lines. Raises Failed."""
        found = self._bench.shell(f"{READ} {topic} -e | wc -l")
        if found != str(self.lines):
            raise Failed(f"Kafka has {int(found):,} records instead of {self.lines:,}")


def on_kafka(measure: Callable[[Bench, Cluster], None]) -> Callable[[Bench], None]:
    """Return the workload that `measure` is on a Kafka: left out where there is none, or mk cannot speak to it."""

    def workload(bench: Bench) -> None:
        kafka = bench.neighbours.kafka()
        if kafka is None:
            return
        try:
            version = bench.script("import confluent_kafka; print(confluent_kafka.__version__)")
        except Failed:
            raise Failed("the Python of mk has no confluent-kafka") from None
        kafka.about["confluent-kafka"] = version
        cluster = Cluster(bench, kafka)
        try:
            measure(bench, cluster)
        finally:
            cluster.without_topics()

    return workload


@on_kafka
def kafka_produce(bench: Bench, cluster: Cluster) -> None:
    def way(name: str, line: str, role: str) -> Way:
        line = f'cat "$HALF" | {line}'
        return bench.command(
            name, line, role=role, records=cluster.lines, prepare=cluster.new_topic, check=cluster.holds
        )

    ways = [
        way("cat f | kcat -P", SEND, NEIGHBOUR),
        way("cat f | kcat -P, tuned", f"{SEND} {TUNED_PRODUCER}", NEIGHBOUR),
        # As mk is without being asked: a request that got no answer is sent again, and its records are there once.
        way("cat f | kcat -P, idempotent", f"{SEND} -X enable.idempotence=true", NEIGHBOUR),
        way("cat f | mk produce t -d kafka://", '"$MK" produce $TOPIC -q -d "$KAFKA"', MK),
    ]
    bench.compare("kafka-produce", f"{cluster.lines:,} lines into a topic of Kafka", ways)


@on_kafka
def kafka_consume(bench: Bench, cluster: Cluster) -> None:
    cluster.filled()

    def another() -> None:
        bench.env["GROUP"] = f"{bench.env['TOPIC']}-{os.urandom(4).hex()}"
        bench.settle()

    def way(name: str, line: str, role: str) -> Way:
        expect = str(cluster.lines)
        return bench.command(name, f"{line} | wc -l", role=role, records=cluster.lines, prepare=another, expect=expect)

    # Tuned, kcat does not wait for half a second whether more comes, where the topic ends.
    read, group = f"{READ} $TOPIC -e", "kcat -G $GROUP -e -q -b $BROKER -X auto.offset.reset=earliest"
    ways = [
        way("kcat -C | wc -l", read, NEIGHBOUR),
        way("kcat -C | wc -l, tuned", f"{read} {TUNED_CONSUMER}", NEIGHBOUR),
        way("mk consume t -d kafka:// | wc -l", '"$MK" consume $TOPIC -d "$KAFKA"', MK),
        # Both begin at the start, as a group that nobody knows does, and have committed the end when they are through.
        way("kcat -G g | wc -l, tuned", f"{group} {TUNED_GROUP} $TOPIC", NEIGHBOUR),
        way("mk consume t -g g -d kafka:// | wc -l", '"$MK" consume $TOPIC -g $GROUP -d "$KAFKA"', MK),
    ]
    bench.compare("kafka-consume", f"{cluster.lines:,} lines out of a topic of Kafka", ways)


@on_kafka
def kafka_replicate(bench: Bench, cluster: Cluster) -> None:
    """A directory of one topic into Kafka, and one topic of Kafka into a directory, whose copy is on disk at the end."""
    copy = bench.directory / "copy"
    bench.env["DST"] = str(copy)
    bench.fresh_directory()
    bench.shell('"$MK" produce t < "$HALF"')

    def no_copy() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        bench.settle()

    lines = cluster.lines
    ways = [
        bench.command(
            "kcat -P < f",
            f'{SEND} < "$HALF"',
            role=NEIGHBOUR,
            records=lines,
            prepare=cluster.new_topic,
            check=cluster.holds,
        ),
        bench.command(
            "mk replicate SRC kafka://",
            '"$MK" replicate -q "$MK_DIR" "$KAFKA" --prefix "$TOPIC"',
            records=lines,
            # It makes the topic, as it would not go on with one of somebody else.
            prepare=cluster.without_topics,
            check=lambda: cluster.holds("$TOPIC.t"),
        ),
    ]
    bench.compare("kafka-replicate-to", f"{lines:,} records of a directory into Kafka", ways)
    cluster.filled()
    topic = bench.env["TOPIC"]
    ways = [
        bench.command(
            "kcat -C > f && sync f, tuned",
            f'{READ} $TOPIC -e {TUNED_CONSUMER} > "$DST/f" && sync "$DST/f"',
            role=NEIGHBOUR,
            records=lines,
            prepare=no_copy,
            check=lambda: bench.shell('cmp "$HALF" "$DST/f"'),
        ),
        bench.command(
            "mk replicate kafka:// DST",
            f'"$MK" replicate -q "$KAFKA" "$DST" --topics {topic}',
            records=lines,
            prepare=no_copy,
            check=bench.holds(topic, lines, str(copy)),
        ),
    ]
    bench.compare("kafka-replicate-from", f"{lines:,} records of Kafka into a directory", ways)
    shutil.rmtree(copy)


@on_kafka
def kafka_start(bench: Bench, cluster: Cluster) -> None:
    """One record, and the list of topics: there is one."""
    cluster.new_topic()
    value, topic, url = str(bench.directory / "value"), bench.env["TOPIC"], bench.env["KAFKA"]
    bench.shell(f'printf v > {value}; "$MK" produce {topic} v -d {url}')
    broker = ["-b", bench.env["BROKER"]]
    send = ["kcat", "-P", *broker, "-t", topic, "-p", "0", "-k", "u1", value]
    read = ["kcat", "-C", *broker, "-t", topic, "-p", "0", "-o", "beginning", "-q", "-c", "1"]
    ways = [
        bench.command("kcat -P -k u1", send, role=NEIGHBOUR),
        bench.command("mk produce t -k u1 v -d kafka://", [bench.mk, "produce", topic, "-k", "u1", "v", "-d", url]),
        bench.command("kcat -C -c 1", read, role=NEIGHBOUR, expect="v"),
        bench.command("mk consume t -n 1 -d kafka://", [bench.mk, "consume", topic, "-n", "1", "-d", url], expect="v"),
        bench.command("kcat -L", ["kcat", "-L", *broker], role=NEIGHBOUR),
        bench.command("mk topics -d kafka://", [bench.mk, "topics", "-d", url]),
    ]
    bench.compare("kafka-start", "One record, one process, on Kafka", ways, rounds=bench.short_rounds)


@on_kafka
def kafka_latency(bench: Bench, cluster: Cluster) -> None:
    seconds = 0.5 if bench.quick else 3.0

    def way(name: str, writer: str, reader: str, role: str) -> Way:
        def take() -> dict[str, float]:
            cluster.new_topic()
            # All have the longer record, without which kcat would wait for the next ones.
            return record_to_reader(bench, f"exec {writer}", f"exec {reader}", seconds, KCAT_RECORD)

        return Way(name, take, role=role, shown=bench.portable(f"{writer} ... {reader}"))

    read = f"{READ} $TOPIC -u"
    ways = [
        way("kcat -P, kcat -C -u", SEND, read, NEIGHBOUR),
        way("kcat -P, kcat -C -u, prompt", f"{SEND} {PROMPT_PRODUCER}", f"{read} {PROMPT_CONSUMER}", NEIGHBOUR),
        way(
            "mk produce t, mk consume t -F, kafka://",
            '"$MK" produce $TOPIC -d "$KAFKA"',
            '"$MK" consume $TOPIC -F -d "$KAFKA"',
            MK,
        ),
    ]
    title = f"Record to reader through Kafka, {RECORDS_A_SECOND} records a second"
    bench.compare("kafka-latency", title, ways, rounds=min(bench.rounds, 3))
