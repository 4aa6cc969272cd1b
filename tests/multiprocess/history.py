"""What producers were told and what the log holds, compared.

`read_log` walks a partition's segments strictly, byte for byte, with a header layout of its own: a mistake in mk's reader
should not hide one in its writer. `History` notes what each producer sent and had acknowledged, and `check` reports
every record that is lost, doubled, altered, foreign or out of its producer's order, and every gap in the offsets.
"""

import json
import struct
import zlib
from collections import defaultdict
from pathlib import Path

import msgpack
from crc32c import crc32c

import mk

HEADER = struct.Struct(">4sIIIHHiqIIqqQQqqqI24sI")
CHAIN = struct.Struct(">IIQqq")
NAMES = [
    "magic",
    "payload_length",
    "payload_crc",
    "raw_length",
    "attributes",
    "reserved",
    "key_length",
    "base_offset",
    "record_count",
    "last_offset_delta",
    "base_timestamp",
    "max_timestamp",
    "leader_epoch",
    "producer_id",
    "first_sequence",
    "last_sequence",
    "durable_offset",
    "chain",
    "more_reserved",
    "header_crc",
]
MAGIC = b"\x8aMK\x01"
COLUMNS = 0x0100


class Anomaly(AssertionError):
    """The log is not what it must be."""


def topic_id_of(directory, topic):
    return json.loads((Path(directory) / "topics" / topic / "topic.json").read_text())["topic_id"]


def read_state(directory, topic, partition=0):
    """Return the newest valid slot of `state` as a dictionary of strings."""
    data = (Path(directory) / "topics" / topic / str(partition) / "state").read_bytes()
    slots = []
    for slot in (data[:512], data[4096:4608]):
        line, _, crc = slot.rstrip(b" \n").rpartition(b" crc=")
        if line and crc == b"%08x" % crc32c(line):
            slots.append(dict(field.split("=") for field in line.decode().split(" ")))
    if not slots:
        raise Anomaly("no slot of state is valid")
    return max(slots, key=lambda slot: int(slot["sequence"]))


def segments_of(directory, topic, partition=0):
    """Return the paths of the segments that belong to the log, ascending; leftovers above the active one do not."""
    active = int(read_state(directory, topic, partition)["segment"])
    folder = Path(directory) / "topics" / topic / str(partition)
    return [path for path in sorted(folder.glob("*.log")) if int(path.stem) <= active]


def verify(directory, topic):
    """Have `verify` prove a topic, also while others write; returns its report. Raises Anomaly if it finds damage."""
    with mk.connect(str(directory)) as cluster:
        report = cluster.verify_topic(topic)
    damage = [finding for finding in report.findings if finding.severity == "damage"]
    if damage:
        raise Anomaly(f"verify finds damage: {damage}")
    return report


def read_log(directory, topic, partition=0, *, quiet=True):
    """Return the (key, value) of every offset of a partition, from 0 up to the high watermark.

    quiet: nobody writes now and the last writer ended well, so the active segment must end exactly where `state` says.
    """
    state = read_state(directory, topic, partition)
    high_watermark = int(state["high_watermark"])
    records = []
    chain = epoch = 0
    segments = segments_of(directory, topic, partition)
    if not segments or int(segments[-1].stem) != int(state["segment"]):
        raise Anomaly(f"the active segment {state['segment']} is missing")
    for number, path in enumerate(segments):
        data = path.read_bytes()
        if int(path.stem) != len(records):
            raise Anomaly(f"{path.name} does not begin at offset {len(records)}")
        is_active = number == len(segments) - 1
        stop = high_watermark if is_active else int(segments[number + 1].stem)
        position = 0
        while len(records) < stop:
            where = f"{path.name} byte {position}, offset {len(records)}"
            if len(data) - position < HEADER.size:
                raise Anomaly(f"{where}: the segment ends before offset {stop}")
            fields = HEADER.unpack_from(data, position)
            header = dict(zip(NAMES, fields, strict=True))
            if header["magic"] != MAGIC or header["header_crc"] != crc32c(data[position : position + HEADER.size - 4]):
                raise Anomaly(f"{where}: no valid header")
            payload = data[position + HEADER.size : position + HEADER.size + header["payload_length"]]
            if len(payload) != header["payload_length"] or crc32c(payload) != header["payload_crc"]:
                raise Anomaly(f"{where}: the payload is not the one that was stored")
            count = header["record_count"]
            if header["base_offset"] != len(records) or count < 1 or header["last_offset_delta"] != count - 1:
                raise Anomaly(f"{where}: the batch covers {header['base_offset']} + {header['last_offset_delta']}")
            sequences = header["producer_id"], header["first_sequence"], header["last_sequence"]
            chain = crc32c(CHAIN.pack(header["payload_crc"], count, *sequences), chain)
            if chain != header["chain"]:
                raise Anomaly(f"{where}: the batch does not continue the one before it")
            if header["leader_epoch"] < epoch:
                raise Anomaly(f"{where}: epoch {header['leader_epoch']} after {epoch}")
            if header["durable_offset"] > header["base_offset"]:
                raise Anomaly(f"{where}: durable up to {header['durable_offset']}, which was not written yet")
            epoch = header["leader_epoch"]
            records += _records(payload, header, where)
            position += HEADER.size + len(payload)
        if len(records) != stop:
            raise Anomaly(f"{path.name}: its batches end at offset {len(records)}, not at {stop}")
        if (
            is_active
            and quiet
            and (position != len(data) or state["written"].split(":")[:2] != [str(position), str(stop)])
        ):
            raise Anomaly(f"{path.name}: {len(data)} bytes, batches up to {position}, state says {state['written']}")
    if quiet and state["syncing"] != "0":
        raise Anomaly("state says that somebody is syncing")
    return records


