"""Seeds changed at random, for where there is no atheris: fewer and blinder than its inputs, and the same on every run."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.proof.fuzz.target import Target

_TELLING = bytes((0, 1, 0x7F, 0x80, 0xFF, *b"\n\r -+.,:=%{}[]\\\"'0179"))
"""Bytes that mean something to a parser."""


def mutations(target: Target, count: int) -> Iterator[bytes]:
    """Yield so many changed seeds, most of them with their checksums made right."""
    chance = random.Random(target.name)
    seeds = target.seeds()
    for number in range(count):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            _change(data, seeds, chance)
        changed = bytes(data)
        if target.mend is not None and number % 4:
            changed = target.mend(changed)
        yield changed[: target.max_bytes]


def _change(data: bytearray, seeds: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    kind = chance.randrange(6)
    if kind == 0 and data:
        data[at - 1] ^= 1 << chance.randrange(8)
    elif kind == 1 and data:
        data[at - 1] = chance.choice(_TELLING)
    elif kind == 2:
        data[at:at] = chance.randbytes(chance.randint(1, 4))
    elif kind == 3:
        del data[at : at + chance.randint(1, 8)]
    elif kind == 4:
        other = chance.choice(seeds)
        data[at:] = other[chance.randrange(len(other) + 1) :]
    else:
        start = chance.randrange(len(data) + 1)
        data[at:at] = data[start : start + chance.randint(1, 16)]
