"""What is remembered of compactions: bounded, and so that every tombstone goes some day and none too early."""

from __future__ import annotations

from mk.storage.cleaner_checkpoint import MAX_ENTRIES, NO_TIME, CleanerCheckpoint, Cleaning, decode_checkpoint

DAY_MS = 86_400_000


def test_it_comes_back_as_it_was_written_and_a_damaged_line_spoils_it() -> None:
    written = CleanerCheckpoint([Cleaning(5, 10, 0, 3), Cleaning(7, 20, 10, 0)]).encode()
    found = decode_checkpoint(written)
    assert found is not None
    assert found.encode() == written
    assert decode_checkpoint(written.replace(b"offset=20", b"offset=30")) is None
    assert decode_checkpoint(b"") is not None


def test_tombstones_go_a_day_after_however_often_the_log_is_compacted() -> None:
    for every_ms in (1_000, 60_000, 3_600_000):
        checkpoint = CleanerCheckpoint()
        late_ms = 0
        cleaned_at: list[int] = []
        for number in range(min(3 * DAY_MS // every_ms, 5_000)):
            now_ms = 1 + number * max(every_ms, 3 * DAY_MS // 5_000)
            horizon = checkpoint.cleaned_before(now_ms - DAY_MS)
            # A tombstone at offset n was compacted first by the cleaning number n, and never goes before a day has passed.
            assert all(now_ms - cleaned_at[offset] >= DAY_MS for offset in range(max(0, horizon - 3), horizon))
            if horizon < number:
                late_ms = max(late_ms, now_ms - cleaned_at[horizon])
            cleaned_at.append(now_ms)
            checkpoint = checkpoint.then(Cleaning(now_ms, number + 1, horizon, 1), now_ms - DAY_MS)
            assert len(checkpoint.entries) <= MAX_ENTRIES
        assert late_ms <= DAY_MS * 5 // 4, every_ms


def test_by_a_cleaning_under_a_clock_that_was_not_believed_no_tombstone_goes() -> None:
    checkpoint = CleanerCheckpoint().then(Cleaning(NO_TIME, 10, 0, 1), 0)
    assert checkpoint.first_dirty_offset == 10
    assert checkpoint.cleaned_before(1 << 50) == 0
