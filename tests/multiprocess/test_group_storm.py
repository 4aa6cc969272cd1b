"""Members of a group and their producers are killed, stopped, continued and started at random, and the group skips nothing."""

import pytest
from group_storm import storm

PATIENT = {"session_timeout": "20s"}
"""On a busy machine a member may be slow; that is no stop, and nobody is to take it for one."""


def test_members_that_are_killed_stopped_and_continued_skip_nothing(tmp_path):
    storm(tmp_path, 9, partitions=6, members=4, seed=1, ways=("SIGKILL", "SIGSTOP", "SIGTERM", "SIGTSTP"))


def test_when_every_stop_is_a_clean_one_nothing_comes_twice(tmp_path):
    storm(tmp_path, 7, partitions=5, members=3, seed=2, ways=("SIGTERM", "SIGINT"), exactly_once=True, **PATIENT)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_minute_of_storm(tmp_path, seed):
    storm(
        tmp_path,
        60,
        partitions=4 + seed,
        members=3 + 2 * seed,
        seed=seed,
        ways=("SIGKILL", "SIGSTOP", "SIGTERM", "SIGTSTP"),
    )


@pytest.mark.slow
def test_a_minute_of_clean_stops(tmp_path):
    storm(tmp_path, 60, partitions=7, members=5, seed=9, ways=("SIGTERM", "SIGINT"), exactly_once=True, **PATIENT)
