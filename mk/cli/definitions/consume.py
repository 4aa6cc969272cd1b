"""`mk consume` and `mk tail`, as data."""

from mk.cli.definition import (
    CONSUMER_GROUP,
    DELIMITER,
    DIRECTORY_OPTION,
    DURATION,
    FILE,
    FLAG,
    FORMAT,
    INTEGER,
    NETWORK_OPTION,
    OFFSET,
    OFFSETS,
    OUTPUT,
    PARTITIONS,
    PROPERTY_OPTION,
    QUIET_OPTION,
    REGEX,
    SELECTOR,
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
_GREP = Parameter(
    "grep",
    "-G",
    "--grep",
    kind=SELECTOR,
    metavar="[!]WHAT=REGEX",
    default=(),
    multiple=True,
    panel=_WHICH,
    help="only records in whose value (v=REGEX), key (k=REGEX) or header NAME (h:NAME=REGEX) this Python regular "
    "expression is found; with ! only the others; may be repeated, and all have to hold",
)
_MERGE = Parameter(
    "merge",
    "--merge",
    kind=FLAG,
    default=False,
    panel=_WHICH,
    help="all partitions as one, in the order of the records' times",
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
    PROPERTY_OPTION,
)

_GROUP = "Groups"
_GROUP_OPTIONS = (
    Parameter(
        "group",
        "-g",
        "--group",
        metavar="NAME",
        environment="MK_GROUP",
        complete=CONSUMER_GROUP,
        panel=_GROUP,
        help="read as a member of this group: share the partitions with its other members, from where the group stands, and "
        "commit what was printed",
    ),
    Parameter(
        "no_commit",
        "--no-commit",
        kind=FLAG,
        default=False,
        panel=_GROUP,
        help="leave the group where it stands; the next member reads the same records again",
    ),
    Parameter(
        "or_skip",
        "--or-skip",
        kind=FLAG,
        default=False,
        panel=_GROUP,
        help="if the group has a member already, end at once, with status 0, instead of sharing its work",
    ),
    Parameter(
        "on_truncation",
        "--on-truncation",
        metavar="WHAT",
        choices=("back", "start", "end", "fail"),
        panel=_GROUP,
        help="what to do where the log does not have what the group has committed: go back to where it still is the one that "
        "was read (default), to the start, to the end, or fail with status 65",
    ),
    Parameter(
        "session_timeout_ms",
        "--session-timeout",
        kind=DURATION,
        metavar="TIME",
        minimum=100,
        panel=_GROUP,
        help="after this time without a sign of life, when it was stopped or hangs, the others take over from this member; "
        "default 10s. One that dies is replaced at once",
    ),
)

_EXEC = "A command for each record"
_EXECUTION = (
    Parameter(
        "execute",
        "--exec",
        metavar="CMD",
        panel=_EXEC,
        help="run CMD for each record, the value on its standard input, what describes it in $MK_REC_TOPIC and others; its "
        "exit status says whether the record is done; see `mk help exec`",
    ),
    Parameter(
        "records_each",
        "--batch",
        kind=INTEGER,
        metavar="N",
        minimum=1,
        panel=_EXEC,
        help="hand up to N records of one partition to one CMD, as -f, -J, -0 or -D print them",
    ),
    Parameter(
        "jobs",
        "--jobs",
        kind=INTEGER,
        metavar="N",
        minimum=1,
        panel=_EXEC,
        help="run N commands at once; records with the same key still come one after another, others in any order; "
        "default 1, which keeps the order of each partition",
    ),
    Parameter(
        "retries",
        "--retries",
        kind=INTEGER,
        metavar="N",
        panel=_EXEC,
        help="try a record again so many times when CMD fails; default 3",
    ),
    Parameter(
        "backoff_ms",
        "--backoff",
        kind=DURATION,
        metavar="TIME",
        panel=_EXEC,
        help="wait about TIME before the first retry, twice as long before each further one, up to five minutes; default 1s",
    ),
    Parameter(
        "dlq",
        "--dlq",
        metavar="TOPIC",
        panel=_EXEC,
        complete=TOPIC,
        help="put records that fail for good into TOPIC, with headers that say why, and go on; without it the first of "
        "them ends the command",
    ),
    Parameter(
        "no_create",
        "--no-create",
        kind=FLAG,
        default=False,
        panel=_EXEC,
        help="fail if the topic of --dlq does not exist, instead of creating it",
    ),
)

CONSUME = Command(
    "consume",
    summary="print the records of topics",
    panel="Records",
    run="mk.cli.consume:run",
    description=(
        (
            "Prints the records of each TOPIC from the start to the end as of now, then exits; with -F it goes on and "
            "prints what comes. Records of one partition come in order. Without -g, nothing is locked and nothing in the "
            "directory is changed: read permission is enough."
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
        (
            "With -g, all members of the group share the partitions of their topics, and each partition is read by one of them. "
            "A group goes on where it stands, whoever reads for it; -o says where it begins in partitions that it never read. "
            "What standard output has taken is committed: every 5 seconds, when nothing more comes, at the end, and when "
            "a signal ends it. When a member comes, goes or dies, the others go on with its partitions, within milliseconds. A "
            "group needs write permission to the directory."
        ),
        (
            "-G searches bytes, and what it does not find in a key, value or header that is null or missing is not there. "
            "-n counts the records that match; --tail N takes the newest N first, and -G then has those that match of them: "
            "`--reverse -G ... -n N` has the last N that match."
        ),
        (
            "--merge keeps the order within each partition; of the records that are next in each, the oldest is printed "
            "first, of equal times that of the topic and partition named first. With -F, a record is held back, while some "
            "partition has none, until it is a second old or was there for a second; what comes in with an older time than "
            "that is printed when it comes. --reverse reads from the ends, and excludes -F."
        ),
        (
            "--cursor-file keeps positions without a group and without write permission to the directory. Records are "
            "written to standard output first and noted in FILE then: every second, when there is nothing more, at the end, "
            "and when a signal or a closed pipe ends the command. So what is killed otherwise prints again what it printed "
            "in its last second, or of one batch if its reader is slow, and nothing is left out. -n N notes exactly N records; what -G passes over counts as read. "
            "FILE is locked: a second command with it ends with 75. A position that the log does not have is an error and "
            "no jump; a topic made anew, and a partition that was added, are read from their start."
        ),
        (
            "With -d HOST:DIR (or $MK_DIR) the directory is one of another host: ssh runs `mk serve --stdio` there, which "
            "reads what is asked for, some of it ahead, and tells at once of what comes. Everything works as here but -g, which "
            "is run there (`ssh HOST mk consume -g ...`), or done by --cursor-file. A path with a colon is spelled ./a:b."
        ),
        "On a terminal, control characters in values are shown, not executed; a pipe gets the bytes.",
        (
            "With --exec, nothing is printed but what the commands print. A record is done, and with -g committed, once its "
            "command has ended with status 0; `mk help exec` has the other statuses. A record is handed over at least once: "
            "after a crash some come again, with the same $MK_REC_ID; with --jobs also when a signal ends it or a partition "
            "changes hands, if they were done behind one that was not. The first ^C or SIGTERM starts nothing more and waits "
            "for what runs, the second passes on a SIGTERM and leaves. --max-time and --timeout wait for what runs, too."
        ),
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
        _GREP,
        _MERGE,
        Parameter(
            "reverse",
            "--reverse",
            kind=FLAG,
            default=False,
            panel=_WHICH,
            help="the newest records first: of each partition, or with --merge of all by their times",
        ),
        Parameter(
            "cursor_file",
            "--cursor-file",
            metavar="FILE",
            panel=_WHICH,
            complete=FILE,
            help="begin where FILE says that reading ended, and note there what was printed; -o says where to begin in "
            "partitions of which it says nothing",
        ),
        *_GROUP_OPTIONS,
        *_EXECUTION,
        NETWORK_OPTION,
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
        ("mk consume orders -G v=timeout -G '!k=^test' -n 5", "the first five that match"),
        ("mk consume orders --reverse --merge -G v=ERROR -n 10", "the last ten that match"),
        ("mk consume -r . --merge --since -1h -J", "what happened in the last hour, in order"),
        ("mk consume orders --cursor-file ~/.orders | mail -E -s new me", "what came since the last time"),
        (
            "mk consume orders -g billing -F",
            "as a member of a group; start it again, also elsewhere, to share the work",
        ),
        ("*/5 * * * * mk consume orders -g mail --or-skip | ./send", "from cron, what came since the last time"),
        ("mk consume orders -o group:billing", "what a group has not read yet, without joining it"),
        ("mk consume orders -J | jq .payload", "for programs"),
        (r"mk consume orders -f '%d{iso} %p:%o %k %v\n'", "with time, place and key"),
        ("mk consume files -0 | xargs -0 ls -l", "values that may hold newlines"),
        (
            "mk consume jobs -g work -F --exec ./work --jobs 4 --dlq jobs-dead",
            "a worker of four, and a place for what fails",
        ),
        (
            "mk consume orders -g load --exec './load -' --batch 500 -J",
            "five hundred at a time, one JSON object a line",
        ),
        (
            "mk consume hooks -g hooks --retries 5 --exec 'curl -fs --data-binary @- web1/'",
            "deliver each, patiently",
        ),
    ),
    exit_status="The status is 0 when the end was reached, also when there was nothing to print. With --exec it is 1 when the "
    "command failed on a record for good, and no --dlq took it.",
)

TAIL = Command(
    "tail",
    summary="print the last records of topics, and follow them",
    panel="Records",
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
        _GREP,
        _MERGE,
        *RECORD_OUTPUT,
    ),
    examples=(
        ("mk tail orders", "the last ten, then what comes"),
        ("mk tail -r . --merge -G v=ERROR", "errors of all topics, of the last ten records and of what comes"),
        ("mk tail -r . --tail 0 -J", "whatever comes in any topic"),
    ),
    exit_status="It ends by a signal, or with 0 after --idle or --max-time.",
)

COMMANDS = (CONSUME, TAIL)
