"""A Replica without a directory: what it holds follows from the names asked for, what it is told goes to a file.

As a program it is `mk` with this in place of a directory, so that what lies between can be tested by itself.
"""

import hashlib
import json
import os
import sys

from mk import errors
from mk.replication import image_codec
from mk.replication.replica import CommittedOffset, CopiedBatches, PartitionImage, TopicImage

DIRECTORY_ID = "d" * 32
OTHER_ID = "e" * 32
TOPICS = ("audit", "orders", "orders.archive", "secrets")
BATCHES = 8
RECORDS_PER_BATCH = 10
END = BATCHES * RECORDS_PER_BATCH
BATCH_BYTES = int(os.environ.get("FAKE_BATCH_BYTES", "5000"))
PRODUCERS = b"a snapshot"


def topic_id_of(name):
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def batch(topic, number):
    """The bytes of one batch: any, but always the same, and no two alike."""
    seed = f"{topic} {number} ".encode()
    return (seed * (BATCH_BYTES // len(seed) + 1))[:BATCH_BYTES]


def partition_image(number, *, epochs=None):
    image = PartitionImage()
    image.partition = number
    image.first_offset, image.log_start_offset, image.next_offset = 0, 3, END
    image.chain = -1 if number else 0xFFFFFFFF
    image.epochs = epochs or [(0, 0, DIRECTORY_ID), (1 << 32, 40, OTHER_ID)]
    image.cleaned_to, image.tombstones_dropped_to = 7, 5
    image.is_recovered, image.lacks_producers = not number, bool(number)
    return image


def topic_image(name, partitions=2):
    image = TopicImage()
    image.name, image.topic_id, image.problem = name, topic_id_of(name), ""
    image.fields = {"topic_id": image.topic_id, "partitions": partitions, "retention.ms": -1, "new": None, "x": True}
    image.pins = {"00ff": b'{"name": "p"}', "01": b"\xff\x00"}
    image.partitions = [partition_image(number) for number in range(partitions)]
    return image


def largest_image_values():
    """An image with everything as many times as it may be, in as few bytes."""
    image = topic_image("orders", 0)
    image.pins = {f"{number:x}": b"" for number in range(1 << 16)}
    epochs = [(number, number, DIRECTORY_ID) for number in range(1, 1500)]
    image.partitions = [partition_image(number, epochs=epochs) for number in range(200)]
    return image_codec.topic_values(image)


def plain(value):
    """Return images and the like as something that compares and prints."""
    if hasattr(value, "__slots__"):
        return {name: plain(getattr(value, name)) for name in sorted(value.__slots__)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return value


class FakeReplica:
    directory_id = DIRECTORY_ID

    def __init__(self, path, *, told=None, **keywords):
        if path.endswith("missing"):
            raise errors.NoSuchDirectoryError(path=path)
        self.location = path
        self.address = f"here:{path}"
        self._told = told or os.environ.get("FAKE_TOLD")
        self.tell("open", path, sorted(keywords.items()))

    def tell(self, *what):
        if self._told:
            with open(self._told, "a") as file:
                file.write(json.dumps(plain(what)) + "\n")

    def topics(self, names=None):
        count = int(os.environ.get("FAKE_TOPICS", "0"))
        everything = sorted([*TOPICS, *(f"t{number:05}" for number in range(count))])
        return (topic_image(name) for name in everything if names is None or name in names)

    def chain_at(self, topic, partition, offset):
        return {0: 0, 10: 0xFFFFFFFF, 20: -1}.get(offset)

    def read(self, topic, partition, from_offset, to_offset):
        if topic == "audit":
            raise errors.CorruptBatchError(path=f"{topic}/0.log", position=9, offset=4, found="no batch")
        if from_offset == to_offset == END:
            yield CopiedBatches(END, END, b"", begins_segment=True, producers=PRODUCERS)
        endless = "FAKE_ENDLESS" in os.environ
        for number in range(from_offset // RECORDS_PER_BATCH, 1 << 40 if endless else to_offset // RECORDS_PER_BATCH):
            base = number * RECORDS_PER_BATCH
            if topic == "orders.archive" and base == 30:
                raise errors.CorruptBatchError(path=f"{topic}/0.log", position=9, offset=base, found="no batch")
            yield CopiedBatches(
                base,
                base + RECORDS_PER_BATCH,
                memoryview(batch(topic, number)),
                begins_segment=number == 4,
                producers=PRODUCERS if number == 4 else b"",
            )

    def committed_offsets(self, topic_ids):
        return [CommittedOffset(f"g{number}", each, 1, number, -1) for each in topic_ids for number in range(3)]

    def wait(self, timeout_ms):
        return timeout_ms == 7

    def size_bytes(self, topic, partition, from_offset, to_offset):
        return to_offset - from_offset

    def digests(self, topic, partition, from_offset, to_offset):
        return [
            (number, number + 1, hashlib.sha256(f"{topic} {number}".encode()).digest())
            for number in range(from_offset, to_offset)
        ]

    def note_follower(self, directory_id, address, ends):
        self.tell("note_follower", directory_id, address, ends)

    def fence(self, topic, partition, epochs):
        self.tell("fence", topic, partition, epochs)
        return partition == 0

    def begin(self, directory_id, address):
        self.tell("begin", directory_id, address)
        return directory_id == OTHER_ID

    def create_topic(self, image):
        if image.name == "bug":
            raise ZeroDivisionError("secret words")
        self.tell("create_topic", image)

    def update_topic(self, image):
        self.tell("update_topic", image)

    def follow(self, topic, image, prefix_offset, chain):
        self.tell("follow", topic, image, prefix_offset, chain)
        return FakeWriter(self, topic, prefix_offset)

    def begin_anew(self, topic, image, *, reason):
        self.tell("begin_anew", topic, image, reason)
        return FakeWriter(self, topic, image.first_offset)

    def store_committed_offsets(self, directory_id, offsets):
        self.tell("store_committed_offsets", directory_id, offsets)

    def note_source(self, directory_id, address, ends):
        self.tell("note_source", directory_id, address, ends)

    def close(self):
        self.tell("close")


class FakeWriter:
    def __init__(self, replica, topic, next_offset):
        self._replica = replica
        self._topic = topic
        self.next_offset = next_offset

    def append(self, batches):
        print("a line that somebody prints")
        if batches.base_offset != self.next_offset:
            raise errors.CorruptBatchError(path="pushed", position=0, offset=batches.base_offset, found="a gap")
        digest = hashlib.sha256(batches.data).hexdigest()
        self._replica.tell(
            "append", self._topic, batches.base_offset, digest, batches.begins_segment, batches.producers
        )
        self.next_offset = batches.next_offset

    def sync(self):
        self._replica.tell("sync", self._topic, self.next_offset)
        return self.next_offset

    def advance_log_start(self, offset):
        self._replica.tell("advance_log_start", self._topic, offset)

    def close(self):
        self._replica.tell("close_writer", self._topic)


def open_fake(path, **keywords):
    return FakeReplica(path, **keywords)


if __name__ == "__main__":
    import mk.replication.replicas
    from mk.cli.main import main

    mk.replication.replicas.open_directory = open_fake
    status = main()
    sys.stdout.flush()
    os._exit(status)
