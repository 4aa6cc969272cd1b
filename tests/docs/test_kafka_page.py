"""mk-kafka(7) and `mk help kafka`: form, that they say the same as the code does, and that their lines run on a broker."""

import re

import pytest

from mk.cli import help_topics
from mk.cli.exit_statuses import exit_statuses
from mk.cli.kafka_help import DIFFERENCES
from mk.kafka_cluster.kafka_topic import PARTITIONERS
from mk.transport.kafka_address import DEFAULT_TIMEOUT_MS, PROFILE, TIMEOUT, read_profile
from tests.cli.running import Mk
from tests.docs.mdoc_page import Page, unescape

PAGE = Page("mk-kafka.7")


def test_mandoc_finds_nothing_to_complain_about():
    assert PAGE.complaints() == []


def test_the_page_has_the_differences_that_the_help_has():
    form = r"^\.It Sy (.*)\nDirectory: (.*(?:\n(?!\.).*)*)\.\n\.br\nKafka: (.*(?:\n(?!\.).*)*)\.$"
    found = re.findall(form, PAGE.section("DIFFERENCES"), flags=re.MULTILINE)
    assert [tuple(" ".join(unescape(cell).split()) for cell in row) for row in found] == list(DIFFERENCES)
    shown = help_topics.subjects()["kafka"]
    assert all(f"  {name}  " in shown for name, _, _ in DIFFERENCES)


def test_the_statuses_are_those_of_mk():
    told = re.findall(r"^\.It (\d+)$", PAGE.section("TIMEOUTS"), flags=re.MULTILINE)
    assert len(told) == 5 and set(map(int, told)) < {
        int(status) for status, _ in exit_statuses() if str(status).isdigit()
    }


def test_the_properties_of_mk_are_named_with_their_defaults():
    text = PAGE.section("PROPERTIES")
    assert f".It Va {PROFILE}" in text and f".It Va {TIMEOUT}" in text and str(DEFAULT_TIMEOUT_MS) in text
    for name in re.findall(r"^\.Cm (\w+)$", text, flags=re.MULTILINE):
        assert name in PARTITIONERS


def test_the_profiles_that_are_shown_are_profiles(tmp_path):
    (shown,) = (block for block in PAGE.examples("PROFILES") if "sasl" in block)
    help_text = help_topics.subjects()["kafka"]
    lines = [line.strip() for line in help_text.splitlines() if re.match(r"  [a-z.]+=", line)]
    for text in (shown, "\n".join(lines)):
        (tmp_path / "profile").write_text(text)
        found = read_profile(str(tmp_path / "profile"))
        assert set(found) == {
            "bootstrap.servers",
            "security.protocol",
            "sasl.mechanism",
            "sasl.username",
            "sasl.password",
            "ssl.ca.location",
        }


@pytest.mark.parametrize("place", ["page", "help"])
def test_the_first_lines_run_on_a_cluster(place, broker, tmp_path):
    if place == "page":
        (script,) = (block for block in PAGE.examples("DESCRIPTION") if "MK_DIR" in block)
    else:
        lines = help_topics.subjects()["kafka"].partition("What is otherwise")[0].splitlines()
        script = "\n".join(line for line in lines if re.match(r"  (export|seq|mk) ", line))
    assert script.count("h1:9092,h2:9092") == 1
    done = Mk(tmp_path / "log").shell("set -e\n" + script.replace("h1:9092,h2:9092", broker.address))
    assert done.status == 0, done
    assert done.out.startswith(b"1\n2\n3\n") and b"REPLICAS" in done.out
