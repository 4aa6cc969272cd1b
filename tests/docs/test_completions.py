"""The completions, in the real shells."""

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mk.cli import completions, definition
from mk.cli.definition import Command, Parameter

COMPLETIONS = Path(__file__).parents[2] / "completions"


@pytest.fixture
def directory(tmp_path):
    for topic in ("orders", "other", "Pay_ments-2", ".deleted-1"):
        (tmp_path / "log" / "topics" / topic).mkdir(parents=True)
    for group in ("billing", "audit-2", ".deleted"):
        (tmp_path / "log" / "groups" / group).mkdir(parents=True)
    (tmp_path / "second" / "topics" / "elsewhere").mkdir(parents=True)
    (tmp_path / "home" / ".local/share/mk/topics/at-home").mkdir(parents=True)
    return tmp_path


def environment(directory, **extra):
    return {"PATH": os.environ["PATH"], "HOME": str(directory / "home"), "TERM": "dumb", "LC_ALL": "C.UTF-8", **extra}


def bash(line, directory, made=None, **extra):
    """Complete `line` in bash; its words must be plain. made: other completions than those that are kept."""
    words = re.sub("([=:]+)", r" \1 ", line).split(" ")
    script = (
        f"source {shlex.quote(str(made or COMPLETIONS / 'mk.bash'))}\n"
        f"COMP_WORDS=({' '.join(shlex.quote(word) for word in words)}) COMP_CWORD={len(words) - 1}\n"
        '_mk\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    return run(["bash", "--norc", "-c", script], directory, **extra)


def fish(line, directory, made=None, **extra):
    source = shlex.quote(str(made or COMPLETIONS / "mk.fish"))
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
    (
        "mk ",
        [
            *("check", "completion", "consume", "groups", "help", "produce", "replicate", "serve", "tail", "top"),
            *("topics", "wait"),
        ],
    ),
    ("mk pr", ["produce"]),
    ("mk topics de", ["delete", "describe"]),
    ("mk wait or", ["orders"]),
    ("mk wait -g b", ["billing"]),
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
    ("mk topics describe -c or", ["orders"]),
    ("mk topics describe -sp or", ["orders"]),
    ("mk topics alter -c segment.by", ["segment.bytes="]),
    ("mk topics alter --unset segment.", ["segment.bytes", "segment.ms"]),
    ("mk topics alter orders --unset segment.by", ["segment.bytes"]),
    ("mk topics alter --lock-wait or", []),
    ("mk topics alter -c flush.ms=5 or", ["orders"]),
    ("mk topics get orders -f j", ["json"]),
    ("mk topics create ", []),
    ("mk completion ", ["bash", "fish", "zsh"]),
    ("mk groups describe ", ["audit-2", "billing"]),
    ("mk groups describe billing a", ["audit-2"]),
    ("mk groups reset ", ["audit-2", "billing"]),
    ("mk groups reset billing or", ["orders"]),
    ("mk groups reset billing --topic or", ["orders"]),
    ("mk consume orders -g b", ["billing"]),
    ("mk consume -X s", ["sasl.mechanism=", "sasl.username=", "security.protocol=", "ssl.ca.location="]),
    ("mk groups copy billing ", ["audit-2", "billing"]),
    ("mk groups delete --topic or", ["orders"]),
    ("mk replicate r", ["run"]),
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
    assert bash("mk consume --format=", directory) == ["framed", "json", "kv", "raw", "value"]
    assert bash("mk consume --format=j", directory) == ["json"]
    assert bash("mk consume --dir=second ", directory) == ["elsewhere"]


def on_terminal(shell, start, line, directory, awaited, **extra):
    """Press tab behind `line` in a real shell on a pseudo-terminal, wait for the words, and return all that it shows.

    In `line`, a | is where the cursor stands: what follows it is typed first.
    """
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    before, _, after = line.partition("|")
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(directory)
        os.execvpe(shell[0], shell, environment(directory, **extra))
    try:
        os.write(terminal, f"{start}; echo REA''DY\n".encode())
        read_until(terminal, "READY")
        os.write(terminal, before.encode() + after.encode() + b"\x02" * len(after) + b"\t\t")
        screen = read_until(terminal, *awaited)
        # The line is dropped; what else was offered stands before the answer to the next one.
        os.write(terminal, b"\x05\x15echo DO''NE\n")
        return screen + read_until(terminal, "DONE")
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def zsh(line, directory, awaited, **extra):
    start = (
        f"fpath=({shlex.quote(str(COMPLETIONS))} $fpath); autoload -U compinit; compinit -u -D; PROMPT= RPROMPT=;"
        "unsetopt zle_bracketed_paste list_ambiguous; setopt auto_list list_packed; LISTMAX=0"
    )
    return on_terminal(["zsh", "-f", "-i", "-V"], start, line, directory, awaited, **extra)


def interactive_bash(line, directory, awaited, **extra):
    """As a user has it, with bash-completion where that is installed."""
    library = "/usr/share/bash-completion/bash_completion"
    start = (
        f"PS1= PS2=; bind 'set bell-style none' 'set completion-query-items 0' 'set page-completions off' "
        f"'set enable-bracketed-paste off'; [ -r {library} ] && . {library}; . {shlex.quote(str(COMPLETIONS / 'mk.bash'))}"
    )
    return on_terminal(["bash", "--norc", "-i"], start, line, directory, awaited, **extra)


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
        ("mk groups reset ", ["audit-2", "billing"], ["orders", "deleted"]),
        ("mk groups reset billing o", ["orders", "other"], ["audit"]),
        ("mk consume -d second ", ["elsewhere"], ["orders"]),
        ("mk -d second consume ", ["elsewhere"], ["orders"]),
        ("mk consume --fo", ["--follow", "--format"], []),
    ],
)
def test_zsh_offers(line, shown, hidden, directory):
    screen = zsh(line, directory, shown, MK_DIR=str(directory / "log"))
    assert not any(word in screen for word in hidden), screen


