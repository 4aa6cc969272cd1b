"""What the README says to type works when it is typed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mk.cli import definition, fast_parser
from mk.cli.typer_app import Application
from tests.proof.__main__ import RESULTS
from tests.proof.table import table

README = Path(__file__).parents[2] / "README.md"
README_TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README_TEXT, re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]


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
    lines = [line for block in SHELL for line in block.splitlines() if not line.startswith("#")]
    return [
        match.strip()
        for line in lines
        for match in re.findall(r"\bmk (?:produce|consume|tail|topics|groups|replicate|wait|check)\b[^|&>]*", line)
    ]


def mentions() -> "list[str]":
    """Return what stands between backticks in the prose and begins with mk."""
    prose = re.sub(r"```.*?```|^\|[^\n]*$", "", README_TEXT, flags=re.DOTALL | re.MULTILINE)
    return sorted(set(re.findall(r"`(mk\s[^`]*)`", prose)))


@pytest.mark.parametrize("command", mk_commands())
def test_every_command_of_mk_in_the_readme_is_one_that_mk_accepts(command: str) -> None:
    import shlex

    arguments = shlex.split(command, comments=True)[1:]
    assert fast_parser.parse(arguments, {}) or not isinstance(Application().parse(arguments, {}), int)


@pytest.mark.parametrize("mention", mentions())
def test_every_command_that_is_mentioned_is_there_with_its_options(mention: str) -> None:
    words = mention.partition(" < ")[0].split()[1:]
    path = tuple(word for word in words[:2] if re.fullmatch("[a-z]+", word))
    command = definition.command_at(path) or definition.group_at(path) or definition.command_at(path[:1])
    assert command is not None
    flags = {flag for parameter in command.parameters for flag in parameter.flags} | {"-h", "--help"}
    assert {word for word in words if word.startswith("-") and not word[1:].isdigit()} <= flags


def test_the_first_command_installs_mk_and_shows_records_going_in_and_out() -> None:
    install, _, use = SHELL[0].strip().partition(" && export ")
    assert install == "python3 -m venv .venv && .venv/bin/pip install -q ."
    assert "mk produce files && mk consume files" in use


def test_a_command_runs_the_tests() -> None:
    (line,) = block_with("pytest").strip().splitlines()
    assert line.startswith("python3 -m venv .venv && ") and "pytest" in line


def block_with(text: str) -> str:
    """Return the one block of shell that has a text."""
    (block,) = [block for block in SHELL if text in block]
    return block


def test_a_queue_is_worked_through_as_it_is_pasted(tmp_path: Path) -> None:
    work, look = block_with("expr $(cat) + 1"), block_with("mk groups describe work")
    done = shell(f"set -e\n{work}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "11\n31\n" and "1 record was put into jobs-dead" in done.stderr
    consume = work.splitlines()[2]
    again = shell(consume, tmp_path / "mk")
    assert (again.returncode, again.stdout) == (0, "")
    looked = shell(f"set -e\n{look}", tmp_path / "mk")
    assert looked.returncode == 0, looked.stderr
    assert re.search(r"^lag +0$", looked.stdout, re.M)
    assert re.search(r"^bob 2x .*mk.exec.stderr=expr: non-integer argument", looked.stdout, re.M)
    assert shell("mk consume jobs -f '%k %v\\n' -G k=bob", tmp_path / "mk").stdout == "bob 2x\n" * 2
    cured = shell(consume.replace("$(cat)", "$(tr -d x)"), tmp_path / "mk")
    assert (cured.returncode, cured.stdout) == (0, "3\n")


def test_workers_share_the_work_when_there_are_partitions(tmp_path: Path) -> None:
    (stays,) = re.findall(r"`(mk consume jobs -g work -F [^`]*)`", README_TEXT)
    (create,) = re.findall(r"^mk topics create jobs .*$", README_TEXT, re.MULTILINE)
    (tmp_path / "work").write_text("#!/bin/sh\necho $MK_REC_PARTITION >> $HERE/done\n")
    (tmp_path / "work").chmod(0o755)
    lines = [
        f"export HERE={tmp_path}; cd $HERE; {create} -q",
        f"{stays} & one=$!",
        f"{stays} & two=$!",
        "until [ $(mk groups describe work --members --json | jq '.[].members | length') = 2 ]; do :; done",
        "seq 64 | sed 's/.*/k&\\t&/' | mk produce jobs -q -K '\\t'",
        "until [ $(wc -l < done) = 64 ]; do :; done; kill $one $two",
    ]
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    done = shell("\n".join(lines), tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "done").read_text().split()) == set(map(str, range(4)))


def test_a_log_is_shipped_as_it_is_pasted(tmp_path: Path) -> None:
    block = block_with("--follow /var/log/app.log").replace("/var/log/app.log", f"{tmp_path}/app.log")
    (tmp_path / "app.log").write_text("fine\nan error\n")
    block = re.sub(r"^(mk consume app -F) .*$", r"timeout 2 \1 || true", block, flags=re.M)
    done = shell(f"set -e\nmk topics create app -q\n{block}\nkill %1", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["fine", "an error"]
    assert [json.loads(line)["payload"] for line in lines[2:]] == ["an error"]


def test_another_host_reads_along_as_it_says(tmp_path: Path) -> None:
    (command,) = re.findall(r"`(mk consume app -F -d HOST:[^`]*)`", README_TEXT)
    command = command.replace("/srv/mk", f"{tmp_path}/mk")
    done = shell(
        f"export MK_RSH={fake_ssh(tmp_path)}\nmk produce -q app one two\ntimeout 2 {command} || true", tmp_path / "mk"
    )
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n"), done.stderr


def test_groups_fan_out_and_yesterday_is_replayed_as_it_is_pasted(tmp_path: Path) -> None:
    fan_out, replay = block_with("-g mail -n 10"), block_with("--since yesterday")
    done = shell(f"set -e\n{fan_out}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1000\n" + "".join(f"{number}\n" for number in range(1, 11)))
    assert re.search(r"^mail .* 990$", done.stdout, re.M) and re.search(r"^billing .* 0$", done.stdout, re.M)
    done = shell(f"set -e\n{replay}", tmp_path / "mk")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["1000", "1000"]
    # What is older is not read again.
    old = "mk produce days -q --timestamp -72h old; mk produce days -q new; mk consume days -g billing -q > /dev/null\n"
    done = shell(old + replay.replace("orders", "days"), tmp_path / "mk")
    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["1", "1"], done


def fake_ssh(directory: Path) -> str:
    """Return a program in the place of ssh that does on this host what another one is asked for."""
    script = directory / "fake-ssh"
    script.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    script.chmod(0o755)
    return str(script)


def test_the_lines_for_cron_run(tmp_path: Path) -> None:
    (block,) = [text for language, text in BLOCKS if not language and "* * * * *" in text]
    commands = re.findall(r"^(?:\S+ ){5}(mk replicate .*)$", block, re.MULTILINE)
    assert len(commands) == 2
    script = (
        "\n".join(commands).replace("backup:/srv", f"backup:{tmp_path}/there").replace(" /srv", f" {tmp_path}/here")
    )
    script = f"seq 9 | mk produce orders -q -d {tmp_path}/here/mk\nmkdir {tmp_path}/there\n{script}"
    done = shell(f"set -e\nexport MK_RSH={fake_ssh(tmp_path)}\n{script}", tmp_path / "mk")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "there/mk/topics/orders").is_dir()


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
    assert table(json.loads(newest.read_text())) in README_TEXT
    assert f"tests/proof/results/{newest.name}" in README_TEXT
