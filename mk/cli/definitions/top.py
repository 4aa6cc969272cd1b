"""`mk top`, as data."""

from mk.cli.definition import (
    DIRECTORY_OPTION,
    DURATION,
    FLAG,
    JSON_OPTION,
    NO_COLOR_OPTION,
    OUTPUT,
    PROPERTY_OPTION,
    REGEX,
    Command,
    Parameter,
)

TOP = Command(
    "top",
    summary="watch topics, groups and copies live",
    panel="Health",
    run="mk.cli.top:run",
    description=(
        (
            "Shows on a terminal what is going on in a log directory, here or on another host: of each topic how fast records come "
            "in and how fast groups commit them, of each group its members, its lag, and whether that grows or shrinks, of each copy "
            "how far it is behind. It looks every two seconds, or as --interval says, reads no record and changes nothing."
        ),
        (
            "Rates are what was counted in two looks, over the time that really passed between them; the first look has none yet. What "
            "cannot be told is a dash: of a topic that is new, was cut or changed its leader since the last look, of a group that was "
            "set back. OUT/S is how far committed offsets came; who reads without a group leaves no trace."
        ),
        (
            "Members of a group commit every five seconds. So OUT/S and TREND/S of groups are counted from commit to commit, over the "
            "last 15 seconds, and are dashes until a second commit was seen: with --once, an --interval of 6s and more shows the rates of "
            "all groups that are at work. LAG is how far behind their commits are, and grows between two of them."
        ),
        (
            "Keys: up and down (or k and j), PgUp, PgDn, Home and End choose a line, tab goes to the next table, enter opens a topic's "
            "partitions, a group's, or a copy's, esc goes back; s sorts by the next column and r the other way round; / shows "
            "only names in which a regular expression is found; ? explains, q quits. ^Z and fg work."
        ),
        (
            "Off a terminal it needs --once, as top needs -b: it looks twice, an interval apart, and prints what it has found as text, or "
            "with --json as one object. That has directory, directory_id, time_ms, elapsed_ms between the two looks, and "
            "unseen, what could not be looked at, and the lists topics (each with topic, topic_id, partition_count, records, "
            "size_bytes, last_write_ms, records_in_per_s, bytes_in_per_s, records_out_per_s, problem, and the same of its "
            "partitions, with their offsets), groups (group, member_count, topics, lag, lag_change_per_s, "
            "records_out_per_s, last_commit_ms, problem, members, and offsets by partition; null where they may not be "
            "looked at) and replicas (directory_id, address, role, partition_count, lag, lag_change_per_s, seen_ms, "
            "partitions). What is not known is null; names do not change, and more may come."
        ),
    ),
    parameters=(
        Parameter(
            "interval_ms",
            "-i",
            "--interval",
            kind=DURATION,
            metavar="TIME",
            default=2000,
            minimum=100,
            help="how long to wait between two looks, such as 5s or 500ms; default 2s",
        ),
        Parameter(
            "regex",
            "-r",
            "--regex",
            kind=REGEX,
            metavar="REGEX",
            help="only topics and groups in whose names REGEX is found",
        ),
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
        Parameter(
            "once",
            "--once",
            kind=FLAG,
            default=False,
            panel=OUTPUT,
            help="print it once, as text; no terminal is needed",
        ),
        JSON_OPTION,
        NO_COLOR_OPTION,
    ),
    examples=(
        ("mk top", "what is going on"),
        ("mk top -i 500ms -r '^orders'", "faster, and some of it"),
        ("mk top -d web1:/srv/mk", "in a directory of another host"),
        (
            "mk top --once --json -i 6s | jq '.groups[] | select(.lag_change_per_s > 10)'",
            "which groups fall behind",
        ),
    ),
)

COMMANDS = (TOP,)
