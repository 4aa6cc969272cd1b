"""The commands and options of mk, as plain data: the one place where they are written down.

The fast parser, the Typer application, the help texts, the man pages and the completions all derive from it.
It is imported by every start of mk: `__slots__` classes and builtins only.
"""

# The kinds of a value. options.py turns the words of the command line into them.
FLAG = "flag"  # bool
TEXT = "text"  # str
BYTES = "bytes"  # bytes, as they came
DELIMITER = "delimiter"  # bytes, after the escapes \n \t \r \0 \\ \xNN
INTEGER = "integer"  # int, not negative
PARTITIONS = "partitions"  # 0,1 becomes a tuple of int
DURATION = "duration"  # 10s becomes int milliseconds
OFFSET = "offset"  # an OffsetSpec: one position
OFFSETS = "offsets"  # an OffsetRange: all of the grammar of -o
TIME = "time"  # an OffsetSpec of kind time
REGEX = "regex"  # str, a Python regular expression
SETTING = "setting"  # key=value; all of them become one dict
HEADER = "header"  # NAME=VALUE or NAME:VALUE becomes a pair of bytes, NAME alone one with None
TIMESTAMP = "timestamp"  # a point in time becomes int milliseconds since 1970

# What the shell offers for a value.
TOPIC = "topic"
FILE = "file"
DIRECTORY = "directory"
GROUP = "group"  # of users, as in /etc/group


class Parameter:
    """One argument (no flags) or option of a command.

    name: the attribute of Options. flags: as typed, short ones first. default: the value when nothing is given.
    environment: the variable asked before the default. multiple: may be repeated; the values come as a tuple.
    unless: the name of another parameter with which this one is neither required nor taken from the environment.
    implies: (name, value) of another parameter that this flag sets.
    """

    __slots__ = (
        "choices",
        "complete",
        "default",
        "environment",
        "flags",
        "help",
        "hidden",
        "implies",
        "kind",
        "metavar",
        "minimum",
        "multiple",
        "name",
        "panel",
        "required",
        "unless",
    )

    def __init__(
        self,
        name: str,
        *flags: str,
        kind: str = TEXT,
        help: str = "",
        metavar: str = "",
        default: object = None,
        environment: str = "",
        choices: "tuple[str, ...]" = (),
        multiple: bool = False,
        required: bool = False,
        minimum: int = 0,
        complete: str = "",
        panel: str = "Options",
        hidden: bool = False,
        implies: "tuple[str, object] | None" = None,
        unless: str = "",
    ) -> None:
        self.name = name
        self.flags = flags
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.default = default
        self.environment = environment
        self.choices = choices
        self.multiple = multiple
        self.required = required
        self.minimum = minimum
        self.complete = complete
        self.panel = panel
        self.hidden = hidden
        self.implies = implies
        self.unless = unless


class Command:
    """A command: `path` is how it is typed, `run` the function that does it, as "module:function".

    examples: pairs of a command line and what it does. A command without `run` is a group; `default` names its
    subcommand that runs when none is given.
    """

    __slots__ = ("default", "description", "examples", "exit_status", "parameters", "path", "run", "summary")

    def __init__(
        self,
        *path: str,
        summary: str,
        run: str = "",
        description: "tuple[str, ...]" = (),
        parameters: "tuple[Parameter, ...]" = (),
        examples: "tuple[tuple[str, str], ...]" = (),
        exit_status: str = "",
        default: str = "",
    ) -> None:
        self.path = path
        self.summary = summary
        self.run = run
        self.description = description
        self.parameters = parameters
        self.examples = examples
        self.exit_status = exit_status
        self.default = default


# Options that mean the same in every command that has them. They may also stand before the command; one that the
# command does not have is then refused, so that no option is read and forgotten.
_PLACE = "Where"
_INPUT = "Input"
_OUTPUT = "Output"

