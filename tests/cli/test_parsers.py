"""Both parsers read one definition: they agree, or the fast one declines."""

import shlex

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from mk.cli import definition, fast_parser
from mk.cli.definitions.consume import CONSUME
from mk.cli.definitions.produce import PRODUCE
from mk.cli.options import Options
from mk.cli.typer_app import Application
from mk.consumer.offset_spec import OffsetRange, OffsetSpec
from mk.errors import UsageError

APPLICATION = Application()

EVERYDAY = """
produce
produce orders
produce orders paid
produce orders -k user1 paid
produce orders -kuser1 paid
produce -k user1 orders paid
produce --key=user1 orders paid refunded
produce --key user1 orders
produce orders -K '\\t' --partitions 8
produce orders -z zstd --acks 0 --acks=1
produce orders -p 3 -v
produce orders -qv
produce orders -vp3
produce orders --no-create --lock-wait 500ms
produce orders -- -k --key -- -
produce orders - --
produce orders ''
produce orders -D '\\n\\n' -n 10 -T
produce files -0 --skip-bad -n0
produce docs --whole --file a.json --file=b.json --file -
produce orders -H trace=1 -Hretry -H a:b= --timestamp 2026-11-23T10:00Z -Zk u1 ''
produce orders -k '' ''
produce orders -k=u
produce orders -k --
produce -d /tmp/log orders x
produce --dir=/tmp/log orders x
-d /tmp/log produce orders x
-q -v produce orders
consume orders
consume orders -F
consume -F orders payments
consume orders -n 5 -o -5
consume orders -o-5
consume orders --offset=-5
consume orders -o end -Fq
consume orders -p 0,1 -p 3
consume orders -J
consume orders --json
--json consume orders
consume orders -f kv -0
consume orders -eq
consume orders --raw -f raw
consume -r '^or' -F --idle 5s --max-time=1m --timeout 2m
consume orders -o 5:10 -D '\\0\\n' -Z
consume orders -o s@1 -o e@2
consume orders -o 0:5,1:-3
consume orders --from start+5 --to end-5 --tail 3
consume orders --since 2026-11-23T10:00 --until 1795428480
--timeout 5s consume orders
consume jobs -g work --exec './work -v' --jobs 4 --retries 2 --backoff 10s --dlq dead --no-create
consume jobs --exec=./work --batch=100 -J
tail orders
tail orders --tail 3 -J -p 0,1 -q
tail -r . -0 --idle 1s
topics
topics list
topics --json
topics --json list
--json topics list --no-color
topics create orders -p 8 -c segment.bytes=1048576 -c retention.ms=1 --if-not-exists
topics create --partitions=2 orders
topics describe orders payments
topics describe orders --json
topics delete orders --yes --dry-run --if-exists
topics offsets orders -p 0,1
--yes -d x topics delete orders
replicate /srv/mk /mnt/mk
replicate /srv/mk -F host:/mnt/mk -qv
replicate -e 'ssh -p 2222' user@host:/mnt/mk ./run --prefix web1
replicate run --dry-run run --topics 'o.*' --no-groups
-d /srv/mk replicate /mnt/mk --accept-gap
replicate host:mk --verify --json
check
check -w lag=1000 --crit lag=1e5 -g billing
check orders payments -c disk-free=5% -q
--json check run fs
check --prometheus --output mk.prom -d /srv/mk
check fs
check fs /mnt/new --json
"""

WORDS = sorted(
    {flag for command in (*definition.commands(), definition.ROOT) for one in command.parameters for flag in one.flags}
    | {word for command in definition.commands() for word in command.path}
    | {"--", "-", "", "-qv", "-vq", "-kx", "-k=x", "--key=", "--key=a=b", "-p0,1", "-o-5", "-5", "--acks=1", "-Fn3"}
    | {"--json=1", "--kye", "--ke", "-h", "--help", "--version", "---", "-é", "--é=1", "-qé", "x", "orders", "0", "0,1"}
    | {"1", "-1", "500ms", "10s", "1.5s", "zstd", "json", "kv", "end", "a=b", "\\t", "é", "a b", "\udcff", "٣"}
)


def typed(arguments: "list[str]", environ: "dict[str, str] | None" = None) -> "Options | int | None":
    """What the Typer application makes of it; None if it refuses."""
    try:
        return APPLICATION.parse(arguments, environ or {})
    except UsageError:
        return None


