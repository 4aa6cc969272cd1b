"""A power cut for some log directories at once: of what was not synced there is nothing, all, or some in each of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.crash.images import materialise, variants
from tests.crash.recorder import RecordingDisk, set_boot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash.images import DiskModel, Image

HOW = ("nothing", "everything", "some")
"""What the disk has of the writes that wait for it."""


def cut_power(disk: RecordingDisk, how: dict[str, str], rng: random.Random, *, boot: str) -> RecordingDisk:
    """Turn the recorded directory into what a power cut leaves, and return the disk that begins on the next boot.

    how: for each directory at the top one of HOW.
    """
    image = image_after(disk.model, how, rng)
    disk.__exit__()
    materialise(image, disk.root)
    after = RecordingDisk(disk.root)
    after.__enter__()
    set_boot(boot)
    return after


def image_after(model: DiskModel, how: dict[str, str], rng: random.Random) -> Image:
    owners: dict[int, str] = {}

    def walk(node: int, owner: str) -> None:
        owners[node] = owner
        content = model.nodes[node].content()
        if isinstance(content, dict):
            for name, child in content.items():
                walk(child, owner or name)

    walk(0, "")
    choice: dict[int, bytes | dict[str, int]] = {}
    for number, node in model.nodes.items():
        if not node.pending:
            continue
        kept = how.get(owners.get(number, ""), "nothing")
        if kept == "some":
            choice[number] = rng.choice(variants(node, rng))
        else:
            choice[number] = node.content() if kept == "everything" else node.content([])
    return model.image(choice)


def kinds_of_cuts(names: Sequence[str], rng: random.Random) -> dict[str, str]:
    return {name: rng.choice(HOW) for name in names}
