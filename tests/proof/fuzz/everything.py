"""All targets, by name."""

from __future__ import annotations

from tests.proof.fuzz import batches, directories, small_files

TARGETS = {target.name: target for module in (batches, small_files, directories) for target in module.TARGETS}
