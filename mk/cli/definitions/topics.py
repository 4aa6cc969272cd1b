"""`mk topics` and its subcommands, as data."""

from mk.cli.definition import (
    BYTES,
    DIRECTORY_OPTION,
    FLAG,
    GROUP,
    INTEGER,
    JSON_OPTION,
    LOCK_WAIT_OPTION,
    NETWORK_OPTION,
    NO_COLOR_OPTION,
    OFFSET,
    OFFSETS,
    OUTPUT,
    PARTITIONS,
    PLACE,
    QUIET_OPTION,
    SETTING,
    TOPIC,
    YES_OPTION,
    Command,
    Parameter,
)
from mk.cli.definitions.consume import RECORD_OUTPUT

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
        Parameter("quiet", "-q", kind=FLAG, default=False, panel=OUTPUT, help="names only, one a line"),
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
            panel=PLACE,
            complete=GROUP,
            help="make the log directory one that all members of GROUP, a name or number, write to, whatever their umask",
        ),
        Parameter(
            "shared_readers",
            "--shared-readers",
            metavar="WHO",
            choices=("all", "group"),
            panel=PLACE,
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
        Parameter("quiet", "-q", kind=FLAG, default=False, panel=OUTPUT, help="only the partitions, one a line"),
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
        *(parameter for parameter in RECORD_OUTPUT if parameter.name not in ("show_null", "quiet")),
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
            "It also checks the claims of groups on the topic: that where they stand can be read, and is in the log. If no TOPIC "
            "is named, the journals and members of groups too, and claims on topics that are gone. Who may only read does "
            "not see groups."
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
            panel=OUTPUT,
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

TOPICS = Command(
    "topics",
    summary="list, make, describe, change, delete and verify topics",
    description=("Lists, makes, describes, changes, deletes and verifies topics. Alone, it lists them.",),
    parameters=TOPICS_LIST.parameters,
    default="list",
    examples=TOPICS_LIST.examples,
)

COMMANDS = (
    TOPICS,
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
)
