"""What one record costs a process that does nothing else, as in a loop of sh or from cron."""

from __future__ import annotations

import shutil

from bench import LIMIT, NEIGHBOUR, REPOSITORY, Bench

COMPLETE = "COMP_WORDS=(mk consume '') COMP_CWORD=2; _mk; echo ${#COMPREPLY[@]}"


def cold_start(bench: Bench) -> None:
    bench.fresh_directory()
    bench.shell('"$MK" produce t -k u1 v')
    bench.env["NQDIR"] = str(bench.directory)
    ways = [
        bench.command("python -I -c pass", [bench.python, "-I", "-c", "pass"], role=LIMIT),
        bench.command("mk produce t -k u1 v", [bench.mk, "produce", "t", "-k", "u1", "v"]),
        bench.command("mk consume t -n 1", [bench.mk, "consume", "t", "-n", "1"], expect="v"),
        bench.command("mk topics --json", [bench.mk, "topics", "--json"]),
        bench.command("mk --version", [bench.mk, "--version"]),
        bench.command("echo v | cat >> log && sync log", 'echo v | cat >> "$LOG" && sync "$LOG"', role=NEIGHBOUR),
    ]
    if shutil.which("bash"):
        line = ["bash", "-c", f". {REPOSITORY}/completions/mk.bash; {COMPLETE}"]
        ways.append(bench.command("completion of a topic, bash", line, expect="1"))
        ways[-1].shown = "bash -c '. completions/mk.bash; mk consume <TAB>'"
    if shutil.which("nq"):
        ways.append(bench.command("nq true", ["nq", "true"], role=NEIGHBOUR))
    kafka, redis = bench.neighbours.kafka(), bench.neighbours.redis()
    if redis is not None:
        redis.empty("always")
        line = [*redis.cli.split(), "XADD", "s", "*", "u1", "v"]
        ways.append(bench.command("redis-cli XADD, appendfsync always", line, role=NEIGHBOUR))
    if kafka is not None:
        line = f"echo v | kcat -P -b {kafka.broker} -t {kafka.new_topic()} -k u1 -p 0"
        ways.append(bench.command("kcat -P -k u1", line, role=NEIGHBOUR))
    bench.compare("cold-start", "One record, one process", ways, rounds=bench.short_rounds)
    bench.holds(
        "t", 1 + sum(len(way.measures.get("seconds", ())) for way in ways if way.name.startswith("mk produce"))
    )()
