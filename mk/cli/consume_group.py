"""`mk consume -g`: records for a group, printed by whichever of its members owns their partition.

It ends as its user asked, but what was printed is committed first: a signal lets the batch under way be finished. One that
its reader does not take is given up after a while, as it is when a second signal comes.
"""

import _signal  # type: ignore[import-not-found]
import os

from mk.cli import signals
from mk.cli.consume import STDOUT, check_format, flag_of, print_records, range_asked_for, reporters, wanted_fetches
from mk.cli.group_output import GroupOutput
from mk.cli.notes import counted, note
from mk.cluster import connect
from mk.errors import TimedOutError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.consumer.consumer import Delivery
    from mk.consumer.group_consumer import GroupConsumer

_STOP_SECONDS = 2.0
"""How long a signal waits for the reader of what is being written."""

_SUSPEND_SECONDS = 0.5
"""^Z stops the reader too: what it does not take then, it does not take."""


def run_as_member(options: "Options") -> int:
    """Print what falls to this member, commit it, and return 0 at the end."""
    check_format(options)
    times = [time for time in (options.max_time_ms, options.timeout_ms) if time is not None]
    output = GroupOutput(options, min(times, default=None))
    consumer = open_group_consumer(options, output)
    output.consumer = consumer

    def hurry() -> None:
        output.is_hurried = True

    arrived = heed_signals(consumer, hurry)
    with consumer:
        is_all = consumer.is_skipped or print_records(wanted_fetches(consumer, options), output, options.count)
    if arrived:
        return signals.die_of(arrived[0])
    is_late = consumer.has_timed_out or output.has_timed_out
    if is_all and is_late and (options.max_time_ms is None or options.max_time_ms > min(times)):
        raise TimedOutError(timeout_ms=options.timeout_ms, records=output.records_written)
    return 0


def open_group_consumer(
    options: "Options", delivery: "Delivery", *, commit_interval_ms: "int | None" = None
) -> "GroupConsumer":
    """Join the group that the options name. Raises UsageError where they ask for what a group cannot do."""
    if options.tail is not None:
        raise UsageError(
            f"{flag_of(options, 'tail')} and {_group(options)} exclude each other",
            why="a group reads on where it stands",
            fix="leave one of them out; `-o -N` begins N before the end in partitions that the group never read",
        )
    if options.idle_ms is not None and not options.follow:
        raise UsageError("--idle means nothing without -F", fix="add -F; without it, reading ends at the end anyway")
    offset, stop = range_asked_for(options)
    if isinstance(offset, dict):
        raise UsageError(
            f"an -o that names partitions and {_group(options)} exclude each other",
            why="the members of a group share all partitions; -p says which of them this one takes",
            fix=f"leave one of them out; `mk groups reset {options.group} --to ...` moves a group, partition by partition",
        )
    times = [time for time in (options.max_time_ms, options.timeout_ms) if time is not None]
    report_skip, report_note = reporters(options)
    given: dict[str, Any] = {
        "session_timeout_ms": options.session_timeout_ms,
        "on_truncation": options.on_truncation,
        "commit_interval_ms": commit_interval_ms,
    }
    consumer = connect(options.directory, allow_network_fs=options.allow_network_fs).group_consumer(
        options.group,
        options.topics,
        regex=options.regex,
        partitions=options.partitions or None,
        offset=offset,
        stop=stop,
        follow=options.follow,
        idle_ms=options.idle_ms,
        max_time_ms=min(times, default=None),
        commit=not options.no_commit,
        or_skip=options.or_skip,
        delivery=delivery,
        output_fd=STDOUT,
        on_skip=report_skip,
        on_note=report_note,
        **{name: value for name, value in given.items() if value is not None},
    )
    if consumer.is_skipped and not options.quiet:
        note(f"mk: group {options.group} has {counted(consumer.others, 'other member')}; left it the work")
    return consumer


def _group(options: "Options") -> str:
    return "-g" if os.environ.get("MK_GROUP") != options.group else "-g (or $MK_GROUP)"


def heed_signals(consumer: "GroupConsumer", hurry: "Any") -> "list[int]":
    """Have signals that ask this process to stop end the consumer in good order, and ^Z let go of its partitions first.

    Returns a list that will hold the signal that came. hurry: called when it takes too long to end; then what is being
    written is broken off. When it takes too long to stop, the process is stopped as it is.
    """

    def stop() -> None:
        consumer.stop()
        _signal.setitimer(_signal.ITIMER_REAL, _STOP_SECONDS)

    arrived = signals.call_on_stop_signals(stop)

    def give_up(number: int, frame: object) -> None:
        if arrived:
            hurry()
            signals.raise_stopped(arrived[0])
        elif consumer.is_suspending:
            # Whoever reads the output was stopped with us, or does not read: others will take what we hold in a while.
            consumer.is_suspending = False
            os.kill(os.getpid(), _signal.SIGSTOP)

    def suspend(number: int, frame: object) -> None:
        consumer.suspend()
        _signal.setitimer(_signal.ITIMER_REAL, _SUSPEND_SECONDS)

    _signal.signal(_signal.SIGALRM, give_up)
    if _signal.getsignal(_signal.SIGTSTP) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGTSTP, suspend)
    return arrived
