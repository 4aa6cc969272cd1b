"""What a check of a log found, one fact each: ready for a table and for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

# Severities.
DAMAGE = "damage"
"""Something stored cannot be read, or cannot be relied on."""
WARNING = "warning"
"""No record is affected, but somebody should do something."""
NOTE = "note"
"""Harmless, and mk itself sees to it."""

# Kinds, and what they say.
DAMAGED_BATCH = "damaged-batch"  # bytes of the log that are not the batch that was stored there
TRUNCATED_SEGMENT = "truncated-segment"  # a sealed segment that ends before the next one begins
MISSING_SEGMENT = "missing-segment"  # offsets between two segments, in front of the first or behind the last, are gone
GAP = "gap"  # offsets within a segment are gone, the file looks whole
BROKEN_CHAIN = "broken-chain"  # a whole batch that does not continue the one before it: of another log, or another life
STATE_NEWER = "state-newer-than-data"  # a copy made too early, or a segment cut short
STATE_OLDER = "state-older-than-data"  # a segment with records that `state` knows nothing of
DAMAGED_STATE = "damaged-state"  # `state` is missing, unreadable, or of another topic
DAMAGED_SLOT = "damaged-slot"  # one of two slots: the other one is used
STATE_MISMATCH = "state-mismatch"  # `state` contradicts the segments, or itself
DAMAGED_FILE = "damaged-file"  # topic.json, epochs or another small file
EPOCHS_MISMATCH = "epochs-mismatch"  # `epochs` contradicts the batches
MISSING_PARTITION = "missing-partition"
MISSING_LOCK = "missing-lock"
FAILED = "failed"  # the FAILED file is there
UNSAFE_MODE = "unsafe-mode"  # others than writers could change or block something
UNACKNOWLEDGED_TAIL = "unacknowledged-tail"  # what a broken-off append left above the end
UNFINISHED_RECOVERY = "unfinished-recovery"
UNFINISHED_TRUNCATION = "unfinished-truncation"  # of a log that becomes another one's copy
STALE_INDEX = "stale-index"
MISSING_INDEX = "missing-index"
NEWER_BATCH = "newer-batch"  # whole, but only a newer mk can read it
DAMAGED_SNAPSHOT = (
    "damaged-snapshot"  # of what was stored under producer ids; an older one serves as well, if there is one
)
STALE_SNAPSHOT = "stale-snapshot"  # of another life of the log: nobody believes it
WRONG_SNAPSHOT = "wrong-snapshot"  # believed, and it contradicts the batches: records would be lost or doubled
MISSING_SNAPSHOT = "missing-snapshot"
MISSING_PIN = "missing-pin"  # a producer id that has records, and no file in producers/
DAMAGED_CLAIM = "damaged-claim"  # neither slot of a claim can be read: of the newest, where the group stood is lost
MISSING_GENERATION = "missing-generation"  # of a claim, between two others
COMMIT_BEYOND_END = "commit-beyond-end"  # a group has committed what is not in this log: as after a restored copy
ORPHANED_CLAIMS = "orphaned-claims"  # of a topic that is not there any more
DAMAGED_JOURNAL = "damaged-journal"  # a line of a group's journal: that change cannot be taken back
DAMAGED_REPLICA = "damaged-replica"  # what is kept of another directory: the next replication writes it anew
DAMAGED_MEMBER = "damaged-member"  # a file that a member holds, and that does not say whose it is
LEFTOVER = "leftover"
UNKNOWN_FILE = "unknown-file"
MORE = "more"  # beyond the number of findings that are kept of a partition


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    path: relative to the log directory. position: byte in that file. offset, last_offset: the first and the last offset
    that cannot be read because of it, both included; where nothing is unreadable, offset alone says where it is. found:
    what was found instead, in words.
    """

    topic: str
    partition: int | None
    kind: str
    severity: str
    path: str
    found: str
    position: int | None = None
    offset: int | None = None
    last_offset: int | None = None

    def document(self) -> dict[str, object]:
        return asdict(self)


@dataclass(slots=True)
class Report:
    """What a check of one topic came to. size_bytes: of the segments. records: those that can be read."""

    topic: str
    partitions: int = 0
    size_bytes: int = 0
    records: int = 0
    findings: list[Finding] = field(default_factory=list)

    def count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def document(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "topic": self.topic,
            "partitions": self.partitions,
            "size_bytes": self.size_bytes,
            "records": self.records,
            "damage": self.count(DAMAGE),
            "warnings": self.count(WARNING),
            "notes": self.count(NOTE),
            "findings": [finding.document() for finding in self.findings],
        }
