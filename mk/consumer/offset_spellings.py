"""Every spelling of an offset and of a time, as data: what users are shown, and what the tests run.

Help and man page are made of these rows, and tests/cli/test_offset_spellings.py runs each example as a command on a topic
as EXAMPLE_TOPIC says, and each wrong one too. Who changes the grammar (offset_spec.py, mk/timestamp.py) changes a row here.
"""

from __future__ import annotations

EXAMPLE_TOPIC = (
    "The examples read a topic with two partitions that got a record a minute from 2026-11-23T10:00Z on: ten in "
    "partition 0, offsets 0 to 9, and five in partition 1, offsets 0 to 4. A group named billing has read six of partition 0, "
    "and none of partition 1. `0: 7-9` is: the offsets 7 to 9 of partition 0."
)


class Spelling:
    """A row: how it is written, what that means, options of `mk consume` as an example, and what these read.

    reads: offsets of partitions 0 and 1 of the example topic; "" for times that depend on the clock.
    """

    __slots__ = ("example", "meaning", "reads", "spelling")

    def __init__(self, spelling: str, meaning: str, example: str, reads: str = "") -> None:
        self.spelling = spelling
        self.meaning = meaning
        self.example = example
        self.reads = reads


POSITIONS = (
    Spelling("start", "the first record that is still there; the default", "-o start", "0: 0-9  1: 0-4"),
    Spelling("end", "behind the last record: nothing, and with -F only what comes", "-o end", "nothing"),
    Spelling(
        "N",
        "the record with offset N; partitions that end before it are passed over with a note, and if none reaches it, "
        "the status is 66",
        "-o 7",
        "0: 7-9",
    ),
    Spelling("-N", "N before the end of each partition, or the start if it has fewer", "-o -3", "0: 7-9  1: 2-4"),
    Spelling("end-N", "the same", "-o end-3", "0: 7-9  1: 2-4"),
    Spelling("+N", "N behind the start of each partition, or the end if it has fewer", "-o +3", "0: 3-9  1: 3-4"),
    Spelling("start+N", "the same", "-o start+6", "0: 6-9"),
    Spelling(
        "@TIME",
        "the first record of TIME or later in each partition, and all behind it, whatever their times",
        "-o @2026-11-23T10:03",
        "0: 3-9  1: 3-4",
    ),
    Spelling(
        "group:NAME",
        "where the group NAME stands: behind the last record that it has committed; the start in partitions where it has "
        "committed nothing",
        "-o group:billing",
        "0: 6-9  1: 0-4",
    ),
)

RANGES = (
    Spelling("A:B", "from position A up to position B, B excluded, in each partition", "-o 2:4", "0: 2-3  1: 2-3"),
    Spelling("A:B", "other positions", "-o start+1:end-1", "0: 1-8  1: 1-3"),
    Spelling("A:", "from A on, as A alone", "-o -2:", "0: 8-9  1: 3-4"),
    Spelling(":B", "from the start up to B", "-o :end-3", "0: 0-6  1: 0-1"),
    Spelling(":B", "what a group has read", "-o :group:billing", "0: 0-5"),
    Spelling("A:B", "a B behind the end is the end; with -F it is waited for", "-o 3:100", "0: 3-9  1: 3-4"),
    Spelling("A:B", "0:5 is a range of every partition, five offsets long", "-o 0:5", "0: 0-4  1: 0-4"),
    Spelling("A:@TIME", "from A up to the first record of TIME or later", "-o 2:@2026-11-23T10:04", "0: 2-3  1: 2-3"),
    Spelling(
        "@T1:T2",
        "from the first record of T1 or later up to the first of T2 or later; an @ may stand before T2 too. Times hold "
        "colons: it is parted at the last one that leaves a time on both sides",
        "-o @2026-11-23T10:02:2026-11-23T10:04",
        "0: 2-3  1: 2-3",
    ),
    Spelling("@T1:", "from T1 on, as @T1 alone", "-o @2026-11-23T10:08:", "0: 8-9"),
    Spelling("@:T2", "from the start up to T2", "-o @:2026-11-23T10:02", "0: 0-1  1: 0-1"),
    Spelling("@T1:end", "the words start and end may stand for a time", "-o @2026-11-23T10:03:end", "0: 3-9  1: 3-4"),
    Spelling("@T1:group:NAME", "and so may a group", "-o @2026-11-23T10:03:group:billing", "0: 3-5"),
    Spelling(
        "P:POS,P:POS",
        "a comma makes it a list of partitions, and where to begin in each; others are not read. A number behind the end "
        "of its partition has status 66",
        "-o 0:8,1:-1",
        "0: 8-9  1: 4",
    ),
    Spelling("s@MS", "kcat's: from this time on, always in milliseconds", "-o s@1795428480000", "0: 8-9"),
    Spelling("e@MS", "kcat's: up to this time", "-o e@1795428060000", "0: 0  1: 0"),
    Spelling("s@MS e@MS", "the two together", "-o s@1795428060000 -o e@1795428180000", "0: 1-2  1: 1-2"),
)

