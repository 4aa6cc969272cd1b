"""Batches that a writer made to harm readers: a little that would unpack to a lot, and counts that are none. An error that names the
place, and no more memory than a batch may take, on every way that a batch goes."""

import subprocess

import pytest
from running import measured

from mk.records import codecs
from mk.records.record_batch import COLUMNS, LINES, EncodedBatch
from mk.storage.log_directory import LogDirectory
from tests.proof.figures import count
from tests.thinning import crossed
from tests.transports.conftest import make_fake_ssh

MOST_MIB = 150
"""Python, mk, a batch of what this one claims, and what the decoder keeps aside."""

CODECS = {name: number for name, number in codecs.CODEC_NAMES.items() if number}
GIGABYTE = 1 << 30


def bomb(codec, size):
    """Return `size` zeros, compressed, without ever having them all."""
    if codec == codecs.ZSTD:
        from backports import zstd

        compressor = zstd.ZstdCompressor()
        pieces = [compressor.compress(bytes(1 << 20)) for _ in range(size >> 20)]
        return b"".join(pieces) + compressor.flush()
    if codec == codecs.LZ4:
        from lz4 import frame

        with frame.LZ4FrameCompressor() as compressor:
            pieces = [compressor.begin(), *(compressor.compress(bytes(1 << 20)) for _ in range(size >> 20))]
            return b"".join(pieces) + compressor.flush()
    import zlib

    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(compressor.compress(bytes(1 << 20)) for _ in range(size >> 20)) + compressor.flush()


def batch(payload, *, codec=0, kind=LINES, raw_length, count=1):
    return EncodedBatch(
        [payload], raw_length=raw_length, attributes=kind | codec, record_count=count, base_timestamp=0, max_timestamp=0
    )


def claims_little(codec):
    """It says 100 kB, and is a hundred megabytes."""
    return batch(bomb(codec, 100 << 20), codec=codec, raw_length=100_000)


def claims_much(codec):
    """It says as much as a batch may have, and has hardly a byte."""
    return batch(codecs.compress(codec, b"x\n"), codec=codec, raw_length=codecs.MAX_RAW_BYTES)


def has_many(codec):
    """It says that there are two thousand million records in a line."""
    return batch(codecs.compress(codec, b"x\n"), codec=codec, raw_length=2, count=(1 << 31) - 1)


def has_many_columns(codec):
    """The same, of arrays; each of which claims to be long, one in the other."""
    data = b"\x94" + b"\xdd\x7f\xff\xff\xff" * 4
    return batch(codecs.compress(codec, data), codec=codec, kind=COLUMNS, raw_length=len(data), count=1)


MADE = [claims_little, claims_much, has_many, has_many_columns]


@pytest.fixture
def harmed(mk):
    """Return a function that puts a batch between two good records."""

    def put(harm):
        mk.ok("produce", "t", "before")
        directory = LogDirectory(str(mk.directory))
        topic = directory.open_topic("t")
        topic.append_batches(0, [harm])
        topic.close()
        directory.close()
        mk.ok("produce", "t", "after")
        return mk

    return put


def run(mk, words, environment):
    """Return status, standard error and the most memory of a command, MiB; that of what ssh runs with it."""
    done, peak_kib = measured(
        mk, words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    return done.returncode, done.stderr.decode(), peak_kib >> 10


WAYS = {
    "consume": ["consume", "t"],
    "as JSON": ["consume", "t", "-J"],
    "in a group": ["consume", "t", "-g", "g"],
    "backward": ["consume", "t", "--reverse"],
    "search": ["consume", "t", "--grep", "v=x"],
    "execute": ["consume", "t", "--exec", "cat"],
    "verify": ["topics", "verify", "t"],
    "dump": ["topics", "dump", "t"],
    "repair": ["topics", "repair", "t", "--dry-run"],
    "snapshot": ["topics", "snapshot", "SNAPSHOT"],
    "clone": ["topics", "clone", "t", "u", "--rehash", "-p", "2"],
    "replicate": ["replicate", "LOG", "COPY"],
    "push": ["replicate", "LOG", "far.example:COPY"],
    "pull": ["replicate", "far.example:LOG", "COPY"],
    "consume from there": ["consume", "t", "-d", "far.example:LOG"],
}


@pytest.mark.parametrize(("make", "codec"), crossed(MADE, list(CODECS), every=3))
def test_a_batch_that_was_made_to_harm_costs_little_on_every_way(harmed, tmp_path, make, codec, thoroughness):
    mk = harmed(make(CODECS[codec]))
    environment = {"MK_RSH": make_fake_ssh(tmp_path), "MK_REMOTE_PATH": mk.program}
    ways = thoroughness.of(WAYS, 5)
    for way in ways:
        copy, snapshot = tmp_path / f"copy-{way}", tmp_path / f"snapshot-{way}"
        words = [
            str(word).replace("LOG", str(mk.directory)).replace("COPY", str(copy)).replace("SNAPSHOT", str(snapshot))
            for word in WAYS[way]
        ]
        status, said, memory_mib = run(mk, words, environment)
        assert status in (0, 1, 2, 65, 66), (way, status, said)
        assert "Traceback" not in said and "mk itself failed" not in said, (way, said)
        assert memory_mib < MOST_MIB, (way, memory_mib)
        if way in ("consume", "as JSON", "in a group", "verify", "consume from there"):
            assert status == 65, (way, said)
        count("attacks")
    # Those beside it are there, and nobody is held up.
    assert mk.ok("consume", "t", "-n", "1") == b"before\n"
    mk.ok("produce", "t", "more")
