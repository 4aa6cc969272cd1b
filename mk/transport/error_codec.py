"""Errors through a channel: what happened on the far side is raised here as what it is, and says where it happened."""

from __future__ import annotations

import mk.errors
import mk.group_errors
from mk.errors import MkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.transport.fields import Fields

_MAX_TEXT = 16_384
_MAX_FACTS = 64
_MAX_STATUS = 255


def error_values(error: MkError) -> list[object]:
    """Return the values of a head that say `error`."""
    facts = list(error.facts.items())[:_MAX_FACTS]
    values: list[object] = [type(error).__name__, error.exit_status, _cut(error.what), _cut(error.why), _cut(error.fix)]
    values.append(len(facts))
    for name, fact in facts:
        is_small = type(fact) is int and -(1 << 63) <= fact < 1 << 63
        values += [name, fact if is_small or fact is None or type(fact) is bool else _cut(str(fact))]
    return values


def take_error(fields: Fields, peer: str) -> MkError:
    """Return the error that a head says: of the same class, or of the family of its exit status if this mk has no such."""
    name, status = fields.text(), fields.number(1, _MAX_STATUS)
    what, why, fix = (fields.text(_MAX_TEXT) for _ in range(3))
    facts: dict[str, object] = {}
    for _ in range(fields.number(0, _MAX_FACTS)):
        fact = fields.text()
        facts[fact] = fields.scalar(_MAX_TEXT)
    fields.end()
    error_class = getattr(mk.errors, name, None) or getattr(mk.group_errors, name, None)
    if not (isinstance(error_class, type) and issubclass(error_class, MkError)):
        error_class = _family(status)
    # Not by its own constructor, which makes the sentence from facts: the far side has done that.
    error: MkError = error_class.__new__(error_class)
    MkError.__init__(error, f"on {peer}: {what}", why=why, fix=fix)
    error.facts = {**facts, "peer": peer}
    return error


def _family(status: int) -> type[MkError]:
    pending = MkError.__subclasses__()
    while pending:
        family = pending.pop(0)
        if family.exit_status == status:
            return family
        pending += family.__subclasses__()
    return MkError


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
