"""The blocks of mk-recipes(7), and a place where they run as they are: its paths are below a directory of the test's own.

Nothing but paths is changed in a block, so that what is tested is what is pasted. `ssh` and `docker` are stand-ins: one runs the
command here, as if it were there; the other in namespaces of its own.
"""

import configparser
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.docs.mdoc_page import Page

PAGE = Page("mk-recipes.7")
TIMEOUT = 60

_SSH = """#!/bin/sh
# Options end with --, if there are any.
case " $* " in *" -- "*) while [ "$1" != -- ]; do shift; done; shift;; esac
shift
exec sh -c "$*"
"""
_DOCKER = f"""#!{sys.executable}
import os, subprocess, sys
words = sys.argv[1:]
assert words.pop(0) == "run"
environment = {{"PATH": os.environ["PATH"]}}
detached = False
while (word := words.pop(0)).startswith("-"):
    if word == "-d":
        detached = True
    elif word == "-e":
        name, _, environment[name] = words.pop(0).partition("=")
    elif word == "-v":
        here, _, there = words.pop(0).partition(":")
        assert here == there and os.path.isdir(here)
    else:
        assert word == "--rm"
assert word == "IMAGE"
namespaces = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "--ipc", "--uts", "--kill-child"]
command = ["unshare", *namespaces, *words]
if not detached:
    os.execvpe("unshare", command, environment)
quiet = {{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
print(subprocess.Popen(command, env=environment, start_new_session=True, **quiet).pid)
"""


def recipe(title):
    """Return the blocks of the recipe of that title."""
    blocks = PAGE.examples(title)
    assert blocks, title
    return blocks


class Place:
    """A root of its own, in which /srv/mk, /var and /usr/local/bin are."""

    def __init__(self, top):
        self.top = top
        self.mk = top / "srv/mk"
        self.bin = top / "usr/local/bin"
        self.work = top / "work"
        for directory in (
            self.mk.parent,
            self.bin,
            self.work,
            *(top / f"var/{name}" for name in ("log/app", "backups", "lib/node_exporter")),
        ):
            directory.mkdir(parents=True)
        self.program("mk", f'#!/bin/sh\nexec {shlex.quote(str(Path(sys.executable).with_name("mk")))} "$@"\n')
        self.program("ssh", _SSH)
        self.program("docker", _DOCKER)
        self._running = []

    def program(self, name, text):
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def paste(self, block):
        """Return the block with the paths of this place: those of another host are below the name of that host."""
        # The top is put in at the end, since it may itself begin with /var; in what a test adds it is already.
        block = block.replace(str(self.top), "@TOP@")
        block = re.sub(r"(?m)^(ssh (\w+) .* )/srv/", r"\1@TOP@/\2/srv/", block)
        block = re.sub(r"\b(backup|new):/", r"\1:@TOP@/\1/", block)
        block = re.sub(r"(?<![\w/}@])/(srv|var|usr/local/bin)\b", r"@TOP@/\1", block)
        return block.replace("@TOP@", str(self.top))

    def environment(self):
        names = {"PATH": f"{self.bin}:/usr/bin:/bin:/usr/sbin", "HOME": str(self.top), "MK_DIR": str(self.mk)}
        return {**names, "PYTHONDONTWRITEBYTECODE": "1"}

    def shell(self, script, *, check=True, **environment):
        """Run a script in the directory `work`, with sh."""
        done = subprocess.run(
            ["sh", "-c", f"set -e\n{self.paste(script)}"],
            env={**self.environment(), **environment},
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def start(self, words, **options):
        process = subprocess.Popen(
            words,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self._running.append(process)
        return process

    def values(self, topic, *options, directory=None):
        return self.shell(f"mk consume {topic} -d {directory or self.mk} {' '.join(options)}").stdout.splitlines()

    def close(self):
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.communicate()


@pytest.fixture
def place(tmp_path):
    here = Place(tmp_path)
    yield here
    here.close()


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.02)


def stop(process, number=signal.SIGTERM):
    """Send a signal and return the status, as a shell has it."""
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


class Unit(configparser.RawConfigParser):
    """A unit of systemd, as far as the page needs it."""

    def __init__(self, text):
        super().__init__(strict=False, comment_prefixes=("#",))
        self.optionxform = str
        self.read_string(text.replace("\\\n", " "))

    def command(self):
        """Return the words of ExecStart; no word here needs more than what a shell does, and specifiers."""
        words = shlex.split(self["Service"]["ExecStart"])
        return [word.replace("%H", os.uname().nodename) for word in words]


def files(titles):
    """Return the blocks that begin with the path of the file that they are: path and content."""
    found = {}
    for title in titles:
        for block in recipe(title):
            head = re.match(r"# (/\S+)\n", block)
            if head:
                found[head[1]] = block
    return found


def needs(*programs):
    for name in programs:
        if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"there is no {name}")
