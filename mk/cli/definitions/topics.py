"""`mk topics` and its subcommands, as data."""

from mk.cli.definition import (
    BYTES,
    DIRECTORY_OPTION,
    FLAG,
    GROUP,
    INTEGER,
    JSON_OPTION,
    NO_COLOR_OPTION,
    OUTPUT,
    PARTITIONS,
    PLACE,
    PROPERTY_OPTION,
    REPLICATION_OPTION,
    SETTING,
    TOPIC,
    YES_OPTION,
    Command,
    Parameter,
)
from mk.cli.definitions.consume import RECORD_OUTPUT
from mk.cli.definitions.topics_care import (
    CHANGE_OPTIONS,
    DRY_RUN_OPTION,
    IF_EXISTS_OPTION,
    TOPIC_ARGUMENT,
    TOPICS_OR_REGEX,
)
from mk.cli.definitions.topics_care import COMMANDS as CARE

_SETTINGS = (
    "Settings, with their defaults: cleanup.policy=delete (or compact, which keeps the last record of each key and which "
    "retention.ms and retention.bytes do not count for, or compact,delete for both), compression.type=none (or gzip, lz4, "
    "zstd), delete.retention.ms=86400000 (how long compaction keeps a tombstone), flush.ms=1000, "
    "max.message.bytes=16777216, min.cleanable.dirty.ratio=0.5 (how much of a log is new when it is compacted), "
    "min.compaction.lag.ms=0 (how old a record is by then), min.free=-1 (1 % of the disk, at most 1 GiB; 0 switches it off), retention.bytes=-1 "
    "(no limit, else per partition), retention.groups= (none; NAME,NAME or all: what these groups have not committed stays "
    "beyond retention.ms, but not beyond retention.bytes), retention.ms=604800000 (-1 keeps records for ever), segment.bytes=134217728, "
    "segment.ms=604800000, partitioner=crc32 (librdkafka's; or murmur2, Java's). Sizes take k, M and G, times ms, s, m, "
    "h and d."
)

TOPICS_LIST = Command(
    "topics",
    "list",
    summary="list the topics",
    panel="What is there",
    run="mk.cli.topics:list_topics",
    description=("Lists the topics with their partitions, records and size. It is what `mk topics` alone does.",),
    parameters=(
        TOPICS_OR_REGEX[1],
        Parameter("quiet", "-q", kind=FLAG, default=False, panel=OUTPUT, help="names only, one a line"),
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
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
    panel="Changes",
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
        REPLICATION_OPTION,
        DRY_RUN_OPTION,
        *CHANGE_OPTIONS,
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
    panel="What is there",
    run="mk.cli.describe:run",
    description=(
        "Shows each TOPIC in three sections: a summary, the settings, and the partitions. Without -s, -c or -p, all three.",
        (
            "Rates are records and bytes a second over the last minute (1M) and the last hour (1H), by the times of the "
            "records: those that a producer dated otherwise count where they were dated. LEADER is `this` for the "
            "directory itself, else a directory's id. STATE is ok, sealed, or FAILED where the disk refused a sync and "
            "nobody appends."
        ),
        (
            "On a terminal, bars behind the partitions show how the records are spread over them, and over time: what was "
            "appended between two moments, as the indexes tell; a record dated earlier than one before it counts with that one."
        ),
    ),
    parameters=(
        *TOPICS_OR_REGEX,
        Parameter("summary", "-s", "--summary", kind=FLAG, default=False, panel="Sections", help="the summary"),
        Parameter(
            "configs", "-c", "--configs", kind=FLAG, default=False, panel="Sections", help="the settings in force"
        ),
        Parameter(
            "partitions", "-p", "--partitions", kind=FLAG, default=False, panel="Sections", help="the partitions"
        ),
        Parameter("all_sections", "-a", "--all", kind=FLAG, default=False, panel="Sections", help="all of them"),
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
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
    panel="Changes",
    run="mk.cli.topics:delete",
    description=(
        (
            "Deletes each TOPIC with all its records, after showing what would go. It asks on a terminal; elsewhere it "
            "needs --yes."
        ),
    ),
    parameters=(*TOPICS_OR_REGEX, DRY_RUN_OPTION, YES_OPTION, IF_EXISTS_OPTION, *CHANGE_OPTIONS),
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
    panel="Changes",
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
        TOPIC_ARGUMENT,
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
        DRY_RUN_OPTION,
        YES_OPTION,
        IF_EXISTS_OPTION,
        *CHANGE_OPTIONS,
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
    panel="Changes",
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
        DRY_RUN_OPTION,
        IF_EXISTS_OPTION,
        *CHANGE_OPTIONS,
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
    panel="Changes",
    run="mk.cli.alter:seal",
    description=(
        (
            "Closes TOPIC to new records: once this is done no append is under way, and producers get 77. Reading goes "
            "on, and so does deleting. Whoever may write to the directory can undo it."
        ),
    ),
    parameters=(
        TOPIC_ARGUMENT,
        Parameter("undo", "--undo", kind=FLAG, default=False, help="open it to records again"),
        DRY_RUN_OPTION,
        IF_EXISTS_OPTION,
        *CHANGE_OPTIONS,
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
    panel="What is there",
    run="mk.cli.keys:which",
    description=(
        (
            "Tells which partition of TOPIC each KEY belongs to, by the topic's partitioner and its present number of "
            "partitions. Without a KEY, each line of standard input is one."
        ),
    ),
    parameters=(
        TOPIC_ARGUMENT,
        Parameter("keys", kind=BYTES, metavar="KEY", default=(), multiple=True, help="a key; stdin is then not read"),
        Parameter("quiet", "-q", kind=FLAG, default=False, panel=OUTPUT, help="only the partitions, one a line"),
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
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
    panel="What is there",
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
        TOPIC_ARGUMENT,
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
    panel="What is there",
    run="mk.cli.topics:offsets",
    description=("Shows where each partition of TOPIC starts and ends; the end is the offset of the next record.",),
    parameters=(
        TOPIC_ARGUMENT,
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
        PROPERTY_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
    ),
    examples=(("mk topics offsets orders", "all partitions"),),
)

TOPICS = Command(
    "topics",
    summary="list, make, describe, change, delete and verify topics",
    panel="Topics and groups",
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
    *CARE,
)
