"""`mk wait`, as data."""

from mk.cli.definition import (
    BYTES,
    CONSUMER_GROUP,
    DIRECTORY_OPTION,
    DURATION,
    FLAG,
    INTEGER,
    JSON_OPTION,
    OFFSET,
    OUTPUT,
    PARTITIONS,
    PROPERTY_OPTION,
    SELECTOR,
    TOPIC,
    Command,
    Parameter,
)

_CONDITION = "What to wait for"
_WHERE = "Which records"

WAIT = Command(
    "wait",
    summary="wait until records are there, or a group has read them",
    panel="Records",
    run="mk.cli.wait:run",
    description=(
        (
            "Waits until each TOPIC holds what is asked for, and ends with 0; what is there already counts, so it does not matter "
            "who comes first. Without a condition, that is one record. It prints nothing, locks nothing and changes nothing: a "
            "condition for `&&`, make and cron."
        ),
        (
            "Where counting begins is said by -o, for each partition: `-o end` waits for what comes from now on, "
            "`-o group:NAME` for what a group has not read. --records counts by offsets, as `mk topics` does, and reads "
            "nothing; with -G it counts the records that match. What retention removed does not count."
        ),
        (
            "-k waits until the last record with KEY has a value, which is what `mk topics get` finds: a tombstone takes it away. With "
            "-G too, that record has to match. It looks where KEY belongs; -p says otherwise."
        ),
        (
            "With -g, it waits until the lag of a group is at most N: in all TOPICs together, or in all that it reads if none "
            "is named, as `mk groups describe` counts it. Of a TOPIC that the group has not begun, all is lag. A group that "
            "lost its place (its problem in `mk groups describe`) ends the command with 65. Only who may write to the "
            "directory may look at groups."
        ),
        (
            "A topic or a group that is not there is an error (66), since most often it is misspelled, and so is one that goes, or gets "
            "another name, meanwhile. With --retry both are waited for, and the directory too: a group that is not there yet has read "
            "nothing. It waits as `mk consume -F` does: told by the "
            "kernel, or by the other host with -d HOST:DIR, and looking twice a second where nobody tells."
        ),
    ),
    parameters=(
        Parameter(
            "topics",
            metavar="TOPIC",
            default=(),
            environment="MK_TOPIC",
            multiple=True,
            required=True,
            unless="group",
            complete=TOPIC,
            help="the topics, all of which have to meet the condition; else $MK_TOPIC; may be left out with -g",
        ),
        Parameter(
            "records",
            "--records",
            kind=INTEGER,
            metavar="N",
            minimum=1,
            panel=_CONDITION,
            help="until there are N records, in all partitions together; default 1",
        ),
        Parameter(
            "key",
            "-k",
            "--key",
            kind=BYTES,
            metavar="KEY",
            panel=_CONDITION,
            help="until the last record with KEY has a value",
        ),
        Parameter(
            "grep",
            "-G",
            "--grep",
            kind=SELECTOR,
            metavar="[!]WHAT=REGEX",
            default=(),
            multiple=True,
            panel=_CONDITION,
            help="until there is a record in whose value (v=REGEX), key (k=REGEX) or header NAME (h:NAME=REGEX) this Python regular "
            "expression is found; with ! is not found; may be repeated, and all have to hold",
        ),
        Parameter(
            "group",
            "-g",
            "--group",
            metavar="NAME",
            complete=CONSUMER_GROUP,
            panel=_CONDITION,
            help="until this group has read all but --lag records",
        ),
        Parameter(
            "lag",
            "--lag",
            kind=INTEGER,
            metavar="N",
            panel=_CONDITION,
            help="with -g: how many records it may be behind; default 0",
        ),
        Parameter(
            "offset",
            "-o",
            "--offset",
            kind=OFFSET,
            metavar="POS",
            panel=_WHERE,
            complete=OFFSET,
            help="count from there on, in each partition; default start; see `mk help offsets`",
        ),
        Parameter(
            "partitions",
            "-p",
            "--partition",
            kind=PARTITIONS,
            metavar="N,...",
            default=(),
            multiple=True,
            panel=_WHERE,
            help="only these partitions, such as 0,3",
        ),
        Parameter(
            "timeout_ms",
            "--timeout",
            kind=DURATION,
            metavar="TIME",
            panel="Safety",
            help="end with status 124 when it is not so after TIME, such as 50s; 0 asks whether it is so now",
        ),
        Parameter(
            "retry",
            "--retry",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="wait also for topics and a group that are not there yet",
        ),
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
        Parameter(
            "quiet", "-q", kind=FLAG, default=False, panel=OUTPUT, help="no message at a time-out; the status says it"
        ),
        Parameter(
            "verbose",
            "-v",
            kind=FLAG,
            default=False,
            panel=OUTPUT,
            help="say on stderr what was met, a line for each topic",
        ),
        Parameter(
            JSON_OPTION.name,
            *JSON_OPTION.flags,
            kind=FLAG,
            default=False,
            panel=OUTPUT,
            help="print what was met as JSON; errors too",
        ),
    ),
    examples=(
        ("mk wait orders --records 1000 --timeout 1h && ./bill", "until a thousand are there, an hour at most"),
        ("mk wait orders -g billing", "until a group has read everything"),
        ("mk wait orders -o end --timeout 50s", "until something comes"),
        (
            "mk wait orders -o group:mail --retry --timeout 9m && mk consume orders -g mail",
            "for cron, every ten minutes: what it has not read, as soon as it comes",
        ),
        ("mk wait jobs -k job42 -G v=done", "until the last record of a job says so"),
        ("mk wait log -G v=ready -o -100 -v", "until a line matches, the last hundred included"),
        ("mk wait orders homes --retry", "until both are there and hold something"),
        ("mk wait orders --timeout 0 -q || echo empty", "a question"),
    ),
    exit_status="The status is 0 when it is so, 124 when --timeout came first, and 66 for a topic or a group that is not there, without "
    "--retry.",
)

COMMANDS = (WAIT,)
