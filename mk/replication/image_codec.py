"""Images and lists of offsets as the values of a head, and back, with every bound that a liar could break.

The ids of leaders, of which a topic has few, are written once and then by number: an epoch takes 3 to 19 bytes.
"""

from __future__ import annotations

from mk.groups.committed_offset import UNREADABLE
from mk.replication.replica import CommittedOffset, PartitionImage, TopicImage
from mk.storage.log_segment import UNKNOWN_CHAIN
from mk.topic_partition import MAX_NAME_LENGTH, MAX_PARTITIONS, is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.transport.fields import Fields

MAX_ROWS = 1 << 18
"""Of a list of offsets."""
MAX_ADDRESS = 4400
MAX_WAIT_MS = 3_600_000
PAGE_BYTES = 1 << 18
"""How much of an answer about topics comes at once, and an image more: a client may do other things in between."""
LISTINGS = 8
"""How many iterations over topics a client may have under way at once."""

_MAX_CHAIN = (1 << 32) - 1
_MAX_EPOCHS = 1 << 14
_MAX_LEADERS = 4096
_MAX_FIELDS = 256
_MAX_TEXT = 1 << 16
_MAX_PINS = 1 << 16
_PIN_NAME = frozenset("0123456789abcdef")


def topic_values(image: TopicImage) -> list[object]:
    """Return the values of a topic's image."""
    leaders = _leaders(image.partitions)
    values: list[object] = [image.name, image.topic_id, image.problem[:_MAX_TEXT], len(image.fields)]
    for name, value in image.fields.items():
        values += [name, value]
    values.append(len(image.pins))
    for name, content in image.pins.items():
        values += [name, content]
    values += [len(leaders), *leaders, len(image.partitions)]
    for partition in image.partitions:
        values += _partition_values(partition, leaders)
    return values


def take_topic(fields: Fields) -> TopicImage:
    """Return the image that came; FarSideError if it cannot be one."""
    image = TopicImage()
    image.name = take_name(fields)
    image.topic_id = fields.text(32)
    image.problem = fields.text(_MAX_TEXT)
    if not image.problem and not _is_id(image.topic_id):
        fields.refuse("a topic id is none")
    image.fields = {}
    for _ in range(fields.number(0, _MAX_FIELDS)):
        name = fields.text()
        image.fields[name] = fields.scalar(_MAX_TEXT)
    image.pins = {}
    for _ in range(fields.number(0, _MAX_PINS)):
        name = fields.text(64)
        if not name or not _PIN_NAME.issuperset(name):
            fields.refuse("the name of a pin is none")
        image.pins[name] = fields.data(_MAX_TEXT)
    leaders = _take_leaders(fields)
    image.partitions = []
    for _ in range(fields.number(0, MAX_PARTITIONS)):
        image.partitions.append(_take_partition(fields, leaders))
        if len(image.partitions) > 1 and image.partitions[-2].partition >= image.partitions[-1].partition:
            fields.refuse("partitions are not in order")
    return image


def partition_values(image: PartitionImage) -> list[object]:
    """Return the values of one partition's image."""
    leaders = _leaders([image])
    return [len(leaders), *leaders, *_partition_values(image, leaders)]


def take_partition(fields: Fields) -> PartitionImage:
    """Return the image that came; FarSideError if it cannot be one."""
    return _take_partition(fields, _take_leaders(fields))


def epoch_values(epochs: Sequence[tuple[int, int, str]]) -> list[object]:
    """Return the values of a list of epochs."""
    leaders = _leaders_of([epochs])
    return [len(leaders), *leaders, *_epoch_values(epochs, leaders)]


def take_epochs(fields: Fields) -> list[tuple[int, int, str]]:
    """Return the epochs that came: at least one, ascending."""
    return _take_epochs(fields, _take_leaders(fields))


def end_values(ends: Sequence[tuple[str, int, int]]) -> list[object]:
    """Return the values of where logs end: topic id, partition, offset."""
    values: list[object] = [len(ends)]
    for end in ends:
        values += end
    return values


