"""`mk groups` and its subcommands, as data."""

from mk.cli.definition import (
    CONSUMER_GROUP,
    DIRECTORY_OPTION,
    DURATION,
    FILE,
    FLAG,
    INTEGER,
    JSON_OPTION,
    LOCK_WAIT_OPTION,
    NETWORK_OPTION,
    NO_COLOR_OPTION,
    OFFSET,
    OUTPUT,
    PROPERTY_OPTION,
    QUIET_OPTION,
    TIME,
    TOPIC,
    YES_OPTION,
    Command,
    Parameter,
)

_GROUP_ARGUMENT = Parameter("group", metavar="GROUP", required=True, complete=CONSUMER_GROUP, help="the group")
_GROUPS_ARGUMENT = Parameter(
    "groups", metavar="GROUP", default=(), multiple=True, complete=CONSUMER_GROUP, help="the groups"
)
_REGEX_OPTION = Parameter(
    "regex",
    "-r",
    "--regex",
    metavar="REGEX",
    help="all groups in whose name the regular expression is found somewhere; ^ and $ tie it to the ends",
)
_DRY_RUN_OPTION = Parameter(
    "dry_run", "--dry-run", kind=FLAG, default=False, panel="Safety", help="only show what would be done"
)
_EXECUTE_OPTION = Parameter(
    "yes",
    "--yes",
    "--execute",
    kind=FLAG,
    default=False,
    panel="Safety",
    help="do not ask; needed when stdin is no terminal",
)
_WAIT_OPTION = Parameter(
    "wait_ms",
    "--wait",
    kind=DURATION,
    metavar="TIME",
    panel="Safety",
    help="if the group has members, wait so long for them to go, such as 30s",
)
_IF_EXISTS_OPTION = Parameter(
    "if_exists",
    "--if-exists",
    kind=FLAG,
    default=False,
    panel="Safety",
    help="succeed if there is no such group or topic",
)
_CHANGE_OPTIONS = (LOCK_WAIT_OPTION, DIRECTORY_OPTION, PROPERTY_OPTION, NETWORK_OPTION, JSON_OPTION, QUIET_OPTION)
_LOOK_OPTIONS = (DIRECTORY_OPTION, PROPERTY_OPTION, JSON_OPTION, NO_COLOR_OPTION)
_REFUSED = (
    "While a member of the group lives it is refused with 75, and the members are named: their commits would not count, "
    "or undo it. --wait waits for them to go. A member that died a moment ago is none: its locks are gone with it."
)
_JOURNALED = "What was changed is in the journal of the group, before it is done, with who did it: `mk groups undo` takes it back."
_KAFKA = "As Kafka spells it"

_REFUSED_STATUS = (
    "The status is 75 while members of the group live, or if it has committed since the plan was made, and 2 without --yes "
    "where nobody can be asked; nothing is changed then. It is 74 if there is no room for a line in the journal: nothing is "
    "changed then either."
)

GROUPS_LIST = Command(
    "groups",
    "list",
    summary="list the consumer groups",
    run="mk.cli.groups:list_groups",
    description=(
        "Lists the consumer groups with their state, members, topics and lag. It is what `mk groups` alone does.",
        (
            "STATE is Empty without members, Stable, or PreparingRebalance while partitions change hands. LAG is the "
            "number of records that the group has not read yet, of all partitions that it has claimed."
        ),
    ),
    parameters=(
        _REGEX_OPTION,
        Parameter("quiet", "-q", kind=FLAG, default=False, panel=OUTPUT, help="names only, one a line"),
        *_LOOK_OPTIONS,
    ),
    examples=(
        ("mk groups", "a table"),
        ("mk groups -q", "only the names, for a script"),
        ("mk groups --json | jq '.[] | select(.lag > 1000)'", "those that are far behind"),
    ),
)

GROUPS_DESCRIBE = Command(
    "groups",
    "describe",
    summary="show where groups stand, and who their members are",
    run="mk.cli.groups:describe",
    description=(
        (
            "Shows each GROUP, all of them if none is named, in three sections: its state, where it stands in each "
            "partition, and its members. Without -s, -o or -m, all three."
        ),
        (
            "COMMITTED is the offset of the next record that the group will read, START and END are those of the log. "
            "MEMBER and what follows tell which process reads the partition now. What is wrong with a partition is said "
            "in PROBLEM, and is no error: its topic is gone, records were removed before they were read, or the log is "
            "not the one that the group has read."
        ),
    ),
    parameters=(
        _GROUPS_ARGUMENT,
        _REGEX_OPTION,
        Parameter("state", "-s", "--state", kind=FLAG, default=False, panel="Sections", help="the state"),
        Parameter("members", "-m", "--members", kind=FLAG, default=False, panel="Sections", help="the members"),
        Parameter(
            "offsets", "-o", "--offsets", kind=FLAG, default=False, panel="Sections", help="where the group stands"
        ),
        *_LOOK_OPTIONS,
    ),
    examples=(
        ("mk groups describe billing", "all there is to know"),
        ("mk groups describe -s -r '^app'", "the state of each group whose name begins with app"),
        ("mk groups describe billing --members", "who reads for it, also members that own nothing"),
    ),
)


