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
OFFSET = "offset"  # an OffsetSpec
SETTING = "setting"  # key=value; all of them become one dict

# What the shell offers for a value.
TOPIC = "topic"
FILE = "file"
DIRECTORY = "directory"
GROUP = "group"  # of users, as in /etc/group


class Parameter:
    """One argument (no flags) or option of a command.

    name: the attribute of Options. flags: as typed, short ones first. default: the value when nothing is given.
    environment: the variable asked before the default. multiple: may be repeated; the values come as a tuple.
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

GLOBAL_OPTIONS = (
    DIRECTORY_OPTION,
    QUIET_OPTION,
    VERBOSE_OPTION,
    JSON_OPTION,
    NO_COLOR_OPTION,
    YES_OPTION,
    NETWORK_OPTION,
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
            "The topic is made on first use. Records with the same key go to the same partition; records without a key "
            "stay together batch by batch."
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
        Parameter("key", "-k", "--key", kind=BYTES, metavar="KEY", panel="Records", help="the key of every record"),
        Parameter(
            "key_delimiter",
            "-K",
            "--key-delimiter",
            kind=DELIMITER,
            metavar="DELIM",
            panel="Records",
            help=r"split each line at the first DELIM into key and value; \t and \xNN are understood; beats -k",
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
        QUIET_OPTION,
        VERBOSE_OPTION,
        Parameter("json", "--json", kind=FLAG, default=False, panel=_OUTPUT, help="errors as JSON"),
    ),
    examples=(
        ("mk produce orders -k user1 paid", "one record with a key"),
        ("tail -n 0 -F app.log | mk produce app", "each line as it is written"),
        (r"mk produce clicks -K '\t' --partitions 8 < clicks.tsv", "the first column is the key"),
        ("mk produce orders --producer-id import-7 < orders.txt", "run it again until it succeeds: nothing is doubled"),
    ),
    exit_status="The status is 0 only if every record read is stored at the level that --acks asks for. An error "
    "says how much was stored.",
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
        "On a terminal, control characters in values are shown, not executed; a pipe gets the bytes.",
    ),
    parameters=(
        Parameter(
            "topics",
            metavar="TOPIC",
            default=(),
            environment="MK_TOPIC",
            multiple=True,
            required=True,
            complete=TOPIC,
            help="the topics; else $MK_TOPIC",
        ),
        Parameter(
            "offset",
            "-o",
            "--offset",
            kind=OFFSET,
            metavar="SPEC",
            panel="Which records",
            complete=OFFSET,
            help="where to begin in each partition: start, end, N, or -N for the last N; default start",
        ),
        Parameter(
            "partitions",
            "-p",
            "--partition",
            kind=PARTITIONS,
            metavar="N,...",
            default=(),
            multiple=True,
            panel="Which records",
            help="only these partitions, such as 0,3",
        ),
        Parameter(
            "count",
            "-n",
            "--count",
            kind=INTEGER,
            metavar="N",
            panel="Which records",
            help="stop after N records",
        ),
        Parameter(
            "follow",
            "-F",
            "--follow",
            kind=FLAG,
            default=False,
            panel="Which records",
            help="do not stop at the end, wait for more",
        ),
        Parameter(
            "exit_at_end",
            "-e",
            kind=FLAG,
            default=False,
            hidden=True,
            help="stop at the end, which is what happens anyway; for the fingers of kcat users",
        ),
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
            "null",
            "-0",
            "--null",
            kind=FLAG,
            default=False,
            panel=_OUTPUT,
            help="end each record with a NUL byte instead of a newline",
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
    ),
    examples=(
        ("mk consume orders", "all there is"),
        ("mk consume orders -o -10 -F", "the last ten of each partition, then what comes"),
        ("mk consume orders -J | jq .payload", "for programs"),
        ("mk consume files -0 | xargs -0 ls -l", "values that may hold newlines"),
    ),
    exit_status="The status is 0 when the end was reached, also when there was nothing to print.",
)

_TOPIC_ARGUMENT = Parameter("topic", metavar="TOPIC", required=True, complete=TOPIC, help="the topic")
_TOPICS_ARGUMENT = Parameter(
    "topics", metavar="TOPIC", default=(), multiple=True, required=True, complete=TOPIC, help="the topics"
)

TOPICS_LIST = Command(
    "topics",
    "list",
    summary="list the topics",
    run="mk.cli.topics:list_topics",
    description=("Lists the topics with their partitions, records and size. It is what `mk topics` alone does.",),
    parameters=(DIRECTORY_OPTION, JSON_OPTION, NO_COLOR_OPTION),
    examples=(("mk topics", "a table"), ("mk topics --json | jq -r '.[].topic'", "only the names")),
)

TOPICS_CREATE = Command(
    "topics",
    "create",
    summary="make a topic",
    run="mk.cli.topics:create",
    description=(
        "Makes the topic, and the log directory too if there is none.",
        (
            "Settings, with their defaults: compression.type=none (or gzip, lz4, zstd), flush.ms=1000, "
            "max.message.bytes=16777216, min.free=-1 (1 % of the disk, at most 1 GiB; 0 switches it off), "
            "retention.bytes=-1 (no limit, else per partition), retention.ms=604800000 (-1 keeps records for ever), "
            "segment.bytes=134217728, segment.ms=604800000, partitioner=crc32 (librdkafka's; or murmur2, Java's). "
            "Sizes take k, M and G, times ms, s, m, h and d."
        ),
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
            default=1,
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
            help="succeed if the topic is there already",
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
        DIRECTORY_OPTION,
        NETWORK_OPTION,
        JSON_OPTION,
        QUIET_OPTION,
    ),
    examples=(
        ("mk topics create orders -p 8", "eight partitions"),
        ("mk topics create orders -c max.message.bytes=33554432", "room for records of 32 MiB"),
        ("mk topics create orders -d /srv/mk --shared-group staff", "a new directory for all of a group"),
    ),
)

TOPICS_DESCRIBE = Command(
    "topics",
    "describe",
    summary="show partitions and settings of topics",
    run="mk.cli.topics:describe",
    description=("Shows each TOPIC: its id, its settings, and offsets and size of each partition.",),
    parameters=(_TOPICS_ARGUMENT, DIRECTORY_OPTION, JSON_OPTION, NO_COLOR_OPTION),
    examples=(("mk topics describe orders", "one topic"),),
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
    parameters=(
        _TOPICS_ARGUMENT,
        Parameter(
            "dry_run", "--dry-run", kind=FLAG, default=False, panel="Safety", help="only show what would be deleted"
        ),
        YES_OPTION,
        Parameter(
            "if_exists",
            "--if-exists",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="succeed if there is no such topic",
        ),
        LOCK_WAIT_OPTION,
        DIRECTORY_OPTION,
        NETWORK_OPTION,
        JSON_OPTION,
        QUIET_OPTION,
    ),
    examples=(
        ("mk topics delete scratch --dry-run", "look first"),
        ("mk topics delete scratch --yes", "in a script"),
    ),
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

TOPICS_CLEAN = Command(
    "topics",
    "clean",
    summary="remove the records that the topics' limits let go",
    run="mk.cli.clean:clean",
    description=(
        (
            "Removes from each TOPIC, or from all, the oldest segments that are older than retention.ms or make a "
            "partition larger than retention.bytes. Whoever begins a new segment does the same for the partition that it "
            "writes to; this does it also for topics to which nobody writes any more. A segment goes when its last record "
            "is old enough, so a log may hold one segment more than its limits say."
        ),
        (
            "It also seals segments that are older than segment.ms, and removes what killed processes left. It works when "
            "the disk is full. A clock that has leapt removes nothing: it is believed again when it has run evenly for a "
            "day."
        ),
    ),
    parameters=(
        Parameter(
            "topics", metavar="TOPIC", default=(), multiple=True, complete=TOPIC, help="the topics; default all of them"
        ),
        Parameter(
            "regex", "-r", "--regex", metavar="REGEX", help="all topics in whose name the regular expression is found"
        ),
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
            kind=OFFSET,
            metavar="SPEC",
            required=True,
            complete=OFFSET,
            help="the first record that stays, as for `mk consume -o`: N, -N for the last N, end for none",
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
        ("mk topics trim orders --to end -p 0", "partition 0 becomes empty"),
    ),
    exit_status="The status is 66 if SPEC lies beyond the end of a partition; nothing is removed then.",
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
    TOPICS_LIST,
    TOPICS_CREATE,
    TOPICS_DESCRIBE,
    TOPICS_DELETE,
    TOPICS_OFFSETS,
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
    summary="list, make, describe and delete topics",
    description=("Lists, makes, describes and deletes topics. Alone, it lists them.",),
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
