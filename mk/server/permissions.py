"""What a client may do: everything, or only what `--only KIND:REGEX` allows, on the topics whose whole names match."""

from __future__ import annotations

from mk.errors import PermissionDeniedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PULL, PUSH, PRODUCE = "pull", "push", "produce"
KINDS = (PULL, PUSH, PRODUCE)


class Permissions:
    """The sum of all --only; without any, everything is allowed."""

    __slots__ = ("_matchers", "is_limited")

    def __init__(self, only: Sequence[str] = ()) -> None:
        """Raises UsageError for a word that is none of the kinds, or a regular expression that is none."""
        self.is_limited = bool(only)
        self._matchers: dict[str, list[Callable[[str], object]]] = {}
        for word in only:
            kind, colon, text = word.partition(":")
            if kind not in KINDS or not colon or not text:
                raise UsageError(
                    f"--only cannot be {word or 'empty'}",
                    why=f"it is one of {', '.join(f'{kind}:REGEX' for kind in KINDS)}",
                    fix="`mk serve --help` shows what there is; nothing was served",
                    found=word,
                )
            self._matchers.setdefault(kind, []).append(_matcher(text, word))

    def allow_any(self, kinds: Sequence[str]) -> bool:
        """Tell whether anything of one of these kinds is allowed, on whatever topic."""
        return not self.is_limited or any(kind in self._matchers for kind in kinds)

    def allow(self, kinds: Sequence[str], topic: str) -> bool:
        """Tell whether one of these kinds is allowed on a topic."""
        return not self.is_limited or any(match(topic) for kind in kinds for match in self._matchers.get(kind, ()))

    def check_any(self, kinds: Sequence[str], what: str) -> None:
        """Raise PermissionDeniedError unless anything of one of these kinds is allowed."""
        if not self.allow_any(kinds):
            raise _denied(kinds, f"{what} is not allowed here")

    def check(self, kinds: Sequence[str], topic: str) -> None:
        """Raise PermissionDeniedError unless one of these kinds is allowed on a topic."""
        if not self.allow(kinds, topic):
            raise _denied(kinds, f"topic {topic} is not yours to {' or '.join(kinds)} here")


def _matcher(text: str, word: str) -> Callable[[str], object]:
    if set(text) <= _LITERAL:
        # A plain name, which is what most of them are, needs no `re`, nor the time to load it.
        return text.__eq__
    import re

    try:
        return re.compile(text).fullmatch
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"--only cannot be {word}",
            why=f"a Python regular expression: {error}",
            fix="nothing was served",
            found=word,
        ) from None


_LITERAL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def _denied(kinds: Sequence[str], what: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        what,
        why="`mk serve` was started with --only",
        fix=f"whoever keeps that directory can allow it with {' or '.join(f'--only {kind}:REGEX' for kind in kinds)}; "
        "nothing was changed",
    )
