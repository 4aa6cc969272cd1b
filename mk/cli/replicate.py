"""`mk replicate SRC DST`: copying what one log directory has and another one lacks, showing what would be, comparing."""

from __future__ import annotations

import os
import time

from mk.cli import definition, signals
from mk.cli.notes import counted, note
from mk.cli.replicate_output import Output
from mk.cluster import default_location
from mk.errors import (
    ConditionFalseError,
    DivergedLogError,
    MkError,
    NoSuchDirectoryError,
    TimedOutError,
    TryAgainError,
    UsageError,
)
from mk.near_names import did_you_mean
from mk.replication.events import worst
from mk.replication.replicas import open_replica
from mk.replication.replicator import Choice, Replicator
from mk.transport.kafka_address import is_kafka

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mk.cli.options import Options
    from mk.replication.comparison import Comparison
    from mk.replication.replica import Replica, SourceReplica, TargetReplica


def run(options: Options) -> int:
    """Replicate, or show what that would do, or compare; the status is that of the worst that happened."""
    _check(options)
    choice = _choice(options)
    _check_is_no_cluster_of_clusters(options)
    source = _open_source(options)
    try:
        target = _open_target(options, source)
        try:
            if target is not None and target.directory_id == source.directory_id:
                raise UsageError(
                    f"{source.location} and {target.location} are one log directory",
                    why=f"both have the id {source.directory_id}, as a copy made by hand has",
                    fix="name another directory for DST; nothing was changed",
                )
            if options.dry_run:
                return _show_plan(source, target, choice, options)
            if options.verify:
                return _compare(source, target, choice, options)
            assert target is not None
            return _replicate(source, target, choice, options)
        finally:
            if target is not None:
                target.close()
    finally:
        source.close()


def _check(options: Options) -> None:
    # As of a variable of a script that is not set: MK_DIR in its place would be another directory than was meant.
    for name, place in (("SRC", options.source), ("DST", options.target)):
        if place == "":
            raise UsageError(f"{name} is empty", fix="name a log directory; nothing was done")
    _check_is_no_command(options)
    if options.source is not None and options.directory is not None:
        raise UsageError("-d and SRC exclude each other", fix="leave -d out; nothing was done")
    if options.groups and options.no_groups:
        raise UsageError("--groups and --no-groups exclude each other", fix="leave one of them out")
    if options.dry_run and options.verify:
        raise UsageError("--dry-run and --verify exclude each other", fix="both change nothing; leave one of them out")
    if options.dry_run or options.verify:
        for is_given, flag in (
            (options.follow, "--follow"),
            (options.advertise is not None, "--advertise"),
            (options.max_time_ms is not None, "--max-time"),
            (options.timeout_ms is not None, "--timeout"),
        ):
            if is_given:
                raise UsageError(
                    f"{flag} means nothing to {'--dry-run' if options.dry_run else '--verify'}", fix="leave it out"
                )


def _check_is_no_command(options: Options) -> None:
    """Raise UsageError for a lone word that may be a misspelled command: a copy would be made in a directory of that name."""
    target = options.target
    if options.source is not None or "/" in target or ":" in target or os.path.exists(target):
        return
    if near := did_you_mean(target, [one.path[1] for one in definition.commands() if one.path[:-1] == ("replicate",)]):
        raise UsageError(
            f"there is no directory {target}, and no command `mk replicate {target}`",
            fix=f"{near} `mk replicate ./{target}` would make a copy there; nothing was done",
        )


def _choice(options: Options) -> Choice:
    import re

    from mk.topic_partition import check_name

    if options.prefix:
        check_name(options.prefix)
    wanted = None if options.topics is None else re.compile(options.topics)
    unwanted = None if options.exclude is None else re.compile(options.exclude)

    def is_chosen(name: str) -> bool:
        return (wanted is None or wanted.fullmatch(name) is not None) and (
            unwanted is None or unwanted.fullmatch(name) is None
        )

    return Choice(
        is_chosen=is_chosen,
        prefix=f"{options.prefix}." if options.prefix else "",
        accept_gap=options.accept_gap,
        groups=not options.no_groups,
    )


def _source_of(options: Options) -> str:
    return str(options.source or options.directory or default_location())


def _check_is_no_cluster_of_clusters(options: Options) -> None:
    if is_kafka(_source_of(options)) and is_kafka(options.target):
        raise UsageError(
            "SRC and DST are both Kafka clusters",
            why="`mk replicate` goes between a log directory and another one, or a cluster",
            fix="Kafka's own MirrorMaker 2 copies from one cluster to another (connect-mirror-maker.sh); nothing was done",
        )


def _open_source(options: Options) -> SourceReplica:
    location = _source_of(options)
    if is_kafka(location):
        from mk.kafka_cluster.kafka_source import KafkaSource
        from mk.transport.kafka_address import parse_kafka_address

        source: SourceReplica = KafkaSource(parse_kafka_address(location))
        return source
    return _open(location, options)


def _open(location: str, options: Options, *, create: bool = False) -> Replica:
    return open_replica(
        location,
        create=create,
        rsh=options.rsh,
        allow_network_fs=options.allow_network_fs,
        lock_wait_ms=options.lock_wait_ms,
    )


