"""`mk consume --exec`: a command for each record, or for some together, and its exit status as the acknowledgement."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import shlex
import shutil

from mk.cli import signals
from mk.cli.consume import check_format, first_records, open_consumer, wanted_fetches, write_all
from mk.cli.notes import counted, note
from mk.cluster import connect
from mk.consumer import verdicts
from mk.consumer.child import Output
from mk.consumer.dead_letters import HEADER_BYTES, DeadLetters
from mk.consumer.execution import Execution, Halted
from mk.consumer.offset_spec import OffsetSpec
from mk.consumer.worker_pool import Policy
from mk.errors import (
    MkError,
    NoSuchCommandError,
    NoSuchTopicError,
    PermissionDeniedError,
    RecordFailedError,
    TimedOutError,
    TopicExistsError,
    UsageError,
)
from mk.formats.writers import writer
from mk.topic_partition import check_name_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mk.cli.options import Options
    from mk.cluster import Cluster
    from mk.consumer.consumer import Consumer, FetchedBatch
    from mk.consumer.group_consumer import GroupConsumer
    from mk.consumer.record_window import Task
    from mk.consumer.worker_pool import Failure
    from mk.producer.producer import Producer
    from mk.records.record import ConsumerRecord

_RETRIES = 3
_BACKOFF_MS = 1000
_COMMIT_INTERVAL_MS = 100
"""Shorter than for what is printed: what was done and not committed is done again after a crash."""

_SUSPEND_SECONDS = 0.5
_LARGEST_MESSAGE_BYTES = 63 << 20
_MOST_PLACES_NOTED = 5


def run(options: Options) -> int:
    """Run the command for all that is asked for, and return 0 when it is done, dead letters included."""
    arguments = command_of(options.execute)
    _check(options)
    times = [time for time in (options.max_time_ms, options.timeout_ms) if time is not None]
    jobs = options.jobs or 1
    policy = Policy(
        arguments,
        _framing(options),
        # With one child at a time there is nothing to keep apart: it has standard output for itself.
        output=Output(lambda piece: write_all([piece])) if jobs > 1 else None,
        records_each=options.records_each,
        jobs=jobs,
        retries=_RETRIES if options.retries is None else options.retries,
        backoff_ms=_BACKOFF_MS if options.backoff_ms is None else options.backoff_ms,
        has_dead_letters=options.dlq is not None,
    )
    # Ignored, as some who start us leave it, the kernel forgets how children end, and each would count as done.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    cluster = connect(options.directory, allow_network_fs=options.allow_network_fs)
    dead_letters = None if options.dlq is None else _dead_letters(cluster, options)
    execution = Execution(policy, dead_letters=dead_letters, max_time_ms=min(times, default=None))
    consumer: Consumer
    if options.group is None:
        consumer = open_consumer(cluster, options, delivery=execution)
        execution.attach(topic_id_of=consumer.topic_id)
    else:
        from mk.cli.consume_group import open_group_consumer

        consumer = member = open_group_consumer(options, execution, commit_interval_ms=_COMMIT_INTERVAL_MS)
        if member.is_skipped:
            member.close()
            return 0
        execution.attach(topic_id_of=consumer.topic_id, owner=member)
        _heed_suspend(member)
    with consumer:
        # The first signal lets the children that run finish what they are at. The second leaves them.
        stopped_by = signals.call_on_stop_signals(execution.halt)
        try:
            _hand_over_all(wanted_fetches(consumer, options), execution, options.count)
        except KeyboardInterrupt:
            execution.terminate()
            raise
        unfinished = execution.unfinished()  # A member of a group forgets them when it leaves.
    execution.close()
    if dead_letters is not None:
        dead_letters.close()
    if not (options.quiet or execution.output_is_closed):
        _note_what_became(execution, unfinished, options)
    if execution.failure is not None:
        raise _failed(execution.failure, execution.records_done, options.group)
    if execution.output_is_closed:
        raise BrokenPipeError
    if stopped_by:
        signals.raise_stopped(stopped_by[0])
    is_late = consumer.has_timed_out or execution.has_timed_out
    if is_late and (options.max_time_ms is None or options.max_time_ms > min(times)):
        raise TimedOutError(timeout_ms=options.timeout_ms, records=execution.records_done, done="done")
    return 0


def _heed_suspend(member: GroupConsumer) -> None:
    """Have ^Z let go of the partitions first. The children of a terminal are stopped by it too, so nothing waits for them."""

    def suspend(number: int, frame: object) -> None:
        member.suspend()
        _signal.setitimer(_signal.ITIMER_REAL, _SUSPEND_SECONDS)

    def stop_anyway(number: int, frame: object) -> None:
        if member.is_suspending:
            # Whoever should let go is waiting for something: others will take what we hold in a while.
            member.is_suspending = False
            os.kill(os.getpid(), _signal.SIGSTOP)

    _signal.signal(_signal.SIGALRM, stop_anyway)
    if _signal.getsignal(_signal.SIGTSTP) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGTSTP, suspend)


def _hand_over_all(fetches: Iterable[list[FetchedBatch]], execution: Execution, left: int | None) -> None:
    """Hand over the records, at most `left` of them, and wait for their children; whatever ends it."""
    try:
        try:
            if left != 0:
                for fetch in fetches:
                    if left is not None:
                        fetch, left = first_records(fetch, left)
                    execution.hand_over(fetch)
                    if left == 0:
                        break
            execution.drain()
        except Halted:
            execution.wind_down()
        except (MkError, OSError):
            _wind_down_quietly(execution)
            raise
    finally:
        execution.commit()


def _wind_down_quietly(execution: Execution) -> None:
    """Wait for the children that run, after an error that is worth more than what may come of that."""
    try:
        execution.wind_down()
    except (MkError, OSError) as error:
        note(f"mk: {error.what if isinstance(error, MkError) else error}")


# What to run, and on what.


def command_of(text: str) -> list[str]:
    """Split a command into words as a shell would, which then is not asked any more.

    Raises:
        UsageError: there is no word, or a quote is not closed.
        NoSuchCommandError, PermissionDeniedError: it cannot be executed, which no record would change.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(
            "--exec has no command that can be split into words",
            why=str(error).lower(),
            fix="quote it once for the shell and once for --exec: --exec \"grep 'a b'\"",
        ) from None
    if not words:
        raise UsageError("--exec cannot be empty", fix="name a command, such as --exec 'sort -u'")
    name = words[0]
    if shutil.which(name) is None:
        if os.sep in name and os.path.exists(name):
            raise PermissionDeniedError(
                f"{name} cannot be executed",
                why="it is a directory" if os.path.isdir(name) else "its mode does not say that you may",
                fix="`chmod +x` it, or name the interpreter: --exec 'sh FILE'; nothing was consumed",
                command=name,
            )
        raise NoSuchCommandError(
            command=name, why="no such file" if os.sep in name else "it is in no directory of $PATH"
        )
    return words


