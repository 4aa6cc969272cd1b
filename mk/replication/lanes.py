"""Several generators at once, each in a thread of its own, as one: while one waits for the disk, another one computes.

For work that has nothing to do with the other's, and knows itself when to stop.
"""

from __future__ import annotations

from _signal import SIG_BLOCK, pthread_sigmask  # type: ignore[import-not-found]

from mk.storage.partition_log import DEFERRED_SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import TypeVar

    Item = TypeVar("Item")

_END = object()
_LOOK_SECONDS = 0.5


def side_by_side(
    work: list[Callable[[], Iterator[Item]]], lanes: int, stop: Callable[[], None]
) -> Generator[Item, None, None]:
    """Yield what each piece of work yields, as it comes, `lanes` of them at a time. The first error ends all.

    stop: told when nobody wants more; the work that is under way is to end then, and is waited for.
    """
    import threading
    from _queue import Empty, SimpleQueue

    items: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()
    waiting = list(reversed(work))

    def take() -> Callable[[], Iterator[Item]] | None:
        try:
            return waiting.pop()
        except IndexError:
            return None

    def run() -> None:
        # Else one that arrives here would be heard by the main thread only when it has something else to do.
        pthread_sigmask(SIG_BLOCK, DEFERRED_SIGNALS)
        error = None
        try:
            while (job := take()) is not None:
                for item in job():
                    items.put((item, None))
        except BaseException as failure:
            error = failure
        items.put((_END, error))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(lanes, len(work)))]
    running = len(threads)
    try:
        for thread in threads:
            thread.start()
        while running:
            try:
                # Not for ever: a signal is handled in between, wherever it was taken.
                item, error = items.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            if item is not _END:
                yield item  # type: ignore[misc]
                continue
            running -= 1
            if error is not None:
                raise error
    finally:
        waiting.clear()
        stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def results(calls: list[Callable[[], Item]]) -> list[Item]:
    """Return what calls return, in their order; they run at once."""
    found: dict[int, Item] = {}

    def work(number: int) -> Callable[[], Iterator[tuple[int, Item]]]:
        return lambda: iter([(number, calls[number]())])

    numbers = range(len(calls))
    for number, result in side_by_side([work(number) for number in numbers], len(calls), lambda: None):
        found[number] = result
    return [found[number] for number in numbers]