@pytest.fixture
def odd(directory):
    """Log directories with names that a shell must not take apart, and a topic whose name holds dots and dashes."""
    for name in ("my log", "it's $HOME", "brackets [a-z]*"):
        (directory / name / "topics" / "a.b-c").mkdir(parents=True)
        (directory / name / "topics" / "a.d").mkdir()
    return directory


@pytest.mark.parametrize("name", ["my log", "it's $HOME", "brackets [a-z]*"])
@pytest.mark.parametrize("shell", [bash, fish])
def test_a_log_directory_may_have_any_name(shell, odd, name):
    assert shell("mk consume a.b", odd, MK_DIR=str(odd / name)) == ["a.b-c"]


@pytest.mark.parametrize("shell", [interactive_bash, zsh])
@pytest.mark.parametrize(
    "line",
    [
        r"mk consume -d my\ log a.",
        "mk consume --dir 'my log' a.",
        'mk -d "my log" consume a.',
        "mk consume -d $HOME/../my\\ log a.",
        "mk consume a.| -d my\\ log",
        "mk consume --dir=my\\ log a.",
        """mk consume -d "it's \\$HOME" a.""",
        r"mk consume -d it\'s\ \$HOME a.",
    ],
)
def test_a_log_directory_named_on_the_line_with_quotes_and_variables(shell, line, odd):
    screen = shell(line, odd, ["a.b-c", "a.d"], MK_DIR=str(odd / "log"))
    assert "orders" not in screen


@pytest.mark.parametrize(
    "line",
    [
        r"mk consume -d my\ log a.",
        "mk consume --dir 'my log' a.",
        "mk consume -d $HOME/../my\\ log a.",
        "mk consume '--dir=my log' a.",
    ],
)
def test_fish_finds_it_too(line, odd):
    assert fish(line, odd, MK_DIR=str(odd / "log")) == ["a.b-c", "a.d"]


@pytest.mark.parametrize("shell", [interactive_bash, zsh])
def test_directories_and_groups_are_left_to_the_shell(shell, odd):
    shell("mk consume -d sec", odd, ["second/"])
    shell("mk topics create t --shared-group ro", odd, ["root"])
    shell("mk topics create t -c segment.b", odd, ["segment.bytes="])


def test_fish_offers_directories_groups_and_settings(odd):
    assert fish("mk consume -d sec", odd) == ["second/"]
    assert "root" in fish("mk topics create t --shared-group ro", odd)
    assert fish("mk topics create t -c segment.b", odd) == ["segment.bytes="]


