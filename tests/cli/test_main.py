"""How a command ends: its errors, signals and closed streams become text and an exit status, in a real process."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import Terminal

from mk import __version__
from mk.cli.exit_statuses import error_classes
from mk.errors import MkError

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}

# A stand-in for the produce and consume commands, whose `run(options)` has the body that a test gives.
DRIVER = """
import os, sys, types
import mk.cli.main
{definition}
for name in ("mk.cli.produce", "mk.cli.consume"):
    module = sys.modules[name] = types.ModuleType(name)
    module.run = run
sys.exit(mk.cli.main.main(sys.argv[1:]))
"""


def script(body):
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return DRIVER.format(definition=f"def run(options):\n    from mk import errors\n{lines}    return 0\n")


def run(body, *arguments, redirect="", **keywords):
    """Run a command with `body` under a shell, which redirects as it is told."""
    words = [sys.executable, "-c", script(body), *(arguments or ("produce", "t"))]
    command = f"exec {shlex.join(words)} {redirect}"
    return subprocess.run(
        command,
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
        **keywords,
    )


def mk(*arguments, redirect=""):
    command = f"exec {shlex.join([sys.executable, '-m', 'mk', *arguments])} {redirect}"
    return subprocess.run(
        command, shell=True, executable="/bin/bash", capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


def test_an_error_says_what_why_and_fix():
    done = run("raise errors.NoSuchTopicError(topic='orders', directory='/log', why='it was deleted')")
    assert (done.returncode, done.stdout) == (66, "")
    assert done.stderr == (
        "mk: error: no topic orders in /log\n"
        "  why: it was deleted\n"
        "  fix: `mk topics` lists the topics there are; nothing more was written\n"
    )


def test_lines_that_have_nothing_to_say_are_left_out():
    assert run("raise errors.UsageError('no')").stderr == "mk: error: no\n"


def test_an_error_as_json_has_its_facts():
    done = run("raise errors.NoSuchTopicError(topic='orders', directory='/log')", "consume", "orders", "--json")
    assert done.returncode == 66
    assert json.loads(done.stderr) == {
        "error": "NoSuchTopicError",
        "what": "no topic orders in /log",
        "why": "",
        "fix": "`mk topics` lists the topics there are",
        "exit_status": 66,
        "facts": {"topic": "orders", "directory": "/log"},
    }


def test_a_usage_error_is_json_too_when_json_is_asked_for():
    done = mk("consume", "--json", "t", "--kye")
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"] == "UsageError"


@pytest.mark.parametrize("error", [error for error in error_classes() if error.__init__ is MkError.__init__])
def test_every_family_ends_with_its_status(error):
    assert run(f"raise errors.{error.__name__}('no')").returncode == error.exit_status


def test_control_characters_in_an_error_are_shown_not_executed():
    done = run(r"raise errors.StorageError('a\nb\x1b]52;c;x\x07', why='\x9b2J\u202e', fix='\udcff')")
    assert done.stderr == (
        "mk: error: a\\nb\\x1b]52;c;x\\x07\n"
        "  why: \\x9b2J\\u202e\n"
        "  fix: \\xff\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "status"),
    [
        ("ENOSPC", 74),
        ("EDQUOT", 74),
        ("EIO", 74),
        ("EFBIG", 74),
        ("EACCES", 77),
        ("EPERM", 77),
        ("EROFS", 77),
        ("ENOENT", 74),
    ],
)
def test_an_error_of_the_system_has_a_status_and_a_clear_line(number, status):
    done = run(f"import errno\nraise OSError(errno.{number}, os.strerror(errno.{number}), '/log/a\\nb')")
    assert done.returncode == status
    what, why, fix = done.stderr.splitlines()
    assert "/log/a\\nb" in what
    assert why == f"  why: {os.strerror(getattr(__import__('errno'), number))}"
    assert fix.startswith("  fix: ")


def test_anything_else_is_a_bug_and_says_so_with_a_traceback():
    done = run("print('before')\nraise ValueError('a\\x1bb')")
    assert (done.returncode, done.stdout) == (70, "before\n")
    assert done.stderr.startswith("mk: error: mk itself failed: ValueError: a\\x1bb\n  why: this is a bug in mk ")
    assert "Traceback (most recent call last):\n" in done.stderr
    assert "\x1b" not in done.stderr


def test_what_was_printed_before_an_error_arrives():
    done = run("print('one')\nraise errors.DataError('no')")
    assert (done.returncode, done.stdout) == (65, "one\n")


@pytest.mark.parametrize("body", ["for i in range(100000): print(i)", "import time\nprint(1)\ntime.sleep(0.2)"])
def test_a_closed_pipe_ends_the_command_silently(body):
    done = run(body, redirect="| true; exit ${PIPESTATUS[0]}")
    # The shell cannot replace itself by a pipeline, so it reports the signal as a status.
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE


def test_the_parent_sees_that_a_closed_pipe_was_the_cause():
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-c", script("print(1)"), "produce"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


WAIT = """
import time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("finished", flush=True)
    raise
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_the_command_finish_and_then_ends_it(number):
    process = start(WAIT)
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (-number, b"finished\n", b"")


