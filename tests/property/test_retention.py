"""The decision which segments may go, against a model that tries every front of the log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mk.storage.leader_epochs import EpochEntry, LeaderEpochs
from mk.storage.retention import (
    LOG_START,
    NO_LIMIT,
    RETENTION_BYTES,
    RETENTION_MS,
    GroupOffset,
    Hold,
    SegmentFacts,
    hold_of,
    judge,
)

NOW = 10_000
LIMITS = st.one_of(st.just(NO_LIMIT), st.integers(0, 3000))
SHAPES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 1000), st.integers(NOW - 4000, NOW + 4000)), min_size=1, max_size=12
)


def segments_of(shapes: list[tuple[int, int, int]]) -> list[SegmentFacts]:
    """Return a log's segments; only the last one may be empty."""
    segments, offset = [], 0
    for number, (count, size, time) in enumerate(shapes):
        count = max(count, 1) if number < len(shapes) - 1 else count
        segments.append(SegmentFacts(offset, offset + count, size if count else 0, time))
        offset += count
    return segments


@given(SHAPES, LIMITS, LIMITS, st.integers(0, 40), st.integers(0, 40), st.booleans(), st.none() | st.integers(0, 40))
def test_what_goes_is_the_longest_front_that_the_limits_let_go(
    shapes: list[tuple[int, int, int]],
    retention_ms: int,
    retention_bytes: int,
    log_start: int,
    keep_from: int,
    believed: bool,
    held_from: int | None,
) -> None:
    segments = segments_of(shapes)
    end = segments[-1].next_offset
    keep_from = min(keep_from, end)
    log_start = min(log_start, keep_from)
    total = sum(segment.size_bytes for segment in segments)

    def may_go(number: int) -> bool:
        segment = segments[number]
        rest = sum(other.size_bytes for other in segments[number + 1 :])
        if segment.base_offset == segment.next_offset:
            return False
        if segment.next_offset <= log_start:
            return True
        return segment.next_offset <= keep_from and (
            (retention_bytes != NO_LIMIT and rest >= retention_bytes)
            or (
                retention_ms != NO_LIMIT
                and believed
                and NOW - segment.time_ms > retention_ms
                and (held_from is None or segment.next_offset <= held_from)
            )
        )

    front = 0
    while front < len(segments) and may_go(front):
        front += 1
    verdicts = list(
        judge(
            segments,
            total_bytes=total,
            now_ms=NOW,
            retention_ms=retention_ms,
            retention_bytes=retention_bytes,
            log_start_offset=log_start,
            keep_from=keep_from,
            hold=None if held_from is None else Hold(held_from, "somebody reads"),
            clock_is_believed=believed,
        )
    )
    assert [verdict.segment for verdict in verdicts] == segments
    assert [verdict.goes for verdict in verdicts] == [number < front for number in range(len(segments))]
    for verdict in verdicts:
        assert verdict.why
        assert verdict.reason in ((LOG_START, RETENTION_MS, RETENTION_BYTES) if verdict.goes else ("",))
    gone = [verdict.segment.size_bytes for verdict in verdicts if verdict.reason != LOG_START and verdict.goes]
    if gone and retention_ms == NO_LIMIT:
        assert total >= retention_bytes, "the log is smaller than its limit by what was removed"


def goes(shapes: list[tuple[int, int, int]], *, keep_from: int = 100, hold: Hold | None = None) -> list[bool]:
    """Tell which segments go of those with so many records, bytes, and a time, if records stay for 100 ms."""
    verdicts = judge(
        segments_of(shapes),
        total_bytes=sum(size for _, size, _ in shapes),
        now_ms=NOW,
        retention_ms=100,
        retention_bytes=NO_LIMIT,
        log_start_offset=0,
        keep_from=keep_from,
        hold=hold,
    )
    return [verdict.goes for verdict in verdicts]


OLD, YOUNG = NOW - 101, NOW - 100


def test_an_old_segment_behind_a_young_one_stays() -> None:
    assert goes([(2, 9, OLD), (2, 9, YOUNG), (2, 9, OLD), (2, 9, YOUNG)]) == [True, False, False, False]


def test_a_segment_stays_that_may_be_read_in_part_only() -> None:
    three = [(2, 9, OLD)] * 3
    assert [goes(three, keep_from=offset) for offset in (3, 4, 5)] == [[True, False, False], *[[True, True, False]] * 2]


def test_a_segment_stays_that_a_group_has_read_in_part_only() -> None:
    three = [(2, 9, OLD)] * 3
    held = [goes(three, hold=Hold(offset, "somebody reads")) for offset in (0, 1, 2, 3, 4, 6)]
    assert [sum(which) for which in held] == [0, 0, 1, 1, 2, 3]


@given(SHAPES)
def test_without_limits_all_stays(shapes: list[tuple[int, int, int]]) -> None:
    segments = segments_of(shapes)
    end = segments[-1].next_offset
    verdicts = judge(
        segments,
        total_bytes=0,
        now_ms=NOW,
        retention_ms=NO_LIMIT,
        retention_bytes=NO_LIMIT,
        log_start_offset=0,
        keep_from=end,
    )
    assert not any(verdict.goes for verdict in verdicts)


def test_no_segment_is_looked_into_before_its_turn() -> None:
    """Looking into one may mean to read it, under the lock."""
    seen = []

    def segments():  # type: ignore[no-untyped-def]
        for base in range(5):
            seen.append(base)
            yield SegmentFacts(base, base + 1, 10, NOW if base else 0)

    for verdict in judge(
        segments(),
        total_bytes=50,
        now_ms=NOW,
        retention_ms=100,
        retention_bytes=NO_LIMIT,
        log_start_offset=0,
        keep_from=5,
    ):
        if not verdict.goes:
            break
    assert seen == [0, 1]


GROUPS = st.lists(st.builds(GroupOffset, st.sampled_from("abc"), st.integers(-1, 50), st.integers(-1, 5)), max_size=4)


@given(GROUPS, st.lists(st.tuples(st.integers(0, 6), st.integers(0, 60)), max_size=4))
def test_groups_hold_what_the_slowest_of_them_has_not_read_of_this_log(
    groups: list[GroupOffset], shape: list[tuple[int, int]]
) -> None:
    firsts = sorted(first for _, first in shape)
    epochs = LeaderEpochs(
        [EpochEntry(0, 0, "d")]
        + [
            EpochEntry(epoch, first, "d")
            for epoch, first in zip(sorted({epoch for epoch, _ in shape} - {0}), firsts, strict=False)
        ]
    )

    def epoch_of(offset: int) -> int:
        return max(entry.epoch for entry in epochs.entries if entry.first_offset <= offset)

    def has_read(group: GroupOffset, offset: int) -> bool:
        """What it has read at that offset is what is there: it got that far, and in an epoch that is still the log's."""
        return offset < group.offset and (group.leader_epoch < 0 or epoch_of(offset) <= group.leader_epoch)

    hold = hold_of(groups, epochs.end_of)
    assert (hold is None) == (not groups)
    if hold is not None:
        for offset in range(hold.offset):
            assert all(has_read(group, offset) for group in groups), offset
        assert not all(has_read(group, hold.offset) for group in groups)
        assert any(f"group {group.group} " in hold.why for group in groups)
