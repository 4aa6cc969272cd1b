"""The completions, in the real shells."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

COMPLETIONS = Path(__file__).parents[2] / "completions"


@pytest.fixture
def directory(tmp_path):
    for topic in ("orders", "other", "Pay_ments-2", ".deleted-1"):
        (tmp_path / "log" / "topics" / topic).mkdir(parents=True)
    (tmp_path / "second" / "topics" / "elsewhere").mkdir(parents=True)
    (tmp_path / "home" / ".local/share/mk/topics/at-home").mkdir(parents=True)
    return tmp_path


def environment(directory, **extra):
    return {"PATH": os.environ["PATH"], "HOME": str(directory / "home"), "TERM": "dumb", "LC_ALL": "C.UTF-8", **extra}


def bash(line, directory, **extra):
    """Complete `line` in bash; its words must be plain."""
    words = line.replace("=", " = ").split(" ")
    script = (
        f"source {shlex.quote(str(COMPLETIONS / 'mk.bash'))}\n"
        f"COMP_WORDS=({' '.join(shlex.quote(word) for word in words)}) COMP_CWORD={len(words) - 1}\n"
        '_mk\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    return run(["bash", "--norc", "-c", script], directory, **extra)


def fish(line, directory, **extra):
    source = shlex.quote(str(COMPLETIONS / "mk.fish"))
    script = f"source {source}\ncomplete -C {shlex.quote(line)}"
    return [answer.split("\t")[0] for answer in run(["fish", "--no-config", "-c", script], directory, **extra)]


def run(command, directory, **extra):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(directory, **extra), cwd=directory, check=False
    )
    assert done.stderr == ""
    return sorted(filter(None, done.stdout.splitlines()))


TOPICS = ["Pay_ments-2", "orders", "other"]
CASES = [
    ("mk ", ["completion", "consume", "help", "produce", "tail", "topics"]),
    ("mk pr", ["produce"]),
    ("mk topics d", ["delete", "describe"]),
    ("mk produce ", TOPICS),
    ("mk produce or", ["orders"]),
    ("mk produce orders ", []),
    ("mk produce -k u1 o", ["orders", "other"]),
    ("mk produce -qk u1 o", ["orders", "other"]),
    ("mk produce -ku1 o", ["orders", "other"]),
    ("mk produce --key u1 -- o", ["orders", "other"]),
    ("mk produce -z ", ["gzip", "lz4", "none", "zstd"]),
    ("mk consume orders ot", ["other"]),
    ("mk consume -o ", ["end", "start"]),
    ("mk consume -d second ", ["elsewhere"]),
    ("mk -d second consume ", ["elsewhere"]),
    ("mk consume --dir second e", ["elsewhere"]),
    ("mk topics describe orders P", ["Pay_ments-2"]),
    ("mk topics create ", []),
    ("mk completion ", ["bash", "fish", "zsh"]),
]


@pytest.mark.parametrize("shell", [bash, fish])
@pytest.mark.parametrize(("line", "offered"), CASES)
def test_words_are_offered(shell, line, offered, directory):
    assert shell(line, directory, MK_DIR=str(directory / "log")) == offered


@pytest.mark.parametrize("shell", [bash, fish])
def test_the_log_directory_is_found_as_mk_finds_it(shell, directory):
    (directory / "data/mk/topics/in-data").mkdir(parents=True)
    assert shell("mk consume ", directory) == ["at-home"]
    assert shell("mk consume ", directory, XDG_DATA_HOME="") == ["at-home"]
    assert shell("mk consume ", directory, XDG_DATA_HOME=str(directory / "data")) == ["in-data"]
    assert shell("mk consume -d ~/.local/share/mk ", directory, MK_DIR="nowhere") == ["at-home"]
    assert shell("mk consume ", directory, MK_DIR="nowhere") == []


@pytest.mark.parametrize("shell", [bash, fish])
def test_options_are_offered(shell, directory):
    assert "--lock-wait" in shell("mk produce --l", directory)
    assert {"--follow", "--format"} <= set(shell("mk consume --fo", directory))
    assert shell("mk --vers", directory) == ["--version"]


def test_bash_completes_the_value_of_an_option_with_an_equals_sign(directory):
    assert bash("mk consume --format=", directory) == ["json", "kv", "raw", "value"]
    assert bash("mk consume --format=j", directory) == ["json"]
    assert bash("mk consume --dir=second ", directory) == ["elsewhere"]


def zsh(line, directory, awaited, **extra):
    """Press tab behind `line` in a real zsh on a pseudo-terminal, wait for the words, and return all that it shows."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    start = (
        f"fpath=({shlex.quote(str(COMPLETIONS))} $fpath); autoload -U compinit; compinit -u -D; PROMPT= RPROMPT=;"
        "unsetopt zle_bracketed_paste list_ambiguous; setopt auto_list list_packed; LISTMAX=0; echo REA''DY\n"
    )
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(directory)
        os.execvpe("zsh", ["zsh", "-f", "-i", "-V"], environment(directory, **extra))
    try:
        os.write(terminal, start.encode())
        read_until(terminal, "READY")
        os.write(terminal, line.encode() + b"\t")
        screen = read_until(terminal, *awaited)
        # ^U drops the line; what else was offered stands before the answer to the next one.
        os.write(terminal, b"\x15echo DO''NE\n")
        return screen + read_until(terminal, "DONE")
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def read_until(terminal, *words):
    seen = ""
    deadline = time.monotonic() + 20
    while not all(word in seen for word in words):
        assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], seen
        seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


@pytest.mark.parametrize(
    ("line", "shown", "hidden"),
    [
        ("mk ", ["produce", "consume", "topics"], []),
        ("mk produce o", ["orders", "other"], ["Pay_ments", "deleted"]),
        ("mk produce -z ", ["none", "gzip", "lz4", "zstd"], []),
        ("mk topics d", ["delete", "describe"], ["offsets"]),
        ("mk topics describe o", ["orders", "other"], []),
        ("mk consume -d second ", ["elsewhere"], ["orders"]),
        ("mk -d second consume ", ["elsewhere"], ["orders"]),
        ("mk consume --fo", ["--follow", "--format"], []),
    ],
)
def test_zsh_offers(line, shown, hidden, directory):
    screen = zsh(line, directory, shown, MK_DIR=str(directory / "log"))
    assert not any(word in screen for word in hidden), screen
