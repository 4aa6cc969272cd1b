"""Whatever is added, started, finished and forgotten in whatever order: the window says what plain lists say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mk.consumer.record_window import RecordWindow, Task, size_of
from mk.records.record import ConsumerRecord

PLACES = [("t", 0), ("t", 1), ("u", 0)]
KEYS = [None, b"a", b"b", b"c"]
STEPS = st.lists(
    st.tuples(st.just("add"), st.sampled_from(PLACES), st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
    | st.tuples(st.just("start"))
    | st.tuples(st.just("finish"), st.integers(0, 9))
    | st.tuples(st.just("take"))
    | st.tuples(st.just("withdraw"), st.sampled_from(PLACES))
    | st.tuples(st.just("forget"), st.sampled_from(PLACES)),
    max_size=80,
)


class Model:
    """The same by looking at everything each time: a list of all tasks in the order in which they were added."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.state: dict[Task, str] = {}

    def add(self, task: Task) -> None:
        self.tasks.append(task)
        self.state[task] = "waiting"

    def may_start(self, task: Task) -> bool:
        before = self.tasks[: self.tasks.index(task)]
        unfinished = [other for other in before if self.state[other] in ("waiting", "running", "orphaned")]
        return self.state[task] == "waiting" and not any(set(other.lanes) & set(task.lanes) for other in unfinished)

    def startable(self) -> Task | None:
        return next((task for task in self.tasks if self.may_start(task)), None)

    def take(self) -> list[Task]:
        taken = []
        for place in PLACES:
            for task in [task for task in self.tasks if task.place == place and self.state[task] != "gone"]:
                if self.state[task] == "orphaned":
                    continue
                if self.state[task] != "finished":
                    break
                self.state[task] = "gone"
                taken.append(task)
        return taken

    def withdraw(self, place: tuple[str, int]) -> None:
        here = [task for task in self.tasks if task.place == place]
        waiting = [task for task in here if self.state[task] == "waiting"]
        if waiting:
            self.abandon(here[here.index(waiting[0]) :])

    def forget(self, place: tuple[str, int]) -> None:
        self.abandon([task for task in self.tasks if task.place == place])

    def abandon(self, tasks: list[Task]) -> None:
        for task in tasks:
            self.state[task] = {"running": "orphaned", "orphaned": "orphaned"}.get(self.state[task], "gone")

    def held(self) -> list[Task]:
        return [task for task in self.tasks if self.state[task] in ("waiting", "running", "finished")]


@given(STEPS)
def test_the_window_says_what_plain_lists_say(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    window, model = RecordWindow(10**6, 10**9), Model()
    offsets = dict.fromkeys(PLACES, 0)
    working: list[Task] = []
    for kind, *rest in steps:
        if kind == "add":
            place, keys = rest
            records = [ConsumerRecord(*place, offsets[place] + at, 0, key, b"v") for at, key in enumerate(keys)]
            offsets[place] += len(keys)
            task = Task(records, [(place, key) for key in keys if key is not None])
            window.add(task)
            model.add(task)
        elif kind == "start":
            expected = model.startable()
            started = window.start()
            assert started is expected
            if started is not None:
                model.state[started] = "running"
                working.append(started)
        elif kind == "finish" and working:
            task = working.pop(rest[0] % len(working))
            window.finish(task)
            assert task.counts == (model.state[task] == "running")
            model.state[task] = "finished" if model.state[task] == "running" else "gone"
        elif kind == "take":
            taken, expected_tasks = list(window.take_finished()), model.take()
            for place in PLACES:
                assert [t for t in taken if t.place == place] == [t for t in expected_tasks if t.place == place]
        elif kind == "withdraw":
            window.withdraw(*rest)
            model.withdraw(*rest)
        elif kind == "forget":
            window.forget(*rest)
            model.forget(*rest)
        assert window.records == sum(len(task.records) for task in model.held())
        assert window.size_bytes == sum(task.size_bytes for task in model.held())
    # All that is left can be done: nothing waits for something that never comes.
    while working or model.startable() is not None:
        while (started := window.start()) is not None:
            model.state[started] = "running"
            working.append(started)
        task = working.pop(0)
        window.finish(task)
        model.state[task] = "finished" if model.state[task] == "running" else "gone"
    list(window.take_finished())
    assert window.records == window.size_bytes == 0
    assert not window.unfinished()


def test_there_is_room_for_one_task_whatever_its_size_and_for_no_more_than_was_said() -> None:
    window = RecordWindow(2, 1000)
    large = ConsumerRecord("t", 0, 0, 0, None, b"x" * 5000)
    assert window.has_room(1, size_of(large))
    window.add(Task([large]))
    assert not window.has_room(1, 1)
    window = RecordWindow(2, 1000)
    window.add(Task([ConsumerRecord("t", 0, 0, 0, None, None)]))
    assert window.has_room(1, 0) and not window.has_room(2, 0) and not window.has_room(1, 900)


def test_a_gap_behind_a_record_is_passed_with_it() -> None:
    window = RecordWindow(10, 10**6)
    assert not window.pass_over(("t", 0), 5, 1)
    task = Task([ConsumerRecord("t", 0, 3, 0, None, b"v", leader_epoch=1)])
    window.add(task)
    assert task.next_offset == 4
    assert window.pass_over(("t", 0), 9, 2)
    assert (task.next_offset, task.leader_epoch) == (9, 2)


def test_what_is_done_behind_a_record_that_is_withdrawn_is_not_given_back() -> None:
    window = RecordWindow(10, 10**6)
    first, second, third = (
        Task([ConsumerRecord("t", 0, at, 0, key, b"v")], [key]) for at, key in enumerate((b"a", b"a", b"b"))
    )
    for task in (first, second, third):
        window.add(task)
    assert window.start() is first and window.start() is third
    window.finish(third)
    window.withdraw(("t", 0))
    window.finish(first)
    assert list(window.take_finished()) == [first]
    assert not window.records
