"""Bulk loads: lines from a pipe into a log, without keys, with keys over partitions, and read in the formats."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import LIMIT, NEIGHBOUR, PARTITIONS, Bench, Failed, Way
from neighbours import TUNED_PRODUCER, Kafka, Redis

SLOW_SHARE = 10
"""Neighbours that take many times as long get this part of the lines, and are compared by the record."""


def bulk_produce(bench: Bench) -> None:
    lines = bench.lines
    ways = [
        bench.command(
            "cat f | cat >> log && sync log",
            'cat "$FILE" | cat >> "$LOG" && sync "$LOG"',
            role=LIMIT,
            records=lines,
            prepare=bench.fresh_log,
        ),
        bench.command(
            "cat f | mk produce t",
            'cat "$FILE" | "$MK" produce t',
            records=lines,
            prepare=bench.fresh_directory,
            check=bench.holds("t", lines),
        ),
    ]
    kafka, redis, nats = bench.neighbours.kafka(), bench.neighbours.redis(), bench.neighbours.nats()
    if kafka is not None:
        ways += [
            kcat_produce(bench, kafka, "cat f | kcat -P", 'cat "$FILE"', "-p 0"),
            kcat_produce(bench, kafka, "cat f | kcat -P, tuned", 'cat "$FILE"', f"-p 0 {TUNED_PRODUCER}"),
        ]
    few = max(1, lines // SLOW_SHARE)
    if redis is not None:
        ways += [redis_pipe(bench, redis, sync, few) for sync in ("everysec", "always")]
    if nats is not None:
        client = Path(__file__).with_name("nats_client.py")
        ways.append(
            bench.command(
                "nats_client.py < f (JetStream)",
                f'head -n {few} "$FILE" | {sys.executable} {client} {nats.port} bench',
                role=NEIGHBOUR,
                records=few,
                prepare=bench.settle,
                expect=str(few),
            )
        )
    bench.compare("bulk-produce", f"{lines:,} lines into a log", ways)


def keyed_produce(bench: Bench) -> None:
    lines = bench.lines
    ways = [
        bench.command(
            "cat f | cat >> log && sync log",
            'cat "$KEYED" | cat >> "$LOG" && sync "$LOG"',
            role=LIMIT,
            records=lines,
            prepare=bench.fresh_log,
        ),
        bench.command(
            "cat f | mk produce k -K TAB",
            f'cat "$KEYED" | "$MK" produce k -K "$TAB" --partitions {PARTITIONS}',
            records=lines,
            prepare=bench.fresh_directory,
            check=bench.holds("k", lines),
        ),
    ]
    kafka = bench.neighbours.kafka()
    if kafka is not None:
        ways += [
            kcat_produce(bench, kafka, "cat f | kcat -P -K TAB", 'cat "$KEYED"', '-K "$TAB"'),
            kcat_produce(bench, kafka, "cat f | kcat -P -K TAB, tuned", 'cat "$KEYED"', f'-K "$TAB" {TUNED_PRODUCER}'),
        ]
    bench.compare("keyed-produce", f"{lines:,} keyed lines into {PARTITIONS} partitions", ways)


def produce_formats(bench: Bench) -> None:
    """What `mk consume` prints in a format, read again."""
    lines = bench.lines
    bench.fresh_directory()
    bench.shell(f'"$MK" produce k -K "$TAB" --partitions {PARTITIONS} < "$KEYED"')
    ways = [
        bench.command(
            "mk produce x -K TAB",
            '"$MK" produce x -K "$TAB" < "$KEYED"',
            records=lines,
            prepare=lambda: _without(bench, "x"),
            check=bench.holds("x", lines),
        )
    ]
    for form, name in {"-f '%k %v\\n'": "formatted", "-J": "json", "-f framed": "framed"}.items():
        file = bench.directory / name
        bench.shell(f'"$MK" consume k {form} > {file}')
        ways.append(
            bench.command(
                f"mk produce x {form}",
                f'"$MK" produce x {form} < {file}',
                records=lines,
                prepare=lambda: _without(bench, "x"),
                check=bench.holds("x", lines),
            )
        )
    bench.compare("produce-formats", f"{lines:,} keyed records read in a format", ways)
    for name in ("formatted", "json", "framed"):
        (bench.directory / name).unlink()


def kcat_produce(bench: Bench, kafka: Kafka, name: str, source: str, flags: str) -> Way:
    topics: list[str] = []

    def prepare() -> None:
        topics.append(kafka.new_topic())
        bench.env["TOPIC"] = topics[-1]
        bench.settle()

    def check() -> None:
        found = kafka.records(topics[-1])
        if found != bench.lines + 1:
            raise Failed(f"Kafka has {found:,} records instead of {bench.lines + 1:,}")

    line = f'{source} | kcat -P -b {kafka.broker} -t "$TOPIC" {flags}'
    return bench.command(name, line, role=NEIGHBOUR, records=bench.lines, prepare=prepare, check=check)


def redis_pipe(bench: Bench, redis: Redis, sync: str, count: int) -> Way:
    file = bench.directory / "resp"
    if not file.exists():
        with open(bench.directory / "lines", "rb") as lines, open(file, "wb") as commands:
            for _, line in zip(range(count), lines):
                value = line[:-1]
                commands.write(
                    b"*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nv\r\n$%d\r\n%b\r\n" % (len(value), value)
                )

    def prepare() -> None:
        redis.empty(sync)
        bench.settle()

    def check() -> None:
        found = redis.ask("XLEN", "s")
        if found != str(count):
            raise Failed(f"Redis has {found} records instead of {count}")

    return bench.command(
        f"cat f | redis-cli --pipe, appendfsync {sync}",
        f"cat {file} | {redis.cli} --pipe",
        role=NEIGHBOUR,
        records=count,
        prepare=prepare,
        check=check,
    )


def _without(bench: Bench, topic: str) -> None:
    """Delete a topic, if it is there."""
    bench.shell(f'"$MK" topics delete {topic} --if-exists --yes -q')
    bench.settle()