def _check(options: Options) -> None:
    check_format(options)
    if options.raw:
        raise UsageError("--raw means nothing with --exec", why="a child is no terminal", fix="leave it out")
    if options.no_create and options.dlq is None:
        raise UsageError("--no-create means nothing without --dlq", fix="leave it out, or add --dlq TOPIC")


def _framing(options: Options) -> Callable[[Sequence[ConsumerRecord]], bytes]:
    """Return what makes of records the standard input of a child: of one, its value; of several, what is printed of them."""
    null = b"NULL" if options.show_null else b""
    is_framed = options.records_each is not None or options.delimiter is not None or options.null
    if options.format == "value" and not is_framed:
        return lambda records: null if records[0].value is None else records[0].value
    return writer(options.format, delimiter=options.delimiter or (b"\0" if options.null else None), null=null)


# Dead letters.


def _dead_letters(cluster: Cluster, options: Options) -> DeadLetters:
    """Open the topic of the dead letters, which is made if it is missing. Now, and not when there is one to be put there."""
    name = check_name_at(options.directory, options.dlq)
    _check_is_no_source(name, options)

    def open_producer(producer_id: str | None) -> Producer:
        producer = cluster.producer(name, producer_id=producer_id)
        producer.stop_compacting()  # A member that is busy for minutes would lose its partitions.
        return producer

    def read(positions: dict[int, int]) -> Iterable[ConsumerRecord]:
        partitions = range(cluster.partitions(name))
        return cluster.consumer([name], offset={one: OffsetSpec("at", positions.get(one, 0)) for one in partitions})

    try:
        open_producer(None).close()
    except NoSuchTopicError:
        if options.no_create:
            raise
        _create(cluster, name, options)
        open_producer(None).close()
    return DeadLetters(
        open_producer=open_producer, read=read, group=options.group, has_producer_ids=cluster.has_producer_ids
    )


