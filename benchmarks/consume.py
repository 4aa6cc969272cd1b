"""Bulk reads: plain values, for a group, in the formats, and every byte proved."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from bench import LIMIT, NEIGHBOUR, PARTITIONS, Bench, Way
from neighbours import TUNED_CONSUMER, Kafka
from produce import SLOW_SHARE, redis_pipe


def bulk_consume(bench: Bench) -> None:
    lines = bench.lines
    bench.fresh_directory()
    bench.shell('"$MK" produce t < "$FILE"')
    bench.shell(f'"$MK" produce k -K "$TAB" --partitions {PARTITIONS} < "$KEYED"')
    bench.settle()
    ways = [
        _counted(bench, "cat f | wc -l", 'cat "$FILE"', role=LIMIT),
        _counted(bench, "mk consume t | wc -l", '"$MK" consume t'),
        _counted(bench, f"mk consume k | wc -l, {PARTITIONS} partitions", '"$MK" consume k'),
    ]
    kafka, redis = bench.neighbours.kafka(), bench.neighbours.redis()
    if kafka is not None:
        kcat = f"kcat -C -e -q -b {kafka.broker} -t {filled(bench, kafka)} -o 1 -p 0"
        ways += [
            _counted(bench, "kcat -C | wc -l", kcat, role=NEIGHBOUR),
            _counted(bench, "kcat -C | wc -l, tuned", f"{kcat} {TUNED_CONSUMER}", role=NEIGHBOUR),
        ]
    if redis is not None:
        few = max(1, lines // SLOW_SHARE)
        redis_pipe(bench, redis, "everysec", few).take()
        # An id, a field's name and its value.
        line = f"{redis.cli} XRANGE s - + | wc -l"
        ways.append(bench.command("redis-cli XRANGE s", line, role=NEIGHBOUR, records=few, expect=str(3 * few)))
    bench.compare("bulk-consume", f"{lines:,} lines out of a log", ways)


def group_consume(bench: Bench) -> None:
    bench.fresh_directory()
    bench.shell('"$MK" produce t < "$FILE"; "$MK" topics create empty -q')
    bench.settle()
    groups = itertools.count()

    def another() -> None:
        bench.env["GROUP"] = f"g{next(groups)}"
        bench.settle()

    ways = [
        _counted(bench, "mk consume t | wc -l", '"$MK" consume t', role=LIMIT),
        _counted(bench, "mk consume t -g g | wc -l", '"$MK" consume t -g "$GROUP"', prepare=another),
        # What joining takes, and the first and last commit, without a record.
        bench.command("mk consume empty | wc -l", '"$MK" consume empty | wc -l', expect="0"),
        bench.command(
            "mk consume empty -g g | wc -l", '"$MK" consume empty -g "$GROUP" | wc -l', expect="0", prepare=another
        ),
    ]
    kafka = bench.neighbours.kafka()
    if kafka is not None:
        # The first record of the topic, which made it, is left out here as there.
        kcat = f"kcat -e -q -b {kafka.broker} -X auto.offset.reset=earliest"
        topic = filled(bench, kafka)
        group = f'{kcat} -G "$GROUP" {topic} | tail -n +2'
        ways += [
            _counted(bench, "kcat -C | wc -l", f"{kcat} -C -t {topic} -p 0 -o 1", role=NEIGHBOUR),
            _counted(bench, "kcat -G g | wc -l", group, role=NEIGHBOUR, prepare=another),
        ]
    bench.compare("group-consume", f"{bench.lines:,} lines for a group, with commits", ways)


def consume_formats(bench: Bench) -> None:
    bench.fresh_directory()
    bench.shell(f'"$MK" produce k -K "$TAB" --partitions {PARTITIONS} < "$KEYED"')
    bench.settle()
    ways = [
        _counted(bench, f"mk consume k{form} | wc -l", f'"$MK" consume k{form}')
        for form in ("", " -f '%k %v\\n'", " -J")
    ]
    # It has newlines or not, as the lengths in it fall.
    framed = '"$MK" consume k -f framed > /dev/null'
    ways.append(bench.command("mk consume k -f framed", framed, records=bench.lines))
    bench.compare("consume-formats", f"{bench.lines:,} keyed records printed in a format", ways)


def verify(bench: Bench) -> None:
    bench.fresh_directory()
    bench.shell('"$MK" produce t < "$FILE"')
    ways = [
        _counted(bench, "cat f | wc -l", 'cat "$FILE"', role=LIMIT),
        bench.command("mk topics verify t", [bench.mk, "topics", "verify", "t"], records=bench.lines),
    ]
    bench.compare("verify", f"Every byte of {bench.lines:,} lines proved", ways)


def filled(bench: Bench, kafka: Kafka) -> str:
    """Return a topic of Kafka's that has the lines in partition 0, behind its first record."""
    topic = kafka.new_topic()
    bench.shell(f'kcat -P -b {kafka.broker} -t {topic} -p 0 < "$FILE"')
    bench.settle()
    return topic


def _counted(
    bench: Bench, name: str, command: str, *, role: str = "mk", prepare: Callable[[], None] | None = None
) -> Way:
    """Return the way of a command that prints all lines, of which `wc` has to count as many."""
    line, expect = f"{command} | wc -l", str(bench.lines)
    return bench.command(name, line, role=role, records=bench.lines, prepare=prepare, expect=expect)
