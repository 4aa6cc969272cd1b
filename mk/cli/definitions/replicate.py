"""`mk replicate` and its subcommands, as data."""

from mk.cli.definition import (
    DIRECTORY,
    DIRECTORY_OPTION,
    DURATION,
    FILE,
    FLAG,
    JSON_OPTION,
    LOCK_WAIT_OPTION,
    NETWORK_OPTION,
    NO_COLOR_OPTION,
    PLACE,
    PROPERTY_OPTION,
    QUIET_OPTION,
    REGEX,
    TOPIC,
    YES_OPTION,
    Command,
    Parameter,
)

_PLACES = (
    "SRC and DST are log directories: here, or on another host as [USER@]HOST:DIRECTORY, reached through ssh, which must "
    "have mk there. One of them at least is here. A directory whose name has a colon, or that of a subcommand, is written "
    "with a slash in front of it: ./status. With one argument alone, that is DST, and the log directory (MK_DIR) is SRC."
)

RSH_OPTION = Parameter(
    "rsh",
    "-e",
    "--rsh",
    metavar="COMMAND",
    environment="MK_RSH",
    panel=PLACE,
    help="run COMMAND in place of ssh, such as 'ssh -p 2222'",
)

REPLICATE_RUN = Command(
    "replicate",
    "run",
    summary="copy what a log directory has and another one lacks",
    run="mk.cli.replicate:run",
    description=(
        "Copies to DST what SRC has and DST lacks, and ends. It is what `mk replicate SRC DST` does. "
        "`mk help replication` shows how it goes with failing over.",
        _PLACES,
        (
            "Records have the same offsets there, and the files of the log are the same byte by byte. With them go the "
            "topics' settings, the removal of old records, what is known of producer ids, and where the groups stand. The "
            "copy can be read like any other log directory; producers are told by it which directory leads."
        ),
        (
            "It can be stopped at any time, killed, and run again, also twice at once: the second one says so and ends. Status "
            "0 means that DST has all, on disk, that SRC had when it began. A partition that cannot be copied is named, and "
            "the others are."
        ),
        (
            "Nothing is papered over. Where records were removed from SRC before DST had them, the partition is refused with "
            "65, and with --accept-gap goes on behind the hole. Where DST has records that SRC does not have, it is refused "
            "with 65 as well, unless another directory was promoted meanwhile: then they are cut off, and kept in quarantine/. "
            "A topic deleted from SRC stays in DST, and is named."
        ),
    ),
    parameters=(
        Parameter("source", metavar="SRC", complete=DIRECTORY, help="where the records are"),
        Parameter(
            "target", metavar="DST", required=True, complete=DIRECTORY, help="where they go; made if it is not there"
        ),
        Parameter(
            "follow", "-F", "--follow", kind=FLAG, default=False, help="go on with what comes, until it is stopped"
        ),
        Parameter(
            "max_time_ms",
            "--max-time",
            kind=DURATION,
            metavar="TIME",
            help="end after TIME, such as 1h, with what is copied by then; the status tells whether that is all",
        ),
        Parameter(
            "accept_gap",
            "--accept-gap",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="where SRC no longer has what comes next, go on behind it; what was there goes to quarantine/",
        ),
        Parameter(
            "dry_run", "--dry-run", kind=FLAG, default=False, panel="Safety", help="only show what would be done"
        ),
        Parameter(
            "verify",
            "--verify",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="copy nothing, and compare every byte of what both have; status 65 if they differ, 3 if DST is behind",
        ),
        LOCK_WAIT_OPTION,
        Parameter(
            "timeout_ms",
            "--timeout",
            kind=DURATION,
            metavar="TIME",
            panel="Safety",
            help="fail with status 124 if what SRC had at the beginning is not copied after TIME; what is copied stays",
        ),
        Parameter(
            "topics",
            "--topics",
            kind=REGEX,
            metavar="REGEX",
            panel="What",
            help="only topics of SRC whose whole name is matched by the regular expression",
        ),
        Parameter(
            "exclude",
            "--exclude",
            kind=REGEX,
            metavar="REGEX",
            panel="What",
            help="none whose whole name is matched by it",
        ),
        Parameter(
            "groups",
            "--groups",
            kind=FLAG,
            default=False,
            panel="What",
            help="copy also where groups stand, for those that have never read there; the default",
        ),
        Parameter(
            "no_groups", "--no-groups", kind=FLAG, default=False, panel="What", help="do not copy where groups stand"
        ),
        Parameter(
            "prefix",
            "--prefix",
            metavar="P",
            default="",
            panel=PLACE,
            help="topic T of SRC is P.T in DST, for a directory that has topics of several others",
        ),
        Parameter(
            "advertise",
            "--advertise",
            metavar="ADDRESS",
            panel=PLACE,
            help="how others reach SRC, or DST if SRC is not here, as HOST:DIRECTORY; kept there, and told by copies",
        ),
        RSH_OPTION,
        Parameter(
            "directory",
            "-d",
            "--dir",
            metavar="DIR",
            environment="MK_DIR",
            complete=DIRECTORY,
            panel=PLACE,
            unless="source",
            help="SRC, where it is left out; default $XDG_DATA_HOME/mk, else ~/.local/share/mk",
        ),
        PROPERTY_OPTION,
        NETWORK_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
        QUIET_OPTION,
        Parameter(
            "verbose",
            "-v",
            kind=FLAG,
            default=False,
            panel="Output",
            help="a line on stderr for each partition that gets something: TOPIC PARTITION FIRST LAST, offsets inclusive",
        ),
    ),
    examples=(
        ("mk replicate /srv/mk /mnt/backup/mk", "a copy on another disk, brought up to date"),
        ("mk replicate backup:/srv/mk", "what is in MK_DIR, to another host"),
        ("mk replicate -F web1:/srv/mk /srv/mk --prefix web1", "what comes in on another host, as web1.TOPIC here"),
        ("mk replicate /srv/mk /mnt/backup/mk --dry-run", "how much there is to copy"),
        ("mk replicate /srv/mk /mnt/backup/mk --verify", "whether the copy is one"),
        ("mk replicate -F /srv/mk kafka://h1:9092,h2:9092", "what comes in, to a Kafka cluster as well"),
    ),
    exit_status="The status is 65 if a partition or topic was refused because DST has what SRC does not have, or SRC no longer "
    "has what comes next, or what comes is damaged; 75 if DST leads, SRC lost power and took no record since, or a lock was "
    "not got; 69 if the other host does not answer, 76 if there is no mk there, or one that is too old or too new; 3 if "
    "--verify finds DST behind. The worst of all "
    "partitions counts; the others are copied.",
)