def _check_is_no_source(name: str, options: Options) -> None:
    is_found = False
    if options.regex is not None:
        import re

        is_found = re.search(options.regex, name) is not None
    if is_found or name in options.topics:
        raise UsageError(
            f"--dlq cannot be {name}",
            why=("-r finds it too" if is_found else "it is the topic that is consumed")
            + ", and dead letters would come back as records",
            fix="name another topic for them; nothing was consumed",
        )


def _create(cluster: Cluster, name: str, options: Options) -> None:
    """Make the topic of the dead letters like the largest of those that they come from: keys keep their partitions."""
    sources = list(options.topics)
    if options.regex is not None:
        from mk.cli.selection import matching

        sources = matching(cluster.topic_names(), options.regex)
    partitions = max(map(cluster.partitions, sources), default=1)
    settings = [cluster.topic_config(source) for source in sources]
    largest = max((int(setting["max.message.bytes"]) for setting in settings), default=0)
    config: dict[str, int | str] = {}
    if largest:
        # A dead letter is the record and some headers.
        config["max.message.bytes"] = max(largest, min(largest + HEADER_BYTES, _LARGEST_MESSAGE_BYTES))
    try:
        cluster.create_topic(name, partitions=partitions, config=config)
    except TopicExistsError as error:
        if error.facts["existing"] != name:
            raise
        return  # Another process was faster; its topic is as good.
    if not options.quiet:
        note(f"mk: created topic {name} ({counted(partitions, 'partition')}) in {cluster.location}")


# What became of it.


def _failed(failure: Failure, records_done: int, group: str | None) -> RecordFailedError:
    task, outcome = failure.task, failure.outcome
    topic, partition = task.place
    return RecordFailedError(
        topic=topic,
        partition=partition,
        offset=task.first_offset,
        last_offset=task.last_offset,
        status=verdicts.spelled(outcome.status),
        tries=task.tries,
        why=outcome.why or verdicts.reason(outcome.status),
        is_command_bad=verdicts.verdict(outcome.status) == verdicts.STOP,
        records_done=records_done,
        group=group,
    )


def _note_what_became(execution: Execution, unfinished: Sequence[Task], options: Options) -> None:
    if execution.dead:
        were = "was" if execution.dead == 1 else "were"
        note(f"mk: {counted(execution.dead, 'record')} {were} put into {options.dlq}")
    if execution.failure is not None:
        unfinished = [task for task in unfinished if task is not execution.failure.task]
    if unfinished:
        places = [f"{task.place[0]} {task.place[1]} from offset {task.first_offset} on" for task in unfinished]
        more = len(places) - _MOST_PLACES_NOTED
        note(
            f"mk: not all is done of {', '.join(places[:_MOST_PLACES_NOTED])}"
            + (f", and {counted(more, 'other partition')}" if more > 0 else "")
        )
