"""`mk check` and what is below it, as data."""

from mk.cli.definition import (
    CONSUMER_GROUP,
    DIRECTORY,
    DIRECTORY_OPTION,
    FILE,
    FLAG,
    JSON_OPTION,
    LIMIT,
    NO_COLOR_OPTION,
    OUTPUT,
    PROPERTY_OPTION,
    TOPIC,
    Command,
    Parameter,
)

_LIMITS = "Limits"
_THRESHOLDS = (
    "By default a warning: records that went before a group had read them (missed), members that are stopped "
    "(stale-members), records dated more than an hour ahead of the clock (future), files in quarantine/ that are not "
    "salvaged (quarantine), a clock that has leapt (clock). Critical: partitions that take no writes (failed), files that "
    "are missing or cannot be read (damage), and less than 1 MiB of free space above min.free (reserve). Off until a limit is "
    "given: lag, partition-lag, members, dead-members, idle, replica-lag, replica-age, disk-free. `mk help thresholds` "
    "explains each."
)

CHECK_RUN = Command(
    "check",
    "run",
    summary="judge the health of topics and groups, for Nagios, cron and Prometheus",
    run="mk.cli.check:run",
    on_error="mk.cli.check:report_unknown",
    description=(
        (
            "Judges the health of a log directory, and reads no segment for it: only `state`, other small files, and what stat "
            "tells, so it takes a fraction of a second for a thousand partitions. It changes and creates nothing, and works "
            "for whoever may only read; what such a user may not see is UNKNOWN only if it is asked for. `mk topics verify` "
            "proves the bytes."
        ),
        (
            "Named topics and groups narrow it: with TOPIC, to these topics, their copies, and where groups stand in them; with "
            "-g, to these groups; with both, to where these groups stand in these topics. The disk and the clock are judged "
            "if neither is named, or if a limit of theirs is given. A topic called run or fs is named by `mk check run fs`."
        ),
        (
            "Output and exit status are those of a Nagios plugin. The first line has the status, the worst fact, and behind a | "
            "the values with their limits; then come the other facts, one a line. A value above its limit counts, or below it "
            "where little is bad."
        ),
        (
            "--prometheus prints all facts as metrics instead, for the textfile collector of node_exporter; each has the label "
            "directory, so that one collector takes the files of several. What to alert on is up to Prometheus then: the status is "
            "0 once the metrics are written, and mk_up is 0 if the directory cannot be looked at."
        ),
    ),
    parameters=(
        Parameter(
            "topics", metavar="TOPIC", default=(), multiple=True, complete=TOPIC, help="only these topics; all without"
        ),
        Parameter(
            "groups",
            "-g",
            "--group",
            metavar="GROUP",
            default=(),
            multiple=True,
            complete=CONSUMER_GROUP,
            help="only this group; may be repeated",
        ),
        Parameter(
            "warn",
            "-w",
            "--warn",
            kind=LIMIT,
            metavar="NAME=VALUE",
            multiple=True,
            complete=LIMIT,
            panel=_LIMITS,
            help="warn beyond VALUE: a number, a time such as 10m, a size such as 2G, a part of the disk such as 10%, or off; may "
            "be repeated",
        ),
        Parameter(
            "crit",
            "-c",
            "--crit",
            kind=LIMIT,
            metavar="NAME=VALUE",
            multiple=True,
            complete=LIMIT,
            panel=_LIMITS,
            help="be critical beyond VALUE, as --warn",
        ),
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
        Parameter(
            "quiet", "-q", kind=FLAG, default=False, panel=OUTPUT, help="print nothing if the status is OK, as for cron"
        ),
        Parameter(
            "verbose",
            "-v",
            kind=FLAG,
            default=False,
            panel=OUTPUT,
            help="print what is as it should be too, a line each",
        ),
        JSON_OPTION,
        Parameter(
            "prometheus",
            "--prometheus",
            kind=FLAG,
            default=False,
            panel=OUTPUT,
            help="print metrics in the text format of Prometheus",
        ),
        Parameter(
            "output",
            "--output",
            metavar="FILE",
            complete=FILE,
            panel=OUTPUT,
            help="with --prometheus, replace FILE by the metrics, all at once",
        ),
    ),
    examples=(
        ("mk check", "all there is, with the limits that are on by default"),
        ("mk check -w lag=1000 -c lag=100000 -g billing", "how far the group billing is behind"),
        (
            "mk check orders -w idle=15m -w replica-age=5m -c replica-age=1h",
            "that records still come to orders, and to its copy",
        ),
        ("mk check -c disk-free=5% -w quarantine=off", "the disk too, and not what is in quarantine/"),
        (
            "command[check_mk]=/usr/bin/mk check -d /srv/mk -w lag=1000 -c lag=100000",
            "in nrpe.cfg of Nagios, as a user who may write to the directory, since groups/ is closed to others",
        ),
        ("*/5 * * * * mk check -q -d /srv/mk -w lag=1000", "in a crontab: cron mails what is not OK"),
        (
            "* * * * * mk check --prometheus --output /var/lib/node_exporter/mk.prom",
            "in a crontab: metrics for node_exporter; the same without --output is `> x.tmp && mv x.tmp mk.prom`",
        ),
        (
            "ExecStart=/usr/bin/mk check -d /srv/mk",
            "in a service of systemd (Type=oneshot) that a timer starts (OnCalendar=*:0/5): it fails when the status is not OK",
        ),
    ),
    exit_status="As of a Nagios plugin: 0 OK, 1 WARNING, 2 CRITICAL, and 3 UNKNOWN, which also stands for whatever keeps it from "
    "judging: no such directory, topic or group, no permission, a wrong command line. What that is stands in the one line "
    "on standard output. With --prometheus it is 0 when the metrics are written, else 3.",
)

