"""zstd: a topic that is compressed, beside the library alone on the same blocks."""

from __future__ import annotations

from bench import LIMIT, Bench

# Both take the log of a topic apart, into what the library is given: for each batch the raw and the compressed length, then
# the bytes.
BLOCKS = """
import sys
from struct import Struct
from mk.records.codecs import ZSTD, decompress
from mk.records.record_batch import HEADER_SIZE, parse_header
log, raw, packed = open(sys.argv[1], "rb"), open(sys.argv[2], "wb"), open(sys.argv[3], "wb")
while header := log.read(HEADER_SIZE):
    batch = parse_header(header)
    payload = log.read(batch.payload_length)
    lines = decompress(ZSTD, payload, batch.raw_length)
    raw.write(len(lines).to_bytes(4, "big") + lines)
    packed.write(batch.raw_length.to_bytes(4, "big") + len(payload).to_bytes(4, "big") + payload)
"""

# Both keep freed memory, as mk does: without that the library takes twice as long for what it returns.
COMPRESS = """
import sys
bytes(1 << 20)
from mk.records.codecs import ZSTD, compress
with open(sys.argv[1], "rb", 1 << 20) as blocks:
    while length := blocks.read(4):
        compress(ZSTD, blocks.read(int.from_bytes(length, "big")))
"""

DECOMPRESS = """
import sys
bytes(1 << 20)
from mk.records.codecs import ZSTD, decompress
with open(sys.argv[1], "rb", 1 << 20) as blocks:
    while lengths := blocks.read(8):
        decompress(ZSTD, blocks.read(int.from_bytes(lengths[4:], "big")), int.from_bytes(lengths[:4], "big"))
"""


def zstd(bench: Bench) -> None:
    lines = bench.lines
    bench.fresh_directory()
    bench.shell('"$MK" produce z -z zstd < "$FILE"')
    raw, packed, log = bench.directory / "raw", bench.directory / "packed", bench.directory / "whole.log"
    bench.shell(f'cat "$MK_DIR"/topics/z/0/*.log > {log}')
    bench.script(BLOCKS, log, raw, packed)
    log.unlink()
    library = [bench.python, "-c"]
    ways = [
        bench.command("the library compresses", [*library, COMPRESS, str(raw)], role=LIMIT, records=lines),
        bench.command(
            "cat f | mk produce t -z zstd",
            'cat "$FILE" | "$MK" produce t -z zstd',
            records=lines,
            prepare=lambda: bench.shell('"$MK" topics delete t --if-exists --yes -q; sync'),
            check=bench.holds("t", lines),
        ),
    ]
    ways[0].shown = "python -c 'compress(ZSTD, block)' for each batch"
    bench.compare("zstd-produce", f"{lines:,} lines into a compressed log", ways)
    ways = [
        bench.command("the library decompresses", [*library, DECOMPRESS, str(packed)], role=LIMIT, records=lines),
        bench.command(
            "mk consume z | wc -l",
            '"$MK" consume z | wc -l',
            records=lines,
            prepare=bench.settle,
            expect=str(lines),
        ),
    ]
    ways[0].shown = "python -c 'decompress(ZSTD, block, length)' for each batch"
    bench.compare("zstd-consume", f"{lines:,} lines out of a compressed log", ways)
    raw.unlink()
    packed.unlink()
