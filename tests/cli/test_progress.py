"""How far long work is: a line on a terminal's stderr, after a second, gone at the end; nowhere else."""

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminal import Terminal

from mk.cli import notes, progress
from mk.cli.drawing import ASCII, BLOCKS, cells

CLEARED = b"\r\x1b[K"
NOW = "import mk.cli.progress as p; p._AFTER_SECONDS = 0.0; p._PAUSE_SECONDS = 0.0"
"""Said before a command, it has bars at once: no test waits for work that takes a second."""


@pytest.fixture
def impatient(mk, tmp_path):
    """An mk that has no patience with itself."""
    program = tmp_path / "mk-at-once"
    program.write_text(f"#!{sys.executable}\n{NOW}\nfrom mk.cli.main import main\nimport os\nos._exit(main())\n")
    program.chmod(0o755)
    mk.program = str(program)
    return mk


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "input"
    path.write_bytes(b"".join(b"%08d with something behind it to be longer\n" % number for number in range(200_000)))
    return path


def on_terminal(mk, line, size=(80, 24), **env):
    return Terminal(["sh", "-c", line], size=size, env={**mk.environment, "MK": mk.program, **env})


@pytest.mark.every_case
@pytest.mark.parametrize("size", [(80, 24), (200, 60), (30, 10)])
@pytest.mark.parametrize(
    "line", ['"$MK" produce t < {}', '"$MK" produce t --file {} --file {}', "\"$MK\" produce t -f '%k %v\\n' --file {}"]
)
def test_storing_a_long_file_shows_a_line_and_takes_it_away(impatient, file, line, size):
    with on_terminal(impatient, line.replace("{}", str(file)), size=size) as terminal:
        assert terminal.end() == 0
        drawn = [piece for piece in terminal.raw.split(CLEARED) if piece.startswith(b"storing")]
        assert drawn
        assert all(cells(piece.decode()) < size[0] for piece in drawn)
        assert "storing  " not in terminal.text
        if size[0] >= 80:
            shown = [int(re.search(rb"(\d+) %", piece)[1]) for piece in drawn]
            assert shown == sorted(shown) and shown[-1] == 100
    records = sum(
        row["records"] for row in json.loads(impatient.ok("topics", "describe", "t", "--json"))[0]["partitions"]
    )
    assert records == 200_000 * line.count("{}")


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("line", "env"),
    [
        ('"$MK" produce -q t < {}', {}),
        ('"$MK" produce t < {} 2> err', {}),
        ('cat {} | "$MK" produce t', {}),
        ('"$MK" produce -T t < {} > /dev/null', {}),
        ('"$MK" produce t < {}', {"TERM": "dumb"}),
    ],
)
def test_there_is_none_where_nobody_sees_it_or_wants_it(impatient, file, tmp_path, line, env):
    with on_terminal(impatient, f"cd {tmp_path}; " + line.replace("{}", str(file)), **env) as terminal:
        assert terminal.end() == 0
        assert b"storing" not in terminal.raw
        assert CLEARED not in terminal.raw
    assert not (tmp_path / "err").exists() or b"storing" not in (tmp_path / "err").read_bytes()


def test_short_work_has_none(mk, file):
    short = file.with_name("short")
    short.write_bytes(file.read_bytes()[: 2 << 20])
    with on_terminal(mk, f'"$MK" produce t < {short}') as terminal:
        assert terminal.end() == 0
        assert b"storing" not in terminal.raw


@pytest.mark.every_case
@pytest.mark.parametrize(
    "command", ["topics verify t", "topics compact t", "replicate {dir} {copy}", "topics clone t u --rehash"]
)
def test_other_long_work_has_one_too(impatient, file, tmp_path, command):
    impatient.ok("topics", "create", "t", "-c", "cleanup.policy=compact", "-c", "segment.bytes=1m")
    with file.open("rb") as stdin:
        subprocess.run(
            [impatient.program, "produce", "t", "-K", " "], stdin=stdin, env=impatient.environment, check=True
        )
    words = command.format(dir=impatient.directory, copy=tmp_path / "copy")
    with on_terminal(impatient, f'"$MK" {words}', size=(120, 24)) as terminal:
        assert terminal.end() == 0
        assert re.search(rb"\d+ %", terminal.raw)
        assert "%" not in terminal.text


def test_a_note_takes_the_line_away_first(impatient, file):
    too_long = file.with_name("long")
    too_long.write_bytes(file.read_bytes()[: 4 << 20] + b"x" * 5000 + b"\n" + file.read_bytes())
    impatient.ok("topics", "create", "t", "-c", "max.message.bytes=4k")
    with on_terminal(impatient, f'"$MK" produce t --skip-bad < {too_long}', size=(100, 24)) as terminal:
        assert terminal.end() == 1
        (line,) = [line for line in terminal.text.splitlines() if "skipped:" in line]
        assert line.startswith("mk: skipped:")
        assert "storing  " not in terminal.text


def test_ctrl_c_takes_the_line_away(impatient, file):
    many = file.with_name("many")
    many.write_bytes(file.read_bytes() * 12)
    with Terminal([impatient.program, "produce", "t", "--file", str(many)], env=impatient.environment) as terminal:
        terminal.until("storing")
        terminal.type(b"\x03")
        assert terminal.end() == 130
        assert "storing  " not in terminal.text


def test_a_stderr_that_takes_nothing_does_not_stop_the_work(monkeypatch):
    bar = progress.progress_bar("x", quiet=True)
    bar._is_wanted, bar._letters = True, ASCII
    monkeypatch.setattr(os, "write", lambda fd, data: (_ for _ in ()).throw(OSError(28, "full")))
    bar.tell(1, 2)
    bar.clear()


def test_nothing_is_loaded_where_there_is_none(mk, file):
    code = "import sys; from mk.cli.main import main; main(); os.write(1, ' '.join(sys.modules).encode())"
    done = subprocess.run(
        [sys.executable, "-c", f"import os; {code}", "produce", "t", "--file", str(file)],
        env=mk.environment,
        capture_output=True,
        check=True,
    )
    assert not {"mk.cli.progress", "mk.cli.drawing", "rich", "unicodedata"} & set(done.stdout.decode().split())


def test_who_says_something_else_is_not_stopped_by_a_bar_that_is_gone(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress_bar("x", quiet=False):
        assert notes.before_note is not None
    assert notes.before_note is None


@given(
    st.text(st.characters(blacklist_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn")), max_size=80),
    st.integers(0, 1 << 50),
    st.integers(0, 1 << 50),
    st.floats(0, 1e6),
    st.integers(0, 300),
    st.booleans(),
    st.sampled_from([ASCII, BLOCKS]),
)
def test_a_line_is_never_wider_than_the_terminal(label, done, total, seconds, width, counts_bytes, drawn):
    bar = progress.progress_bar(label, quiet=True, counts_bytes=counts_bytes)
    bar._letters = drawn
    assert cells(bar.line(done, total, seconds, width)) <= width
