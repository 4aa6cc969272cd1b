"""Which name a misspelled one may be meant for, as an error asks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 2
_LIKENESS = 0.6


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return "did you mean A or B?", the nearest first, "" if none is near. Upper and lower case do not count."""
    import difflib

    by_letters: dict[str, str] = {}
    for name in names:
        by_letters.setdefault(name.lower(), name)
    near = difflib.get_close_matches(word.lower(), by_letters, n=_MOST, cutoff=_LIKENESS)
    return f"did you mean {' or '.join(by_letters[one] for one in near)}?" if near else ""
