"""`epochs`: which leader epoch began at which offset, and which directory led it.

One line an epoch: epoch, first offset, directory id of the leader, checksum of the line. Replaced by rename, under the
partition's lock. An epoch is one integer, promotions in the upper and recoveries in the lower half of 64 bits.
Format: man/mk-format.5, EPOCHS. Idea: Kafka's leader-epoch-checkpoint.
"""

from __future__ import annotations

from mk.errors import CorruptStateError
from mk.records.codecs import crc32c
from mk.storage import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FILE_NAME = "epochs"


class EpochEntry:
    __slots__ = ("epoch", "first_offset", "leader_id")

    def __init__(self, epoch: int, first_offset: int, leader_id: str) -> None:
        self.epoch = epoch
        self.first_offset = first_offset
        self.leader_id = leader_id

    def encode(self) -> bytes:
        line = f"{self.epoch} {self.first_offset} {self.leader_id}".encode()
        return b"%b %08x\n" % (line, crc32c(line))


class LeaderEpochs:
    """The epochs of one partition, ascending. Cached; whoever holds the lock reads it again when `state` has moved on."""

    __slots__ = ("entries",)

    def __init__(self, entries: list[EpochEntry]) -> None:
        self.entries = entries

    @property
    def latest(self) -> EpochEntry:
        return self.entries[-1]

    def led_by(self, epoch: int, directory_id: str) -> bool:
        """Tell whether `directory_id` led `epoch`, as far as this file knows."""
        return any(entry.epoch == epoch and entry.leader_id == directory_id for entry in self.entries)

    def epoch_before(self, offset: int) -> int:
        """Return the epoch of the batch that ends at `offset`, -1 if there is none: the next one may not be older."""
        return max((entry.epoch for entry in self.entries if entry.first_offset < offset), default=-1)

    def has(self, epoch: int) -> bool:
        return any(entry.epoch == epoch for entry in self.entries)

    def end_of(self, epoch: int) -> int | None:
        """Return where the next epoch than `epoch` began; None if none came since.

        In a log that has that epoch, and in one that never was cut, whoever read a record of it has read no further.
        """
        return next((entry.first_offset for entry in self.entries if entry.epoch > epoch), None)

    def ends(self, cuts: int, cut_offset: int) -> Callable[[int], int | None]:
        """Return what tells, like `end_of`, up to where who has read a record of an epoch can have read this log.

        cuts, cut_offset: how often it was cut back, and where the last time, as `state` has it. An epoch that it lacks may be
        gone by that, and in its place stand records of an older one, which reach further: an old leader had them for itself,
        was fenced, and was promoted again. Where of several cuts that was, nobody knows.
        """

        def end_of(epoch: int) -> int | None:
            end = self.end_of(epoch)
            if not cuts or self.has(epoch):
                return end
            common = cut_offset if cuts == 1 else 0
            return common if end is None else min(end, common)

        return end_of

    def raised(self, first_offset: int, epoch: int) -> LeaderEpochs:
        """Return these epochs with `epoch` from `first_offset` on, led by whoever leads now.

        An epoch that got no batch is replaced: it never was.
        """
        kept = [entry for entry in self.entries if entry.first_offset < first_offset]
        return LeaderEpochs([*kept, EpochEntry(epoch, first_offset, self.latest.leader_id)])

    def proved(self, durable_offset: int, begun: list[tuple[int, int]], end_offset: int) -> LeaderEpochs:
        """Return these epochs as the batches have them, given where epochs began between `durable_offset` and the end.

        A recovery that was cut short may have written an epoch that got no batch, for an offset at which a batch of an
        older one turns out to be whole after all.
        """
        leaders = {entry.epoch: entry.leader_id for entry in self.entries}
        latest = self.latest
        kept = [entry for entry in self.entries if entry.first_offset < durable_offset]
        kept += [EpochEntry(epoch, offset, leaders.get(epoch, latest.leader_id)) for epoch, offset in begun]
        if not kept or kept[-1].epoch < latest.epoch:
            kept.append(EpochEntry(latest.epoch, end_offset, latest.leader_id))
        return LeaderEpochs(kept)

    def fenced(self, end_offset: int, latest: EpochEntry) -> LeaderEpochs:
        """Return these epochs with another directory's `latest` from `end_offset` on, where this log ends."""
        kept = [entry for entry in self.entries if entry.first_offset < end_offset]
        return LeaderEpochs([*kept, EpochEntry(latest.epoch, end_offset, latest.leader_id)])

    def adopted(self, prefix_offset: int, other: LeaderEpochs) -> LeaderEpochs:
        """Return these epochs below `prefix_offset`, and from there on those of another log, which this one follows."""
        kept = [entry for entry in self.entries if entry.first_offset < prefix_offset]
        return LeaderEpochs([*kept, *(entry for entry in other.entries if entry.first_offset >= prefix_offset)])

    def common_prefix(self, end_offset: int, other: LeaderEpochs, other_end_offset: int) -> int:
        """Return up to which offset this log, which ends at `end_offset`, and another one hold the same records.

        As far as epochs tell: each is led by one directory, so where both logs have the same epoch they have the same
        records, if nobody breaks that rule. Idea: KIP-101 and KIP-279, for two who know all of each other's epochs.
        """
        offset = 0
        while offset < end_offset and offset < other_end_offset:
            own, own_end = self._range_at(offset, end_offset)
            theirs, their_end = other._range_at(offset, other_end_offset)
            if own != theirs:
                break
            offset = min(own_end, their_end)
        return offset

    def _range_at(self, offset: int, end_offset: int) -> tuple[int, int]:
        """Return the epoch of the batch that holds `offset`, and where that epoch's batches end."""
        epoch, end = -1, end_offset
        for entry in self.entries:
            if entry.first_offset > offset:
                end = min(entry.first_offset, end_offset)
                break
            epoch = entry.epoch
        return epoch, end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LeaderEpochs) and self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]

    def encode(self) -> bytes:
        return b"".join(entry.encode() for entry in self.entries)