@pytest.mark.parametrize("line", EVERYDAY.strip().splitlines())
def test_an_everyday_line_is_taken_by_the_fast_parser_and_means_the_same_to_both(line):
    arguments = shlex.split(line)
    environ = {"MK_TOPIC": "fallback"}
    taken = fast_parser.parse(arguments, environ)
    assert taken is not None
    assert taken == typed(arguments, environ)


VALUES = {
    definition.TEXT: ["t", "none", "zstd", "kv", "json", "there", ""],
    definition.BYTES: ["u1", "=", "a=b", "", "-", "--", "-k", "--key", "é", "\udcff"],
    definition.DELIMITER: [":", "=", "\\t", "--", "-K", "", "\\q"],
    definition.ACKS: ["0", "1", "all", "2", "-1", ""],
    definition.INTEGER: ["0", "1", "3", "=1", "-1", "x"],
    definition.PARTITIONS: ["0", "0,3", "1,1", ",", "-p"],
    definition.DURATION: ["10s", "500ms", "1.5m", "s", "--"],
    definition.OFFSET: ["start", "end", "7", "-7", "-0", "=7", "--", "+7", "@5", "@x"],
    definition.OFFSETS: ["start", "end", "7", "-7", "=7", "--", "+7", "1:2", ":", "@5:6", "0:5,1:-3", "@x"],
    definition.TIME: ["5", "@5", "2026-11-23", "soon", "", "--"],
    definition.REGEX: ["t", "^t|u$", "", "(", "-F", "--"],
    definition.SELECTOR: ["v=a", "!k=^b|c", "h:n=x=y", "!h:n=", "v=(", "v", "h:=x", "", "-F", "--", "v=\udcff"],
    definition.SETTING: ["a=b", "a=", "=b", "a=b=c", "--", "-c"],
    definition.LIMIT: ["lag=1", "lag=", "=1", "lag", "a=b=c", "--", "-w"],
    definition.HEADER: ["k=v", "k:v", "k", "k=", "k:=v", "=v", ":", "", "--", "-H", "\udcff=\udcfe"],
    # Not what depends on when it is asked.
    definition.TIMESTAMP: [
        "0",
        "1700000000",
        "1700000000000",
        "2026-11-23",
        "2026-11-23T10:00:00+02:00",
        "soon",
        "",
        "--",
    ],
}


def spelled(parameter):
    """All ways to write one option, with values of its kind that are mostly right."""
    flags = st.sampled_from(parameter.flags)
    if parameter.kind == definition.FLAG:
        return st.tuples(flags, st.sampled_from(["", "", "", "", "", "=", "=1"])).map(lambda pair: ["".join(pair)])
    values = st.sampled_from(VALUES[parameter.kind])
    return st.one_of(
        st.tuples(flags, values).map(list),
        st.tuples(flags, values).map(lambda pair: ["=".join(pair)]),
        st.tuples(flags, values).map(lambda pair: ["".join(pair)]),
    )


def flat(pieces):
    return [word for piece in pieces for word in piece]


def joined(pieces):
    """Join neighbouring short options, as in -qv and -qkVALUE."""
    words = flat(pieces)
    for place in range(len(words) - 1, 0, -1):
        before, word = words[place - 1 : place + 1]
        if (
            len(before) == 2 == len(before.strip("-=")) + 1
            and before[0] == "-"
            and word[:1] == "-"
            and word[1:2] != "-"
        ):
            words[place - 1 : place + 1] = [before + word[1:]]
    return words


def likely_lines(command):
    options = [spelled(parameter) for parameter in command.parameters if parameter.flags]
    before = [spelled(parameter) for parameter in definition.GLOBAL_OPTIONS if parameter in command.parameters]
    words = st.sampled_from(["t", "u", "x", "bash", "-", "", "a=b"]).map(lambda word: [word])
    piece = st.one_of(words, *options) if options else words
    pieces = st.lists(piece, max_size=5)
    return st.builds(
        lambda first, inner, join, rest: [
            *flat(first),
            *command.path,
            *(joined(inner) if join else flat(inner)),
            *rest,
        ],
        st.lists(st.one_of(before), max_size=1) if before else st.just([]),
        pieces,
        st.booleans(),
        st.one_of(st.just([]), st.lists(st.sampled_from(["--", "-k", "--key", "x", "-", ""]), max_size=3)),
    )


