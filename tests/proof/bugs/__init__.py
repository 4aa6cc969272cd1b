"""The bugs that tests/proof/planted.py puts into mk, by the part of mk that they are in."""

from __future__ import annotations

from tests.proof.bugs import care, edges, groups, records, replication, storage
from tests.proof.bugs.bug import Bug

__all__ = ["BUGS", "SAMPLE", "Bug"]

BUGS: tuple[Bug, ...] = (*storage.BUGS, *records.BUGS, *groups.BUGS, *care.BUGS, *replication.BUGS, *edges.BUGS)

SAMPLE: tuple[str, ...] = (
    "append-not-synced",
    "failed-sync-tried-again",
    "short-write-continued-by-a-second-one",
    "sequences-not-compared",
    "commit-does-not-look-for-a-successor",
    "fencer-reads-before-it-links",
    "published-before-sync",
    "compaction-drops-the-last-value",
    "state-written-over-the-newer-slot",
    "lock-not-let-go-after-a-failure",
    "payload-checksum-not-checked-by-readers",
    "copies-not-proved-by-their-chain",
    "links-followed",
    "disk-reserve-not-kept",
)
"""Some of each promise, for an ordinary run."""
