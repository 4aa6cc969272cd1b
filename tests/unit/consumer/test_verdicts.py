"""Every exit status means what the table says."""

import re

import pytest

from mk.consumer import verdicts
from mk.consumer.verdicts import DONE, FAILED, POISON, RETRY, STOP, verdict


@pytest.mark.parametrize(
    ("status", "expected"),
    [(0, DONE), (1, FAILED), (64, FAILED), (65, POISON), (66, FAILED), (74, FAILED), (75, RETRY), (76, FAILED)]
    + [(99, FAILED), (100, POISON), (125, POISON), (126, STOP), (127, STOP), (128, POISON), (130, POISON)]
    + [(139, POISON), (254, POISON), (255, STOP), (-9, FAILED), (-11, FAILED), (-15, FAILED)],
)
def test_what_a_status_means(status, expected):
    assert verdict(status) == expected


def test_the_table_for_people_has_a_row_for_each():
    rows = dict(verdicts.TABLE)
    assert len(rows) == 6
    for row in rows:
        for number in re.findall(r"\d+", row):
            assert {DONE: "done", RETRY: "again", POISON: "never", STOP: "stop"}[verdict(int(number))] in {
                "0": "done",
                "75": "again",
                "65, 100 to 254": "never",
                "126, 127, 255": "stop",
            }[row]


@pytest.mark.parametrize("status", [-1, -2, -15, 129, 130, 143])
def test_who_was_asked_to_end(status):
    assert verdicts.was_ended_by_hand(status)


@pytest.mark.parametrize("status", [0, 1, 2, 15, -9, -11, 137, 255])
def test_who_was_not(status):
    assert not verdicts.was_ended_by_hand(status)


def test_spelled():
    assert [verdicts.spelled(status) for status in (0, 7, -9)] == ["0", "7", "signal 9"]
