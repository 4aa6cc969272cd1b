"""`mk check`: what is judged, and how it says so to Nagios, to programs and to Prometheus."""

import json

import pytest
from running import Mk


def checked(mk: Mk, *words: object, **keywords) -> dict:
    """Return the document, whose status is also that of the command."""
    done = mk("check", "--json", *words, **keywords)
    document = json.loads(done.out)
    assert document["status_code"] == done.status, done
    return document


def found(document: dict) -> dict[str, str]:
    """Return the names of what is not OK, and the worst status of each."""
    return {check["name"]: check["status"] for check in document["checks"] if check["status"] != "OK"}


@pytest.fixture
def log(mk: Mk) -> Mk:
    """Topics t, of two partitions, with four records in the first, and u; group g has read one of them."""
    mk.ok("topics", "create", "t", "-p", 2)
    mk.ok("topics", "create", "u")
    mk.ok("produce", "t", "-p", 0, "a", "b", "c", "d")
    mk.ok("consume", "t", "-g", "g", "-n", 1)
    return mk


def test_a_healthy_directory_is_ok_and_left_as_it_is(log: Mk) -> None:
    before = {path: path.lstat().st_mtime_ns for path in log.directory.rglob("*")}
    done = log("check")
    assert (done.status, done.err) == (0, "")
    text, _, values = done.out.decode().rstrip("\n").partition(" | ")
    assert text.startswith("MK OK - 2 topics, 3 partitions, 1 group, ") and text.endswith(f" in {log.directory}")
    assert "lag_g=3;;;0" in values.split() and "failed=0;;0;0" in values.split()
    assert log("check", "-q").out == b""
    assert b"OK lag: g is 3 records behind in t\n" in log.ok("check", "-v")
    assert {path: path.lstat().st_mtime_ns for path in log.directory.rglob("*")} == before


def test_a_lag_beyond_its_limits_is_a_warning_or_critical(log: Mk) -> None:
    done = log("check", "-w", "lag=2", "-c", "lag=5")
    assert done.status == 1
    assert done.out.startswith(b"MK WARNING - g is 3 records behind in t | ") and b" lag_g=3;2;5;0 " in done.out
    assert log("check", "-w", "lag=3").status == 0
    assert log("check", "-w", "lag=1", "-c", "lag=2").status == 2
    assert found(checked(log, "-c", "partition-lag=2")) == {"partition-lag": "CRITICAL"}
    assert log("check", "-w", "lag=2", "u").status == 0
    assert log("check", "-w", "lag=2", "t").status == log("check", "-w", "lag=2", "t", "-g", "g").status == 1
