"""`mk consume` and `mk tail`, as data."""

from mk.cli.definition import (
    DELIMITER,
    DIRECTORY_OPTION,
    DURATION,
    FLAG,
    FORMAT,
    INTEGER,
    OFFSET,
    OFFSETS,
    OUTPUT,
    PARTITIONS,
    QUIET_OPTION,
    REGEX,
    TIME,
    TIMEOUT_OPTION,
    TOPIC,
    Command,
    Parameter,
)

_WHICH = "Which records"
_CONSUMED_TOPICS = Parameter(
    "topics",
    metavar="TOPIC",
    default=(),
    environment="MK_TOPIC",
    multiple=True,
    required=True,
    unless="regex",
    complete=TOPIC,
    help="the topics; else $MK_TOPIC",
)
_CONSUMED_REGEX = Parameter(
    "regex",
    "-r",
    "--regex",
    kind=REGEX,
    metavar="REGEX",
    panel=_WHICH,
    help="all topics in whose names this Python regular expression is found, instead of TOPIC; ^ and $ tie it to the "
    "ends; with -F also topics that appear later",
)
_CONSUMED_PARTITIONS = Parameter(
    "partitions",
    "-p",
    "--partition",
    kind=PARTITIONS,
    metavar="N,...",
    default=(),
    multiple=True,
    panel=_WHICH,
    help="only these partitions, such as 0,3",
)
_ENDINGS = (
    Parameter(
        "idle_ms",
        "--idle",
        kind=DURATION,
        metavar="TIME",
        panel=_WHICH,
        help="with -F: stop, with status 0, when nothing came for TIME since the last record was taken, or since the start",
    ),
    Parameter(
        "max_time_ms",
        "--max-time",
        kind=DURATION,
        metavar="TIME",
        panel=_WHICH,
        help="stop after TIME, with status 0, wherever it is; what was printed is whole records",
    ),
    TIMEOUT_OPTION,
)
RECORD_OUTPUT = (
    Parameter(
        "format",
        "-f",
        "--format",
        metavar="FORMAT",
        default="value",
        environment="MK_FORMAT",
        complete=FORMAT,
        panel=OUTPUT,
        help=r"how to print a record: value, kv, json, raw, framed, or a format such as '%k\t%v\n', which ends with what it "
        "says; see `mk help formats`; default value",
    ),
    Parameter(
        "json_lines",
        "-J",
        kind=FLAG,
        default=False,
        implies=("format", "json"),
        panel=OUTPUT,
        help="the same as -f json",
    ),
    Parameter(
        "json",
        "--json",
        kind=FLAG,
        default=False,
        implies=("format", "json"),
        panel=OUTPUT,
        help="-J, and errors as JSON too",
    ),
    Parameter(
        "delimiter",
        "-D",
        "--delimiter",
        kind=DELIMITER,
        metavar="DELIM",
        panel=OUTPUT,
        help=r"end each record with DELIM instead of a newline, a format with it too; \t \0 \xNN are understood",
    ),
    Parameter(
        "null",
        "-0",
        "--null",
        kind=FLAG,
        default=False,
        panel=OUTPUT,
        help="end each record with a NUL byte instead of a newline",
    ),
    Parameter(
        "show_null",
        "-Z",
        kind=FLAG,
        default=False,
        panel=OUTPUT,
        help="print a null value, and with -f kv or a format a null key or header, as NULL, to tell it from an empty one",
    ),
    Parameter(
        "raw",
        "--raw",
        kind=FLAG,
        default=False,
        panel=OUTPUT,
        help="control characters go to a terminal as they are",
    ),
    QUIET_OPTION,
    DIRECTORY_OPTION,
)