def _reset(name: str, summary: str, description: "tuple[str, ...]") -> Command:
    return Command(
        "groups",
        name,
        summary=summary,
        run="mk.cli.group_offsets:reset",
        description=description,
        parameters=(
            _GROUP_ARGUMENT,
            Parameter(
                "topics",
                metavar="TOPIC",
                default=(),
                multiple=True,
                complete=TOPIC,
                help="a topic, or TOPIC:0,3 for some of its partitions; default all that the group has read",
            ),
            Parameter(
                "to",
                "--to",
                metavar="SPEC",
                complete=OFFSET,
                help="where to: start, end, N, -N, +N, @TIME, group:NAME, or 0:5,1:end by partition; see `mk help offsets`",
            ),
            Parameter("to_earliest", "--to-earliest", kind=FLAG, default=False, panel=_KAFKA, help="--to start"),
            Parameter("to_latest", "--to-latest", kind=FLAG, default=False, panel=_KAFKA, help="--to end"),
            Parameter("to_offset", "--to-offset", kind=INTEGER, metavar="N", panel=_KAFKA, help="--to N"),
            Parameter("to_datetime", "--to-datetime", kind=TIME, metavar="TIME", panel=_KAFKA, help="--to @TIME"),
            Parameter(
                "by_duration",
                "--by-duration",
                metavar="SPAN",
                panel=_KAFKA,
                help="to so long ago: PT1H30M, P7D or 1h30m",
            ),
            Parameter(
                "shift_by",
                "--shift-by",
                metavar="N",
                panel=_KAFKA,
                help="by N offsets from where the group stands, back if N is negative",
            ),
            Parameter(
                "to_current",
                "--to-current",
                kind=FLAG,
                default=False,
                panel=_KAFKA,
                help="to where the group stands: with a log that was cut, to where it still is what was read",
            ),
            Parameter(
                "from_file",
                "--from-file",
                metavar="FILE",
                complete=FILE,
                panel=_KAFKA,
                help="to what a list says, see `mk groups export`; its lines may lack the group",
            ),
            Parameter(
                "more_topics",
                "--topic",
                metavar="TOPIC",
                default=(),
                multiple=True,
                complete=TOPIC,
                panel=_KAFKA,
                help="the same as TOPIC; may be repeated",
            ),
            Parameter(
                "all_topics",
                "--all-topics",
                kind=FLAG,
                default=False,
                panel=_KAFKA,
                help="all topics that the group has read, as without a TOPIC",
            ),
            _WAIT_OPTION,
            _DRY_RUN_OPTION,
            _EXECUTE_OPTION,
            *_CHANGE_OPTIONS,
            NO_COLOR_OPTION,
        ),
        examples=(
            (f"mk groups {name} billing --to start --dry-run", "what it would mean to read all again"),
            (f"mk groups {name} billing orders --to @-2h --yes", "again what came in the last two hours"),
            (f"mk groups {name} billing orders:0 --to 1200 --wait 30s", "one partition, once its reader has gone"),
            (f"mk groups {name} billing --topic orders --shift-by -100 --execute", "as Kafka's tool is called"),
            (
                f"mk groups {name} audit orders --to group:billing --yes",
                "a group that goes on where another one stands",
            ),
        ),
        exit_status=_REFUSED_STATUS,
    )


GROUPS_RESET = _reset(
    "reset",
    "move a group to other offsets",
    (
        (
            "Moves GROUP to other offsets: its members go on there. A group that does not exist is made; name its topics. "
            "The plan is shown first; it asks on a terminal, and elsewhere it needs --yes, or --execute as in Kafka."
        ),
        "What lies outside of a log becomes its start or its end, and the plan says so.",
        _REFUSED,
        (
            "It is done exactly, or not at all: the claim on each partition is held while members are looked for and "
            "offsets change, and if the group has committed since the plan was made, nothing is changed (75)."
        ),
        _JOURNALED,
    ),
)
GROUPS_SEEK = _reset("seek", "the same as reset", ("The same as `mk groups reset`.",))

