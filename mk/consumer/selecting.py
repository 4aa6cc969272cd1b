"""Which consumer does what is asked for beyond the plain one: merged, backward, or with positions kept in a file."""

from __future__ import annotations

from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mk.consumer.consumer import Consumer
    from mk.storage.log_directory import LogDirectory
    from mk.storage.topic import Topic


def selecting_consumer(
    directory: LogDirectory,
    topics: Sequence[Topic],
    options: dict[str, Any],
    *,
    follow: bool,
    merge: bool,
    reverse: bool,
    cursor_file: str | None,
) -> Consumer:
    """Open a consumer with `options` as Consumer has them; the topics are closed with it, and where that fails.

    Raises:
        UsageError: what is asked for excludes itself.
    """
    try:
        _check(follow=follow, reverse=reverse, cursor_file=cursor_file, tail=options["tail"])
    except UsageError:
        for topic in topics:
            topic.close()
        raise
    if reverse:
        from mk.consumer.reversing import ReversingConsumer

        return ReversingConsumer(topics, merge=merge, **options)
    if cursor_file is not None:
        from mk.consumer import remembering

        kind = {
            (False, False): remembering.RememberingConsumer,
            (False, True): remembering.FollowingRememberingConsumer,
            (True, False): remembering.MergingRememberingConsumer,
            (True, True): remembering.FollowingMergingRememberingConsumer,
        }[merge, follow]
        return kind(topics, directory=directory, cursor_file=cursor_file, **options)
    from mk.consumer import merging

    return (merging.FollowingMergingConsumer if follow else merging.MergingConsumer)(topics, **options)


def _check(*, follow: bool, reverse: bool, cursor_file: str | None, tail: int | None) -> None:
    if reverse and follow:
        raise UsageError(
            "--reverse and -F exclude each other",
            why="what comes is newer than all that is there, and would have to be printed first",
            fix="leave one of them out",
        )
    if cursor_file is not None and (reverse or tail is not None):
        raise UsageError(
            f"--cursor-file and {'--reverse' if reverse else '--tail'} exclude each other",
            why="a cursor is one offset in each partition, up to which all was read"
            if reverse
            else "both say where to begin",
            fix="leave one of them out" + ("" if reverse else "; `-o -N` begins N before the end, the first time"),
        )