CONSUME = Command(
    "consume",
    summary="print the records of topics",
    run="mk.cli.consume:run",
    description=(
        (
            "Prints the records of each TOPIC from the start to the end as of now, then exits; with -F it goes on and "
            "prints what comes. Records of one partition come in order. Nothing is locked and nothing in the directory "
            "is changed: read permission is enough."
        ),
        (
            "Where to begin is said once, by -o, --from or --since, and where to end once, by a range of -o, by --to or "
            "--until. With -F a range goes on until it is complete in every partition, and the command then exits; up to a "
            "time it is complete at the first record of that time, or a second after the clock has passed it."
        ),
        (
            "With -F, partitions that are added are taken up within a second, and with -r so are topics that appear: as if "
            "they had been there from the beginning, empty. A topic that is deleted ends the command with 66 if it was "
            "named, and is dropped with a note if -r found it."
        ),
        "On a terminal, control characters in values are shown, not executed; a pipe gets the bytes.",
    ),
    parameters=(
        _CONSUMED_TOPICS,
        _CONSUMED_REGEX,
        Parameter(
            "offset",
            "-o",
            "--offset",
            kind=OFFSETS,
            metavar="SPEC",
            default=(),
            multiple=True,
            panel=_WHICH,
            complete=OFFSET,
            help="which offsets: start, end, N, -N for the last N, A:B, @TIME, and more; default start; see "
            "`mk help offsets`",
        ),
        Parameter(
            "first",
            "--from",
            kind=OFFSET,
            metavar="POS",
            panel=_WHICH,
            complete=OFFSET,
            help="where to begin, as -o POS",
        ),
        Parameter(
            "stop",
            "--to",
            kind=OFFSET,
            metavar="POS",
            panel=_WHICH,
            complete=OFFSET,
            help="where to end, POS excluded, as -o :POS",
        ),
        Parameter(
            "since",
            "--since",
            kind=TIME,
            metavar="TIME",
            panel=_WHICH,
            help="begin at the first record of TIME or later, in each partition; such as -1h, today, 2026-11-23T10:00",
        ),
        Parameter(
            "until",
            "--until",
            kind=TIME,
            metavar="TIME",
            panel=_WHICH,
            help="end before the first record of TIME or later, in each partition",
        ),
        _CONSUMED_PARTITIONS,
        Parameter("count", "-n", "--count", kind=INTEGER, metavar="N", panel=_WHICH, help="stop after N records"),
        Parameter(
            "tail",
            "--tail",
            kind=INTEGER,
            metavar="N",
            panel=_WHICH,
            help="of all that is asked for, the newest N records, over all partitions together",
        ),
        Parameter(
            "follow",
            "-F",
            "--follow",
            kind=FLAG,
            default=False,
            panel=_WHICH,
            help="do not stop at the end, wait for more",
        ),
        *_ENDINGS,
        Parameter(
            "exit_at_end",
            "-e",
            kind=FLAG,
            default=False,
            hidden=True,
            help="stop at the end, which is what happens anyway; for the fingers of kcat users",
        ),
        *RECORD_OUTPUT,
    ),
    examples=(
        ("mk consume orders", "all there is"),
        ("mk consume orders -o -10 -F", "the last ten of each partition, then what comes"),
        ("mk consume orders --since -1h", "the last hour"),
        ("mk consume -r '^app-' -F", "all topics whose names begin with app-, also new ones"),
        ("mk consume orders -F --idle 5s --max-time 50s", "what comes, for a cron job"),
        ("mk consume orders -J | jq .payload", "for programs"),
        (r"mk consume orders -f '%d{iso} %p:%o %k %v\n'", "with time, place and key"),
        ("mk consume files -0 | xargs -0 ls -l", "values that may hold newlines"),
    ),
    exit_status="The status is 0 when the end was reached, also when there was nothing to print.",
)

TAIL = Command(
    "tail",
    summary="print the last records of topics, and follow them",
    run="mk.cli.tail:run",
    description=(
        (
            "Prints the newest records of each TOPIC, ten over all of them together, and goes on with what comes. It is "
            "short for `mk consume TOPIC --tail 10 -F`."
        ),
    ),
    parameters=(
        _CONSUMED_TOPICS,
        _CONSUMED_REGEX,
        _CONSUMED_PARTITIONS,
        Parameter(
            "tail",
            "--tail",
            kind=INTEGER,
            metavar="N",
            default=10,
            panel=_WHICH,
            help="begin with the newest N records; default 10",
        ),
        *_ENDINGS,
        *RECORD_OUTPUT,
    ),
    examples=(
        ("mk tail orders", "the last ten, then what comes"),
        ("mk tail -r . --tail 0 -J", "whatever comes in any topic"),
    ),
    exit_status="It ends by a signal, or with 0 after --idle or --max-time.",
)

COMMANDS = (CONSUME, TAIL)
