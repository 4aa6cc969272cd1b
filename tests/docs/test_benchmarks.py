"""The benchmark runs, and the README quotes what it found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.kafka.fixtures import skipped_where_unavailable
from tests.kafka.jars import jars, java

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "benchmarks"))

import plot  # noqa: E402
import report  # noqa: E402
import targets  # noqa: E402

sys.path.remove(str(REPOSITORY / "benchmarks"))

NOT_ALWAYS_THERE = ("kcat", "rsync")
"""What some targets are set by."""

QUICK = [
    "bulk-produce",
    "keyed-produce",
    "bulk-consume",
    "group-consume",
    "consume-formats",
    "zstd",
    "cold-start",
    "seek",
]
LONGER = ["produce-formats", "verify", "latency", "idle", "producers", "partitions", "replicate", "remote", "memory"]
KAFKA = ["kafka-produce", "kafka-consume", "kafka-replicate", "kafka-start", "kafka-latency"]


def row(name: str, role: str = "mk", **measures: list[float]) -> dict[str, Any]:
    records = {"records": 100} if "seconds" in measures else {}
    return {"name": name, "role": role, "command": name, **records, "measures": measures}


def results(**workloads: list[dict[str, Any]]) -> dict[str, Any]:
    facts = dict.fromkeys(("machine", "kernel", "file_system", "python"), "?")
    of_each = {"title": "", "rounds": 3, "lines": 100, "date": "2026-01-02T", "commit": "abc"}
    named = {name.replace("_", "-"): {**of_each, "rows": rows} for name, rows in workloads.items()}
    return {**facts, "neighbours": {"Kafka": {"kafka": "4.1.0"}, "NATS": "not installed"}, "workloads": named}


LOAD = targets.TARGETS[0]


@pytest.mark.parametrize(
    ("slower", "said"), [(2.5, "met"), (3.0, "met"), (3.5, "missed")], ids=["below", "at the target", "above"]
)
def test_a_ratio_is_that_of_the_medians(slower: float, said: str) -> None:
    mine = row(LOAD.way, seconds=[slower, 9.0, 0.1])
    found = results(bulk_produce=[row(LOAD.beside, "limit", seconds=[1.0, 5.0, 0.5]), mine])
    value = targets.measured(found, LOAD)
    assert value == pytest.approx(slower)
    assert report.verdict(round(slower, 6), LOAD) == said


def test_what_handles_fewer_records_is_compared_by_the_record() -> None:
    mine = row(LOAD.way, seconds=[1.0])
    mine["records"] = 10
    found = results(bulk_produce=[row(LOAD.beside, "limit", seconds=[1.0]), mine])
    assert targets.measured(found, LOAD) == pytest.approx(10)


def test_what_was_left_out_or_has_nothing_beside_it_is_not_measured() -> None:
    failed = row(LOAD.way)
    failed["failure"] = "exit status 1"
    for rows in ([], [row(LOAD.way, seconds=[1.0])], [row(LOAD.beside, "limit", seconds=[1.0]), failed]):
        found = results(bulk_produce=rows)
        assert targets.measured(found, LOAD) is None
        assert report.verdict(None, LOAD) == "not measured"
        assert "| – |" in report.table(found)


def test_of_memory_the_worst_way_of_mk_counts() -> None:
    (memory,) = [target for target in targets.TARGETS if target.workload == "memory"]
    rows = [row("a", peak_bytes=[30e6]), row("b", peak_bytes=[50e6]), row("c", "limit", peak_bytes=[90e6])]
    assert targets.measured(results(memory=rows), memory) == pytest.approx(50)


def test_more_can_be_better_and_a_stretch_is_told_apart() -> None:
    (sum_of_all,) = [target for target in targets.TARGETS if target.measure == "records_per_second"]
    assert [report.verdict(value, sum_of_all) for value in (0.3, 0.5, 1.6)] == ["missed", "met", "beyond"]


def test_the_picture_is_svg_with_a_bar_for_each_way_that_was_measured() -> None:
    failed = row("kcat <-P>")
    failed["failure"] = "no broker"
    ways = [row("cat & sync", "limit", seconds=[1.0, 1.1]), row("mk", seconds=[2.0, 3.0]), failed]
    root = ElementTree.fromstring(plot.picture(results(bulk_produce=ways)))
    bars = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if rect.get("height") == str(plot.BAR)]
    assert [bar.get("class") for bar in bars] == ["limit", "mk"]
    assert float(bars[0].get("width", 0)) > float(bars[1].get("width", 0)), "a rate: the faster is longer"
    assert "cat & sync" in "".join(root.itertext())


def test_the_readme_and_the_picture_are_those_of_the_newest_results() -> None:
    newest = report.newest()
    found = json.loads(newest.read_text())
    assert report.section(found, newest.stem) in (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert newest.with_suffix(".svg").read_text() == plot.picture(found)


def run(
    file: Path, workloads: list[str], lines: int, *words: str, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(REPOSITORY / "benchmarks/run.py"), "--quick", "--rounds", "1", *words]
    command += ["--json", str(file), "--dir", str(file.parent), "--lines", str(lines)]
    for workload in workloads:
        command += ["--only", workload]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)


@pytest.mark.parametrize("workloads", [QUICK, pytest.param(LONGER, marks=pytest.mark.slow)], ids=["quick", "longer"])
def test_workloads_run_without_neighbours_and_have_what_the_targets_need(workloads: list[str], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = run(file, workloads, 2000, "--no-neighbours")
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stdout
    found = json.loads(file.read_text())
    for target in targets.TARGETS:
        if target.workload in found["workloads"] and not any(word in target.beside for word in NOT_ALWAYS_THERE):
            assert targets.measured(found, target) is not None, target
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.kafka
@pytest.mark.slow
def test_workloads_on_kafka_have_what_the_targets_need(tmp_path: Path) -> None:
    with skipped_where_unavailable():
        java()
        jars()
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed")
    file = tmp_path / "results.json"
    done = run(file, KAFKA, 2000)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stdout
    found = json.loads(file.read_text())
    wanted = [target for target in targets.TARGETS if target.workload.startswith("kafka")]
    assert wanted
    for target in wanted:
        assert targets.measured(found, target) is not None, target
    assert list(tmp_path.iterdir()) == [file]


def test_a_workload_on_kafka_is_left_out_with_a_line_where_there_is_no_kcat(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = run(file, KAFKA, 20, env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Kafka is left out: kcat is not installed") == 1
    assert json.loads(file.read_text())["workloads"] == {}


def test_the_targets_and_the_picture_are_of_workloads_that_run() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import run; print(*run.WORKLOADS)"
    words = [sys.executable, "-c", script, str(REPOSITORY / "benchmarks")]
    known = set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert known == set(QUICK + LONGER + KAFKA)
    made = {*known, "zstd-produce", "zstd-consume", "replicate-ssh", "kafka-replicate-to", "kafka-replicate-from"}
    assert {target.workload for target in targets.TARGETS} | {panel.workload for panel in plot.PANELS} <= made


def test_a_workload_that_is_measured_again_takes_the_place_of_its_earlier_results(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    earlier = {"idle": {"rows": []}, "cold-start": {"rows": []}}
    file.write_text(json.dumps({"neighbours": {"Redis": {"redis": "7"}}, "workloads": earlier}))
    done = run(file, ["cold-start"], 20, "--no-neighbours")
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert found["workloads"]["idle"] == {"rows": []}
    assert found["workloads"]["cold-start"]["rows"]
    assert found["neighbours"]["Redis"] == {"redis": "7"}


def test_a_way_that_does_less_than_it_should_is_left_out(tmp_path: Path) -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
import argparse
from pathlib import Path
import bench
options = argparse.Namespace(lines=1, rounds=2, quick=True, neighbours=False, mk=sys.argv[2])
one = bench.Bench(options, Path(sys.argv[3]))
ways = [one.command("three", "echo 3", expect="3"), one.command("two", "echo 2", expect="3"), one.command("no", "exit 7")]
one.compare("w", "title", ways)
rows = one.results["w"]["rows"]
assert len(rows[0]["measures"]["seconds"]) == 2 and "failure" not in rows[0], rows
assert "'2' instead of '3'" in rows[1]["failure"] and "measures" not in rows[1], rows
assert "exit status 7" in rows[2]["failure"], rows
"""
    mk = str(Path(sys.executable).with_name("mk"))
    words = [sys.executable, "-c", script, str(REPOSITORY / "benchmarks"), mk, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