DIRECTORY_OPTION = Parameter(
    "directory",
    "-d",
    "--dir",
    metavar="DIR",
    environment="MK_DIR",
    complete=DIRECTORY,
    panel=_PLACE,
    help="the log directory; default $XDG_DATA_HOME/mk, else ~/.local/share/mk",
)
QUIET_OPTION = Parameter("quiet", "-q", kind=FLAG, default=False, panel=_OUTPUT, help="no notes on stderr, only errors")
VERBOSE_OPTION = Parameter(
    "verbose",
    "-v",
    kind=FLAG,
    default=False,
    panel=_OUTPUT,
    help="a line on stderr for each acknowledged append: TOPIC PARTITION FIRST LAST, offsets inclusive",
)
JSON_OPTION = Parameter(
    "json", "--json", kind=FLAG, default=False, panel=_OUTPUT, help="JSON instead of text, errors too"
)
NO_COLOR_OPTION = Parameter(
    "no_color", "--no-color", kind=FLAG, default=False, panel=_OUTPUT, help="no colors on a terminal; so does $NO_COLOR"
)
YES_OPTION = Parameter(
    "yes", "--yes", kind=FLAG, default=False, panel="Safety", help="do not ask; needed when stdin is no terminal"
)
NETWORK_OPTION = Parameter(
    "allow_network_fs",
    "--allow-network-fs",
    kind=FLAG,
    default=False,
    panel=_PLACE,
    help="write to a network file system, trusting that its locks reach every writer",
)
LOCK_WAIT_OPTION = Parameter(
    "lock_wait_ms",
    "--lock-wait",
    kind=DURATION,
    metavar="TIME",
    default=10_000,
    environment="MK_LOCK_WAIT",
    panel="Safety",
    help="how long to wait for another writer's lock, such as 10s or 500ms; default 10s",
)

TIMEOUT_OPTION = Parameter(
    "timeout_ms",
    "--timeout",
    kind=DURATION,
    metavar="TIME",
    panel="Safety",
    help="fail with status 124 when it is not done after TIME, such as 10s; what was printed stays",
)

GLOBAL_OPTIONS = (
    DIRECTORY_OPTION,
    QUIET_OPTION,
    VERBOSE_OPTION,
    JSON_OPTION,
    NO_COLOR_OPTION,
    YES_OPTION,
    NETWORK_OPTION,
    TIMEOUT_OPTION,
)

