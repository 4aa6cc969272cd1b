"""Which topics a command is for, by name or by regular expression, and what several failures come to."""

from __future__ import annotations

from mk.cli.notes import note
from mk.errors import MkError, UsageError

_ITEMS_FAILED = 1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.cli.options import Options
    from mk.cluster import Cluster


def selected(cluster: Cluster, options: Options) -> list[str]:
    """Return the topics that a command names, or finds with -r, each once. Raises UsageError if it does neither."""
    names = list(options.topics)
    if options.regex is not None:
        names += matching(cluster.topic_names(), options.regex)
    elif not names:
        raise UsageError("TOPIC is missing", fix="name topics, or find them with -r REGEX")
    return list(dict.fromkeys(names))


def matching(names: Sequence[str], regex: str, lister: str = "mk topics -q") -> list[str]:
    """Return the names in which a regular expression is found; `lister` is the command that shows all of them.

    Raises UsageError for one that is none.
    """
    import re

    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise UsageError(
            f"--regex cannot be {regex or 'empty'}",
            why=f"it is no regular expression: {error}",
            fix=f"`{lister}` lists the names it is for",
        ) from None
    return [name for name in names if pattern.search(name)]


def raise_first(failures: Sequence[MkError]) -> None:
    """Fail with the first of the errors that several topics brought, with a note of the others; if there are any.

    What is said of a whole topic or directory may be the error of each of its partitions, and is said once.
    """
    for other in dict.fromkeys(failure.what for failure in failures):
        if other != failures[0].what:
            note(f"mk: {other}")
    if failures:
        raise failures[0]


def fail_with(errors: Sequence[MkError]) -> int:
    """Name all that went wrong with several; the last words are the first error's, and its status, if they all have the same."""
    if not errors:
        return 0
    if len({error.exit_status for error in errors}) == 1:
        raise_first(errors)
    for error in errors:
        note(f"mk: {error.what}" + (f" ({error.why})" if error.why else ""))
    return _ITEMS_FAILED
