"""`mk replicate` beside what copies files: to another directory, through a real sshd on loopback, and with nothing to do."""

from __future__ import annotations

import shutil

from bench import LIMIT, MK, NEIGHBOUR, Bench, Failed, Way

TOPICS = 5
"""So many topics of all lines: 1 GB."""

MANY_PARTITIONS = 100


def replicate(bench: Bench) -> None:
    bench.env.update(SRC=str(bench.directory / "mk"), DST=str(bench.directory / "copy"))
    size = _fill(bench)
    ways = [
        _copied(bench, "cp -r && sync -f", 'cp -r "$SRC" "$DST" && sync -f "$DST"', LIMIT),
        _copied(bench, "mk replicate SRC DST", '"$MK" replicate -q "$SRC" "$DST"', MK),
    ]
    if shutil.which("rsync"):
        ways.append(_copied(bench, "rsync -a && sync -f", 'rsync -a "$SRC/" "$DST" && sync -f "$DST"', NEIGHBOUR))
    rounds = min(bench.rounds, 3)
    bench.compare("replicate", f"{size / 1e6:,.0f} MB in {TOPICS} topics to another directory", ways, rounds=rounds)
    _replicate_ssh(bench, size, rounds)
    _no_copy(bench)
    _nothing(bench)


def _replicate_ssh(bench: Bench, size: int, rounds: int) -> None:
    sshd = bench.neighbours.sshd()
    if sshd is None:
        return
    far = f"{sshd.host}:$DST"
    bench.env.update(SSH=f"{sshd.ssh} {sshd.host}", MK_RSH=sshd.ssh, MK_REMOTE_PATH=bench.mk, RSYNC_RSH=sshd.ssh)
    tar = 'tar -C "$SRC" -c . | $SSH "mkdir $DST && tar -C $DST -x && sync -f $DST"'
    ways = [
        _copied(bench, "tar | ssh tar && sync -f", tar, NEIGHBOUR),
        _copied(bench, "mk replicate SRC HOST:DST", f'"$MK" replicate -q "$SRC" "{far}"', MK),
    ]
    if shutil.which("rsync"):
        line = f'rsync -a "$SRC/" "{far}" && $SSH sync -f "$DST"'
        ways.insert(0, _copied(bench, "rsync -e ssh && sync -f", line, LIMIT))
    bench.compare("replicate-ssh", f"{size / 1e6:,.0f} MB through sshd on loopback", ways, rounds=rounds)


def _nothing(bench: Bench) -> None:
    many, copy = bench.directory / "many", bench.directory / "many-copy"
    each = MANY_PARTITIONS // 5
    bench.shell(f'for i in 1 2 3 4 5; do seq 100 | "$MK" produce -q -d {many} t$i --partitions {each} || exit; done')
    bench.shell(f'"$MK" replicate -q {many} {copy}')
    ways = [
        bench.command("python -I -c pass", [bench.python, "-I", "-c", "pass"], role=LIMIT),
        bench.command("mk replicate, nothing new", [bench.mk, "replicate", "-q", str(many), str(copy)]),
    ]
    if shutil.which("rsync"):
        line = ["rsync", "-a", f"{many}/topics/", f"{copy}/topics"]
        ways.append(bench.command("rsync -a, nothing new", line, role=NEIGHBOUR))
    title = f"Nothing to copy, of {MANY_PARTITIONS} partitions in 5 topics"
    bench.compare("replicate-nothing", title, ways, rounds=bench.short_rounds // 2)


def _fill(bench: Bench) -> int:
    """Make the source, and return the bytes of its segments."""
    bench.fresh_directory()
    for number in range(TOPICS):
        bench.shell(f'"$MK" produce -q t{number} < "$FILE"')
    return _size(bench, "mk")


def _size(bench: Bench, name: str) -> int:
    return sum(path.stat().st_size for path in (bench.directory / name).rglob("*.log"))


def _copied(bench: Bench, name: str, line: str, role: str) -> Way:
    """Return the way of a line that makes the copy, where there is none, with as many bytes as the source has."""

    def check() -> None:
        source, copy = _size(bench, "mk"), _size(bench, "copy")
        if source != copy:
            raise Failed(f"the copy has {copy:,} bytes of segments, and the source {source:,}")

    return bench.command(name, line, role=role, prepare=lambda: _no_copy(bench), check=check)


def _no_copy(bench: Bench) -> None:
    shutil.rmtree(bench.directory / "copy", ignore_errors=True)
    bench.settle()