PLANTED = [
    "$(touch owned)",
    "`touch owned`",
    "a;touch owned",
    "with space",
    "new\nline",
    "\x1b[31mred",
    "-x",
    ".hidden",
    "ümlaut!",
]


@pytest.mark.parametrize("shell", [bash, fish])
def test_what_others_planted_among_the_topics_is_not_offered(shell, directory):
    for name in PLANTED:
        (directory / "log" / "topics" / name).mkdir()
    (directory / "log" / "topics" / "file").write_text("")
    offered = shell("mk consume ", directory, MK_DIR=str(directory / "log"))
    assert set(TOPICS) <= set(offered) <= {*TOPICS, "new", "line"}


def test_zsh_does_not_offer_what_others_planted(directory):
    for name in PLANTED:
        (directory / "log" / "topics" / name).mkdir()
    screen = zsh("mk consume ", directory, TOPICS, MK_DIR=str(directory / "log"))
    assert not any(word in screen for word in ("touch", "space", "red", "mlaut"))


@pytest.mark.parametrize("shell", [bash, fish])
def test_thousands_of_topics(shell, directory):
    for number in range(3000):
        (directory / "log" / "topics" / f"t-{number}").mkdir()
    assert len(shell("mk consume ", directory, MK_DIR=str(directory / "log"))) == 3003
    assert shell("mk consume t-299", directory, MK_DIR=str(directory / "log")) == sorted(
        ["t-299", *(f"t-299{digit}" for digit in range(10))]
    )


@pytest.mark.parametrize("options", ["set -f", "shopt -s failglob", "shopt -s dotglob", "set -u"])
def test_bash_completes_whatever_options_are_set(options, directory):
    script = (
        f"{options}; source {shlex.quote(str(COMPLETIONS / 'mk.bash'))}; COMP_WORDS=(mk consume '') COMP_CWORD=2; _mk; "
    )
    after = "echo ${COMPREPLY[@]}; COMP_WORDS=(mk consume none) COMP_CWORD=2; _mk; echo none ${COMPREPLY[@]-}; echo $-"
    offered = run(["bash", "--norc", "-c", script + after], directory, MK_DIR=str(directory / "log"))
    assert " ".join(TOPICS) in offered
    assert "none" in offered
    assert any("f" in line for line in offered if line.isalpha()) or options != "set -f"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Completions of a definition with kinds of arguments that no command may have yet."""
    command = Command(
        "topics",
        "move",
        summary="for this test",
        run="nowhere:run",
        parameters=(
            Parameter("old", metavar="OLD", required=True, complete=definition.TOPIC),
            Parameter("how", metavar="HOW", required=True, choices=("fast", "slow")),
            Parameter("new", metavar="NEW", multiple=True, complete=definition.TOPIC),
            Parameter("paths", "--path", metavar="FILE", multiple=True, complete=definition.FILE),
            Parameter("unknown", "--unknown", metavar="X", complete="something else"),
        ),
    )
    with_it = [*definition.commands(), command]
    monkeypatch.setattr(definition, "commands", lambda: with_it)
    for name, content in completions.files().items():
        (tmp_path / "made" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "made" / name).write_text(content)
    return tmp_path / "made"


@pytest.mark.parametrize(("shell", "name"), [(bash, "mk.bash"), (fish, "mk.fish")])
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mk topics mo", ["move"]),
        ("mk topics move ", TOPICS),
        ("mk topics move orders ", ["fast", "slow"]),
        ("mk topics move orders f", ["fast"]),
        ("mk topics move orders fast ", TOPICS),
        ("mk topics move orders fast other or", ["orders"]),
        ("mk topics move --unknown ", []),
        ("mk topics move --unknown x or", ["orders"]),
    ],
)
def test_completions_follow_from_the_definition_alone(shell, name, line, offered, made, directory):
    assert shell(line, directory, made=made / name, MK_DIR=str(directory / "log")) == offered


def test_fish_offers_files_where_the_definition_says_so(made, directory):
    (directory / "input.txt").write_text("")
    assert fish("mk topics move --path inp", directory, made=made / "mk.fish") == ["input.txt"]


@pytest.fixture
def cluster(directory):
    """A directory with an `mk` in `bin` that knows of a cluster, and keeps what it was asked in `asked`."""
    (directory / "bin").mkdir()
    program = directory / "bin/mk"
    program.write_text(
        f"""#!/bin/sh
