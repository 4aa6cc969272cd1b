"""`mk produce`, as data."""

from mk.cli.definition import (
    ACKS,
    BYTES,
    DELIMITER,
    DIRECTORY_OPTION,
    FILE,
    FLAG,
    FORMAT,
    HEADER,
    INPUT,
    INTEGER,
    LOCK_WAIT_OPTION,
    NETWORK_OPTION,
    OUTPUT,
    PLACE,
    PROPERTY_OPTION,
    QUIET_OPTION,
    REPLICATION_OPTION,
    TIMESTAMP,
    TOPIC,
    VERBOSE_OPTION,
    Command,
    Parameter,
)

PRODUCE = Command(
    "produce",
    summary="append records to a topic",
    panel="Records",
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
            "With -J or -f a record says more of itself: its key, headers and time, which win over -k and --timestamp; -H adds "
            "headers behind its own. TOPIC and $MK_TOPIC win over a topic that it names; without them each record goes to "
            "its own. Its partition counts where the format has %p, or with --keep-partition; else the key decides."
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
        (
            "With --follow, FILE is read from its start and followed, also when it is renamed, replaced or emptied, until a "
            "signal or -n ends it. A line counts when its end is written. With --producer-id the topic knows how far the "
            "files were read: started again after any end, also after rotations in between, the command goes on there, and "
            "-n counts what was not stored before. If a file that it needs is gone or compressed by then, it stops and "
            "says so. Without --producer-id each start stores FILE again; `tail -n 0 -F FILE | mk produce` stores only what "
            "comes."
        ),
        (
            "With -d HOST:DIR (or $MK_DIR) the directory is one of another host: ssh runs `mk serve --stdio` there, which "
            "appends as it would be done here, and a record counts as stored when it is on the disk there. Blocks of a fast pipe "
            "are sent before those before them are acknowledged; behind one that fails, nothing is stored. If the connection "
            "ends (69), the records that were on their way are stored or not, and it says how many: with --producer-id, run the "
            "same command again. --follow with --producer-id is run there. A path with a colon is spelled ./a:b."
        ),
        (
            "With -d kafka://HOST:PORT,... records go to the brokers of a Kafka cluster: to the partition that kcat and all of "
            "librdkafka give a key, or, with -X partitioner=murmur2_random, to that of Java's clients. A record is sent again "
            "until it is acknowledged, and stored once, in order; when no answer comes for -X message.timeout.ms (default "
            "60000), it says how many are stored, and how many may be. --producer-id is not offered there."
        ),
    ),
    parameters=(
        Parameter(
            "topic",
            metavar="TOPIC",
            environment="MK_TOPIC",
            complete=TOPIC,
            help="the topic; else $MK_TOPIC, else what -J or -f reads of each record, else default",
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
            panel=INPUT,
            help="read FILE instead of stdin; may be repeated, - is stdin",
        ),
        Parameter(
            "follow",
            "--follow",
            metavar="FILE",
            complete=FILE,
            panel=INPUT,
            help="read FILE and what is written to it, as tail -F -n +1 does, also when it is rotated; with --producer-id "
            "go on where the topic ends",
        ),
        Parameter(
            "delimiter",
            "-D",
            "--delimiter",
            kind=DELIMITER,
            metavar="DELIM",
            panel=INPUT,
            help=r"DELIM ends a record, instead of a newline; \t \0 \xNN are understood",
        ),
        Parameter(
            "null",
            "-0",
            "--null",
            kind=FLAG,
            default=False,
            panel=INPUT,
            help="a NUL byte ends a record, instead of a newline",
        ),
        Parameter(
            "whole",
            "--whole",
            kind=FLAG,
            default=False,
            panel=INPUT,
            help="all of stdin, or each --file, is one record",
        ),
        Parameter(
            "format",
            "-f",
            "--format",
            metavar="FORMAT",
            default="value",
            complete=FORMAT,
            panel=INPUT,
            help=r"how a record is read: value, kv, json, raw, framed, or a format such as '%k\t%v\n'; see `mk help "
            "formats`; default value",
        ),
        Parameter(
            "json_lines",
            "-J",
            kind=FLAG,
            default=False,
            implies=("format", "json"),
            panel=INPUT,
            help="the same as -f json: a JSON object a line, as `mk consume -J`, kcat -J and rpk print them",
        ),
        Parameter(
            "keep_partition",
            "--keep-partition",
            kind=FLAG,
            default=False,
            panel=INPUT,
            help="with -J or -f framed: put each record into the partition that it says it is from",
        ),
        Parameter(
            "count",
            "-n",
            "--count",
            kind=INTEGER,
            metavar="N",
            panel=INPUT,
            help="stop after N records, and leave the rest of the input unread",
        ),
        Parameter(
            "skip_bad",
            "--skip-bad",
            kind=FLAG,
            default=False,
            panel=INPUT,
            help="skip a record that cannot be read or stored, say which, and end with status 1; default is to stop there",
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
            kind=ACKS,
            metavar="LEVEL",
            choices=("0", "1", "all"),
            environment="MK_ACKS",
            panel="Safety",
            help="when a record counts as stored: 1 it is on disk, 0 it survives this process but not a power cut; default 1. On "
            "a Kafka cluster: 1 the leader has it, 0 it is sent, all (the default there) all replicas in sync have it",
        ),
        Parameter(
            "producer_id",
            "--producer-id",
            metavar="NAME",
            panel="Safety",
            help="run again under this name with the same input, from its start: what is stored already is not stored again",
        ),
        Parameter(
            "accept_gap",
            "--accept-gap",
            kind=FLAG,
            default=False,
            panel="Safety",
            help="with --follow, go on when a rotated file is gone before it was read to its end, and say so; default is "
            "to stop there",
        ),
        LOCK_WAIT_OPTION,
        Parameter(
            "partitions",
            "--partitions",
            kind=INTEGER,
            minimum=1,
            metavar="N",
            panel=PLACE,
            help="the number of partitions, if this command makes the topic; default 1",
        ),
        REPLICATION_OPTION,
        Parameter(
            "no_create", "--no-create", kind=FLAG, default=False, panel=PLACE, help="fail if there is no such topic"
        ),
        DIRECTORY_OPTION,
        PROPERTY_OPTION,
        NETWORK_OPTION,
        Parameter(
            "tee",
            "-T",
            "--tee",
            kind=FLAG,
            default=False,
            panel=OUTPUT,
            help="write the input to stdout too, as it came, each part after its records are stored",
        ),
        QUIET_OPTION,
        VERBOSE_OPTION,
        Parameter(
            "json", "--json", kind=FLAG, default=False, panel=OUTPUT, help="errors as JSON; for records as JSON, -J"
        ),
    ),
    examples=(
        ("mk produce orders -k user1 paid", "one record with a key"),
        ("mk produce orders -k user1 -Z ''", "a tombstone for that key"),
        ("mk produce orders -H trace=17 -H retry --timestamp -1h paid", "with headers, an hour ago"),
        ("tail -n 0 -F app.log | mk produce app", "each line as it is written"),
        (
            "mk produce app --follow app.log --producer-id app-1",
            "every line of a log once, whatever is rotated, killed and started again",
        ),
        (r"mk produce clicks -K '\t' --partitions 8 < clicks.tsv", "the first column is the key"),
        ("find . -print0 | mk produce files -0", "names that may hold newlines"),
        (r"mk produce paragraphs -D '\n\n' < book.txt", "what stands between empty lines"),
        ("mk produce docs --whole --file a.json --file b.json", "two records, each a file"),
        ("make 2>&1 | mk produce builds -T | tail -n 1", "store all of it, and use it further"),
        ("mk consume orders -J | mk produce copy -J", "the same keys, headers, times and values"),
        (r"mk produce orders -f '%T %k %v\n' < orders.txt", "a time in milliseconds, the key, the value"),
        ("mk produce orders --producer-id import-7 < orders.txt", "run it again until it succeeds: nothing is doubled"),
    ),
    exit_status="The status is 0 only if every record read is stored at the level that --acks asks for, and 1 if "
    "--skip-bad has skipped some. An error says how much was stored.",
)

COMMANDS = (PRODUCE,)
