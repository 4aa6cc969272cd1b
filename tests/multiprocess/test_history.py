"""The checker itself: it finds what was done to a log on purpose."""

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
        (GOOD[:3], "lost"),
        ([*GOOD, SENT[2]], "doubled"),
        ([*GOOD, (None, b"y")], "foreign or altered"),
        ([SENT[1], SENT[0], (None, b"z"), SENT[2]], "reordered"),
        ([SENT[0], (None, b"z"), SENT[1], SENT[2]], "not what it sent"),
        ([SENT[0], (None, b"B"), (None, b"z"), SENT[2]], "foreign or altered"),
        ([(b"key", b"a"), *GOOD[1:]], "foreign or altered"),
    ],
)
def test_what_is_wrong_is_found_and_named(log, finding):
    with pytest.raises(Anomaly, match=finding):
        history().check([log])


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