printf '%s\\n' "$*" >> {directory}/asked
echo noise >&2
read line && echo "$line"
case $1 in
    topics) printf '%s\\n' kept _schemas kin 'with space' '$(touch owned)' -x ;;
    groups) echo kafka-group ;;
esac
"""
    )
    program.chmod(0o755)
    return directory


KAFKA = "kafka://h-1:9092,h2:9092"
WITHIN_A_SECOND = "-X mk.timeout.ms=1000"


@pytest.mark.parametrize("shell", [bash, fish])
@pytest.mark.parametrize(
    ("line", "offered", "asked"),
    [
        ("mk consume ", ["_schemas", "kept", "kin"], f"topics -q -d {KAFKA} {WITHIN_A_SECOND}"),
        ("mk topics describe ke", ["kept"], f"topics -q -d {KAFKA} {WITHIN_A_SECOND}"),
        ("mk consume kept -g ", ["kafka-group"], f"groups -q -d {KAFKA} {WITHIN_A_SECOND}"),
        ("mk consume -d kafka://other:1?a=b ki", ["kin"], f"topics -q -d kafka://other:1?a=b {WITHIN_A_SECOND}"),
        ("mk -d kafka://other:1 tail k", ["kept", "kin"], f"topics -q -d kafka://other:1 {WITHIN_A_SECOND}"),
        ("mk tail -X profile=p -X a=b ki", ["kin"], f"topics -q -d {KAFKA} -X profile=p -X a=b {WITHIN_A_SECOND}"),
        ("mk topics create -z ", [], None),
        ("mk consume -d second ", ["elsewhere"], None),
    ],
)
def test_the_topics_and_groups_of_a_cluster_are_asked_for(shell, line, offered, asked, cluster):
    path = f"{cluster}/bin:{os.environ['PATH']}"
    assert shell(line, cluster, MK_DIR=KAFKA, PATH=path) == offered
    assert what_was_asked(cluster) == ([asked] if asked else [])


def what_was_asked(cluster):
    file = cluster / "asked"
    return re.sub("-X(?=[a-z])", "-X ", file.read_text()).splitlines() if file.exists() else []


@pytest.mark.parametrize(
    ("line", "shown", "asked"),
    [
        ("mk consume k", ["kept", "kin"], f"topics -q -d {KAFKA} {WITHIN_A_SECOND}"),
        ("mk consume kept -g ka", ["kafka-group"], f"groups -q -d {KAFKA} {WITHIN_A_SECOND}"),
        ("mk -d kafka://other:1 consume k", ["kept", "kin"], f"topics -q -d kafka://other:1 {WITHIN_A_SECOND}"),
        ("mk tail -X profile=p -X a=b k", ["kept"], f"topics -q -d {KAFKA} -X profile=p -X a=b {WITHIN_A_SECOND}"),
    ],
)
@pytest.mark.parametrize("shell", [interactive_bash, zsh])
def test_they_are_offered_on_a_terminal_and_nothing_else_is_said(shell, line, shown, asked, cluster):
    screen = shell(line, cluster, shown, MK_DIR=KAFKA, PATH=f"{cluster}/bin:{os.environ['PATH']}")
    assert not any(word in screen for word in ("noise", "touch", "space"))
    assert what_was_asked(cluster)[0] == asked


@pytest.mark.parametrize("shell", [bash, fish])
@pytest.mark.parametrize("line", ["mk consume ", "mk groups describe "])
def test_a_cluster_that_does_not_answer_offers_nothing(shell, line, directory):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert shell(line, directory, MK_DIR="kafka://127.0.0.1:1", PATH=path) == []


def test_bash_offers_nothing_within_a_name_that_it_breaks(cluster):
    path = f"{cluster}/bin:{os.environ['PATH']}"
    for line in ("mk consume -d kafka:", "mk consume -d kafka://h", "mk consume -d kafka://h:90", "mk consume -X a=b"):
        assert bash(line, cluster, MK_DIR=KAFKA, PATH=path) == []
    assert what_was_asked(cluster) == []