GROUPS_EXPORT = Command(
    "groups",
    "export",
    summary="print where groups stand, as a list to edit",
    run="mk.cli.group_offsets:export",
    description=(
        (
            "Prints where each GROUP stands, all groups if none is named: a line group,topic,partition,offset for each "
            "partition with a committed offset. Lines that begin with # are comments. What cannot be in the list, such as "
            "offsets of topics that are gone, is named on stderr."
        ),
    ),
    parameters=(_GROUPS_ARGUMENT, _REGEX_OPTION, DIRECTORY_OPTION, PROPERTY_OPTION, JSON_OPTION, QUIET_OPTION),
    examples=(
        ("mk groups export billing > billing.csv", "a copy of where it stands"),
        ("mk groups export | sed 's/^old,/new,/' | mk groups import - --yes", "under other names"),
    ),
)

GROUPS_IMPORT = Command(
    "groups",
    "import",
    summary="move groups to where a list says",
    run="mk.cli.group_offsets:import_offsets",
    description=(
        (
            "Moves each group that is in FILE to the offsets that stand there, as `mk groups reset` does, plan first. FILE is "
            "what `mk groups export` and Kafka's --export write, - is standard input. An offset may also be start, end, "
            "-N, @TIME or any other of `mk help offsets`. Partitions that are not in it stay as they are."
        ),
        "If a line is not as it should be the status is 65, and nothing is changed.",
        _REFUSED,
        _JOURNALED,
    ),
    parameters=(
        Parameter("file", metavar="FILE", required=True, complete=FILE, help="the list, or - for standard input"),
        _WAIT_OPTION,
        _DRY_RUN_OPTION,
        _EXECUTE_OPTION,
        *_CHANGE_OPTIONS,
        NO_COLOR_OPTION,
    ),
    examples=(
        ("mk groups import billing.csv --dry-run", "what it would change"),
        ("mk groups import billing.csv --yes", "in a script"),
    ),
    exit_status="The status is 65 if a line is not as it should be; otherwise as of reset, of the first group that was refused: "
    "the others are done.",
)

GROUPS_COPY = Command(
    "groups",
    "copy",
    summary="have a group stand where another one stands",
    run="mk.cli.group_offsets:copy",
    description=(
        (
            "Has group DST stand exactly where SRC stands, in each partition in which SRC has committed something. DST is "
            "made if there is none, and what it has committed otherwise stays. SRC may have members."
        ),
        "DST may have none: then it is refused with 75. --wait waits for them to go.",
        _JOURNALED,
    ),
    parameters=(
        Parameter("group", metavar="SRC", required=True, complete=CONSUMER_GROUP, help="the group to copy"),
        Parameter("new_group", metavar="DST", required=True, complete=CONSUMER_GROUP, help="the group that is made"),
        _WAIT_OPTION,
        _DRY_RUN_OPTION,
        _EXECUTE_OPTION,
        *_CHANGE_OPTIONS,
        NO_COLOR_OPTION,
    ),
    examples=(("mk groups copy billing billing-test --yes", "try a new reader where the old one stands"),),
    exit_status="The status is 75 while members of DST live, and 66 if there is no SRC.",
)

GROUPS_DELETE = Command(
    "groups",
    "delete",
    summary="delete groups, or what they have committed of a topic",
    run="mk.cli.groups:delete",
    description=(
        (
            "Deletes each GROUP with all that it has committed, or with --topic what it has committed of that topic; "
            "records stay. Whoever joins a deleted group begins as a new group does. It asks on a terminal; elsewhere it "
            "needs --yes."
        ),
        "While a member of the group lives it is refused with 75, and the members are named.",
        (
            "The journal of the group goes with it: `mk groups export` beforehand keeps where it stood. Offsets that were "
            "deleted with --topic are in the journal, and `mk groups undo` brings them back."
        ),
    ),
    parameters=(
        _GROUPS_ARGUMENT,
        _REGEX_OPTION,
        Parameter(
            "topics",
            "--topic",
            metavar="TOPIC",
            default=(),
            multiple=True,
            complete=TOPIC,
            help="only what was committed of this topic, which may be gone; may be repeated",
        ),
        _DRY_RUN_OPTION,
        YES_OPTION,
        _IF_EXISTS_OPTION,
        *_CHANGE_OPTIONS,
    ),
    examples=(
        ("mk groups delete billing-test --dry-run", "look first"),
        ("mk groups delete billing --topic orders-2025 --yes", "one topic of it"),
        ("mk groups delete -r '^test-' --yes", "all whose names begin with test-"),
    ),
    exit_status="The status is 75 while members of the group live, and 66 if there is no such group, unless --if-exists.",
)