command_lines = st.one_of(
    *map(likely_lines, (command for command in definition.commands() if command.run)),
    likely_lines(PRODUCE),
    likely_lines(CONSUME),
    st.tuples(
        st.lists(st.sampled_from(["-q", "-v", "--json", "-d", "x", "--yes", "--no-color"]), max_size=2),
        st.sampled_from([list(command.path) for command in definition.commands()]),
        st.lists(
            st.one_of(st.sampled_from(WORDS), st.text(max_size=4).filter(lambda text: "\0" not in text)), max_size=7
        ),
    ).map(lambda parts: [*parts[0], *parts[1], *parts[2]]),
    st.lists(st.sampled_from(WORDS), max_size=6),
)
environs = st.fixed_dictionaries(
    {},
    optional={
        "MK_TOPIC": st.sampled_from(["", "t"]),
        "MK_ACKS": st.sampled_from(["", "0", "all", "some"]),
        "MK_LOCK_WAIT": st.sampled_from(["", "2s", "soon"]),
        "MK_DIR": st.sampled_from(["", "/somewhere"]),
    },
)


def test_the_parsers_agree_or_the_fast_one_declines(thoroughness):
    @settings(max_examples=thoroughness.pick(500, 5000), deadline=None)
    @given(command_lines, environs)
    @example(["produce", "--", "--"], {})
    @example(["topics", "--json", "describe"], {})
    def check(arguments, environ):
        try:
            "".join(arguments).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return  # no process can be given such an argument
        taken = fast_parser.parse(arguments, environ)
        event("taken" if taken else "declined")
        if taken is not None:
            assert taken == typed(arguments, environ)

    check()


def test_what_typer_accepts_the_fast_parser_accepts(thoroughness):
    """Not needed for truth, but for speed: only help and version are left to Typer."""

    @settings(max_examples=thoroughness.pick(300, 1500), deadline=None)
    @given(command_lines, environs)
    def check(arguments, environ):
        try:
            "".join(arguments).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return
        options = typed(arguments, environ)
        if isinstance(options, Options) and "--" not in arguments:
            assert fast_parser.parse(arguments, environ) == options

    check()


def options_of(line, **environ):
    options = fast_parser.parse(shlex.split(line), environ)
    assert options is not None
    return options


def test_produce_has_these_values():
    options = options_of(
        "produce orders -k u1 -K '\\x1f' -p 2 -z zstd --acks 0 --lock-wait 1.5s -v -d there -Z -H a=b -H c:=d -H e -H f= "
        "--timestamp 1700000000 --skip-bad -D '\\n\\0' --file x --file - -n 3 -T paid ''"
    )
    assert vars(options) == {
        "command": PRODUCE,
        "topic": "orders",
        "values": (b"paid", b""),
        "key": b"u1",
        "key_delimiter": b"\x1f",
        "headers": ((b"a", b"b"), (b"c", b"=d"), (b"e", None), (b"f", b"")),
        "timestamp_ms": 1_700_000_000_000,
        "null_value": True,
        "files": ("x", "-"),
        "delimiter": b"\n\0",
        "null": False,
        "whole": False,
        "count": 3,
        "follow": None,
        "accept_gap": False,
        "format": "value",
        "json_lines": False,
        "keep_partition": False,
        "skip_bad": True,
        "tee": True,
        "partition": 2,
        "compression": "zstd",
        "acks": 0,
        "producer_id": None,
        "lock_wait_ms": 1500,
        "partitions": None,
        "replication_factor": None,
        "no_create": False,
        "directory": "there",
        "properties": {},
        "allow_network_fs": False,
        "quiet": False,
        "verbose": True,
        "json": False,
    }


def test_produce_without_anything_reads_stdin_into_default():
    options = options_of("produce")
    # No topic: `default` stands in for it where nothing else names one, as a record of -J may.
    assert (options.topic, options.values, options.acks, options.lock_wait_ms) == (None, (), None, 10_000)
    assert (options.format, options.keep_partition) == ("value", False)
    assert options.directory is None


def test_consume_has_these_values():
    assert vars(options_of("consume a b -o -5 -p 0,3 -p 1 -n 7 -F --json")) == {
        "command": CONSUME,
        "topics": ("a", "b"),
        "regex": None,
        "offset": (OffsetRange(OffsetSpec("before-end", 5)),),
        "first": None,
        "stop": None,
        "since": None,
        "until": None,
        "partitions": (0, 3, 1),
        "count": 7,
        "tail": None,
        "follow": True,
        "idle_ms": None,
        "max_time_ms": None,
        "timeout_ms": None,
        "grep": (),
        "merge": False,
        "reverse": False,
        "cursor_file": None,
        "exit_at_end": False,
        "format": "json",
        "json_lines": False,
        "json": True,
        "delimiter": None,
        "null": False,
        "show_null": False,
        "raw": False,
        "quiet": False,
        "directory": None,
        "properties": {},
        "allow_network_fs": False,
        **dict.fromkeys(("group", "on_truncation", "session_timeout_ms")),
        **dict.fromkeys(("no_commit", "or_skip", "no_create"), False),
        **dict.fromkeys(("execute", "records_each", "jobs", "retries", "backoff_ms", "dlq")),
    }


