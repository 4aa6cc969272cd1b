"""What a planted bug is."""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """A mistake that could be made in mk, and the tests that are there to notice it.

    name: what the planted mk does wrong. promise: which promises it breaks, by their numbers in man/mk-guarantees.7, and the
    rule that guards them. old, new: text that stands once in `file`, and what stands there instead. tests: what of pytest
    is to fail, as narrow as may be.
    """

    name: str
    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