ALIASES = (
    Spelling("beginning", "start", "-o beginning", "0: 0-9  1: 0-4"),
    Spelling("earliest", "start", "-o earliest", "0: 0-9  1: 0-4"),
    Spelling("oldest", "start", "-o oldest:1", "0: 0  1: 0"),
    Spelling("latest", "end", "-o latest", "nothing"),
    Spelling("newest", "end", "-o -1:newest", "0: 9  1: 4"),
)

OPTIONS = (
    Spelling("--from A --to B", "the same as -o A:B", "--from 2 --to end-1", "0: 2-8  1: 2-3"),
    Spelling(
        "--since T --until T",
        "the same as -o @T:T",
        "--since 2026-11-23T10:01 --until 2026-11-23T10:03",
        "0: 1-2  1: 1-2",
    ),
    Spelling("-o A --to B", "where to begin and where to end are said once each", "-o +2 --to 4", "0: 2-3  1: 2-3"),
    Spelling(
        "--tail N",
        "of all that the others ask for, the N newest records over all partitions together, found from their ends: of "
        "the last records of each, the newest is taken, and so on. They are printed partition by partition, in order",
        "--tail 7",
        "0: 4-9  1: 4",
    ),
    Spelling("--tail N", "of a range", "-o :3 --tail 2", "0: 2  1: 2"),
)

TIMES = (
    Spelling("seconds", "since 1970: up to 11 digits", "--since 1795428480", "0: 8-9"),
    Spelling("seconds.fraction", "the same, to the millisecond", "--since 1795428479.5", "0: 8-9"),
    Spelling("milliseconds", "since 1970: 12 to 14 digits", "--since 1795428480000", "0: 8-9"),
    Spelling("nanoseconds", "since 1970: 18 or 19 digits", "--since 1795428480000000000", "0: 8-9"),
    Spelling("date", "its midnight; no zone means UTC", "--since 2026-11-23 --until 2026-11-24", "0: 0-9  1: 0-4"),
    Spelling("RFC 3339", "seconds and fraction may be missing", "--since 2026-11-23T10:07", "0: 7-9"),
    Spelling("RFC 3339", "a space may stand for the T", "--since '2026-11-23 10:06:59.250'", "0: 7-9"),
    Spelling("RFC 3339", "Z is UTC", "--since 2026-11-23T10:07:00Z", "0: 7-9"),
    Spelling("RFC 3339", "any other zone", "--since 2026-11-23T12:07:00+02:00", "0: 7-9"),
    Spelling("now", "this moment", "--since now"),
    Spelling("today", "the last midnight UTC", "--since today"),
    Spelling("yesterday", "the midnight before", "--since yesterday --until today"),
    Spelling("-1h30m", "so long ago: numbers with w d h m s ms", "--since -1h30m"),
    Spelling("@T", "--since and --until take the @ of an offset too", "--since @2026-11-23T10:07", "0: 7-9"),
)

