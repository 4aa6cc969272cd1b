"""What the README says to type works when it is typed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mk.cli import fast_parser
from mk.cli.typer_app import Application
from tests.proof.__main__ import RESULTS
from tests.proof.table import table

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]
PIPELINES = SHELL[2]


def shell(script: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "MK_DIR": str(directory),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("MK_TOPIC", None)
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)


def mk_commands() -> "list[str]":
    """Return every command line of mk in the shell blocks, up to the pipe or redirection behind it."""
    lines = [line for block in SHELL[1:] + [SHELL[0]] for line in block.splitlines() if not line.startswith("#")]
    return [
        match.strip()
        for line in lines
        for match in re.findall(r"\bmk (?:produce|consume|tail|topics|groups|replicate)\b[^|&>]*", line)
    ]


@pytest.mark.parametrize("command", mk_commands())
def test_every_command_of_mk_in_the_readme_is_one_that_mk_accepts(command: str) -> None:
    import shlex

    arguments = shlex.split(command, comments=True)[1:]
    assert fast_parser.parse(arguments, {}) or not isinstance(Application().parse(arguments, {}), int)


def test_the_first_command_installs_mk_and_shows_records_going_in_and_out() -> None:
    install, _, use = SHELL[0].strip().partition(" && export ")
    assert install == "python3 -m venv .venv && .venv/bin/pip install -q ."
    assert "mk produce files && mk consume files" in use


def test_the_second_command_runs_the_tests() -> None:
    (line,) = SHELL[1].strip().splitlines()
    assert line.startswith("python3 -m venv .venv && ") and "pytest" in line


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_pipelines_work_as_they_are_pasted(tmp_path: Path) -> None:
    # Followers go on until they are stopped.
    script = re.sub(r"^(mk consume .* -F|mk tail \w+)\b.*$", r"timeout 1 \1 || true", PIPELINES, flags=re.MULTILINE)
    done = shell(f"set -e\n{script}\nkill %1", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert "/home\n/pay\n" in done.stdout


def test_a_group_goes_on_where_it_stands(tmp_path: Path) -> None:
    (block,) = [text for text in SHELL if "mk consume visits" in text]
    done = shell(f"set -e\n{block}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n2\n3\n997\n"


def test_the_last_value_of_each_key_stays(tmp_path: Path) -> None:
    (block,) = [text for text in SHELL if "mk topics compact" in text]
    done = shell(f"set -e\n{block}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 milk 1.25\n3 tea 4.00\n4 bread \n1.25\n"


def test_what_it_says_of_another_host_works_as_it_is_pasted(tmp_path: Path) -> None:
    (block,) = [text for text in SHELL if "$HOST:" in text]
    script = tmp_path / "fake-ssh"
    script.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    script.chmod(0o755)
    block = block.replace("/tmp/mk-there", str(tmp_path / "there"))
    done = shell(f"set -e\nexport MK_RSH={script}\n{block}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "one more\n"
    assert not (tmp_path / "mk").exists()


def test_the_records_are_worked_through(tmp_path: Path) -> None:
    (block,) = [text for text in SHELL if "--exec" in text]
    done = shell(f"set -e\n{block}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ann has 10\nbob has 2x\nann has 30\n") and '"key":"bob"' in done.stdout
    assert "1 record was put into jobs-dead" in done.stderr


def test_what_it_says_of_groups_works_as_it_is_pasted(tmp_path: Path) -> None:
    (block,) = [text for text in SHELL if "mk groups" in text]
    done = shell(f"set -e\n{block}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert "workers" in done.stdout and "mk: takes back change 1, reset" in done.stderr


def test_what_it_says_of_copies_works_as_it_is_pasted(tmp_path: Path) -> None:
    (block,) = [text for text in SHELL if "mk replicate" in text]
    done = shell(f"set -e\nHOME={tmp_path}\n{block}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("1008\n1009\n1010\n") and "10 records, " in done.stderr
    assert "the same, as far as DST goes: 1010 records" in done.stderr


def test_a_snapshot_is_made_and_restored_as_it_is_pasted(tmp_path: Path) -> None:
    blocks = [text for text in SHELL if '"$HOME/backup"' in text]
    assert len(blocks) == 2
    done = shell(f"set -e\nHOME={tmp_path}\n{''.join(blocks)}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("no damage\n1\n2\n3\n")


def test_the_lines_for_cron_are_commands_that_mk_accepts() -> None:
    import shlex

    (table,) = [text for language, text in BLOCKS if not language and "* * * * *" in text]
    commands = re.findall(r"^(?:\S+ ){5}mk (replicate .*)$", table, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert fast_parser.parse(shlex.split(command), {})


def test_the_python_example_runs(tmp_path: Path) -> None:
    (example,) = [text for language, text in BLOCKS if language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, "MK_DIR": str(tmp_path / "mk")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "b'kitchen' b'21.5'" in done.stdout


def test_the_figures_of_the_proof_are_those_of_its_newest_results() -> None:
    newest = max(RESULTS.glob("20*.json"))
    assert table(json.loads(newest.read_text())) in README.read_text(encoding="utf-8")
    assert f"tests/proof/results/{newest.name}" in README.read_text(encoding="utf-8")
