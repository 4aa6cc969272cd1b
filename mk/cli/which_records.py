"""Which records `mk consume` reads: what -o, --from, --to, --since and --until say together.

Where to begin is said once, and where to end once; by whom does not matter. So `-o 5 --until today` is a range, and kcat's
two -o (`-o s@MS -o e@MS`) are one, and `-o 5:10 --from 3` is refused.
"""

from mk.consumer.offset_spec import is_reversed
from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mk.cli.options import Options
    from mk.consumer.offset_spec import OffsetSpec


def range_of(options: "Options") -> "tuple[OffsetSpec | dict[int, OffsetSpec] | None, OffsetSpec | None]":
    """Return where to begin, everywhere or in each partition, and where to end.

    Raises:
        UsageError: one of them is said twice, or the end comes before the beginning.
    """
    firsts: list[tuple[str, Any]] = [("-o", one.by_partition or one.first) for one in options.offset]
    firsts += [("--from", options.first), ("--since", options.since)]
    stops: list[tuple[str, Any]] = [("-o", one.stop) for one in options.offset]
    stops += [("--to", options.stop), ("--until", options.until)]
    first = _only(firsts, "where to begin")
    stop = _only(stops, "where to end")
    if isinstance(first, dict):
        if options.partitions:
            raise UsageError(
                "-p and an -o that names partitions exclude each other",
                why="such an -o reads the partitions that it names, and no others",
                fix="leave -p out",
            )
        return first, stop
    if is_reversed(first, stop):
        raise UsageError("the end comes before the beginning", why=f"{first} is behind {stop}", fix="swap them")
    return first, stop


def _only(said: "list[tuple[str, Any]]", what: str) -> "Any":
    """Return the one value that was given, or None. Raises UsageError if there are two."""
    given = [(flag, value) for flag, value in said if value is not None]
    if len(given) > 1:
        (one, _), (other, _) = given[:2]
        raise UsageError(
            f"-o says twice {what}" if one == other else f"{one} and {other} both say {what}",
            fix="leave one of them out; `mk help offsets` has ranges, such as -o 5:10",
        )
    return given[0][1] if given else None