def test_a_flag_beats_the_environment_which_beats_the_default():
    assert options_of("produce", MK_ACKS="0").acks == 0
    assert options_of("produce --acks 1", MK_ACKS="0").acks == 1
    assert options_of("produce", MK_ACKS="").acks is None
    assert options_of("produce --acks all", MK_ACKS="0").acks == "all"
    assert options_of("consume", MK_TOPIC="t").topics == ("t",)
    assert options_of("produce", MK_DIR="there", MK_TOPIC="t").directory == "there"


@pytest.mark.parametrize(
    ("spec", "offset"),
    [
        ("start", OffsetSpec("start")),
        ("latest", OffsetSpec("end")),
        ("7", OffsetSpec("at", 7)),
        ("-3", OffsetSpec("before-end", 3)),
    ],
)
def test_offsets(spec, offset):
    assert options_of(f"consume t -o {spec}").offset == (OffsetRange(offset),)
    assert options_of(f"consume t --from {spec}").first == offset
    assert options_of(f"consume t --to={spec}").stop == offset


def test_a_regex_needs_no_topic_and_ignores_the_one_of_the_environment():
    options = options_of("consume -r ^t", MK_TOPIC="other")
    assert (options.topics, options.regex) == ((), "^t")
    assert options_of("tail -r ^t", MK_TOPIC="other").topics == ()
    assert options_of("tail", MK_TOPIC="other").topics == ("other",)


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("\t", b"\t"),
        (r"\t", b"\t"),
        (r"\\t", b"\\t"),
        (r"\x00:", b"\0:"),
        ("::", b"::"),
        ("é", "é".encode()),
        ("\\", b"\\"),
        (r"\n\r\0", b"\n\r\0"),
        ("\udcff", b"\xff"),
    ],
)
def test_key_delimiters(text, delimiter):
    options = fast_parser.parse(["produce", "t", "-K", text], {})
    assert options is not None and options.key_delimiter == delimiter


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ("prodce t", "there is no command prodce", "produce"),
        ("topics dscribe", "there is no command dscribe", "describe"),
        ("produce --kye x", "`mk produce` has no option --kye", "--key"),
        ("consume t --count", "--count needs a value", "mk consume --help"),
        ("consume t -n x", "--count cannot be x", "mk consume --help"),
        ("consume t -n -1", "--count cannot be -1", "mk consume --help"),
        ("consume", "TOPIC is missing", "mk consume --help"),
        ("consume t -o soon", "'soon' is no offset", "mk help offsets"),
        ("consume t -J -f kv", "-J and another format exclude each other", "leave one"),
        ("produce t --acks some", "--acks cannot be some", "mk produce --help"),
        ("produce t --lock-wait 1x", "--lock-wait cannot be 1x", "mk produce --help"),
        ("produce t -K ''", "--key-delimiter cannot be empty", "mk produce --help"),
        ("produce t --partitions 0", "--partitions cannot be 0", "mk produce --help"),
        ("consume t --since soon", "--since cannot be soon", "mk consume --help"),
        ("consume -r (", "--regex cannot be (", "mk consume --help"),
        ("--timeout 5s topics list", "--timeout means nothing to `mk topics list`", "mk topics list --help"),
        ("--yes consume t", "--yes means nothing to `mk consume`", "mk consume --help"),
        ("topics create t -c x", "--config cannot be x", "mk topics create --help"),
        ("topics offsets a b", "too many arguments: b", "mk topics offsets --help"),
        ("-q", "`mk` needs a command", "mk --help"),
    ],
)
def test_a_usage_error_says_what_and_names_the_way_out(line, what, fix):
    arguments = shlex.split(line)
    assert fast_parser.parse(arguments, {}) is None
    with pytest.raises(UsageError) as error:
        APPLICATION.parse(arguments, {})
    assert error.value.what == what
    assert fix in error.value.fix


def test_a_wrong_value_in_the_environment_is_blamed_on_the_variable():
    with pytest.raises(UsageError, match="MK_ACKS cannot be some"):
        APPLICATION.parse(["produce"], {"MK_ACKS": "some"})
