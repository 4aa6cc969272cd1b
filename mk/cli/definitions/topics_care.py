"""What takes care of topics: the subcommands of `mk topics` that prove, clean and mend, as data, and what all of them share."""

from mk.cli.definition import (
    DIRECTORY,
    DIRECTORY_OPTION,
    FLAG,
    INTEGER,
    JSON_OPTION,
    LOCK_WAIT_OPTION,
    NETWORK_OPTION,
    NO_COLOR_OPTION,
    OFFSET,
    OFFSETS,
    OUTPUT,
    PARTITIONS,
    PROPERTY_OPTION,
    QUIET_OPTION,
    TOPIC,
    YES_OPTION,
    Command,
    Parameter,
)

TOPIC_ARGUMENT = Parameter("topic", metavar="TOPIC", required=True, complete=TOPIC, help="the topic")
TOPICS_OR_REGEX = (
    Parameter("topics", metavar="TOPIC", default=(), multiple=True, complete=TOPIC, help="the topics"),
    Parameter(
        "regex",
        "-r",
        "--regex",
        metavar="REGEX",
        help="all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends",
    ),
)
DRY_RUN_OPTION = Parameter(
    "dry_run", "--dry-run", kind=FLAG, default=False, panel="Safety", help="only show what would be done"
)
IF_EXISTS_OPTION = Parameter(
    "if_exists", "--if-exists", kind=FLAG, default=False, panel="Safety", help="succeed if there is no such topic"
)
CHANGE_OPTIONS = (LOCK_WAIT_OPTION, DIRECTORY_OPTION, PROPERTY_OPTION, NETWORK_OPTION, JSON_OPTION, QUIET_OPTION)
TOPICS_VERIFY = Command(
    "topics",
    "verify",
    summary="prove every byte of topics, and name damage",
    panel="Care of the files",
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
        *TOPICS_OR_REGEX,
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
        Parameter(
            "quiet",
            "-q",
            kind=FLAG,
            default=False,
            panel=OUTPUT,
            help="print nothing of topics without damage or warnings, as for cron",
        ),
    ),
    examples=(
        ("mk topics verify", "everything there is"),
        ("30 4 * * * mk topics verify -q", "in a crontab: cron mails what somebody should look at"),
        ("mk topics verify orders --json | jq '.findings[]'", "for programs"),
    ),
    exit_status="The status is 65 if there is damage; warnings and notes do not fail.",
)