_TOPICS_ARGUMENT = Parameter(
    "topics", metavar="TOPIC", default=(), multiple=True, complete=TOPIC, help="the topics; all if none is named"
)
_REGEX_OPTION = Parameter(
    "regex",
    "-r",
    "--regex",
    metavar="REGEX",
    panel="What",
    help="all topics in whose name the regular expression is found somewhere; ^ and $ tie it to the ends",
)
_DRY_RUN_OPTION = Parameter(
    "dry_run", "--dry-run", kind=FLAG, default=False, panel="Safety", help="only show what would be done"
)
_IS_HERE = "The log directory (-d or MK_DIR) is one of this host: on another one, run it there."

REPLICATE_STATUS = Command(
    "replicate",
    "status",
    summary="show who leads, how far copies are behind, and what was cut off",
    run="mk.cli.replication_status:status",
    description=(
        f"Shows what a log directory is to others, as far as it knows; it asks nobody. {_IS_HERE}",
        (
            "Of each partition, ROLE is leader, follower, or fenced: it led, another directory was promoted, and it does not "
            "follow that one yet. Then of each other directory that has the partition: where its log ended when it was SEEN "
            "last, and LAG, by how many records the follower of the two was behind then. BEHIND_FOR tells for how long a "
            "follower lacks the first of them."
        ),
        (
            "Then the other directories: how many partitions each one copies from here (FOLLOWS_THIS), and how many are copied "
            "from it (FOLLOWED_BY_THIS). Then gaps: records that were removed from a leader before they were here, where --accept-gap went on behind them. "
            "Then what was cut off and is kept in quarantine/: DIVERGED is the number of records that are in no log any more, "
            "since a promotion; `mk replicate salvage` produces them again."
        ),
    ),
    parameters=(_TOPICS_ARGUMENT, _REGEX_OPTION, DIRECTORY_OPTION, PROPERTY_OPTION, JSON_OPTION, NO_COLOR_OPTION),
    examples=(
        ("mk replicate status", "all of MK_DIR"),
        ("mk replicate status orders", "one topic"),
        (
            "mk replicate status --json | jq '.. | select(.in_sync? == false)'",
            "copies that are behind",
        ),
    ),
)

