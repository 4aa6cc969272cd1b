"""How far a partition of a Kafka topic is the copy of one in a directory, as it is committed with the records. Pure.

It stands in Kafka as a group's committed offset: the offset is the next one to be read from the directory, and the metadata
is the text that is made here. One transaction has both and the records, so that they tell of one moment, whoever is killed.

Offsets are others in Kafka, since the marks of transactions take some. `places` are pairs of an offset in the directory and
the one in Kafka that means the same to a group: in front of the same record. The newest are kept, and of older ones ever
fewer; between two of them, records have to be counted. Idea: the offset syncs of MirrorMaker 2.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERSION = 1
_NEWEST = 16
_MOST = 48
"""48 pairs of 19 digits are 2 KB; a broker takes 4096 bytes of metadata (offset.metadata.max.bytes)."""


class CopyPosition:
    """How far one partition is copied.

    offset: of the next record of the directory's log. topic_id: the directory's. copy_id: Kafka's, of the topic that holds
    the copy. chain, epoch, leader_id: of the batch that ends there; -1, -1 and "" where somebody has set the position by hand.
    committed_ms: when it was committed last, 0 if that is not known.
    """

    __slots__ = ("chain", "committed_ms", "copy_id", "epoch", "leader_id", "offset", "places", "topic_id")

    def __init__(
        self,
        offset: int,
        topic_id: str,
        copy_id: str,
        *,
        chain: int = -1,
        epoch: int = -1,
        leader_id: str = "",
        places: list[tuple[int, int]] | None = None,
        committed_ms: int = 0,
    ) -> None:
        self.offset = offset
        self.topic_id = topic_id
        self.copy_id = copy_id
        self.chain = chain
        self.epoch = epoch
        self.leader_id = leader_id
        self.places: list[tuple[int, int]] = places or []
        self.committed_ms = committed_ms

    @property
    def is_by_hand(self) -> bool:
        return not self.topic_id

    def is_older(self, age_ms: int, now_ms: int) -> bool:
        """Tell whether it was committed at least so long ago. By a clock that was as far ahead, nobody knows when that was."""
        return abs(now_ms - self.committed_ms) >= age_ms

    @property
    def kafka_offset(self) -> int:
        """Return the offset in Kafka behind the last record that was copied, -1 if it is not known."""
        return self.places[-1][1] if self.places else -1

    def encode(self) -> str:
        """Return the metadata to commit with `offset`."""
        flat: list[int] = []
        last = (0, 0)
        for place in self.places:
            flat += [place[0] - last[0], place[1] - last[1]]
            last = place
        fields = {
            "mk": _VERSION,
            "topic": self.topic_id,
            "copy": self.copy_id,
            "chain": self.chain,
            "epoch": self.epoch,
            "leader": self.leader_id,
            "at": self.committed_ms,
            "places": flat,
        }
        return json.dumps(fields, separators=(",", ":"))

    def place_before(self, offset: int) -> tuple[int, int] | None:
        """Return the last place that is not behind an offset of the directory, None if all are."""
        found = None
        for place in self.places:
            if place[0] > offset:
                break
            found = place
        return found


def decode_position(offset: int, metadata: str | None) -> CopyPosition:
    """Return what was committed. Without metadata of ours it is a position that somebody has set by hand."""
    try:
        fields: Any = json.loads(metadata or "")
        if type(fields) is not dict or fields.get("mk") != _VERSION:
            raise ValueError
        flat = fields["places"]
        topic_id, copy_id, leader_id = (str(fields[name]) for name in ("topic", "copy", "leader"))
        chain, epoch = int(fields["chain"]), int(fields["epoch"])
        committed_ms = int(fields.get("at", 0))
        places, last = [], (0, 0)
        for more, kafka_more in zip(flat[::2], flat[1::2], strict=True):
            last = last[0] + int(more), last[1] + int(kafka_more)
            places.append(last)
    except (ValueError, KeyError, TypeError):
        return CopyPosition(offset, "", "")
    return CopyPosition(
        offset,
        topic_id,
        copy_id,
        chain=chain,
        epoch=epoch,
        leader_id=leader_id,
        places=places,
        committed_ms=committed_ms,
    )


def with_place(places: list[tuple[int, int]], place: tuple[int, int]) -> list[tuple[int, int]]:
    """Return places with one more, and fewer of the older ones if there are too many."""
    kept = [one for one in places if one[0] < place[0] and one[1] <= place[1]]
    kept.append(place)
    if len(kept) > _MOST:
        # Each time every second of the old ones goes: the distances between those that stay double again and again.
        old = kept[:-_NEWEST]
        kept = old[::2] + kept[-_NEWEST:]
    return kept