def read_epochs(partition_fd: int, path: str) -> LeaderEpochs:
    """Read the file. Raises CorruptStateError where it is missing, as in a topic being deleted, or a line is damaged."""
    try:
        data = files.read_file(FILE_NAME, dir_fd=partition_fd)
    except FileNotFoundError:
        raise CorruptStateError(path=f"{path}/{FILE_NAME}", found="it is missing") from None
    return decode_epochs(data, f"{path}/{FILE_NAME}")


def decode_epochs(data: bytes, path: str) -> LeaderEpochs:
    """Read the content of the file."""
    entries: list[EpochEntry] = []
    for line in data.splitlines():
        text, _, crc = line.rpartition(b" ")
        try:
            epoch, first_offset, leader_id = text.decode().split(" ")
            entry = EpochEntry(int(epoch), int(first_offset), leader_id)
            if int(crc, 16) != crc32c(text) or (entries and entry.epoch <= entries[-1].epoch):
                raise ValueError
            if not (0 <= entry.epoch < 1 << 64 and 0 <= entry.first_offset < 1 << 63):
                raise ValueError
        except ValueError:
            raise CorruptStateError(path=path, found=f"line {len(entries) + 1} is damaged") from None
        entries.append(entry)
    if not entries:
        raise CorruptStateError(path=path, found="it is empty")
    return LeaderEpochs(entries)


def write_epochs(partition_fd: int, epochs: LeaderEpochs) -> None:
    """Replace the file; on disk when it returns. The caller holds the lock."""
    files.replace_file(FILE_NAME, epochs.encode(), dir_fd=partition_fd)


MAX_ENTRIES = 10_000
"""Epochs that are taken from another directory: a recovery a day makes as many in 27 years."""

_HEX = frozenset("0123456789abcdef")


def is_directory_id(text: object) -> bool:
    """Tell whether `text` can be the id of a directory or a topic: 32 lower-case hexadecimal digits."""
    return type(text) is str and len(text) == 32 and _HEX.issuperset(text)


def epochs_of(entries: Sequence[tuple[int, int, str]]) -> LeaderEpochs:
    """Return epochs that another directory sent: (epoch, first offset, leader's id). Raises ValueError for what cannot be."""
    epoch = first_offset = -1
    if not 0 < len(entries) <= MAX_ENTRIES:
        raise ValueError(f"it has {len(entries)} leader epochs")
    for entry in entries:
        if (
            len(entry) != 3
            or type(entry[0]) is not int
            or type(entry[1]) is not int
            or not is_directory_id(entry[2])
            or not epoch < entry[0] < 1 << 64
            or not first_offset < entry[1] < 1 << 63
        ):
            raise ValueError(f"its leader epoch after {epoch} is not one that can come next")
        epoch, first_offset, _ = entry
    return LeaderEpochs([EpochEntry(*entry) for entry in entries])