REPLICATE_PROMOTE = Command(
    "replicate",
    "promote",
    summary="have this directory lead what it follows",
    run="mk.cli.promote:promote",
    description=(
        f"Has this directory lead the topics that it follows, for when their leader is lost or to be given up. {_IS_HERE}",
        (
            "First it shows of each partition who led it, where its log ended when it was seen last, where it ends here, and "
            "the new leader epoch. If this directory lacks records that the leader was seen to have, it is refused with 75, "
            "since the leader may come back: --force goes on without them. What the leader stored after it was seen last, "
            "nobody here knows of."
        ),
        (
            "Then, partition by partition, it leads: producers may write here, and the old leader takes no more records as "
            "soon as it hears of it, which is with the first replication from here. Then the groups: one that has committed "
            "less here than it had there gets that offset, which its journal notes as `promote`; none is moved back. A group with "
            "members that live is left as it is, and named: end them, and run it again."
        ),
        (
            "Killed half-way, it is run again. Where this directory leads already nothing is done, with status 0. When the "
            "old leader is back, replicate the other way, from here to there: it follows then, and what it alone had is cut "
            "off, kept in its quarantine/, and can be produced again by `mk replicate salvage` there. `mk help replication` "
            "has the whole way on one page."
        ),
    ),
    parameters=(
        _TOPICS_ARGUMENT,
        _REGEX_OPTION,
        _DRY_RUN_OPTION,
        Parameter(
            "force",
            "--force",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="also if this directory lacks records that the leader was seen to have",
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
        ("mk replicate promote --dry-run", "what would be done, and what would be missing"),
        ("mk replicate promote", "lead all that is followed"),
        ("mk replicate promote orders --force", "one topic, although it lacks records"),
    ),
    exit_status="The status is 75 if it lacks records and --force is not given, or a lock was not got; nothing is changed in that "
    "partition then.",
)

REPLICATE_SALVAGE = Command(
    "replicate",
    "salvage",
    summary="produce again what a fail-over cut off",
    run="mk.cli.salvage:salvage",
    description=(
        (
            "Produces the records again that were stored in this directory when it led, and that the directory which was "
            "promoted never had. They are in quarantine/ here since this directory follows that one. "
            f"{_IS_HERE}"
        ),
        (
            "It lists what is in quarantine/, and where the records go: into this directory where it leads the topic again, else "
            "to the leader, at the address that it told. Then it asks. Records keep key, headers and time, their partition, "
            "and their order in it; they come behind what was stored since. Each is stored once: whatever is killed, run it "
            "again. What was stored under a --producer-id keeps that, so what the producer has sent again itself is left out. "
            "A file that is done gets .salvaged added to its name, and stays."
        ),
        (
            "Without FILE, that is all records that diverged. What a recovery cut off was never acknowledged, and what was put "
            "aside to fetch a partition anew is in the leader's log: a FILE of these is produced only if it is named, all of it."
        ),
    ),
    parameters=(
        Parameter(
            "files",
            metavar="FILE",
            default=(),
            multiple=True,
            complete=FILE,
            help="names in quarantine/; all that diverged if none is given",
        ),
        Parameter(
            "into",
            "--into",
            metavar="DIR",
            complete=DIRECTORY,
            panel=PLACE,
            help="the log directory to which the records go, also HOST:DIRECTORY; its topic of that name",
        ),
        _DRY_RUN_OPTION,
        YES_OPTION,
        LOCK_WAIT_OPTION,
        RSH_OPTION,
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
        NETWORK_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
        QUIET_OPTION,
    ),
    examples=(
        ("mk replicate salvage --dry-run", "what is there, and where it would go"),
        ("mk replicate salvage --yes", "from a script"),
        (
            "mk topics create orders -p 4 -d /tmp/x && mk replicate salvage --into /tmp/x",
            "somewhere else first, to look at it",
        ),
    ),
    exit_status="The status is 2 without --yes where nobody can be asked, 66 if a topic or partition is not there, 69 if the host of "
    "the leader does not answer, 75 if what is said to lead does not; what was not stored stays in its file.",
)

REPLICATE = Command(
    "replicate",
    summary="keep copies of log directories, and fail over to them",
    panel="Copies",
    description=(
        "Keeps copies of a log directory in others, here or on other hosts, and makes a copy the leader when the other is lost.",
        "Alone, with SRC and DST or DST only, it copies what SRC has and DST lacks: see `mk replicate run`. "
        "`mk help replication` has it all on one page.",
    ),
    parameters=REPLICATE_RUN.parameters,
    default="run",
    examples=REPLICATE_RUN.examples,
)

COMMANDS = (REPLICATE, REPLICATE_RUN, REPLICATE_STATUS, REPLICATE_PROMOTE, REPLICATE_SALVAGE)
