"""The bugs that tests/proof/planted.py puts into mk, by the part of mk that they are in."""

from __future__ import annotations

from tests.proof.bugs import care, edges, groups, records, replication, storage
from tests.proof.bugs.bug import Bug

__all__ = ["BUGS", "SAMPLE", "Bug"]

BUGS: tuple[Bug, ...] = (*storage.BUGS, *records.BUGS, *groups.BUGS, *care.BUGS, *replication.BUGS, *edges.BUGS)

SAMPLE: tuple[str, ...] = ()
"""Some of each kind, for an ordinary run."""