def take_ends(fields: Fields) -> list[tuple[str, int, int]]:
    """Return the ends that came."""
    return [
        (fields.id(), fields.number(0, MAX_PARTITIONS - 1), fields.number()) for _ in range(fields.number(0, MAX_ROWS))
    ]


def committed_values(offsets: Sequence[CommittedOffset]) -> list[object]:
    """Return the values of committed offsets."""
    values: list[object] = [len(offsets)]
    for one in offsets:
        values += [one.group, one.topic_id, one.partition, one.offset, one.leader_epoch]
    return values


def take_committed(fields: Fields, most: int = MAX_ROWS) -> list[CommittedOffset]:
    """Return the committed offsets that came."""
    return [
        CommittedOffset(
            take_name(fields),
            fields.id(),
            fields.number(0, MAX_PARTITIONS - 1),
            fields.number(UNREADABLE),
            fields.number(-1),
        )
        for _ in range(fields.number(0, most))
    ]


def take_name(fields: Fields) -> str:
    """Return the name of a topic or group that came, which becomes that of a directory."""
    name = fields.text(MAX_NAME_LENGTH)
    if not is_valid_name(name):
        fields.refuse("the name of a topic or group is none")
    return name


def take_chain(fields: Fields) -> int:
    """Return the chain that came, or UNKNOWN_CHAIN."""
    return fields.number(UNKNOWN_CHAIN, _MAX_CHAIN)


def _is_id(text: str) -> bool:
    return len(text) == 32 and _PIN_NAME.issuperset(text)


def _leaders(partitions: Sequence[PartitionImage]) -> dict[str, int]:
    return _leaders_of([partition.epochs for partition in partitions])


def _leaders_of(lists: Sequence[Sequence[tuple[int, int, str]]]) -> dict[str, int]:
    ids = dict.fromkeys(leader_id for epochs in lists for _, _, leader_id in epochs)
    return {leader_id: number for number, leader_id in enumerate(ids)}


def _take_leaders(fields: Fields) -> list[str]:
    return [fields.id() for _ in range(fields.number(0, _MAX_LEADERS))]


def _epoch_values(epochs: Sequence[tuple[int, int, str]], leaders: dict[str, int]) -> list[object]:
    values: list[object] = [len(epochs)]
    for epoch, first_offset, leader_id in epochs:
        values += [epoch, first_offset, leaders[leader_id]]
    return values


def _take_epochs(fields: Fields, leaders: list[str]) -> list[tuple[int, int, str]]:
    epochs: list[tuple[int, int, str]] = []
    epoch = first_offset = 0
    for number in range(fields.number(1, _MAX_EPOCHS)):
        epoch = fields.number(epoch + 1 if number else 0)
        first_offset = fields.number(first_offset)
        epochs.append((epoch, first_offset, leaders[fields.number(0, len(leaders) - 1)]))
    return epochs


def _partition_values(image: PartitionImage, leaders: dict[str, int]) -> list[object]:
    return [
        image.partition,
        image.first_offset,
        image.log_start_offset,
        image.next_offset,
        image.chain,
        image.cleaned_to,
        image.tombstones_dropped_to,
        image.is_recovered,
        image.lacks_producers,
        *_epoch_values(image.epochs, leaders),
    ]


def _take_partition(fields: Fields, leaders: list[str]) -> PartitionImage:
    image = PartitionImage()
    image.partition = fields.number(0, MAX_PARTITIONS - 1)
    image.first_offset = fields.number()
    image.log_start_offset = fields.number(image.first_offset)
    image.next_offset = fields.number(image.log_start_offset)
    image.chain = take_chain(fields)
    image.cleaned_to = fields.number()
    image.tombstones_dropped_to = fields.number()
    image.is_recovered = fields.flag()
    image.lacks_producers = fields.flag()
    image.epochs = _take_epochs(fields, leaders)
    return image