def _records(payload, header, where):
    if header["attributes"] & ~COLUMNS:
        raise Anomaly(f"{where}: attributes {header['attributes']:#x}, none of which were asked for")
    if header["attributes"] & COLUMNS:
        values, keys, *_ = msgpack.unpackb(payload, raw=True)
        keys = keys or [None] * len(values)
    else:
        length = header["key_length"]
        values = payload[max(length, 0) :].split(b"\n")
        if values.pop():
            raise Anomaly(f"{where}: the last line has no end")
        keys = [None if length < 0 else payload[:length]] * len(values)
    if len(values) != header["record_count"] or len(keys) != len(values):
        raise Anomaly(f"{where}: {len(values)} records, {header['record_count']} announced")
    return list(zip(keys, values, strict=True))


def parse_acks(stderr):
    """Return (partition, first, last) of each acknowledged append in what `mk produce -v` wrote, in order."""
    acks = []
    for line in stderr.splitlines():
        words = line.split()
        if len(words) == 4 and all(word.isdecimal() for word in words[1:]):
            acks.append(tuple(map(int, words[1:])))
    return acks


class History:
    """What was sent by whom, and what they were told.

    Values are unique. A record's partition is that of its key, by CRC-32 as librdkafka has it, or 0 without key.
    """

    def __init__(self, partitions=1):
        self.partitions = partitions
        self.sent = defaultdict(list)  # (producer, partition) -> [(key, value)]
        self.acks = {}  # producer -> [(partition, first, last)]

    def partition_of(self, key):
        return 0 if key is None else zlib.crc32(key) % self.partitions

    def note_sent(self, producer, value, key=None):
        self.sent[producer, self.partition_of(key)].append((key, value))

    def note_acks(self, producer, stderr):
        self.acks[producer] = parse_acks(stderr)

    @property
    def acknowledged(self):
        """How many records were acknowledged."""
        return sum(last - first + 1 for acks in self.acks.values() for _, first, last in acks)

    def check(self, logs):
        """Raise Anomaly unless `logs`, a list of read_log's results by partition, is what this history allows."""
        findings = []
        owner = {}
        for (producer, partition), records in self.sent.items():
            for record in records:
                owner[partition, record] = producer
        for partition, log in enumerate(logs):
            stored = defaultdict(list)
            for offset, record in enumerate(log):
                producer = owner.get((partition, record))
                if producer is None:
                    findings.append(f"foreign or altered: {partition}/{offset} holds {record!r}")
                else:
                    stored[producer].append(record)
            for producer in {name for name, number in self.sent if number == partition}:
                self._check_producer(producer, partition, log, stored[producer], findings)
        if findings:
            raise Anomaly("\n".join(findings[:20]))

    def _check_producer(self, producer, partition, log, stored, findings):
        sent = self.sent[producer, partition]
        who = f"{producer} in partition {partition}"
        if len(set(stored)) != len(stored):
            findings.append(f"doubled: {who} sent {len(set(stored))} records that are there {len(stored)} times")
        elif stored != sent[: len(stored)]:
            at = next(i for i, (is_, should) in enumerate(zip(stored, sent, strict=False)) if is_ != should)
            findings.append(f"reordered or lost: {who}: record {at} is {stored[at]!r}, sent was {sent[at]!r}")
        acknowledged, previous = [], -1
        for number, first, last in self.acks.get(producer, ()):
            if number != partition:
                continue
            if not previous < first <= last:
                findings.append(f"{who} was told {first} to {last} after {previous}")
            previous = last
            if last >= len(log):
                findings.append(f"lost: {who} was told {first} to {last}, the log ends at {len(log)}")
            acknowledged += log[first : last + 1]
        if acknowledged != sent[: len(acknowledged)]:
            findings.append(f"lost or altered: what {who} was told is stored is not what it sent")
