"""`mk topics describe` draws on a terminal, and on a terminal only."""

import json
import re

import pytest
from terminal import Terminal
from test_remote import fake_ssh


@pytest.fixture
def spread(mk):
    mk.ok("topics", "create", "t", "-p", 2, "-c", "retention.ms=-1")
    for partition, records, time in ((0, 30, "2026-01-01T00:00:00Z"), (1, 10, "2026-01-01T00:05:00Z")):
        mk.ok("produce", "t", "-p", partition, "--timestamp", time, stdin=b"x\n" * records)
    return mk


@pytest.mark.every_case
@pytest.mark.parametrize("size", [(80, 60), (200, 60), (40, 200)])
def test_bars_show_partitions_and_times(spread, size):
    with Terminal([spread.program, "topics", "describe", "t"], size=size, env=spread.environment) as terminal:
        assert terminal.end() == 0
        text = terminal.text
    assert re.search(r"^  0  30  █+$", text, re.M) and re.search(r"^  1  10  █+[▏▎▍▌▋▊▉]?$", text, re.M)
    assert "records by time, 30 s a line" in text
    assert re.search(r"^  00:00:00  30  █+$", text, re.M) and re.search(r"^  00:05:00  10  █+[▏▎▍▌▋▊▉]?$", text, re.M)
    assert re.search(r"^  00:02:00   0$", text, re.M)


@pytest.mark.parametrize("size", [(80, 100), (72, 100)])
@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_no_line_of_it_wraps_and_every_column_is_there(spread, size, term):
    env = {**spread.environment, "TERM": term, "COLUMNS": ""}
    with Terminal([spread.program, "topics", "describe", "t"], size=size, env=env) as terminal:
        assert terminal.end() == 0
        shown = re.sub("\x1b\\[[\\d;]*m", "", terminal.raw.decode())
    assert max(map(len, shown.splitlines())) <= size[0]
    headings = spread.ok("topics", "describe", "t", "-p").decode().splitlines()[0].split()
    assert set(headings) <= set(shown.split()) and "STATE" in headings


def test_a_time_that_is_shown_is_one_that_since_takes(spread):
    for zone, ending in (("UTC", "Z"), ("Asia/Kolkata", "+05:30")):
        (heading, row) = spread.ok("topics", env={"TZ": zone}).decode().splitlines()
        shown = row.split()[-1]
        assert heading.endswith("LAST_WRITE") and shown.endswith(ending)
        assert spread("consume", "t", "--since", shown).status == 0


def test_the_c_locale_has_bars_of_its_letters(spread):
    env = {**spread.environment, "LC_ALL": "C"}
    with Terminal([spread.program, "topics", "describe", "-p", "t"], size=(80, 60), env=env) as terminal:
        assert terminal.end() == 0
        assert re.search(r"^  0  30  #+$", terminal.text, re.M)
        assert terminal.raw.isascii()


@pytest.mark.every_case
@pytest.mark.parametrize("words", [("-s", "t"), ("-c", "t"), ("--json", "t"), ("empty",)])
def test_there_is_none_of_what_was_not_asked_for_or_has_no_records(spread, words):
    spread.ok("topics", "create", "empty", "-p", 2)
    with Terminal([spread.program, "topics", "describe", *words], size=(80, 60), env=spread.environment) as terminal:
        assert terminal.end() == 0
        assert "records by" not in terminal.text and "█" not in terminal.text


def test_a_pipe_gets_what_it_always_got(spread):
    out = spread.ok("topics", "describe", "t").decode()
    assert "records by" not in out and out.isascii()
    (document,) = json.loads(spread.ok("topics", "describe", "t", "--json"))
    assert "times" not in document


def test_of_another_host_they_are_the_same(spread, tmp_path):
    env = {**spread.environment, **fake_ssh(tmp_path)}
    texts = []
    for directory in (str(spread.directory), f"far:{spread.directory}"):
        words = [spread.program, "topics", "describe", "-p", "t", "-d", directory]
        with Terminal(words, size=(200, 60), env=env) as terminal:
            assert terminal.end() == 0
            texts.append(terminal.text)
    assert texts[0] == texts[1] and "records by time" in texts[0]
