"""`mk top`: topics, groups and copies live on a terminal, or once as text or JSON.

One thread looks, and this one draws and listens to keys: a far side that does not answer must not keep anybody from quitting.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from queue import SimpleQueue

from mk.cli import live_screen
from mk.cli.console import print_fields, print_json, print_table, size_text
from mk.cli.drawing import letters
from mk.cli.notes import note
from mk.cli.selection import matching
from mk.cli.signals import Stopped, die_of, held
from mk.cli.top_rates import rated
from mk.cli.top_view import View
from mk.cli.topics import readable
from mk.cluster import connect
from mk.errors import UsageError
from mk.transport.kafka_address import is_kafka

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mk.cli.options import Options
    from mk.cluster import Cluster

    Document = dict[str, Any]

_TOPIC_COLUMNS = (
    "topic",
    "partitions",
    "records",
    "size",
    "records_in_per_s",
    "bytes_in_per_s",
    "records_out_per_s",
    "last_write",
    "problem",
)
_GROUP_COLUMNS = (
    "group",
    "members",
    "topics",
    "lag",
    "lag_change_per_s",
    "records_out_per_s",
    "last_commit",
    "problem",
)
_REPLICA_COLUMNS = ("replica", "role", "partitions", "lag", "lag_change_per_s", "seen")


def run(options: Options) -> int:
    """Show what is there until the q, or once. Ends by a signal as any command does, with the terminal as it was."""
    if options.json and not options.once:
        raise UsageError("--json needs --once", fix="`mk top --once --json` prints one look, with its rates")
    if not options.once and not live_screen.is_possible():
        raise UsageError(
            "mk top needs a terminal it can draw on",
            fix="`mk top --once` prints the same once, as text or with --json",
        )
    with connect(options.directory) as cluster:
        if options.once:
            return _once(cluster, options)
        with_color = not options.no_color and not os.environ.get("NO_COLOR")
        view = View(cluster.location, letters(sys.stdout), interval_ms=options.interval_ms, pattern=options.regex or "")
        looking = _Looking(cluster)
        with live_screen.LiveScreen(with_color=with_color) as screen:
            looking.start(screen.wake)
            _live(view, screen, looking, options.interval_ms / 1000)
        if looking.is_on_its_way:
            # It may wait for a far side that is gone: nobody needs its answer, and closing would wait for it.
            os._exit(die_of(screen.stopped_by) if screen.stopped_by else 0)
    if screen.stopped_by:
        raise Stopped(screen.stopped_by)
    return 0


class _Looking:
    """A thread that looks whenever it is asked to. error: why it cannot any more."""

    def __init__(self, cluster: Cluster) -> None:
        self.is_on_its_way = False
        self.error: BaseException | None = None
        self._cluster = cluster
        self._asked: SimpleQueue[str] = SimpleQueue()
        self._found: SimpleQueue[Document] = SimpleQueue()

    def start(self, wake: Callable[[], None]) -> None:
        """Begin. wake: called when something was found."""
        # It inherits what is held: a second ^C that came through it would raise in the main thread all the same, and in the
        # middle of giving the terminal back.
        with held():
            threading.Thread(target=self._look, args=(wake,), daemon=True).start()

    def ask(self, owners_of: str) -> None:
        self.is_on_its_way = True
        self._asked.put(owners_of)

    def found(self) -> Document | None:
        """Return what was found since it was asked, None as long as it looks. Raises what looking has raised."""
        if self.error is not None:
            self.is_on_its_way = False
            raise self.error
        if self._found.empty():
            return None
        self.is_on_its_way = False
        return self._found.get()

    def _look(self, wake: Callable[[], None]) -> None:
        while True:
            try:
                self._found.put(self._cluster.sample(self._asked.get()))
            except BaseException as error:
                self.error = error
            wake()
            if self.error is not None:
                return


def _live(view: View, screen: live_screen.LiveScreen, looking: _Looking, interval: float) -> None:
    """Draw and listen until the q, a signal, or an error of looking."""
    due = asked_at = time.monotonic()
    owners_of = ""
    size = (0, 0)
    while True:
        now = time.monotonic()
        if not looking.is_on_its_way and now >= due:
            owners_of, asked_at = view.owners_of, now
            # From now on and not from when it was due: after a pause there is nothing to catch up with.
            due = now + interval
            looking.ask(owners_of)
        if size != screen.size():
            size = screen.size()
            screen.forget()
        waiting = now - asked_at if looking.is_on_its_way else 0.0
        screen.draw(view.frame(*size, waiting_ms=1000 * waiting))
        # While it looks, once a second: to say that there is no answer.
        for key in screen.wait(1.0 if looking.is_on_its_way else due - time.monotonic()):
            view.press(key)
        if view.quits or screen.stopped_by:
            return
        found = looking.found() if looking.is_on_its_way else None
        if found is not None:
            view.take(found)
            if view.owners_of != owners_of:
                due = time.monotonic()  # A group was opened meanwhile, whose owners nobody has asked for.
        elif view.owners_of not in ("", owners_of) and not looking.is_on_its_way:
            due = time.monotonic()


def _once(cluster: Cluster, options: Options) -> int:
    before = cluster.sample()
    time.sleep(options.interval_ms / 1000)
    document = _matching(rated(before, cluster.sample(), cluster.location), options.regex)
    if options.json:
        print_json(document)
        return 0
    said = {key: document[key] for key in ("directory", "time_ms")}
    if is_kafka(cluster.location):
        said = {"cluster": said.pop("directory"), **said}
    print_fields({**readable(said), "rates_over": f"{document['elapsed_ms'] / 1000:.3g}s"})
    print()
    rows = [_row(topic, partitions=topic["partition_count"]) for topic in document["topics"]]
    print_table(_TOPIC_COLUMNS, rows, no_color=options.no_color)
    if document["groups"]:
        rows = [_row(group, members=group["member_count"], topics=len(group["topics"])) for group in document["groups"]]
        print()
        print_table(_GROUP_COLUMNS, rows, no_color=options.no_color)
    if document["replicas"]:
        rows = [
            _row(one, replica=one["address"] or one["directory_id"], partitions=one["partition_count"])
            for one in document["replicas"]
        ]
        print()
        print_table(_REPLICA_COLUMNS, rows, no_color=options.no_color)
    for unseen in document["unseen"]:
        note(f"mk: {unseen['what']}: {unseen['why']}")
    return 0


def _row(document: Document, **columns: object) -> Document:
    row = readable({**document, **columns})
    if "bytes_in_per_s" in document:
        rate = document["bytes_in_per_s"]
        row["bytes_in_per_s"] = None if rate is None else size_text(round(rate))
    return row


def _matching(document: Document, regex: str | None) -> Document:
    """Leave what has a name in which a regular expression is found."""
    if regex is None:
        return document
    for kind, name in (("topics", "topic"), ("groups", "group")):
        if document[kind] is not None:
            names = set(matching([row[name] for row in document[kind]], regex))
            document[kind] = [row for row in document[kind] if row[name] in names]
    return document