WRONG = (
    (
        "-o soon",
        "at character 1 stands 'soon'; a position is start, end, N, -N, +N, start+N, end-N, group:NAME or @TIME",
    ),
    ("-o ''", "at character 1 stands the end; a position is start"),
    ("-o start-5", "a position is start"),
    ("-o -x", "at character 2 stands 'x'; - is followed by a number of offsets"),
    ("-o start+", "at character 7 stands the end; start+ is followed by a number of offsets"),
    ("-o 1_000", "a position is start"),
    ("-o 9223372036854775808", "an offset has at most 18 digits"),
    ("-o 5:x", "at character 3 stands 'x'; a position is start"),
    ("-o x:5", "at character 1 stands 'x:5'; a position is start"),
    ("-o 1:2:3", "at character 3 stands '2:3'; a position is start"),
    ("-o :", "one side of the colon may be left out, the other is start"),
    ("-o 10:5", "the range ends before it begins"),
    ("-o -2:-5", "the range ends before it begins"),
    ("-o @now:-1h", "the range ends before it begins"),
    ("-o -1h", "at character 1 stands '-1h'; a time begins with an @: @-1h"),
    ("-o 5:today", "at character 3 stands 'today'; a time begins with an @: @today"),
    ("-o 2026-11-23T10:02", "a time begins with an @: @2026-11-23T10:02"),
    ("--from 2026-11-23", "a time begins with an @: @2026-11-23"),
    ("-o @", "at character 2 stands the end; a time is one of: seconds"),
    ("-o @soon", "at character 2 stands 'soon'; a time is one of: seconds"),
    ("-o @2026-13-01", "a time is one of: seconds"),
    ("-o @-1h:soon", "at character 6 stands 'soon'; a time is one of: seconds"),
    ("-o @:", "a time is one of: seconds"),
    ("-o s@1h", "at character 3 stands '1h'; kcat's s@ and e@ take milliseconds"),
    ("-o 0:5,1", "at character 5 stands '1'; a comma makes it a list of PARTITION:POSITION"),
    ("-o 0:5,", "at character 5 stands the end; a comma makes it a list of PARTITION:POSITION"),
    ("-o 0:5,x:1", "at character 5 stands 'x:1'; a comma makes it a list of PARTITION:POSITION"),
    ("-o 0:5,0:6", "partition 0 is there twice"),
    ("-o 0:5,1:2:3", "at character 7 stands '2:3'; a position is start"),
    ("-o committed", "name one with -g, or begin at start, end, N"),
    ("-o stored", "name one with -g, or begin at start, end, N"),
    ("-o group:", "at character 7 stands the end; group: is followed by the name of a group"),
    ("-o group:../x", "at character 7 stands '../x'; group: is followed by the name of a group"),
    ("-o 0:group:a/b,1:5", "at character 9 stands 'a/b"),
    ("-o group:billing:5:6", "a position is start"),
    ("--from 5:10", "a position is start"),
    ("--to x", "a position is start"),
    ("--since soon", "it is a time, one of: seconds"),
    ("--until 12:30", "it is a time, one of: seconds"),
    ("-o 5 --from 3", "-o and --from both say where to begin"),
    ("-o 5:10 --until now", "-o and --until both say where to end"),
    ("--from 1 --since today", "--from and --since both say where to begin"),
    ("-o 1 -o 2", "-o says twice where to begin"),
    ("--from 5 --to 3", "the end comes before the beginning"),
    ("-o 0:5,1:1 -p 0", "leave -p out"),
)
"""Options that are refused, and what the refusal says. 2 is the status of each."""


CLOSING = (
    "committed (or stored) is where the own group stands, and is where -g begins anyway. With -g, -o only says",
    "where partitions begin that the group never read. group:NAME is of any group, which is not joined.",
    "If there is no such group, the status is 66; if the log does not have the offset that it has committed, 65.",
    "`mk topics offsets TOPIC` shows where each partition starts and ends.",
)


def help_text() -> str:
    """Return the text of `mk help offsets`."""
    import textwrap

    lines = textwrap.wrap("Offsets and times, as in `mk consume TOPIC -o SPEC`. " + EXAMPLE_TOPIC, 100)
    for title, rows in sections():
        lines += ["", f"{title}:"]
        for row in rows:
            first, *rest = textwrap.wrap(row.meaning, 76)
            lines.append(f"  {row.spelling:<20} {first}")
            lines += [" " * 23 + line for line in rest]
            lines.append(f"{'':23}  {row.example}" + (f"    {row.reads}" if row.reads else ""))
    lines += ["", *CLOSING]
    return "\n".join(lines) + "\n"


def sections() -> tuple[tuple[str, tuple[Spelling, ...]], ...]:
    """Return the tables with their titles."""
    return (
        ("Positions", POSITIONS),
        ("Ranges", RANGES),
        ("Other words", ALIASES),
        ("Options", OPTIONS),
        ("Times", TIMES),
    )
