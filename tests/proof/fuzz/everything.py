"""All targets, by name."""

from __future__ import annotations

from tests.proof.fuzz import batches, directories, formats, peers, small_files, words

TARGETS = {
    target.name: target
    for module in (batches, small_files, directories, peers, formats, words)
    for target in module.TARGETS
}