TOPICS_DUMP = Command(
    "topics",
    "dump",
    summary="show what stands in the files of a log",
    panel="Care of the files",
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
        PROPERTY_OPTION,
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
    panel="Care of the files",
    run="mk.cli.clean:clean",
    description=(
        (
            "Removes from each TOPIC, all topics if none is named, the oldest segments that are older than retention.ms or make a "
            "partition larger than retention.bytes. Whoever begins a new segment does the same for the partition that it "
            "writes to; this does it also for topics to which nobody writes any more. A segment goes when its last record "
            "is old enough, so a log may hold one segment more than its limits say; one of thousands, which a writer looks at with "
            "every n/200th segment that it begins, half a hundredth more. What the groups of retention.groups have "
            "not read stays beyond retention.ms, and --dry-run names the group that holds it and its offset."
        ),
        (
            "It also seals segments that are older than segment.ms, and removes what killed processes left. It works when "
            "the disk is full. A clock that has leapt removes nothing: it is believed again when it has run evenly for a "
            "day."
        ),
        (
            "Of a topic whose cleanup.policy has compact, it then keeps the last record of each key, if as much of the log is new "
            "as min.cleanable.dirty.ratio says; see `mk topics compact` and `mk help compaction`."
        ),
    ),
    parameters=(
        *TOPICS_OR_REGEX,
        Parameter(
            "dry_run",
            "--dry-run",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="only show which segments would go or be compacted, and why the others stay",
        ),
        LOCK_WAIT_OPTION,
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
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
    panel="Changes",
    run="mk.cli.clean:trim",
    description=(
        (
            "Removes the records of TOPIC below the offset that --to gives in each partition, after showing what would "
            "go. The log begins exactly there from then on; whole segments below it are removed, so space is freed a "
            "segment at a time. Up to the end, all of it is freed. It asks on a terminal; elsewhere it needs --yes."
        ),
    ),
    parameters=(
        TOPIC_ARGUMENT,
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
        PROPERTY_OPTION,
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

TOPICS_CLONE = Command(
    "topics",
    "clone",
    summary="make a topic with the same records under another name",
    panel="Changes",
    run="mk.cli.clone:clone",
    description=(
        (
            "Makes topic NEW with all records of TOPIC at the same offsets, all partitions as of one moment, with its settings "
            "and producer ids, and without its groups and its seal. It costs no time and no room: sealed segments get a second "
            "name, and writers wait while those are made. What is done to one of the two later, leaves the other as it is. Of "
            "a copy of another directory's topic, NEW is led here. Where the file system has no hard links, the bytes are copied."
        ),
        (
            "With --rehash, all records that TOPIC holds now are produced again, each to the partition of its key among N, in "
            "the order of each partition, or of several by time. NEW appears when it is whole, and its offsets are new. TOPIC "
            "goes on meanwhile; the last line says up to where it was read, in the spelling of `mk consume -o`. It is how a topic "
            "with keys gets more partitions and keeps the order of each key."
        ),
        (
            "With --groups, each group of TOPIC goes on in each partition of NEW at the first record that it had not read when this "
            "began: it gets some again, and none is skipped. Its members may live."
        ),
    ),
    parameters=(
        TOPIC_ARGUMENT,
        Parameter("new", metavar="NEW", required=True, help="the name of the topic that is made"),
        Parameter(
            "rehash", "--rehash", kind=FLAG, default=False, help="spread the records over another number of partitions"
        ),
        Parameter(
            "partitions",
            "-p",
            "--partitions",
            kind=INTEGER,
            minimum=1,
            metavar="N",
            help="with --rehash, how many; default as many as TOPIC has",
        ),
        Parameter(
            "partitioner",
            "--partitioner",
            metavar="NAME",
            choices=("crc32", "murmur2"),
            help="with --rehash: crc32, librdkafka's, or murmur2, Java's; default that of TOPIC",
        ),
        Parameter("groups", "--groups", kind=FLAG, default=False, help="with --rehash: take the groups of TOPIC along"),
        DRY_RUN_OPTION,
        *CHANGE_OPTIONS,
        NO_COLOR_OPTION,
    ),
    examples=(
        ("mk topics clone orders orders-before-the-change", "to go back to"),
        ("mk topics clone orders orders16 --rehash -p 16 --groups", "more partitions, each key still in order"),
        ("mk topics clone orders try && mk topics trim try --to -100", "something to try things on"),
    ),
    exit_status="The status is 73 if NEW exists, 75 if a partition stays locked or another process makes NEW; there is no "
    "clone then. It is 1 if a group could not be taken along.",
)

TOPICS_SNAPSHOT = Command(
    "topics",
    "snapshot",
    summary="copy the whole log directory as of now, for a backup",
    panel="Care of the files",
    run="mk.cli.snapshot:run",
    description=(
        (
            "Makes DST, which is not there yet or is an empty directory, a consistent copy of the log directory: all topics, what "
            "groups have committed, what is known of other directories, quarantine. Producers, consumers and all else go on "
            "meanwhile. What was acknowledged before it began is in it, and no group is ahead of its records. On the same file "
            "system sealed segments get a second name, so it costs little time and room; on another one all is copied. When the "
            "status is 0, it is on disk."
        ),
        (
            "A snapshot is this directory as it was, with its id and address: to be put in its place, or to be read, and not to be "
            "written to beside it. For a second one to work with there are `mk replicate` and `mk topics clone`. Nothing in it "
            "changes, so that cp -a, rsync or tar may take it anywhere. A snapshot that was killed is no log directory; the "
            "next one to the same DST begins anew. It does not prove the records: `mk topics verify -d DST` does."
        ),
        (
            "To restore one: stop what writes and reads, put the directory aside, and DST in its place (mv, or cp -a to keep the "
            "snapshot). Groups go on from where they were in it. A follower that has more than was restored is refused with 65, and "
            "goes on after `mk topics repair --restored`. mk-guarantees(7), SNAPSHOTS, has all of it."
        ),
    ),
    parameters=(
        Parameter("destination", metavar="DST", required=True, complete=DIRECTORY, help="where the snapshot is made"),
        DRY_RUN_OPTION,
        *CHANGE_OPTIONS,
        NO_COLOR_OPTION,
    ),
    examples=(
        ('mk topics snapshot "/backup/mk-$(date +%F)"', "in a crontab, with \\% for %"),
        ("mk topics snapshot /backup/now --dry-run", "how much would be linked, and copied"),
        ("mk topics verify -d /backup/now && mk consume orders -d /backup/now", "prove it, and read from it"),
    ),
    exit_status="The status is 73 if DST holds something, 77 for a user who may not write to the log directory, 75 if a partition "
    "stays locked, and 65 if something is damaged that has to be read; then there is no snapshot.",
)

TOPICS_COMPACT = Command(
    "topics",
    "compact",
    summary="keep the last record of each key, now",
    panel="Care of the files",
    run="mk.cli.compact:run",
    description=(
        (
            "Removes from each TOPIC, all topics whose cleanup.policy has compact if none is named, the records behind which "
            "there is another one with the same key in their partition. Offsets, order and all other records stay. "
            "A record whose value is null is a tombstone: it says that its key is deleted, and goes itself when it has "
            "been the last of its key for delete.retention.ms."
        ),
        (
            "Whoever begins a new segment, and `mk topics clean`, do that when enough of a log is new, for its sealed segments. "
            "This does it now, and seals the active segment first, so that all records count; in a copy of another "
            "directory's topic it never does. Producers and readers go on meanwhile: only for moments is a partition "
            "locked, and nobody reads half of anything. It needs room for the largest segment once more, and may be "
            "ended at any time. `mk help compaction` has it all on one page."
        ),
    ),
    parameters=(
        *TOPICS_OR_REGEX,
        Parameter(
            "dry_run",
            "--dry-run",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="only show how much of each partition is new since it was compacted",
        ),
        LOCK_WAIT_OPTION,
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
        NETWORK_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
        QUIET_OPTION,
    ),
    examples=(
        ("mk topics alter homes -c cleanup.policy=compact", "have a topic keep the last value of each key"),
        ("mk topics compact homes", "and do it now"),
        ("mk topics compact --dry-run", "how much there would be to do, in all topics that are compacted"),
    ),
    exit_status="The status is 0 also when there was nothing to do, and 78 for a TOPIC whose policy does not have compact. A "
    "partition that stays locked is left out, named, and makes the status 75; the others are compacted.",
)

TOPICS_REPAIR = Command(
    "topics",
    "repair",
    summary="bring a damaged topic to where it can be used",
    panel="Care of the files",
    run="mk.cli.repair:repair",
    description=(
        (
            "Looks at each TOPIC, all if none is named, as `mk topics verify` does, says which offsets are lost and what would be done, "
            "and asks. Only the batches that cannot be read are lost. Their bytes go to quarantine/ first; then a batch without "
            "records covers their offsets, which are never given out again, so all others keep theirs and no group skips any. "
            "The leader epoch is raised. `state`, `epochs` and topic.json are made again of what there is, if they are damaged."
        ),
        (
            "In a copy of another directory's topic, nothing is covered: it is cut back to the damage, and the next mk-replicate(1) "
            "from its leader brings the rest. If this directory leads and a copy has what is lost here, promote the "
            "copy instead."
        ),
        (
            "A partition with FAILED takes records again when the disk does: it is written to, synced and read back first."
        ),
        (
            "With --restored, the directory is an older copy of itself, or one made file by file: what it lacks at the end of a log is not "
            "covered but given out again, under a leader epoch as if it had been promoted. A follower that had come further puts "
            "what it has more into its quarantine/."
        ),
    ),
    parameters=(
        *TOPICS_OR_REGEX,
        Parameter(
            "partitions", "-p", "--partition", kind=PARTITIONS, metavar="N,N", default=(), help="only these partitions"
        ),
        Parameter(
            "restored", "--restored", kind=FLAG, default=False, help="this is an older copy: accept where its logs end"
        ),
        DRY_RUN_OPTION,
        YES_OPTION,
        *CHANGE_OPTIONS,
    ),
    examples=(
        ("mk topics verify orders || mk topics repair orders", "look, and repair what is damaged"),
        ("mk topics repair --dry-run", "what would be done, in all topics"),
        ("mk topics repair orders -p 3 --yes", "one partition, without a question"),
        ("mk topics repair --restored", "after an old copy was put in the place of the directory"),
    ),
)

COMMANDS = (
    TOPICS_VERIFY,
    TOPICS_DUMP,
    TOPICS_CLEAN,
    TOPICS_COMPACT,
    TOPICS_TRIM,
    TOPICS_CLONE,
    TOPICS_SNAPSHOT,
    TOPICS_REPAIR,
)
