#!/usr/bin/env python3
"""Time `mk replicate` beside cp and rsync, between directories and through a real sshd on loopback, and with nothing to do.

    python benchmarks/replication.py [--megabytes N] [--rounds R] [--only NAME ...] [--json FILE] [--mk PATH] [--dir DIR]

The commands of a group take turns within each round, and what counts is the ratio to the first of the group. Nothing is
asserted: a command that fails is reported and left out. Needs only the standard library, sh and coreutils; rsync, ssh and
sshd where they are there.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import SHORT_ROUNDS, Bench, Command, machine, make_lines

TOPICS = 6
MANY_PARTITIONS = 100
LINE_BYTES = 105

SSHD_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {top}/host_key
AuthorizedKeysFile {top}/key.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
"""


class Sshd:
    """An sshd of this user on loopback. rsh: the words of the ssh that gets in."""

    def __init__(self, top: Path) -> None:
        for name in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", top / name], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (top / "sshd_config").write_text(SSHD_CONFIG.format(port=port, top=top))
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "sshd"
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self.process = subprocess.Popen(
            [program, "-D", "-f", top / "sshd_config"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        settings = {
            "IdentityFile": top / "key",
            "UserKnownHostsFile": top / "known_hosts",
            "StrictHostKeyChecking": "no",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "Port": port,
        }
        self.rsh = "ssh -F none " + " ".join(f"-o {shlex.quote(f'{key}={value}')}" for key, value in settings.items())
        for _ in range(50):
            if (
                subprocess.run(
                    [*shlex.split(self.rsh), "127.0.0.1", "true"], check=False, capture_output=True
                ).returncode
                == 0
            ):
                return
            time.sleep(0.1)
        raise OSError("sshd lets nobody in")


class ReplicationBench(Bench):
    """Directories to copy from, and a place to copy to that is emptied before each time."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        super().__init__(options, directory)
        self.env.update(SRC=str(directory / "mk"), DST=str(directory / "copy"))

    def fill(self) -> None:
        self.fresh_directory()
        for number in range(TOPICS):
            if failure := self.produce(f'"$MK" produce -q t{number} < "$FILE"'):
                sys.exit(f"cannot fill a topic: {failure}")

    def no_copy(self) -> None:
        shutil.rmtree(self.directory / "copy", ignore_errors=True)
        os.sync()

    def directories(self) -> None:
        size = sum(path.stat().st_size for path in (self.directory / "mk").rglob("*.log"))
        commands = [
            Command("cp -r && sync", 'cp -r "$SRC" "$DST" && sync -f "$DST"', prepare=self.no_copy),
            Command("mk replicate", '"$MK" replicate -q "$SRC" "$DST"', prepare=self.no_copy),
        ]
        if shutil.which("rsync"):
            rsync = 'rsync -a "$SRC/" "$DST" && sync -f "$DST"'
            commands.insert(1, Command("rsync -a && sync", rsync, prepare=self.no_copy))
        self.group(
            "directories",
            f"{size / 1e6:,.0f} MB in {TOPICS} topics to another directory",
            commands,
            rounds=self.options.rounds,
        )
        self.no_copy()
        if failure := self.produce('"$MK" replicate -q "$SRC" "$DST"'):
            print(f"\nverify: cannot make a copy: {failure}")
        self.group(
            "verify",
            "The same, compared",
            [
                Command("diff -r", 'diff -r "$SRC/topics" "$DST/topics" || true'),
                Command("mk replicate --verify", '"$MK" replicate -q --verify "$SRC" "$DST"'),
            ],
            rounds=self.options.rounds,
        )

    def hosts(self) -> None:
        if not all(map(shutil.which, ("ssh", "ssh-keygen"))):
            print("\nhosts: ssh is not installed: left out")
            return
        try:
            sshd = Sshd(self.directory)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"\nhosts: left out: {error}")
            return
        try:
            self.env.update(MK_RSH=sshd.rsh, MK_REMOTE_PATH=self.mk, RSYNC_RSH=sshd.rsh)
            commands = [
                Command(
                    "tar | ssh tar && sync",
                    f'tar -C "$SRC" -c . | {sshd.rsh} 127.0.0.1 "mkdir $DST && tar -C $DST -x && sync -f $DST"',
                    prepare=self.no_copy,
                ),
                Command("mk replicate", '"$MK" replicate -q "$SRC" "127.0.0.1:$DST"', prepare=self.no_copy),
            ]
            if shutil.which("rsync"):
                line = f'rsync -a "$SRC/" "127.0.0.1:$DST" && {sshd.rsh} 127.0.0.1 sync -f "$DST"'
                commands.insert(0, Command("rsync -e ssh && sync", line, prepare=self.no_copy))
            self.group("hosts", "The same through sshd on loopback", commands, rounds=self.options.rounds)
        finally:
            sshd.process.kill()
            sshd.process.wait()

    def nothing(self) -> None:
        many, copy = self.directory / "many", self.directory / "many-copy"
        line = f'for i in 1 2 3 4 5; do seq 100 | "$MK" produce -q -d "{many}" t$i --partitions {MANY_PARTITIONS // 5}; done'
        for one in (line, f'"$MK" replicate -q "{many}" "{copy}"'):
            if failure := self.produce(one):
                print(f"\nnothing: cannot make {MANY_PARTITIONS} partitions: {failure}")
                return
        commands = [
            Command("python -I -c pass", [self.python, "-I", "-c", "pass"]),
            Command("mk --version", [self.mk, "--version"]),
            Command("mk replicate", [self.mk, "replicate", "-q", str(many), str(copy)]),
        ]
        if shutil.which("rsync"):
            commands.append(Command("rsync -a", ["rsync", "-a", f"{many}/topics/", f"{copy}/topics"]))
        self.group(
            "nothing",
            f"Nothing to do, {MANY_PARTITIONS} partitions in 5 topics",
            commands,
            rounds=self.options.rounds * SHORT_ROUNDS,
        )

    def memory(self) -> None:
        command = Command("mk replicate", '$PEAK "$MK" replicate -q "$SRC" "$DST"', prepare=self.no_copy)
        self.measure(command)
        shown = command.failure or f"{command.peak_bytes[0] / 1e6:.1f} MB"
        print(f"\nPeak memory of mk replicate  (memory)\n  {shown}")
        self.results.append({"group": "memory", "name": "mk replicate", "peak_bytes": command.peak_bytes})


GROUPS = {
    "directories": ReplicationBench.directories,
    "memory": ReplicationBench.memory,
    "hosts": ReplicationBench.hosts,
    "nothing": ReplicationBench.nothing,
}


def main() -> int:
    beside = os.path.join(os.path.dirname(sys.executable), "mk")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000, metavar="N", help="how much there is to copy (1000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="rounds of the copies (3)")
    parser.add_argument("--only", action="append", choices=sorted(GROUPS), metavar="NAME", help=", ".join(GROUPS))
    parser.add_argument("--json", metavar="FILE", help="write all results there too")
    parser.add_argument("--mk", default=beside, metavar="PATH", help=f"the mk to run ({beside})")
    parser.add_argument(
        "--dir", metavar="DIR", help="make the temporary directory there: choose the file system to test"
    )
    options = parser.parse_args()
    if not os.access(options.mk, os.X_OK):
        parser.error(f"no mk at {options.mk}: install it, or name one with --mk")
    if options.megabytes < 1 or options.rounds < 1:
        parser.error("takes at least 1 megabyte and 1 round")
    options.mk = os.path.abspath(options.mk)
    options.lines = options.megabytes * 1_000_000 // TOPICS // LINE_BYTES
    with tempfile.TemporaryDirectory(prefix="mk-benchmark-", dir=options.dir) as name:
        bench = ReplicationBench(options, Path(name).resolve())
        about = machine(bench)
        print(*(f"{key}: {value}" for key, value in about.items()), sep="\n", flush=True)
        make_lines(bench.directory, options.lines)
        groups = list(GROUPS) if options.only is None else options.only
        if groups != ["nothing"]:
            bench.fill()
        for group in groups:
            GROUPS[group](bench)
        if options.json:
            Path(options.json).write_text(json.dumps({**about, "results": bench.results}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