PRODUCE = Command(
    "produce",
    summary="append records to a topic",
    run="mk.cli.produce:run",
    description=(
        (
            "Appends records to TOPIC: each VALUE is one record; without any, each line of standard input is one. "
            "Values are bytes and are stored as they come. A line that arrives alone is stored at once, a fast pipe is "
            "stored in blocks."
        ),
        (
            "With -D or -0 something else than a newline ends a record, which may then hold newlines; the last record "
            "need not be ended. With --whole all of the input, or each --file, is one record."
        ),
        (
            "The topic is made on first use. Records with the same key go to the same partition; records without a key "
            "stay together batch by batch."
        ),
        (
            "With --producer-id, input that was broken off can be sent again from its start, in the same way: what is "
            "stored is left out, and each record ends up there once, in order. Records without a key then all go to one "
            "partition. mk-guarantees(7) says what counts as the same input."
        ),
    ),
    parameters=(
        Parameter(
            "topic",
            metavar="TOPIC",
            default="default",
            environment="MK_TOPIC",
            complete=TOPIC,
            help="the topic; else $MK_TOPIC, else default",
        ),
        Parameter(
            "values", kind=BYTES, metavar="VALUE", default=(), multiple=True, help="a record; stdin is then not read"
        ),
        Parameter(
            "files",
            "--file",
            metavar="FILE",
            default=(),
            multiple=True,
            complete=FILE,
            panel=_INPUT,
            help="read FILE instead of stdin; may be repeated, - is stdin",
        ),
        Parameter(
            "delimiter",
            "-D",
            "--delimiter",
            kind=DELIMITER,
            metavar="DELIM",
            panel=_INPUT,
            help=r"DELIM ends a record, instead of a newline; \t \0 \xNN are understood",
        ),
        Parameter(
            "null",
            "-0",
            "--null",
            kind=FLAG,
            default=False,
            panel=_INPUT,
            help="a NUL byte ends a record, instead of a newline",
        ),
        Parameter(
            "whole",
            "--whole",
            kind=FLAG,
            default=False,
            panel=_INPUT,
            help="all of stdin, or each --file, is one record",
        ),
        Parameter(
            "count",
            "-n",
            "--count",
            kind=INTEGER,
            metavar="N",
            panel=_INPUT,
            help="stop after N records, and leave the rest of the input unread",
        ),
        Parameter(
            "skip_bad",
            "--skip-bad",
            kind=FLAG,
            default=False,
            panel=_INPUT,
            help="skip a record that cannot be stored, say which, and end with status 1; default is to stop there",
        ),
        Parameter("key", "-k", "--key", kind=BYTES, metavar="KEY", panel="Records", help="the key of every record"),
        Parameter(
            "key_delimiter",
            "-K",
            "--key-delimiter",
            kind=DELIMITER,
            metavar="DELIM",
            panel="Records",
            help=r"split each record at the first DELIM into key and value; \t and \xNN are understood; beats -k",
        ),
        Parameter(
            "headers",
            "-H",
            "--header",
            kind=HEADER,
            metavar="NAME=VALUE",
            default=(),
            multiple=True,
            panel="Records",
            help="a header of every record; also NAME:VALUE; NAME alone is null, NAME= empty; may be repeated",
        ),
        Parameter(
            "timestamp_ms",
            "--timestamp",
            kind=TIMESTAMP,
            metavar="TIME",
            panel="Records",
            help="the time of every record, such as 2026-11-23T10:00:00Z, -1h or seconds since 1970; default now;"
            " retention.ms, 7 days by default, counts from it",
        ),
        Parameter(
            "null_value",
            "-Z",
            kind=FLAG,
            default=False,
            panel="Records",
            help="an empty value is a null: with a key a tombstone, which compaction takes as deleted",
        ),
        Parameter(
            "partition",
            "-p",
            "--partition",
            kind=INTEGER,
            metavar="N",
            panel="Records",
            help="put every record into partition N, whatever its key",
        ),
        Parameter(
            "compression",
            "-z",
            "--compression",
            metavar="CODEC",
            choices=("none", "gzip", "lz4", "zstd"),
            panel="Records",
            help="compress batches: none, gzip, lz4 or zstd; default the topic's compression.type",
        ),
        Parameter(
            "acks",
            "--acks",
            kind=INTEGER,
            metavar="LEVEL",
            default=1,
            choices=("0", "1"),
            environment="MK_ACKS",
            panel="Safety",
            help="what is stored when a record counts as stored: 1 it is on disk, 0 it survives this process but "
            "not a power cut; default 1",
        ),
        Parameter(
            "producer_id",
            "--producer-id",
            metavar="NAME",
            panel="Safety",
            help="run again under this name with the same input, from its start: what is stored already is not stored again",
        ),
        LOCK_WAIT_OPTION,
        Parameter(
            "partitions",
            "--partitions",
            kind=INTEGER,
            minimum=1,
            metavar="N",
            panel=_PLACE,
            help="the number of partitions, if this command makes the topic; default 1",
        ),
        Parameter(
            "no_create", "--no-create", kind=FLAG, default=False, panel=_PLACE, help="fail if there is no such topic"
        ),
        DIRECTORY_OPTION,
        NETWORK_OPTION,
        Parameter(
            "tee",
            "-T",
            "--tee",
            kind=FLAG,
            default=False,
            panel=_OUTPUT,
            help="write the input to stdout too, as it came, each part after its records are stored",
        ),
        QUIET_OPTION,
        VERBOSE_OPTION,
        Parameter("json", "--json", kind=FLAG, default=False, panel=_OUTPUT, help="errors as JSON"),
    ),
    examples=(
        ("mk produce orders -k user1 paid", "one record with a key"),
        ("mk produce orders -k user1 -Z ''", "a tombstone for that key"),
        ("mk produce orders -H trace=17 -H retry --timestamp -1h paid", "with headers, an hour ago"),
        ("tail -n 0 -F app.log | mk produce app", "each line as it is written"),
        (r"mk produce clicks -K '\t' --partitions 8 < clicks.tsv", "the first column is the key"),
        ("find . -print0 | mk produce files -0", "names that may hold newlines"),
        (r"mk produce paragraphs -D '\n\n' < book.txt", "what stands between empty lines"),
        ("mk produce docs --whole --file a.json --file b.json", "two records, each a file"),
        ("make 2>&1 | mk produce builds -T | tail -n 1", "store all of it, and use it further"),
        ("mk produce orders --producer-id import-7 < orders.txt", "run it again until it succeeds: nothing is doubled"),
    ),
    exit_status="The status is 0 only if every record read is stored at the level that --acks asks for, and 1 if "
    "--skip-bad has skipped some. An error says how much was stored.",
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
_RECORD_OUTPUT = (
    Parameter(
        "format",
        "-f",
        "--format",
        metavar="FORMAT",
        default="value",
        choices=("value", "kv", "json", "raw"),
        panel=_OUTPUT,
        help="how to print a record: value, kv, json or raw; see `mk help formats`; default value",
    ),
    Parameter(
        "json_lines",
        "-J",
        kind=FLAG,
        default=False,
        implies=("format", "json"),
        panel=_OUTPUT,
        help="the same as -f json",
    ),
    Parameter(
        "json",
        "--json",
        kind=FLAG,
        default=False,
        implies=("format", "json"),
        panel=_OUTPUT,
        help="-J, and errors as JSON too",
    ),
    Parameter(
        "delimiter",
        "-D",
        "--delimiter",
        kind=DELIMITER,
        metavar="DELIM",
        panel=_OUTPUT,
        help=r"end each record with DELIM instead of a newline; \t \0 \xNN are understood",
    ),
    Parameter(
        "null",
        "-0",
        "--null",
        kind=FLAG,
        default=False,
        panel=_OUTPUT,
        help="end each record with a NUL byte instead of a newline",
    ),
    Parameter(
        "show_null",
        "-Z",
        kind=FLAG,
        default=False,
        panel=_OUTPUT,
        help="print a null value, and with -f kv a null key, as NULL, to tell it from an empty one",
    ),
    Parameter(
        "raw",
        "--raw",
        kind=FLAG,
        default=False,
        panel=_OUTPUT,
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
        *_RECORD_OUTPUT,
    ),
    examples=(
        ("mk consume orders", "all there is"),
        ("mk consume orders -o -10 -F", "the last ten of each partition, then what comes"),
        ("mk consume orders --since -1h", "the last hour"),
        ("mk consume -r '^app-' -F", "all topics whose names begin with app-, also new ones"),
        ("mk consume orders -F --idle 5s --max-time 50s", "what comes, for a cron job"),
        ("mk consume orders -J | jq .payload", "for programs"),
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
        *_RECORD_OUTPUT,
    ),
    examples=(
        ("mk tail orders", "the last ten, then what comes"),
        ("mk tail -r . --tail 0 -J", "whatever comes in any topic"),
    ),
    exit_status="It ends by a signal, or with 0 after --idle or --max-time.",
)

_TOPIC_ARGUMENT = Parameter("topic", metavar="TOPIC", required=True, complete=TOPIC, help="the topic")
_TOPICS_OR_REGEX = (
    Parameter("topics", metavar="TOPIC", default=(), multiple=True, complete=TOPIC, help="the topics"),
    Parameter(
        "regex",
        "-r",
        "--regex",
        metavar="REGEX",
        help="all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends",
    ),
)
_DRY_RUN_OPTION = Parameter(
    "dry_run", "--dry-run", kind=FLAG, default=False, panel="Safety", help="only show what would be done"
)
_IF_EXISTS_OPTION = Parameter(
    "if_exists", "--if-exists", kind=FLAG, default=False, panel="Safety", help="succeed if there is no such topic"
)
_CHANGE_OPTIONS = (LOCK_WAIT_OPTION, DIRECTORY_OPTION, NETWORK_OPTION, JSON_OPTION, QUIET_OPTION)
_SETTINGS = (
    "Settings, with their defaults: compression.type=none (or gzip, lz4, zstd), flush.ms=1000, "
    "max.message.bytes=16777216, min.free=-1 (1 % of the disk, at most 1 GiB; 0 switches it off), retention.bytes=-1 "
    "(no limit, else per partition), retention.groups= (none; NAME,NAME or all: what these groups have not committed stays "
    "beyond retention.ms, but not beyond retention.bytes), retention.ms=604800000 (-1 keeps records for ever), segment.bytes=134217728, "
    "segment.ms=604800000, partitioner=crc32 (librdkafka's; or murmur2, Java's). Sizes take k, M and G, times ms, s, m, "
    "h and d."
)

TOPICS_LIST = Command(
    "topics",
    "list",
    summary="list the topics",
    run="mk.cli.topics:list_topics",
    description=("Lists the topics with their partitions, records and size. It is what `mk topics` alone does.",),
    parameters=(
        _TOPICS_OR_REGEX[1],
        Parameter("quiet", "-q", kind=FLAG, default=False, panel=_OUTPUT, help="names only, one a line"),
        DIRECTORY_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
    ),
    examples=(
        ("mk topics", "a table"),
        ("mk topics list -r '^app'", "those whose names begin with app"),
        ("mk topics -q", "only the names, for a script"),
    ),
)

TOPICS_CREATE = Command(
    "topics",
    "create",
    summary="make a topic",
    run="mk.cli.topics:create",
    description=(
        "Makes the topic, and the log directory too if there is none.",
        _SETTINGS,
    ),
    parameters=(
        Parameter("topic", metavar="TOPIC", required=True, help="the name: letters, digits, dot, dash and underscore"),
        Parameter(
            "partitions",
            "-p",
            "--partitions",
            kind=INTEGER,
            minimum=1,
            metavar="N",
            help="the number of partitions; default 1",
        ),
        Parameter(
            "config",
            "-c",
            "--config",
            kind=SETTING,
            metavar="KEY=VALUE",
            multiple=True,
            help="a setting under Kafka's name, such as segment.bytes=1048576; may be repeated",
        ),
        Parameter(
            "if_not_exists",
            "--if-not-exists",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="succeed if the topic is there already, and say what is different about it",
        ),
        Parameter(
            "shared_group",
            "--shared-group",
            metavar="GROUP",
            panel=_PLACE,
            complete=GROUP,
            help="make the log directory one that all members of GROUP, a name or number, write to, whatever their umask",
        ),
        Parameter(
            "shared_readers",
            "--shared-readers",
            metavar="WHO",
            choices=("all", "group"),
            panel=_PLACE,
            help="who reads a directory made with --shared-group: all, or group for its members only; default all",
        ),
        _DRY_RUN_OPTION,
        *_CHANGE_OPTIONS,
    ),
    examples=(
        ("mk topics create orders -p 8", "eight partitions"),
        ("mk topics create orders -c max.message.bytes=32M", "room for records of 32 MiB"),
        ("mk topics create orders --if-not-exists -q", "in a script that may run again"),
        ("mk topics create orders -d /srv/mk --shared-group staff", "a new directory for all of a group"),
    ),
)

TOPICS_DESCRIBE = Command(
    "topics",
    "describe",
    summary="show partitions and settings of topics",
    run="mk.cli.describe:run",
    description=(
        "Shows each TOPIC in three sections: a summary, the settings, and the partitions. Without -s, -c or -p, all three.",
        (
            "Rates are records and bytes a second over the last minute (1M) and the last hour (1H), by the times of the "
            "records: those that a producer dated otherwise count where they were dated. LEADER is `this` for the "
            "directory itself, else a directory's id. STATE is ok, sealed, or FAILED where the disk refused a sync and "
            "nobody appends."
        ),
    ),
    parameters=(
        *_TOPICS_OR_REGEX,
        Parameter("summary", "-s", "--summary", kind=FLAG, default=False, panel="Sections", help="the summary"),
        Parameter(
            "configs", "-c", "--configs", kind=FLAG, default=False, panel="Sections", help="the settings in force"
        ),
        Parameter(
            "partitions", "-p", "--partitions", kind=FLAG, default=False, panel="Sections", help="the partitions"
        ),
        Parameter("all_sections", "-a", "--all", kind=FLAG, default=False, panel="Sections", help="all of them"),
        DIRECTORY_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
    ),
    examples=(
        ("mk topics describe orders", "all there is to know"),
        ("mk topics describe -c orders", "only its settings"),
        ("mk topics describe -s -r '^app'", "a summary of each topic whose name begins with app"),
    ),
)

TOPICS_DELETE = Command(
    "topics",
    "delete",
    summary="delete topics and their records",
    run="mk.cli.topics:delete",
    description=(
        (
            "Deletes each TOPIC with all its records, after showing what would go. It asks on a terminal; elsewhere it "
            "needs --yes."
        ),
    ),
    parameters=(*_TOPICS_OR_REGEX, _DRY_RUN_OPTION, YES_OPTION, _IF_EXISTS_OPTION, *_CHANGE_OPTIONS),
    examples=(
        ("mk topics delete scratch --dry-run", "look first"),
        ("mk topics delete scratch --yes --if-exists", "in a script"),
        ("mk topics delete -r '^test-' --yes", "all topics whose names begin with test-"),
    ),
)

TOPICS_ALTER = Command(
    "topics",
    "alter",
    summary="change settings of a topic, add partitions",
    run="mk.cli.alter:alter",
    description=(
        (
            "Changes settings of TOPIC or gives it more partitions, after showing what would change. Producers that run "
            "already go by it from their next append on."
        ),
        (
            "With more partitions, or another partitioner, keys belong to other partitions from then on: records of one "
            "key are then in two partitions, without an order between them. So that needs --yes (or an answer on a "
            "terminal) if the topic holds records with keys. A topic never gets fewer partitions."
        ),
        _SETTINGS,
    ),
    parameters=(
        _TOPIC_ARGUMENT,
        Parameter(
            "config",
            "-c",
            "--config",
            kind=SETTING,
            metavar="KEY=VALUE",
            multiple=True,
            help="a setting under Kafka's name, such as segment.bytes=1048576; may be repeated",
        ),
        Parameter(
            "unset",
            "--unset",
            metavar="KEY",
            default=(),
            multiple=True,
            complete=SETTING,
            help="back to the default; may be repeated",
        ),
        Parameter(
            "partitions",
            "-p",
            "--partitions",
            kind=INTEGER,
            minimum=1,
            metavar="N",
            help="the number of partitions that the topic shall have",
        ),
        _DRY_RUN_OPTION,
        YES_OPTION,
        _IF_EXISTS_OPTION,
        *_CHANGE_OPTIONS,
    ),
    examples=(
        ("mk topics alter orders -c max.message.bytes=32M", "room for records of 32 MiB"),
        ("mk topics alter orders --unset max.message.bytes", "the default again"),
        ("mk topics alter orders --partitions 8 --dry-run", "what more partitions would mean"),
    ),
)

TOPICS_RENAME = Command(
    "topics",
    "rename",
    summary="give a topic another name",
    run="mk.cli.alter:rename",
    description=(
        (
            "Calls the topic OLD by the name NEW. Its records, offsets and settings stay. Producers that run on the old "
            "name end with 66; readers that follow it go on."
        ),
    ),
    parameters=(
        Parameter("topic", metavar="OLD", required=True, complete=TOPIC, help="the topic"),
        Parameter("new_name", metavar="NEW", required=True, help="its new name"),
        _DRY_RUN_OPTION,
        _IF_EXISTS_OPTION,
        *_CHANGE_OPTIONS,
    ),
    examples=(
        ("mk topics rename orders orders-2025", "make room for a new orders"),
        ("mk topics rename orders old --dry-run", "see whether it would work"),
    ),
)

TOPICS_SEAL = Command(
    "topics",
    "seal",
    summary="close a topic to new records",
    run="mk.cli.alter:seal",
    description=(
        (
            "Closes TOPIC to new records: once this is done no append is under way, and producers get 77. Reading goes "
            "on, and so does deleting. Whoever may write to the directory can undo it."
        ),
    ),
    parameters=(
        _TOPIC_ARGUMENT,
        Parameter("undo", "--undo", kind=FLAG, default=False, help="open it to records again"),
        _DRY_RUN_OPTION,
        _IF_EXISTS_OPTION,
        *_CHANGE_OPTIONS,
    ),
    examples=(
        ("mk topics seal orders-2025", "no more records"),
        ("mk topics seal orders-2025 --undo", "as before"),
    ),
)

TOPICS_WHICH = Command(
    "topics",
    "which",
    summary="tell which partition a key belongs to",
    run="mk.cli.keys:which",
    description=(
        (
            "Tells which partition of TOPIC each KEY belongs to, by the topic's partitioner and its present number of "
            "partitions. Without a KEY, each line of standard input is one."
        ),
    ),
    parameters=(
        _TOPIC_ARGUMENT,
        Parameter("keys", kind=BYTES, metavar="KEY", default=(), multiple=True, help="a key; stdin is then not read"),
        Parameter("quiet", "-q", kind=FLAG, default=False, panel=_OUTPUT, help="only the partitions, one a line"),
        DIRECTORY_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
    ),
    examples=(
        ("mk topics which orders user1 user2", "two keys"),
        ('mk consume orders -p "$(mk topics which orders user1 -q)"', "the partition in which user1 is"),
        ("cut -f1 clicks.tsv | mk topics which clicks -q | sort | uniq -c", "how even a file would be spread"),
    ),
)

TOPICS_GET = Command(
    "topics",
    "get",
    summary="print the last record with a key",
    run="mk.cli.keys:get",
    description=(
        (
            "Prints the last record of TOPIC with that KEY. The partition that the key belongs to is searched from its "
            "end; records may be elsewhere if they were produced with -p, or before partitions were added: see "
            "--all-partitions. Of several partitions, the record with the latest time is printed."
        ),
        "The exit status is 3 if no record has the key, or if the last one is a tombstone.",
        "On a terminal, control characters in values are shown, not executed; a pipe gets the bytes.",
    ),
    parameters=(
        _TOPIC_ARGUMENT,
        Parameter("key", kind=BYTES, metavar="KEY", required=True, help="the key"),
        Parameter(
            "partitions",
            "-p",
            "--partition",
            kind=PARTITIONS,
            metavar="N,...",
            default=(),
            multiple=True,
            panel="Which records",
            help="search these partitions, such as 0,3",
        ),
        Parameter(
            "all_partitions",
            "--all-partitions",
            kind=FLAG,
            default=False,
            panel="Which records",
            help="search all partitions",
        ),
        *(parameter for parameter in _RECORD_OUTPUT if parameter.name not in ("show_null", "quiet")),
    ),
    examples=(
        ("mk topics get users user1", "the present value"),
        ("mk topics get users user1 -J | jq .offset", "where it stands"),
        ("mk topics get users user1 --all-partitions", "wherever it stands"),
    ),
    exit_status="The status is 3 if no record has the key, or if the last one is a tombstone.",
)

TOPICS_OFFSETS = Command(
    "topics",
    "offsets",
    summary="show the first and next offset of each partition",
    run="mk.cli.topics:offsets",
    description=("Shows where each partition of TOPIC starts and ends; the end is the offset of the next record.",),
    parameters=(
        _TOPIC_ARGUMENT,
        Parameter(
            "partitions",
            "-p",
            "--partition",
            kind=PARTITIONS,
            metavar="N,...",
            default=(),
            multiple=True,
            help="only these partitions, such as 0,3",
        ),
        DIRECTORY_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
    ),
    examples=(("mk topics offsets orders", "all partitions"),),
)

TOPICS_VERIFY = Command(
    "topics",
    "verify",
    summary="prove every byte of topics, and name damage",
    run="mk.cli.verify:verify",
    description=(
        (
            "Reads each TOPIC, all topics if none is named, and checks every batch, what it holds, and the files beside "
            "it. It changes nothing, needs no more than read permission, and may run while others write."
        ),
        (
            "A finding is damage, a warning (no record is affected, but somebody should act) or a note (harmless: a stale "
            "index, an append that was broken off). Behind damage it reads on, and says which offsets cannot be read."
        ),
        (
            "It also checks the claims of groups on the topic: that where they stand can be read, and is in the log. Claims on "
            "topics that are gone are named if no TOPIC is. Who may only read does not see claims."
        ),
    ),
    parameters=(
        *_TOPICS_OR_REGEX,
        Parameter(
            "partitions",
            "-p",
            "--partition",
            kind=PARTITIONS,
            metavar="N,...",
            default=(),
            multiple=True,
            help="only these partitions, such as 0,3",
        ),
        DIRECTORY_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
        QUIET_OPTION,
    ),
    examples=(
        ("mk topics verify", "everything there is"),
        ("mk topics verify orders --json | jq '.findings[]'", "for programs"),
    ),
    exit_status="The status is 65 if there is damage; warnings and notes do not fail.",
)

TOPICS_DUMP = Command(
    "topics",
    "dump",
    summary="show what stands in the files of a log",
    run="mk.cli.verify:dump",
    description=(
        (
            "Shows SOURCE batch by batch: a topic, or a file, which may have been copied to anywhere. A file is one that "
            "has a slash in its name, or that is there; it may be a segment, an .index or .producers file, state or epochs."
        ),
        "Damage is shown where it stands; then it goes on with the next batch that proves itself.",
    ),
    parameters=(
        Parameter("source", metavar="SOURCE", required=True, complete=TOPIC, help="a topic or a file"),
        Parameter(
            "partitions",
            "-p",
            "--partition",
            kind=PARTITIONS,
            metavar="N,...",
            default=(),
            multiple=True,
            help="only these partitions of the topic, such as 0,3",
        ),
        Parameter(
            "from_offset",
            "-o",
            "--offset",
            kind=INTEGER,
            metavar="N",
            default=0,
            help="begin with the batch that holds offset N",
        ),
        Parameter(
            "records", "--records", kind=FLAG, default=False, help="show the records too, as `mk consume -J` does"
        ),
        DIRECTORY_OPTION,
        Parameter(
            "json",
            "--json",
            kind=FLAG,
            default=False,
            panel=_OUTPUT,
            help="a JSON object a line, its type in `type`; errors too",
        ),
    ),
    examples=(
        ("mk topics dump orders -p 0 -o 1000", "the batches from offset 1000 on"),
        ("mk topics dump 00000000000000000000.log --records", "a lone segment, with its records"),
    ),
    exit_status="The status is 65 if something that was shown is damaged.",
)

TOPICS_CLEAN = Command(
    "topics",
    "clean",
    summary="remove the records that the topics' limits let go",
    run="mk.cli.clean:clean",
    description=(
        (
            "Removes from each TOPIC, all topics if none is named, the oldest segments that are older than retention.ms or make a "
            "partition larger than retention.bytes. Whoever begins a new segment does the same for the partition that it "
            "writes to; this does it also for topics to which nobody writes any more. A segment goes when its last record "
            "is old enough, so a log may hold one segment more than its limits say. What the groups of retention.groups have "
            "not read stays beyond retention.ms, and --dry-run names the group that holds it and its offset."
        ),
        (
            "It also seals segments that are older than segment.ms, and removes what killed processes left. It works when "
            "the disk is full. A clock that has leapt removes nothing: it is believed again when it has run evenly for a "
            "day."
        ),
    ),
    parameters=(
        *_TOPICS_OR_REGEX,
        Parameter(
            "dry_run",
            "--dry-run",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="only show which segments would go, and why the others stay",
        ),
        LOCK_WAIT_OPTION,
        DIRECTORY_OPTION,
        NETWORK_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
        QUIET_OPTION,
    ),
    examples=(
        ("mk topics clean --dry-run", "what would go, and why the rest stays"),
        ("0 * * * * mk topics clean -q", "in a crontab: every hour, silent unless something is wrong"),
    ),
    exit_status="The status is 0 also when there was nothing to do. A partition that stays locked is left out, named, and "
    "makes the status 75; the others are cleaned.",
)

TOPICS_TRIM = Command(
    "topics",
    "trim",
    summary="remove the records of a topic below an offset or time",
    run="mk.cli.clean:trim",
    description=(
        (
            "Removes the records of TOPIC below the offset that --to gives in each partition, after showing what would "
            "go. The log begins exactly there from then on; whole segments below it are removed, so space is freed a "
            "segment at a time. Up to the end, all of it is freed. It asks on a terminal; elsewhere it needs --yes."
        ),
    ),
    parameters=(
        _TOPIC_ARGUMENT,
        Parameter(
            "to",
            "--to",
            kind=OFFSETS,
            metavar="SPEC",
            required=True,
            complete=OFFSET,
            help="the first record that stays: N, -N for the last N, @TIME, group:NAME for what that group has not read, end for "
            "none, 0:5,1:end by partition; see `mk help offsets`",
        ),
        Parameter(
            "partitions",
            "-p",
            "--partition",
            kind=PARTITIONS,
            metavar="N,...",
            default=(),
            multiple=True,
            help="only these partitions, such as 0,3",
        ),
        Parameter(
            "dry_run", "--dry-run", kind=FLAG, default=False, panel="Safety", help="only show what would be removed"
        ),
        YES_OPTION,
        LOCK_WAIT_OPTION,
        DIRECTORY_OPTION,
        NETWORK_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
        QUIET_OPTION,
    ),
    examples=(
        ("mk topics trim orders --to 1000 --dry-run", "what lies below offset 1000"),
        ("mk topics trim orders --to -100 --yes", "all but the last 100 of each partition, in a script"),
        ("mk topics trim orders --to group:billing", "what the group billing has read"),
        ("mk topics trim orders --to end -p 0", "partition 0 becomes empty"),
    ),
    exit_status="The status is 66 if SPEC lies beyond the end of a partition or there is no such group, and 65 if a group "
    "has committed an offset that the log does not have; nothing is removed then. A partition that stays locked is left "
    "out, named, and makes the status 75; the others are trimmed.",
)

COMPLETION = Command(
    "completion",
    summary="print the completions for a shell",
    run="mk.cli.completions:run",
    description=("Prints the completions for SHELL: bash, zsh or fish.",),
    parameters=(
        Parameter("shell", metavar="SHELL", required=True, choices=("bash", "zsh", "fish"), help="bash, zsh or fish"),
    ),
    examples=(('eval "$(mk completion bash)"', "in ~/.bashrc"),),
)

HELP = Command(
    "help",
    summary="explain a command, or offsets, formats, exit-codes",
    run="mk.cli.help_topics:run",
    description=("Explains a command, such as `mk help topics create`, or one of: offsets, formats, exit-codes.",),
    parameters=(
        Parameter(
            "subject", metavar="SUBJECT", default=(), multiple=True, complete="help", help="a command or a subject"
        ),
    ),
    examples=(("mk help offsets", "what -o understands"),),
)

COMMANDS = (
    PRODUCE,
    CONSUME,
    TAIL,
    TOPICS_LIST,
    TOPICS_CREATE,
    TOPICS_DESCRIBE,
    TOPICS_ALTER,
    TOPICS_RENAME,
    TOPICS_SEAL,
    TOPICS_DELETE,
    TOPICS_OFFSETS,
    TOPICS_WHICH,
    TOPICS_GET,
    TOPICS_VERIFY,
    TOPICS_DUMP,
    TOPICS_CLEAN,
    TOPICS_TRIM,
    COMPLETION,
    HELP,
)

ROOT = Command(
    summary="Kafka's log for the shell",
    description=(
        (
            "Keeps topics, partitions and offsets as Kafka does, in one plain directory and without a broker. Every "
            "command is a peer that reads and appends files there; the kernel's file locks are the only coordinator."
        ),
    ),
    parameters=GLOBAL_OPTIONS,
    examples=(
        ("seq 3 | mk produce numbers", "three records"),
        ("mk consume numbers", "and back"),
        ("mk topics", "what is there"),
    ),
)

TOPICS = Command(
    "topics",
    summary="list, make, describe, change, delete and verify topics",
    description=("Lists, makes, describes, changes, deletes and verifies topics. Alone, it lists them.",),
    parameters=TOPICS_LIST.parameters,
    default="list",
    examples=TOPICS_LIST.examples,
)

GROUPS = (TOPICS,)


def command_at(path: "tuple[str, ...]") -> "Command | None":
    """Return the command that is typed as `path`, or None."""
    for command in COMMANDS:
        if command.path == path:
            return command
    return None


def group_at(path: "tuple[str, ...]") -> "Command | None":
    """Return the group of commands that is typed as `path` (ROOT is the empty path), or None."""
    if not path:
        return ROOT
    for group in GROUPS:
        if group.path == path:
            return group
    return None
