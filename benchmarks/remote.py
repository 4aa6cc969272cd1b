"""Through a real ssh to this machine, which is the limit: both ends of it, and of mk, share the processors."""

from __future__ import annotations

from bench import LIMIT, Bench


def remote(bench: Bench) -> None:
    bench.fresh_directory()
    sshd = bench.neighbours.sshd()
    if sshd is None:
        return
    far = f"{sshd.host}:{bench.directory}/mk"
    bench.env.update(SSH=f"{sshd.ssh} {sshd.host}", FAR=far, MK_RSH=sshd.ssh, MK_REMOTE_PATH=bench.mk)
    lines = bench.lines
    ways = [
        bench.command(
            "cat f | ssh host 'cat >> log && sync log'",
            'cat "$FILE" | $SSH "cat >> $LOG && sync $LOG"',
            role=LIMIT,
            records=lines,
            prepare=bench.fresh_log,
        ),
        bench.command(
            "cat f | mk produce t -d host:dir",
            'cat "$FILE" | "$MK" produce t -d "$FAR"',
            records=lines,
            prepare=bench.fresh_directory,
            check=bench.holds("t", lines),
        ),
    ]
    bench.compare("remote-produce", f"{lines:,} lines to another host", ways)
    bench.fresh_directory()
    bench.shell('"$MK" produce t < "$FILE"')
    expect = str(lines)
    ways = [
        bench.command("ssh host 'cat f' | wc -l", '$SSH "cat $FILE" | wc -l', role=LIMIT, records=lines, expect=expect),
        bench.command(
            "mk consume t -d host:dir | wc -l",
            '"$MK" consume t -d "$FAR" | wc -l',
            records=lines,
            expect=expect,
        ),
    ]
    bench.compare("remote-consume", f"{lines:,} lines from another host", ways)
    echo = 'echo v | $SSH "cat >> $LOG && sync $LOG"'
    ways = [
        bench.command("echo v | ssh host 'cat >> log && sync log'", echo, role=LIMIT),
        bench.command("mk produce s v -d host:dir", [bench.mk, "produce", "s", "v", "-d", far]),
        bench.command("mk consume s -n 1 -d host:dir", [bench.mk, "consume", "s", "-n", "1", "-d", far], expect="v"),
    ]
    bench.shell('"$MK" produce s v')
    rounds = bench.short_rounds // 2
    bench.compare("remote-start", "One record, one process, another host", ways, rounds=rounds)