STOPPED_WHERE_PYTHON_DROPS_EXCEPTIONS = """
import os

class Collected:
    def __del__(self):
        os.kill(os.getpid(), {number})
        for _ in range(1000):
            pass

Collected()
print("went on")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_not_lost_where_python_drops_exceptions(number):
    done = run(STOPPED_WHERE_PYTHON_DROPS_EXCEPTIONS.format(number=int(number)))
    assert (done.returncode, done.stdout, done.stderr) == (-number, "", "")


def test_a_hangup_that_is_ignored_stays_ignored():
    process = start("print('ready', flush=True)\nsys.stdin.readline()", preexec_fn=ignore_hangup)
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(b"\n", timeout=20)
    assert (process.returncode, errors) == (0, b"")


def ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def start(body, **keywords):
    words = [sys.executable, "-c", script(body), "produce", "t"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(words, env=ENVIRONMENT, **pipes, **keywords)
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("redirect", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written_is_an_error(redirect):
    for done in (
        mk("--version", redirect=redirect),
        mk("--help", redirect=redirect),
        run("print(1)", redirect=redirect),
    ):
        assert done.returncode == 74
        assert done.stderr.startswith("mk: error: standard input or output failed\n  why: ")
        assert len(done.stderr.splitlines()) == 3


def test_output_written_around_python_fails_as_clearly():
    done = run("os.write(1, b'x')", redirect=">&-")
    assert done.returncode == 74
    assert "  why: it is closed\n" in done.stderr


def test_a_command_that_prints_nothing_works_with_everything_closed(tmp_path):
    """And no file that it opens becomes one of the standard descriptors."""
    note = tmp_path / "note"
    body = f"descriptor = os.open({str(note)!r}, os.O_WRONLY | os.O_CREAT)\nos.write(descriptor, b'%d' % descriptor)"
    done = run(body, redirect="<&- >&- 2>&-")
    assert done.returncode == 0
    assert int(note.read_text()) > 2


def test_reading_a_closed_input_is_an_error():
    for body in ("sys.stdin.buffer.read()", "os.read(0, 1)"):
        done = run(body, redirect="<&-")
        assert done.returncode == 74, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("redirect", ["2>&-", "2> /dev/full"])
def test_an_error_that_nobody_can_read_still_has_its_status(redirect):
    assert run("raise errors.DataError('no')", redirect=redirect).returncode == 65


def test_the_status_of_the_command_is_the_status_of_mk():
    assert run("return 1").returncode == 1


def test_mk_alone_shows_its_help_and_is_a_usage_error():
    done = mk()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: mk ")


def test_a_subject_is_as_wide_as_the_terminal():
    command = [sys.executable, "-m", "mk", "help", "exec"]
    with Terminal(command, size=(80, 90), env=ENVIRONMENT) as terminal:
        assert terminal.end() == 0
        lines = terminal.text.rstrip().splitlines()
    assert "CMD is split into words once, as a shell would, and run without one. It finds" in lines
    assert " ".join(lines).split() == mk("help", "exec").stdout.split()


def test_help_and_version():
    assert mk("--version").stdout == mk("--version", "produce").stdout == f"mk {__version__}\n"
    assert mk("topics", "create", "--help").stdout == mk("help", "topics", "create").stdout
    assert mk("--help").stdout == mk("help").stdout
    assert "-N " in mk("help", "offsets").stdout
    wrong = mk("help", "ofsets")
    assert wrong.returncode == 2
    assert "did you mean offsets" in wrong.stderr


@pytest.mark.parametrize(("shell", "name"), [("bash", "mk.bash"), ("zsh", "_mk"), ("fish", "mk.fish")])
def test_completion_prints_the_file(shell, name):
    assert mk("completion", shell).stdout == (ROOT / "completions" / name).read_text()


@pytest.mark.parametrize(("arguments", "status"), [(["--version"], 0), (["--kye"], 2)])
def test_the_script_that_is_installed_writes_all_out_before_it_leaves(arguments, status):
    script, module = ([sys.executable, *how, *arguments] for how in ([str(ROOT / "mk/cli/mk")], ["-m", "mk"]))
    done, expected = (
        subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        for words in (script, module)
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, expected.stdout, expected.stderr)
    assert done.stdout or done.stderr


HEAVY = {
    "typer",
    "click",
    "rich",
    "re",
    "json",
    "enum",
    "dataclasses",
    "typing",
    "pathlib",
    "signal",
    "portalocker",
    "argparse",
    "importlib",
    "traceback",
    "inspect",
}


@pytest.mark.parametrize("line", ["produce t -k u1 v", "consume t -F -o -5", "topics", "--version"])
def test_a_plain_command_line_imports_nothing_heavy(line):
    code = (
        "import sys, types\n"
        "before = set(sys.modules)\n"
        "for name in ('produce', 'consume', 'topics'):\n"
        "    module = sys.modules['mk.cli.' + name] = types.ModuleType(name)\n"
        "    module.run = module.list_topics = lambda options: 0\n"
        "from mk.cli.main import main\n"
        f"assert main({line.split()!r}) == 0\n"
        "print(*set(sys.modules) - before, file=sys.stderr)\n"
    )
    # Isolated, as an installed script with nothing else in its environment.
    words = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not {name.split(".")[0] for name in done.stderr.split()} & HEAVY
