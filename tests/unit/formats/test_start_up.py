import subprocess
import sys

HEAVY = {"dataclasses", "enum", "typing", "re", "pathlib", "json", "signal", "functools", "collections", "select"}

SCRIPT = """
import os, sys
import mk.formats.readers, mk.formats.writers, mk.producer.partitioner
read_fd, write_fd = os.pipe()
os.write(write_fd, b"k\\tv\\n")
os.close(write_fd)
reader = mk.formats.readers.LineReader(read_fd)
while (block := reader.next_block()) is not None:
    mk.formats.readers.split_keys(block, b"\\t")
mk.formats.writers.writer("value")([])
mk.producer.partitioner.partitioner("crc32")(b"k", 8)
print(*sys.modules)
"""


def test_a_few_lines_in_and_out_load_no_module_that_costs_a_start() -> None:
    # -I and -S, so that what the environment's own start-up files import does not count; the path is handed over instead.
    script = f"import sys; sys.path[:] = {sys.path}\n{SCRIPT}"
    result = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(result.stdout.split())
