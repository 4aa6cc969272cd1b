"""`mk replicate` and its subcommands, as data."""

from mk.cli.definition import (
    DIRECTORY,
    DURATION,
    FLAG,
    JSON_OPTION,
    LOCK_WAIT_OPTION,
    NETWORK_OPTION,
    NO_COLOR_OPTION,
    PLACE,
    QUIET_OPTION,
    REGEX,
    Command,
    Parameter,
)

_PLACES = (
    "SRC and DST are log directories: here, or on another host as [USER@]HOST:DIRECTORY, reached through ssh, which must "
    "have mk there. One of them at least is here. A directory whose name has a colon, or that of a subcommand, is written "
    "with a slash in front of it: ./status. With one argument alone, that is DST, and the log directory (MK_DIR) is SRC."
)

REPLICATE_RUN = Command(
    "replicate",
    "run",
    summary="copy what a log directory has and another one lacks",
    run="mk.cli.replicate:run",
    description=(
        "Copies to DST what SRC has and DST lacks, and ends. It is what `mk replicate SRC DST` does.",
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
        Parameter(
            "rsh",
            "-e",
            "--rsh",
            metavar="COMMAND",
            environment="MK_RSH",
            panel=PLACE,
            help="run COMMAND in place of ssh, such as 'ssh -p 2222'",
        ),
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
    ),
    exit_status="The status is 65 if a partition or topic was refused because DST has what SRC does not have, or SRC no longer "
    "has what comes next, or what comes is damaged; 75 if DST leads, or a lock was not got; 69 if the other host does not "
    "answer, 76 if there is no mk there, or one that is too old or too new; 3 if --verify finds DST behind. The worst of all "
    "partitions counts; the others are copied.",
)

REPLICATE = Command(
    "replicate",
    summary="keep copies of log directories, and fail over to them",
    description=(
        "Keeps copies of a log directory in others, here or on other hosts, and makes a copy the leader when the other is lost.",
        "Alone, with SRC and DST or DST only, it copies what SRC has and DST lacks: see `mk replicate run`.",
    ),
    parameters=REPLICATE_RUN.parameters,
    default="run",
    examples=REPLICATE_RUN.examples,
)

COMMANDS = (REPLICATE, REPLICATE_RUN)
