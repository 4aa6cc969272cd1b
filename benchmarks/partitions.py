"""What the size of a directory costs whoever uses a little of it: many partitions beside, many segments within."""

from __future__ import annotations

import shutil

from bench import LIMIT, MK, PARTITIONS, REPOSITORY, Bench, Way
from start_up import COMPLETE

MANY = 10_000
GREATEST_TOPIC = 4096

# Makes topics as `mk topics create` does, but for the syncs: DIRECTORY, then a number of partitions for each.
MAKE_TOPICS = """
import os, sys
from mk.storage import files
from mk.storage.log_directory import LogDirectory, create_directory
from mk.storage.topic import encode_topic
files.fsync = files.fdatasync = lambda fd: None
create_directory(sys.argv[1])
directory = LogDirectory(sys.argv[1])
for number, partitions in enumerate(map(int, sys.argv[2:])):
    name, topic_id = f"t-{number}", os.urandom(16).hex()
    directory.make_topic(name, topic_id, encode_topic(name, topic_id, partitions, "crc32", {}), [(b"", 0)] * partitions)
"""

# Makes a log of many segments of 128 MiB that take next to no room: each has eight batches of one record of 16 MiB, of which
# only the header and the newline are not a hole, and in the middle a batch of 1000 lines. `mk topics verify` finds it whole.
MAKE_SEGMENTS = """
import os, sys
from mk.storage import offset_index
from mk.storage.log_directory import LogDirectory
from mk.storage.log_segment import INDEX_SUFFIX, segment_name
from mk.storage.partition_state import LogEnd, read_state, write_state
from mk.records.record_batch import HEADER_SIZE, encode_lines
topic, segments, first_ms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
large = encode_lines(bytes((16 << 20) - HEADER_SIZE - 1) + b"\\n", count=1, timestamp_ms=0)
partition = os.path.join(os.environ["MK_DIR"], "topics", topic, "0")
state_fd = os.open(os.path.join(partition, "state"), os.O_RDWR)
state = read_state(state_fd)
offset = chain = 0
for segment in range(segments):
    base, position, latest, entries = offset, 0, -1, b""
    lines = b"".join(b"%d %090d\\n" % (offset + 4 + number, 0) for number in range(1000))
    small = encode_lines(lines, count=1000, timestamp_ms=0)
    with open(os.path.join(partition, segment_name(base)), "wb") as log:
        for number, batch in enumerate([large] * 4 + [small] + [large] * 4):
            batch.base_timestamp = batch.max_timestamp = first_ms + segment * 1000 + number
            chain = batch.chain_after(chain)
            header = batch.stamp(offset, state.leader_epoch, offset, chain)
            os.pwrite(log.fileno(), header, position)
            if batch is small:
                os.pwrite(log.fileno(), lines, position + HEADER_SIZE)
            else:
                os.pwrite(log.fileno(), b"\\n", position + batch.size_bytes - 1)
            position, offset, latest = position + batch.size_bytes, offset + batch.record_count, batch.max_timestamp
            entries += offset_index.ENTRY.pack(offset - base, position, latest)
    with open(os.path.join(partition, segment_name(base, INDEX_SUFFIX)), "wb") as index:
        index.write(entries)
state.segment, state.high_watermark = base, offset
state.written = state.durable = LogEnd(position, offset, chain, latest)
state.began_ms = first_ms
write_state(state_fd, state)
"""


def many_partitions(bench: Bench) -> None:
    """One topic of eight partitions, alone but for two others, and beside many: in a great topic, and in topics of one."""
    many = MANY // 50 if bench.quick else MANY
    great = min(GREATEST_TOPIC, many // 2)
    beside = {"few": [1, 1], "many": [great] + [1] * (many - great - PARTITIONS)}
    for count, partitions in beside.items():
        directory = bench.directory / count
        bench.script(MAKE_TOPICS, directory, *partitions)
        bench.shell(f'"$MK" topics create u -p {PARTITIONS} -q -d {directory}')
        bench.shell(f'seq 10000 | "$MK" produce u -d {directory} -q')
    bench.settle()
    for words in ("produce u v", "consume u -n 1", "consume u -n 1 -g g", "topics --json", "consume <TAB>"):
        ways = []
        for count, partitions in beside.items():
            directory, expect = str(bench.directory / count), None
            command = [bench.mk, *words.split(), "-d", directory]
            if "TAB" in words:
                command = ["env", f"MK_DIR={directory}", "bash", "-c"]
                command.append(f". {REPOSITORY}/completions/mk.bash; {COMPLETE}")
                expect = str(len(partitions) + 1)
            role = LIMIT if count == "few" else MK
            ways.append(bench.command(f"{count} partitions: mk {words}", command, role=role, expect=expect))
        of_all = "topics" in words or "TAB" in words
        title = f"`mk {words}` in a directory of 10 partitions and of {many:,}"
        bench.compare("partitions", title, ways, rounds=bench.rounds if of_all else bench.short_rounds)
    for count in beside:
        shutil.rmtree(bench.directory / count)


def seek(bench: Bench) -> None:
    """One offset and one time, in a partition of 100 GB and in one of a few records."""
    bench.fresh_directory()
    segments, first_ms = 20 if bench.quick else 800, 1_700_000_000_000
    bench.shell('"$MK" topics create big -q -c retention.ms=-1; seq 0 9 | "$MK" produce small -q')
    bench.script(MAKE_SEGMENTS, "big", segments, first_ms)
    bench.settle()
    wanted = segments * 1008 * 2 // 3 // 1008 * 1008 + 504  # in the middle of the small batch of a segment
    instant = f"@{first_ms + wanted // 1008 * 1000 + 4}"
    began = f"@{first_ms + segments * 1000}"
    line, first_line = (f"{number} {0:090d}" for number in (wanted, wanted - 500))

    def one(name: str, topic: str, at: str, expect: str, role: str) -> Way:
        command = [bench.mk, "consume", topic, "-o", at, "-n", "1"]
        return bench.command(name, command, expect=expect, role=role)

    size = segments << 27
    ways = [
        one("one segment: mk consume t -o 5 -n 1", "small", "5", "5", LIMIT),
        one("many segments: mk consume t -o N -n 1", "big", str(wanted), line, MK),
    ]
    times = [
        one("one segment: mk consume t -o @TIME -n 1", "small", began, "0", LIMIT),
        one("many segments: mk consume t -o @TIME -n 1", "big", instant, first_line, MK),
    ]
    title = f"One record out of a partition of {segments} segments, {size / 1e9:,.0f} GB"
    for pair in (ways, times):
        bench.compare("seek", title, pair, rounds=bench.short_rounds)