def _open_target(options: Options, source: SourceReplica) -> TargetReplica | None:
    """Open DST; None where there is no log directory yet, and none is to be made."""
    if is_kafka(options.target):
        from mk.kafka_cluster.kafka_copy import KafkaCopy
        from mk.transport.kafka_address import parse_kafka_address

        return KafkaCopy(parse_kafka_address(options.target))
    is_looked_at = options.dry_run or options.verify
    try:
        target = _open(options.target, options, create=not is_looked_at)
    except NoSuchDirectoryError:
        if not is_looked_at:
            raise
        return None
    if is_kafka(_source_of(options)):
        # It makes batches of what it reads, and has to know which ones they continue.
        source.continue_in(target)  # type: ignore[attr-defined]  # It is a KafkaSource.
    return target


def _replicate(source: SourceReplica, target: TargetReplica, choice: Choice, options: Options) -> int:
    if options.advertise is not None:
        _advertise(source, target, options.advertise)
    output = Output(options)
    began = time.monotonic()
    if not target.begin(source.directory_id, source.address):
        output.already_running(source.location, target.location)
        return 0
    replicator = Replicator(source, target, choice)
    replicator.until = _deadline(began, options.timeout_ms, options.max_time_ms)
    arrived = signals.call_on_stop_signals(replicator.stop)
    events = replicator.follow() if options.follow else replicator.run()
    is_over = False
    try:
        with output.showing(replicator):
            for event in events:
                output.event(event)
                if replicator.is_complete and not is_over:
                    # What SRC had at the beginning is there: from now on it is only --max-time that ends it.
                    is_over = True
                    replicator.until = _deadline(began, options.max_time_ms)
    finally:
        # Interrupted by whatever, what was sent is put on disk before it is counted.
        events.close()
        output.summary(replicator.summary(time.monotonic() - began))
    is_over = is_over or replicator.is_complete
    if arrived:
        return signals.die_of(arrived[0])
    _fail(list(replicator.errors.values()), options)
    if not is_over:
        raise _not_done(replicator, options)
    return 0


def _deadline(began: float, *times_ms: int | None) -> float | None:
    given = [began + time_ms / 1000 for time_ms in times_ms if time_ms is not None]
    return min(given) if given else None


def _not_done(replicator: Replicator, options: Options) -> MkError:
    if options.timeout_ms is not None and (options.max_time_ms is None or options.timeout_ms <= options.max_time_ms):
        return TimedOutError(timeout_ms=options.timeout_ms, records=replicator.records, done="copied")
    return TryAgainError(
        "not all is copied yet",
        why=f"--max-time ran out; {counted(replicator.records, 'record')} were copied, and are on disk",
        fix="the same command goes on there",
    )


def _advertise(source: SourceReplica, target: TargetReplica, address: str) -> None:
    if not address.isprintable() or len(address) > 1000:
        raise UsageError(
            "--advertise cannot be that", why="it is HOST:DIRECTORY, on one line", fix="nothing was changed"
        )
    for replica in (source, target):
        set_address = getattr(replica, "set_address", None)
        if set_address is not None:
            set_address(address)
            return
    raise UsageError("--advertise is for a log directory of this host", fix="set it there; nothing was changed")


def _fail(errors: Sequence[MkError], options: Options) -> None:
    """Fail with the worst of the errors, after a note of the others."""
    if not errors:
        return
    last = worst(errors)
    if not options.follow:
        for error in errors:
            if error is not last:
                note(f"mk: {error.what}" + (f" ({error.why})" if error.why else ""))
    raise last


def _show_plan(source: SourceReplica, target: TargetReplica | None, choice: Choice, options: Options) -> int:
    from mk.replication.plan import plan

    steps = list(plan(source, target, choice))
    Output(options).plan(steps)
    _fail([step.error for step in steps if step.error is not None], options)
    return 0


def _comparisons(
    source: SourceReplica, target: TargetReplica | None, choice: Choice, options: Options
) -> Iterator[Comparison]:
    # What either side is, _open_source and _open_target know by the same words.
    if is_kafka(_source_of(options)):
        from mk.kafka_cluster.content_comparison import compare_with_source

        return compare_with_source(source, target, choice)  # type: ignore[arg-type]  # A KafkaSource.
    if is_kafka(options.target):
        from mk.kafka_cluster.content_comparison import compare_with_copy

        return compare_with_copy(source, target, choice)  # type: ignore[arg-type]  # Into a KafkaCopy.
    from mk.replication.comparison import compare

    return compare(source, target, choice)  # type: ignore[arg-type]  # Both are directories.


def _compare(source: SourceReplica, target: TargetReplica | None, choice: Choice, options: Options) -> int:
    output = Output(options)
    found = []
    for comparison in _comparisons(source, target, choice, options):
        output.comparison(comparison)
        found.append(comparison)
    output.comparisons_end(found)
    errors = [one.error for one in found if one.error is not None]
    for one in found:
        if one.differs_at >= 0:
            errors.append(
                DivergedLogError(
                    "is no copy in DST of what SRC has",
                    topic=one.topic,
                    partition=one.partition,
                    why=f"{one.why}, in the segment or part that begins at offset {one.segment}",
                    fix="`mk topics verify` in both shows whether one is damaged",
                )
            )
    _fail(errors, options)
    behind = [one for one in found if one.behind]
    if behind:
        raise ConditionFalseError(
            f"DST is behind in {counted(len(behind), 'partition')}, by {counted(sum(one.behind for one in behind), 'record')}",
            why="what both have is the same",
            fix="`mk replicate` without --verify brings it up to date, or says why it cannot",
        )
    return 0
