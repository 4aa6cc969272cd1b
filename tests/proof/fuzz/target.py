"""What a target is, and what it may cost: no exception but a refusal, little memory, little time."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mk.errors import MkError
from mk.formats.record_columns import BadRecordError
from mk.records.codecs import CodecError
from mk.storage.copy_proof import BadBatchError

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

MAX_GROWTH_KIB = 64 << 10
MAX_SECONDS = 1.0
REFUSALS = (MkError, CodecError, BadRecordError, BadBatchError)
"""What a parser may raise: everything else is a bug."""


class Target(NamedTuple):
    """fuzz: takes any bytes, and raises if mk does not do with them as it promises; a refusal is none of that.

    seeds: valid inputs. mend: makes the checksums in an input right, so that what is behind them is reached as well.
    sample: of how many changed seeds the ordinary tests make use.
    """

    name: str
    fuzz: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    mend: Callable[[bytes], bytes] | None = None
    max_bytes: int = 4096
    sample: int = 200


def is_refused(call: Callable[..., object], *arguments: object, **options: object) -> bool:
    """Tell whether a call refuses what it was given, as it may; what MkError itself says is a bug in mk."""
    return not accepted(call, *arguments, **options)


def accepted(call: Callable[..., Result], *arguments: object, **options: object) -> list[Result]:
    """Return what a call returns, as the only one of a list; nothing if it refuses what it was given."""
    try:
        return [call(*arguments, **options)]
    except REFUSALS as refusal:
        # What another host says that it failed with may be a bug there, or an error of a newer mk.
        assert type(refusal) is not MkError or "peer" in refusal.facts, f"a bug in mk: {refusal}"
        return []


def strike(target: Target, data: bytes) -> None:
    """Give a target some bytes. Raises what it raises, and AssertionError if it took too much of memory or time."""
    peak = _peak_kib()
    begun = time.process_time()
    target.fuzz(data)
    took = time.process_time() - begun
    grown = _peak_kib() - peak
    assert grown <= MAX_GROWTH_KIB, f"{grown} KiB of memory for {len(data)} bytes"
    for _ in range(2):
        # Again, in case that something else was the reason: a collection of garbage, or an import.
        if took > MAX_SECONDS:
            begun = time.process_time()
            target.fuzz(data)
            took = min(took, time.process_time() - begun)
    assert took <= MAX_SECONDS, f"{took:.1f} s for {len(data)} bytes"


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
