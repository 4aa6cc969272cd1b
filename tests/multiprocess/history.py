"""What producers were told and what the log holds, compared.

`read_log` walks a partition's segments strictly, byte for byte, with a header layout of its own: a mistake in mk's reader
should not hide one in its writer. `History` notes what each producer sent and had acknowledged, and hands it all to
the checker of anomalies.
"""

import base64
import json
import struct
import zlib
from collections import defaultdict
from pathlib import Path

import msgpack
from crc32c import crc32c

import mk
from tests.proof import anomalies
from tests.proof.figures import count

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
    records = read_rest(directory, topic, partition, quiet=quiet)
    if list(records) != list(range(len(records))):
        raise Anomaly(f"the log begins at {next(iter(records), None)}")
    return list(records.values())


def read_rest(directory, topic, partition=0, *, quiet=True):
    """Return the same by offset, of a log whose beginning retention may have removed: from its log start on."""
    state = read_state(directory, topic, partition)
    high_watermark = int(state["high_watermark"])
    segments = segments_of(directory, topic, partition)
    if not segments or int(segments[-1].stem) != int(state["segment"]):
        raise Anomaly(f"the active segment {state['segment']} is missing")
    start = int(state["log_start"])
    while len(segments) > 1 and int(segments[1].stem) <= start:
        del segments[0]  # On its way out.
    first = int(segments[0].stem)
    if first > start:
        raise Anomaly(f"the log starts at {start}, and {segments[0].name} is its first segment")
    records = []
    chain, epoch = (None if first else 0), 0
    for number, path in enumerate(segments):
        data = path.read_bytes()
        if int(path.stem) != first + len(records):
            raise Anomaly(f"{path.name} does not begin at offset {first + len(records)}")
        is_active = number == len(segments) - 1
        stop = high_watermark if is_active else int(segments[number + 1].stem)
        position = 0
        while (end := first + len(records)) < stop:
            where = f"{path.name} byte {position}, offset {end}"
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
            if header["base_offset"] != end or count < 1 or header["last_offset_delta"] != count - 1:
                raise Anomaly(f"{where}: the batch covers {header['base_offset']} + {header['last_offset_delta']}")
            sequences = header["producer_id"], header["first_sequence"], header["last_sequence"]
            # Of what was removed, the chain is all that is left: it is taken from the first batch that is there.
            before = chain
            chain = header["chain"]
            if before is not None:
                chain = crc32c(CHAIN.pack(header["payload_crc"], count, *sequences), before)
            if chain != header["chain"]:
                raise Anomaly(f"{where}: the batch does not continue the one before it")
            if header["leader_epoch"] < epoch:
                raise Anomaly(f"{where}: epoch {header['leader_epoch']} after {epoch}")
            if header["durable_offset"] > header["base_offset"]:
                raise Anomaly(f"{where}: durable up to {header['durable_offset']}, which was not written yet")
            epoch = header["leader_epoch"]
            records += _records(payload, header, where)
            position += HEADER.size + len(payload)
        if end != stop:
            raise Anomaly(f"{path.name}: its batches end at offset {end}, not at {stop}")
        if (
            is_active
            and quiet
            and (position != len(data) or state["written"].split(":")[:2] != [str(position), str(stop)])
        ):
            raise Anomaly(f"{path.name}: {len(data)} bytes, batches up to {position}, state says {state['written']}")
    if quiet and state["syncing"] != "0":
        raise Anomaly("state says that somebody is syncing")
    return {offset: record for offset, record in enumerate(records, first) if offset >= start}


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


def settled_commits(claims):
    """Yield (partition, offset) of what is committed now, of those partitions that nobody is fencing at this moment.

    While somebody fences, it is not said yet where he goes on from, and the older commit counts for whoever asks.
    """
    for partition, generations in claims.generations().items():
        slots = claims.slots(partition, generations[-1])
        if slots and not claims.exists(partition, generations[-1] + 1):
            yield partition, slots[0].offset


def parse_acks(stderr):
    """Return (partition, first, last) of each acknowledged append in what `mk produce -v` wrote, in order."""
    acks = []
    for line in stderr.splitlines():
        words = line.split()
        if len(words) == 4 and all(word.isdecimal() for word in words[1:]):
            acks.append(tuple(map(int, words[1:])))
    return acks


