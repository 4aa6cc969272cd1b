"""What `mk top` says of groups is so although their members commit every five seconds only, and it looks oftener."""

import pytest

from mk.cli.drawing import ASCII
from mk.cli.top_rates import rated
from mk.cli.top_tables import overview
from mk.cli.top_view import View

START_MS = 1_800_000_000_000
PER_S = 1000


def look(at_ms, *, stops_at_ms=10**9, in_per_s=PER_S, behind=0, commits_ms=5000, partitions=2):
    """Return what is seen at a time of a topic that gets records steadily, and of a group that reads them and commits.

    behind: how many records of each partition the group has not read whenever it commits.
    """
    committed_at = min(at_ms, stops_at_ms) // commits_ms * commits_ms
    end = 50_000 + in_per_s * at_ms // 1000 // partitions
    committed = 50_000 + in_per_s * committed_at // 1000 // partitions - behind
    offsets = [
        {
            "topic": "t",
            "topic_id": "id",
            "partition": partition,
            "committed_offset": committed,
            "committed_ms": START_MS + committed_at,
            "lag": end - committed,
            "is_replicated": False,
            "member": None,
            "problem": None,
        }
        for partition in range(partitions)
    ]
    lag = sum(row["lag"] for row in offsets)
    group = {"group": "g", "members": [], "lag": lag, "last_commit_ms": None, "problem": None, "offsets": offsets}
    return {
        "directory_id": "this",
        "clock_ms": float(at_ms),
        "time_ms": START_MS + at_ms,
        "topics": [],
        "groups": [group],
        "replicas": [],
        "unseen": [],
    }


def watched(from_ms, to_ms, interval_ms, **what):
    """Return what the screen has of the group at each look: time, records out a second, how fast the lag grows, lag."""
    view = View("/srv/mk", ASCII, interval_ms=interval_ms)
    found = []
    for at_ms in range(from_ms, to_ms, interval_ms):
        view.take(look(at_ms, **what))
        group = overview(view.document)[1].rows[0]
        found.append((at_ms, group["records_out_per_s"], group["lag_change_per_s"], group["eta_ms"]))
    return found


@pytest.mark.parametrize("interval_ms", [100, 500, 2000, 7000])
@pytest.mark.parametrize("begin_ms", [20_000, 21_300, 24_900])
def test_a_group_that_keeps_up_never_seems_to_stand_still_or_to_fall_behind(interval_ms, begin_ms):
    known = 0
    for _, out, change, eta_ms in watched(begin_ms, begin_ms + 60_000, interval_ms):
        if out is not None:
            known += 1
            assert out == pytest.approx(PER_S, rel=0.01)
            assert change == pytest.approx(0, abs=PER_S / 100)
            assert not eta_ms
    assert known >= 50_000 / interval_ms - 3


def test_a_group_that_stops_is_seen_to_stop(interval_ms=2000):
    found = watched(20_000, 70_000, interval_ms, stops_at_ms=40_000)
    outs = [out for at_ms, out, _, _ in found if at_ms > 40_000]
    assert outs[0] == pytest.approx(PER_S, rel=0.01)
    assert outs == sorted(outs, reverse=True) and outs[-1] == 0
    stopped = {at_ms: (out, change) for at_ms, out, change, _ in found}
    assert stopped[58_000] == (0, pytest.approx(PER_S, rel=0.01))


def test_a_group_that_falls_behind_and_one_that_catches_up_are_told_apart():
    slow, fast = look(20_000), look(34_000)
    for row in fast["groups"][0]["offsets"]:
        row["committed_offset"] -= 2000
        row["lag"] += 2000
    (group,) = rated(slow, fast, "x")["groups"]
    assert group["lag_change_per_s"] > 0.2 * PER_S
    (group,) = rated(look(20_000, behind=9000), look(34_000, behind=1000), "x")["groups"]
    assert group["lag_change_per_s"] < -PER_S
    assert group["records_out_per_s"] == pytest.approx((10_000 + 16_000) / 10, rel=0.01)


def test_two_looks_between_commits_do_not_know_and_say_so():
    (group,) = rated(look(21_000), look(23_000), "x")["groups"]
    assert (group["records_out_per_s"], group["lag_change_per_s"]) == (None, None)
    (group,) = rated(look(24_000), look(26_000), "x")["groups"]
    assert group["records_out_per_s"] == pytest.approx(PER_S)
    assert group["lag_change_per_s"] == pytest.approx(0, abs=1)


def test_a_group_with_nothing_to_read_is_known_to_read_nothing():
    (group,) = rated(look(21_000, in_per_s=0), look(23_000, in_per_s=0), "x")["groups"]
    assert (group["lag"], group["records_out_per_s"], group["lag_change_per_s"]) == (0, 0, 0)


def test_a_group_that_was_set_back_is_rated_again_from_then_on():
    view = View("/srv/mk", ASCII, interval_ms=2000)
    outs = []
    for at_ms in range(20_000, 60_000, 2000):
        view.take(look(at_ms, behind=20_000 if at_ms >= 40_000 else 0))
        outs.append((at_ms, view.document["groups"][0]["records_out_per_s"]))
    assert [at_ms for at_ms, out in outs if out is None and at_ms > 30_000] == [40_000, 42_000, 44_000]
    assert outs[-1][1] == pytest.approx(PER_S, rel=0.01)
