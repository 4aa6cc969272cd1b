"""The peak memory of mk on every bulk path. Of a pipeline it is the largest process that counts."""

from __future__ import annotations

import shutil

from bench import PARTITIONS, Bench, Way


def memory(bench: Bench) -> None:
    bench.fresh_directory()
    copy = bench.directory / "copy"
    paths = {
        "cat f | mk produce t": 'cat "$FILE" | "$MK" produce t',
        "cat f | mk produce k -K TAB": f'cat "$KEYED" | "$MK" produce k -K "$TAB" --partitions {PARTITIONS}',
        "cat f | mk produce z -z zstd": 'cat "$FILE" | "$MK" produce z -z zstd',
        "mk produce l, lines of 15 MB": 'for i in 1 2 3; do head -c 15000000 /dev/zero; echo; done | "$MK" produce l',
        "mk consume t": '"$MK" consume t > /dev/null',
        "mk consume k": '"$MK" consume k > /dev/null',
        "mk consume z": '"$MK" consume z > /dev/null',
        "mk consume l": '"$MK" consume l > /dev/null',
        "mk consume t -g g": '"$MK" consume t -g g > /dev/null',
        "mk consume k -f '%k %v\\n'": "\"$MK\" consume k -f '%k %v\\n' > /dev/null",
        "mk consume k -J": '"$MK" consume k -J > /dev/null',
        "mk consume k -J | mk produce j -J": '"$MK" consume k -J | "$MK" produce j -J',
        "mk consume k -f framed | mk produce r -f framed": '"$MK" consume k -f framed | "$MK" produce r -f framed',
        "mk topics verify k": '"$MK" topics verify k > /dev/null',
        "mk replicate SRC DST": f'"$MK" replicate -q "$MK_DIR" {copy}',
    }

    def way(name: str, line: str) -> Way:
        shown = line.replace('"$MK"', "mk").replace(str(copy), "copy")
        return Way(name, lambda: {"peak_bytes": bench.run(line)[1]}, shown=shown)

    ways = [way(name, line) for name, line in paths.items()]
    bench.compare("memory", "Peak memory of the bulk paths", ways, rounds=1)
    for topic in "tkzjr":
        bench.holds(topic, bench.lines)()
    shutil.rmtree(copy, ignore_errors=True)