def parse_records(stdout):
    """Return the whole lines of `mk consume -J`: (partition, offset, (key, value)) each."""
    records = []
    for line in stdout.split(b"\n")[:-1]:
        record = json.loads(line)
        key, value = (
            base64.b64decode(record[f"{name}_b64"]) if f"{name}_b64" in record else record[name]
            for name in ("key", "payload")
        )
        key, value = (part.encode() if isinstance(part, str) else part for part in (key, value))
        records.append((record["partition"], record["offset"], (key, value)))
    return records


class History:
    """What was sent by whom, what they were told, and what readers were given.

    Values are unique. A record's partition is that of its key, by CRC-32 as librdkafka has it, or 0 without key.

    checker: looks for the anomalies. Its values are (key, value); polls and commits are given to it directly.
    """

    def __init__(self, partitions=1, **keywords):
        self.partitions = partitions
        self.checker = anomalies.History(**keywords)
        self.sent = defaultdict(list)  # (producer, partition) -> [(key, value)]
        self.acks = {}  # producer -> [(partition, first, last)]
        self._due = {}  # (reader, partition) -> the offset that would be next

    def partition_of(self, key):
        return 0 if key is None else zlib.crc32(key) % self.partitions

    def note_sent(self, producer, value, key=None):
        partition = self.partition_of(key)
        self.sent[producer, partition].append((key, value))
        self.checker.sent(producer, partition, (key, value))

    def note_acks(self, producer, stderr):
        """Take all that `mk produce -v` of a producer has written by now, from its beginning."""
        self.acks[producer] = parse_acks(stderr)

    def note_given(self, reader, records, *, group=None, is_strict=False, was_stopped=False):
        """Take what a reader printed next: (partition, offset, (key, value)) each.

        A member of a group may get a partition, lose it and get it again, which shows as a jump: there it goes on where
        the group stands. is_strict: none is given a record twice. was_stopped: nor does the member have to know where that
        is, since it may hand over what it held when it was stopped.
        """
        if group is not None:
            self.checker.joined(reader, group)
        runs = []
        for partition, offset, record in records:
            due = self._due.get((reader, partition))
            is_jump = due is None or (group is not None and (offset > due or (offset < due and not is_strict)))
            if is_jump or not runs or runs[-1][0] != partition:
                runs.append((partition, offset if is_jump else None, []))
            runs[-1][2].append((offset, record))
            self._due[reader, partition] = offset + 1
        for partition, begun, run in runs:
            if begun is not None:
                self.checker.assigned(reader, partition)
                if group is not None and not was_stopped:
                    self.checker.resumed(group, partition, begun)
            self.checker.polled(reader, partition, run)

    @property
    def acknowledged(self):
        """How many records were acknowledged."""
        return sum(last - first + 1 for acks in self.acks.values() for _, first, last in acks)

    def check(self, logs):
        """Raise AssertionError unless `logs`, a list of read_log's results by partition, is what this history allows.

        To be called once, in the end. A log that lacks its beginning is a dictionary of offsets.
        """
        for producer, acks in self.acks.items():
            self._acknowledge(producer, acks)
        for partition, log in enumerate(logs):
            self.checker.polled("the log", partition, sorted(log.items() if isinstance(log, dict) else enumerate(log)))
        self.checker.check()
        for partition, log in enumerate(logs):
            if not isinstance(log, dict):
                self._look_for_holes(partition, set(log))
        count("acknowledged", self.checker.acknowledged_count)

    def _acknowledge(self, producer, acks):
        """What a producer sends to a partition is stored in the order in which it sends it: so are its acknowledgements."""
        place = defaultdict(int)
        for partition, first, last in acks:
            sent = self.sent[producer, partition]
            for offset in range(first, last + 1):
                if place[partition] == len(sent):
                    raise Anomaly(f"{producer} was told {first} to {last}, and has sent {len(sent)} records")
                self.checker.acknowledged(partition, sent[place[partition]], offset)
                place[partition] += 1

    def _look_for_holes(self, partition, stored):
        """A producer that was killed has stored all up to some record; none between those that it has stored is missing."""
        for (producer, number), sent in self.sent.items():
            if number == partition:
                there = [record in stored for record in sent]
                if not all(there[: sum(there)]):
                    at = there.index(False)
                    raise Anomaly(f"hole: {producer} sent {sent[at]!r} before what is stored in partition {partition}")