CHECK_FS = Command(
    "check",
    "fs",
    summary="prove what mk relies on in a file system",
    run="mk.cli.check_fs:run",
    description=(
        (
            "Proves with two processes what mk relies on in the file system of DIR: that a lock keeps another process out and is "
            "free as soon as its holder is killed, that of two who make a name one wins, that two may append to one file, that an "
            "open file outlives its replacement, that data and names can be synced, and so on. Each is a line: ok, FAILED, or not "
            "offered, and what mk does then."
        ),
        (
            "It works in a temporary directory inside DIR, and removes it, also when it is interrupted; what a killed run left, the "
            "next one removes. If DIR is not there yet, it looks where DIR would be made. It can be run beside producers and "
            "consumers. What happens when a disk lies about a sync, and whether the locks of a network file system reach other "
            "hosts, no program on one host can prove: such a file system is refused."
        ),
    ),
    parameters=(
        Parameter(
            "place",
            metavar="DIR",
            complete=DIRECTORY,
            help="a directory in the file system; the log directory without",
        ),
        DIRECTORY_OPTION,
        JSON_OPTION,
        NO_COLOR_OPTION,
    ),
    examples=(
        ("mk check fs", "where the log directory is"),
        ("mk check fs /mnt/new", "before anything is put there"),
        ("mk check fs --json /mnt/new | jq '.facts[] | select(.result != \"ok\")'", "what is not as it should be"),
    ),
    exit_status="The status is 0 if all is as it should be, 1 if mk works there with less: slower, or not through a power cut, and 2 "
    "if nothing is to be trusted to it. What keeps it from finding out is an error as of any command.",
)

CHECK = Command(
    "check",
    summary="judge health for monitoring, and prove a file system",
    panel="Health",
    description=(
        "Judges the health of a log directory, for Nagios, cron and Prometheus: see `mk check run`, which may be left out.",
        _THRESHOLDS,
    ),
    parameters=CHECK_RUN.parameters,
    default="run",
    examples=CHECK_RUN.examples,
)

COMMANDS = (CHECK, CHECK_RUN, CHECK_FS)