GROUPS_PRUNE = Command(
    "groups",
    "prune",
    summary="delete what has not been used for a long time",
    run="mk.cli.groups:prune",
    description=(
        (
            "Deletes each GROUP, of all groups if none is named, that has no members and has committed nothing for TIME; of "
            "the others, the offsets of topics that are gone, if they are that old. Committed offsets never expire by "
            "themselves. It asks on a terminal; elsewhere it needs --yes."
        ),
        (
            "It also removes the files of claims that were fenced more than a day ago, as soon as nobody can need them any "
            "more; that needs no --yes."
        ),
    ),
    parameters=(
        _GROUPS_ARGUMENT,
        _REGEX_OPTION,
        Parameter(
            "idle_ms",
            "--idle",
            kind=DURATION,
            metavar="TIME",
            required=True,
            help="without a commit for so long, such as 90d",
        ),
        _DRY_RUN_OPTION,
        YES_OPTION,
        *_CHANGE_OPTIONS,
    ),
    examples=(
        ("mk groups prune --idle 365d --dry-run", "which groups nobody has used for a year"),
        ("mk groups prune -r '^test-' --idle 7d --yes", "in a script"),
    ),
)

GROUPS_KICK = Command(
    "groups",
    "kick",
    summary="take its partitions from a member",
    run="mk.cli.groups:kick",
    description=(
        (
            "Takes all its partitions from MEMBER, which may be stopped or hang: the other members go on from what it has "
            "committed. What it commits later does not count; it is told, and may join again. To keep it out, end the "
            "process."
        ),
    ),
    parameters=(
        _GROUP_ARGUMENT,
        Parameter(
            "member",
            metavar="MEMBER",
            required=True,
            help="its id or how that begins, as `mk groups describe` shows it, or the number of its process",
        ),
        _DRY_RUN_OPTION,
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
        NETWORK_OPTION,
        JSON_OPTION,
        QUIET_OPTION,
    ),
    examples=(
        ("mk groups kick billing 4f0c2a91", "the member with an id that begins so"),
        ("mk groups kick billing 4121", "the member that is process 4121"),
    ),
)

GROUPS_UNDO = Command(
    "groups",
    "undo",
    summary="take back the last change of a group's offsets",
    run="mk.cli.group_offsets:undo",
    description=(
        (
            "Takes back the last reset, import, copy or deletion of offsets of GROUP that was not taken back yet: the group "
            "stands where it stood before. The plan is shown first; it asks on a terminal, and elsewhere it needs --yes."
        ),
        (
            "If the group has committed since in one of these partitions, it is refused (2): that would be lost. --force goes "
            "back all the same; the journal keeps where the group stood."
        ),
        _REFUSED,
    ),
    parameters=(
        _GROUP_ARGUMENT,
        Parameter(
            "force",
            "--force",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="also if the group has committed since",
        ),
        _WAIT_OPTION,
        _DRY_RUN_OPTION,
        _EXECUTE_OPTION,
        *_CHANGE_OPTIONS,
        NO_COLOR_OPTION,
    ),
    examples=(
        ("mk groups undo billing --dry-run", "what would be taken back"),
        ("mk groups undo billing --yes", "in a script"),
    ),
    exit_status="The status is 66 if there is nothing to take back, 2 if the group has committed since, and 75 while its members "
    "live.",
)

GROUPS = Command(
    "groups",
    summary="list, describe, reset and delete consumer groups",
    panel="Topics and groups",
    default="list",
    description=(
        "Without a command it lists the consumer groups.",
        (
            "A consumer group is where its members, processes that read together, have come to: an offset for each "
            "partition, of the next record to read. It begins with its first member and never expires."
        ),
    ),
    parameters=GROUPS_LIST.parameters,
    examples=(
        ("mk groups", "what is there"),
        ("mk groups describe billing", "where a group stands, and who reads for it"),
        ("mk groups reset billing orders --to @-2h", "have it read the last two hours again"),
    ),
)

COMMANDS = (
    GROUPS,
    GROUPS_LIST,
    GROUPS_DESCRIBE,
    GROUPS_RESET,
    GROUPS_SEEK,
    GROUPS_EXPORT,
    GROUPS_IMPORT,
    GROUPS_COPY,
    GROUPS_DELETE,
    GROUPS_PRUNE,
    GROUPS_KICK,
    GROUPS_UNDO,
)
