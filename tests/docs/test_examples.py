"""Every example of the help texts and man pages runs, as it stands there, and does not fail."""

import contextlib
import grp
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import mk as api
from mk.cli import definition, help_topics

BIN = Path(sys.executable).parent
LEVELS = [definition.ROOT, *definition.commands()]
EXAMPLES = list(dict.fromkeys(line for level in LEVELS for line, _ in level.examples))
STUBS = {
    "curl": "cat > /dev/null",
    "mail": "cat > /dev/null",
    "fake-ssh": 'shift; exec sh -c "$*"',
}
SCRIPTS = {
    "work": "cat > /dev/null",
    "load": "cat > /dev/null",
    "send": "cat > /dev/null",
    "deliver": "mk consume orders -g mail --or-skip | ./send",
    "bill": "true",
}

# Paths of an example stand below the test's own directory.
PLACES = re.compile(r"(?<![\w./])/(srv|mnt|backup|var/lib/node_exporter|tmp/x)(?![\w-])")
OTHER_HOSTS = re.compile(r"\b(backup|web1):/srv/mk\b")
LEAD = re.compile(r"^(?:(?:[\d*/]+ ){5}|command\[\w+\]=/usr/bin/|ExecStart=/usr/bin/)(?=mk )")
KEY_LINE = re.compile(r'^restrict,command="(.*)" KEY$')

# What has to be so before an example, where the directory that all are run on is not enough.
AFRESH = "mk topics delete orders --yes -q\n"
COPIED = 'mk replicate -q "$ROOT/srv/mk" "$ROOT/mnt/backup/mk"\n'
FOLLOWS = 'mk replicate -q "$ROOT/copy"; export MK_DIR="$ROOT/copy"\n'
FENCED = (
    'mk replicate -q "$ROOT/copy"; mk produce -q orders -k user1 lost; mk replicate promote -q --force -d "$ROOT/copy"\n'
    'mk replicate -q "$ROOT/copy" "$MK_DIR"\n'
)
MEMBER = (
    "mk consume orders -g billing -F > member.out & member=$!\n"
    "until mk groups describe billing --members --json | grep -q $member; do :; done\n"
)
EXPORTED = "mk groups export billing > billing.csv\n"
COMMITTED = "mk groups reset billing orders --to start --yes -q\n"
SEGMENT = 'cp "$MK_DIR"/topics/orders/0/00000000000000000000.log .\n'
BEFORE = {
    "mk topics create orders -p 8": AFRESH,
    "mk topics create orders -c max.message.bytes=32M": AFRESH,
    "mk topics create orders -d /srv/mk --shared-group staff": 'rm -r "$ROOT/srv/mk"\n',
    "mk topics rename orders orders-2025": "mk topics delete orders-2025 --yes -q\n",
    "mk topics seal orders-2025 --undo": "mk topics seal orders-2025\n",
    "mk topics dump 00000000000000000000.log --records": SEGMENT,
    "mk topics compact homes": "mk topics alter homes -c cleanup.policy=compact\n",
    "mk topics verify -d /backup/now && mk consume orders -d /backup/now": 'mk topics snapshot -q "$ROOT/backup/now"\n',
    "mk groups import billing.csv --dry-run": EXPORTED,
    "mk groups import billing.csv --yes": EXPORTED,
    "mk groups delete billing-test --dry-run": "mk groups copy billing billing-test --yes\n",
    "mk groups undo billing --dry-run": COMMITTED,
    "mk groups undo billing --yes": COMMITTED,
    "mk groups kick billing 4f0c2a91": MEMBER,
    "mk groups kick billing 4121": MEMBER,
    "mk replicate /srv/mk /mnt/backup/mk --verify": COPIED,
    "mk replicate promote --dry-run": FOLLOWS,
    "mk replicate promote": FOLLOWS,
    "mk replicate promote orders --force": FOLLOWS,
    "mk replicate salvage --dry-run": FENCED,
    "mk replicate salvage --yes": FENCED,
    "mk topics create orders -p 4 -d /tmp/x && mk replicate salvage --into /tmp/x": FENCED,
    "mk wait orders -g billing": "mk consume orders -g billing > /dev/null\n",
    "mk wait orders -o end --timeout 50s": "(sleep 0.5; mk produce orders -k user1 late) &\n",
}
# Names that are another one each time.
NAMES = {
    "4f0c2a91": '"$(mk groups describe billing --members --json | jq -r ".[].members[0].member[:8]")"',
    "4121": "$member",
    "staff": grp.getgrgid(os.getgid()).gr_name,
}
# They go on until they are stopped.
ENDLESS = re.compile(r"^mk tail|^tail -n 0 -F|--follow| -F(?!.* (?:--idle|--max-time))")
# They need a terminal to draw on, and go on as well.
LIVE = re.compile(r"^mk top\b(?!.* --once)")
# A monitor judges; that these disks and ages are as it likes them is not the example's promise.
JUDGES = re.compile(r"^mk check(?! fs\b)")
# ssh's authorized_keys: what a client may do that is let in so.
CLIENTS = {
    "pull:orders": "mk consume orders -d host: -n 1",
    "push:s7[.].*": 'mk replicate "$MK_DIR" host: --topics orders --prefix s7 -q',
    "produce:orders": "mk produce orders -d host: -k user1 v",
}


