"""What is noted of processes reaches the checker of anomalies, which finds what was done to a log on purpose."""

import pytest
from history import Anomaly, History, read_log
from processes import create_topic, must

SENT = [(None, b"a"), (None, b"b"), (None, b"c")]


def history():
    noted = History()
    for _, value in SENT:
        noted.note_sent("p", value)
    noted.note_sent("q", b"z")
    noted.note_acks("p", "t 0 0 1\nmk: a warning\nt 0 3 3\n")
    return noted


GOOD = [SENT[0], SENT[1], (None, b"z"), SENT[2]]


def test_a_log_with_unacknowledged_records_of_others_is_good():
    history().check([GOOD])


@pytest.mark.parametrize(
    ("log", "finding"),
    [
        (GOOD[:3], "unseen"),
        ([*GOOD[:3], (None, b"C")], "foreign"),
        ([*GOOD, SENT[2]], "duplicate"),
        ([*GOOD, (None, b"y")], "foreign"),
        ([SENT[1], SENT[0], (None, b"z"), SENT[2]], "reordered"),
        ([SENT[0], (None, b"z"), SENT[1], SENT[2]], "misplaced"),
        ([SENT[0], (None, b"z")], "unseen"),
        ([SENT[0], (None, b"z"), SENT[2]], "lost-write"),
        ([SENT[0], (None, b"B"), (None, b"z"), SENT[2]], "foreign"),
        ([(b"key", b"a"), *GOOD[1:]], "foreign"),
    ],
)
def test_what_is_wrong_is_found_and_named(log, finding):
    with pytest.raises(AssertionError, match=finding):
        history().check([log])


def test_a_record_that_is_missing_in_front_of_another_of_its_producer_is_found():
    noted = history()
    noted.note_sent("q", b"y")
    noted.check([[*GOOD, (None, b"y")]])
    noted = history()
    noted.note_sent("q", b"x")
    noted.note_sent("q", b"y")
    with pytest.raises(Anomaly, match="hole"):
        noted.check([[*GOOD, (None, b"y")]])


def test_more_acknowledgements_than_records_are_found():
    noted = history()
    noted.note_acks("q", "t 0 2 4\n")
    with pytest.raises(Anomaly, match="has sent 1"):
        noted.check([GOOD])


def test_a_reader_without_a_group_may_not_jump_and_a_member_may():
    log = GOOD
    jump = [(0, 0, log[0]), (0, 3, log[3])]
    noted = history()
    noted.note_given("r", jump)
    with pytest.raises(AssertionError, match="int-poll-skip"):
        noted.check([log])
    noted = history()
    noted.note_given("m", jump, group="g")
    noted.note_given("n", [(0, 1, log[1]), (0, 2, log[2])], group="g")
    noted.checker.committed("g", 0, 4)
    noted.check([log])


def test_a_member_that_goes_on_in_front_of_a_commit_is_found_unless_it_was_stopped():
    for was_stopped in (True, False):
        noted = history()
        noted.note_given("m", [(0, offset, record) for offset, record in enumerate(GOOD)], group="g")
        noted.checker.committed("g", 0, 3)
        noted.note_given("n", [(0, 2, GOOD[2])], group="g", was_stopped=was_stopped)
        if was_stopped:
            noted.check([GOOD])
        else:
            with pytest.raises(AssertionError, match="lost-commit"):
                noted.check([GOOD])


def test_a_flipped_bit_anywhere_in_a_segment_is_found(tmp_path):
    create_topic(tmp_path / "log", "t")
    for number in range(5):
        must(tmp_path / "log", "produce", "t", f"v{number}")
    assert [value for _, value in read_log(tmp_path / "log", "t")] == [b"v0", b"v1", b"v2", b"v3", b"v4"]
    segment = tmp_path / "log/topics/t/0/00000000000000000000.log"
    data = segment.read_bytes()
    for position in range(len(data)):
        segment.write_bytes(data[:position] + bytes((data[position] ^ 0x10,)) + data[position + 1 :])
        with pytest.raises(Anomaly):
            read_log(tmp_path / "log", "t")