def make(root: Path) -> None:
    """Make a log directory and files in which the examples find what they name."""
    for place in (
        "srv",
        "mnt",
        "backup",
        "var/lib/node_exporter",
        "home",
        "bin",
        "hosts/backup/srv",
        "hosts/web1/srv",
        "work",
    ):
        (root / place).mkdir(parents=True)
    for name, body in STUBS.items():
        (root / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (root / "bin" / name).chmod(0o755)
    work = root / "work"
    for name, body in SCRIPTS.items():
        (work / name).write_text(f"#!/bin/sh\n{body}\n")
        (work / name).chmod(0o755)
    for name in ("a.json", "b.json"):
        (work / name).write_text("{}\n")
    (work / "app.log").write_text("one\ntwo\n")
    (work / "clicks.tsv").write_text("ann\t/home\nbob\t/cart\nann\t/pay\n")
    (work / "book.txt").write_text("One.\n\nTwo,\nlonger.\n\nThree.\n")
    (work / "orders.txt").write_text("1795428000250 ann paid\n1795428000350 bob late\n")
    (work / "Makefile").write_text("all:\n\t@echo made\n")
    with api.connect(root / "mk", create=True) as cluster:
        for name, partitions in (
            ("orders", 4),
            ("orders-2025", 1),
            ("app", 1),
            ("app-1", 1),
            ("clicks", 2),
            ("homes", 1),
        ):
            cluster.create_topic(name, partitions=partitions)
        for name in ("users", "jobs", "log", "hooks", "files", "numbers", "scratch", "test-1"):
            cluster.create_topic(name)
        for partition in range(4):
            with cluster.producer("orders", partition=partition) as producer:
                for number in range(1500):
                    value = b"ERROR" if number % 500 == 0 else b"timeout" if number % 300 == 0 else b"paid %d" % number
                    producer.send(value, key=b"user%d" % (number % 50))
        for topic in ("orders-2025", "app", "app-1", "clicks", "homes", "users", "hooks", "scratch", "test-1"):
            with cluster.producer(topic) as producer:
                producer.send(b"v", key=b"user1")
        with cluster.producer("jobs") as producer:
            producer.send(b"done", key=b"job42")
        with cluster.producer("log") as producer:
            producer.send(b"server is ready")
        with cluster.producer("files") as producer:
            producer.send(b"app.log")
    for group, topic in (
        ("billing", "orders"),
        ("billing", "orders-2025"),
        ("mail", "orders"),
        ("test-g", "users"),
        ("old", "users"),
    ):
        run = ["mk", "consume", topic, "-g", group, "-n", "1"]
        subprocess.run(run, env=environment(root), stdout=subprocess.DEVNULL, check=True, timeout=60)
    for place in ("srv/mk", "hosts/web1/srv/mk"):
        with api.connect(root / place, create=True) as cluster:
            cluster.create_topic("orders")
            with cluster.producer("orders") as producer:
                producer.send(b"v")


def environment(root: Path) -> "dict[str, str]":
    return {
        "PATH": f"{root}/bin:{BIN}:{os.environ['PATH']}",
        "HOME": f"{root}/home",
        "ROOT": str(root),
        "MK_DIR": f"{root}/mk",
        "MK_RSH": f"{root}/bin/fake-ssh",
        "LC_ALL": "C.UTF-8",
    }


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("examples") / "root"
    make(root)
    return root


@pytest.fixture
def root(template, tmp_path):
    shutil.copytree(template, tmp_path / "root")
    return tmp_path / "root"


class Done:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def __repr__(self) -> str:
        return f"<Done {self.status} out={self.out[-300:]!r} err={self.err!r}>"


def shell(script: str, root: Path) -> Done:
    """Run a script as somebody types it who answers every question with y, and end what it leaves in the background."""
    ours, theirs = pty.openpty()
    os.write(ours, b"y\n" * 5)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            ["bash", "-c", f"set -e -o pipefail\n{script}"],
            stdin=theirs,
            stdout=out,
            stderr=err,
            cwd=root / "work",
            env=environment(root),
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(ours)
            os.close(theirs)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Done(status, *texts)


def as_typed(example: str, root: Path) -> str:
    """Return an example as a script for this machine: other places and names, no time of a crontab in front."""
    line = LEAD.sub("", example)
    line = OTHER_HOSTS.sub(rf"\1:{root}/hosts/\1/srv/mk", line)
    line = PLACES.sub(rf"{root}/\1", line)
    for name, stands_for in NAMES.items():
        line = re.sub(rf"(?<=[ ]){name}\b", lambda _, stands_for=stands_for: stands_for, line)
    return line.replace("\\%", "%") if line != example else line


def check(example: str, root: Path) -> None:
    line = as_typed(example, root)
    if key := KEY_LINE.match(line):
        allowed = re.search(r"--only '?([^ '\"]+)", line)
        (root / "bin/fake-ssh").write_text(f"#!/bin/sh\nexec {key.group(1)}\n")
        line = CLIENTS[allowed.group(1)]
    is_live = LIVE.search(line)
    if is_live:
        line = f"TERM=xterm script -qec {shlex.quote(line)} /dev/null"
    if is_live or ENDLESS.search(line):
        line = f"({line}) & job=$!\nsleep 1.5\nkill -0 $job"
    done = shell(BEFORE.get(example, "") + line, root)
    assert done.status in ({0, 1, 2} if JUDGES.search(line) else {0}), (line, done)
    assert "mk: error" not in done.err and "Traceback" not in done.err, (line, done)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_a_command_runs(example, root):
    check(example, root)


def test_what_is_prepared_is_for_examples_that_are_there():
    assert set(BEFORE) <= set(EXAMPLES)
    assert {
        allowed for line in EXAMPLES if KEY_LINE.match(line) for allowed in re.findall(r"--only '?([^ '\"]+)", line)
    } == set(CLIENTS)


@pytest.mark.parametrize("row", help_topics.CRON, ids=lambda row: row[1])
def test_a_line_of_the_crontab_runs(row, root):
    when, command, _ = row
    assert len(when.split()) == 5
    # Its minute is this test's second.
    check(f"{when} {command}".replace(" 50s", " 1s").replace("lag=1000", "lag=1000000"), root)


@pytest.mark.parametrize("subject", ["compaction", "replication"])
def test_what_a_help_topic_shows_works_from_top_to_bottom(subject, tmp_path):
    text = help_topics.subjects()[subject]
    lines = [line.strip() for line in text.splitlines() if re.match(r"  (mk|seq|echo|printf) ", line)]
    (tmp_path / "work").mkdir()
    (tmp_path / "bin").mkdir()
    done = shell("\n".join(lines), tmp_path)
    assert len(lines) >= 4 and done.status == 0, done
    if subject == "replication":
        assert done.out.startswith("1\n2\n3\n") and "1\n2\n3\n4\n" in done.out
    else:
        assert sorted(done.out.splitlines()) == ["ann\tLima", "bob\tRome"]
