"""Small files of a log directory with a checksum that is right and content that is hostile: an error of one line or none, and
never a way out of the directory, a control sequence, or a bug."""

import copy
import json
import shutil

import pytest

from mk.groups.claim_slot import decode_slots
from mk.groups.reset_journal import decode_change, encode_change
from mk.records.codecs import crc32c
from mk.storage.partition_state import SLOT_DISTANCE, SLOT_SIZE, decode_slot
from mk.storage.replica_directory import encode_line
from tests.proof.figures import count

CLEAR = (0, 2, 65, 66, 73, 74, 75, 77, 78)
STEERING = "\x1b\x07\x9b\u202e\u200b"
"""What a terminal would obey, or turn a line round by."""

ESCAPE = b'"\\u001b]52;c;aGk=\\u0007\\u009b31m\\u202e\\ud800"'
"""A string of JSON that sets a clipboard, and has a half of a character."""

HEX = b'"' + b"d" * 32 + b'"'


def flat(*lines):
    """Return `mk.json` or `topic.json` of these lines, as whoever knows the format makes it."""
    body = b"{\n" + b"".join(line + b",\n" for line in lines)
    return body + b'"checksum": "%08x"\n}\n' % crc32c(body)


def replaced(content, **fields):
    """Return a topic.json with some of its lines replaced, or taken out (None); names as retention_ms."""
    lines = dict(line.removesuffix(b",").split(b": ", 1) for line in content.splitlines()[1:-2])
    for name, value in fields.items():
        key = b'"%s"' % name.replace("_ms", ".ms").replace("_bytes", ".bytes").replace("_groups", ".groups").encode()
        if value is None:
            del lines[key]
        else:
            lines[key] = value
    return flat(*(b"%b: %b" % line for line in lines.items()))


def make_group(mk):
    mk.ok("produce", "t", "a", "b")
    mk.ok("consume", "t", "-g", "g", "-n", 1)
    mk.ok("groups", "reset", "g", "--to", "0", "--yes")


def is_harmless(done, outside):
    """Assert that a command ended as it should, with nothing said that steers a terminal, and nothing made elsewhere."""
    assert done.status in (*CLEAR, 1, 3), done  # 1 and 3: of `mk check`, as Nagios plugins have it
    assert "Traceback" not in done.err, done
    assert done.err.count("mk: error: ") <= 1, done
    for line in done.err.splitlines():
        assert line.isprintable(), repr(line)
    for letter in STEERING:
        assert letter.encode() not in done.out, done
    assert sorted(path.name for path in outside.iterdir()) in (["log"], ["copy", "log"])


COMMANDS = [
    ["consume", "t"],
    ["topics"],
    ["topics", "--json"],
    ["topics", "describe", "t"],
    ["produce", "t", "-k", "k", "v"],
    ["consume", "t", "-g", "g"],
    ["groups", "describe", "g"],
    ["groups", "undo", "g", "--yes"],
    ["topics", "describe", "t", "--json"],
    ["topics", "repair", "t", "--yes"],
    ["consume", "t", "-o", "@2020-01-01"],
    ["replicate", "status"],
    ["topics", "create", "new"],
    ["topics", "verify"],
    ["topics", "clean"],
    ["topics", "alter", "t", "-c", "retention.ms=1d"],
    ["check"],
    ["replicate", ".", "COPY"],
]

MK_JSON = [
    [b'"address": "h:/x"'],
    [b'"directory_id": %b' % HEX, b'"address": '],
    [b'"directory_id": 5'],
    [b'"directory_id": "../../../evil"'],
    [b'"directory_id": "%b"' % ("\u00fc" * 32).encode()],
    [b'"directory_id": %b' % ESCAPE],
    [b'"directory_id": %b' % HEX, b'"address": %b' % ESCAPE],
    [b'"directory_id": %b' % HEX, b'"address": "-oProxyCommand=touch evil:/x"'],
    [b'"directory_id": %b' % HEX, b'"x": %b"\\\\"%b' % (b"[" * 100_000, b"]" * 100_000)],
    [b'"directory_id": %b' % HEX, b'"x": {"\\\\": 1}'],
    [b'"directory_id": %b' % HEX, b'"x": %b' % (b"9" * 100_000)],
    [b'"directory_id": %b' % HEX, b'"\\ud800": "\\ud800"'],
]


def strike(mk, made_once, thoroughness, count_of_sample, changes):
    """Run commands, each on a directory of its own, one file of which was changed.

    changes: name of the file, with TOPIC for the topic's id, and a function of what is in it now.
    """
    made_once(mk, make_group)
    beside = mk.directory.parent
    template = mk.directory.rename(beside.with_name("template"))
    topic_id = json.loads((template / "topics/t/topic.json").read_bytes())["topic_id"]
    pairs = [(change, words) for change in changes for words in COMMANDS]
    chosen = thoroughness.of(pairs, count_of_sample, kind=lambda pair: pair[0][0])
    for (name, change), words in chosen:
        shutil.copytree(template, mk.directory)
        path = mk.directory / name.replace("TOPIC", topic_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(change(path.read_bytes() if path.exists() else b""))
        copy = beside / "copy"
        done = mk(*({".": mk.directory, "COPY": copy}.get(word, word) for word in words))
        is_harmless(done, beside)
        shutil.rmtree(mk.directory)
        shutil.rmtree(copy, ignore_errors=True)
    count("attacks", len(chosen))


@pytest.fixture
def mk(mk):
    """In a directory of its own, so that whatever is made beside it is seen."""
    mk.directory = mk.directory.parent / "beside" / "log"
    mk.directory.parent.mkdir()
    mk.environment["MK_DIR"] = str(mk.directory)
    return mk


def test_the_identity_of_a_directory(mk, made_once, thoroughness):
    changes = [("mk.json", lambda _, lines=lines: flat(b'"format": 1', *lines)) for lines in MK_JSON]
    strike(mk, made_once, thoroughness, 12, changes)


BIG = b"1" + b"0" * 30
TOPIC_JSON = [
    {"partitioner": b'"os:system"'},
    {"partitioner": ESCAPE},
    {"name": b'"../../evil"'},
    {"name": ESCAPE},
    {"created": ESCAPE},
    {"sealed": ESCAPE, "sealed_by": ESCAPE},
    {"topic_id": b'"../../../../../../../../evil/../x"'},
    {"topic_id": b'"%b"' % ("\u00fc" * 32).encode()},
    {"topic_id": None},
    {"partitions": b"5"},
    {"partitions": BIG},
    {"partitions": b"-1"},
    {"partitions": b'"1"'},
    {"retention_groups": b'"../../evil"'},
    {"retention_groups": ESCAPE},
    {"retention_ms": BIG},
    {"retention_ms": b"-" + BIG},
    {"retention_bytes": b"-" + BIG},
    {"segment_bytes": b"-1"},
    {"segment_bytes": BIG},
    {"segment_ms": b"-" + BIG},
    {"flush_ms": BIG},
    {"flush_ms": b"-" + BIG},
    {"max_message_bytes": b"-1"},
    {"max_message_bytes": BIG},
]


def test_the_identity_of_a_topic(mk, made_once, thoroughness):
    changes = [("topics/t/topic.json", lambda old, fields=fields: replaced(old, **fields)) for fields in TOPIC_JSON]
    strike(mk, made_once, thoroughness, 12, changes)


NUMBERS = [-1, -(10**30), 10**30, 1 << 63, (1 << 63) - 1, 1 << 40]
PLACES = (
    "segment",
    "high_watermark",
    "log_start_offset",
    "leader_epoch",
    "cleaned_to",
    "tombstones_dropped_to",
    "syncing",
    "began_ms",
)
ENDS = [(end, place) for end in ("written", "durable") for place in ("position", "offset", "chain", "max_timestamp")]


def state_with(old, place, number):
    """Return a `state` whose newer slot has another number at a place, such as "segment" or ("written", "offset")."""
    slots = [decode_slot(old[at : at + SLOT_SIZE]) for at in (0, SLOT_DISTANCE)]
    state = max((slot for slot in slots if slot is not None), key=lambda slot: slot.sequence)
    if isinstance(place, tuple):
        setattr(state, place[0], copy.copy(getattr(state, place[0])))  # Both ends may be one.
        setattr(getattr(state, place[0]), place[1], number)
    else:
        setattr(state, place, number)
    return state.encode().ljust(SLOT_DISTANCE + SLOT_SIZE, b"\0")


def test_where_a_log_ends(mk, made_once, thoroughness):
    changes = [
        ("topics/t/0/state", lambda old, place=place, number=number: state_with(old, place, number))
        for place in (*PLACES, *ENDS)
        for number in NUMBERS
    ]
    strike(mk, made_once, thoroughness, 16, changes)


@pytest.mark.parametrize(
    "places", [["segment"], [("durable", "offset")], [("written", "offset"), ("durable", "offset")]]
)
def test_an_end_that_no_log_comes_to_is_not_filled_up_with_batches(mk, places):
    """A repair covers what is lost: of 2^63 offsets that would be 200 GB."""
    make_group(mk)
    path = mk.directory / "topics/t/0/state"
    data = path.read_bytes()
    for name in places:
        data = state_with(data, name, (1 << 63) - 1)
    path.write_bytes(data)
    before = sum(file.stat().st_size for file in mk.directory.rglob("*"))
    done = mk("topics", "repair", "t", "--yes")
    # Ends that do not fit to each other are damage of `state` itself, which is made again of the segments.
    assert (done.status, "more than a log can have" in done.err) == ((0, False) if len(places) == 1 else (65, True)), (
        done
    )
    assert sum(file.stat().st_size for file in mk.directory.rglob("*")) < before + 10_000
    count("attacks")


def test_who_led_a_log(mk, made_once, thoroughness):
    lines = [
        f"{epoch} {offset} {'d' * 32}" for epoch in (0, -1, 10**30, (1 << 64) - 1) for offset in (0, -5, 10**30, 5)
    ]
    lines += ["0 0 ../../evil", "0 0 \x1b[31m", "0 0"]
    changes = [("topics/t/0/epochs", lambda _, line=line: encode_line(line)) for line in lines]
    strike(mk, made_once, thoroughness, 8, changes)


def slot_with(old, **fields):
    slot = decode_slots(old)[0]
    for name, value in fields.items():
        setattr(slot, name, value)
    slot.sequence += 1
    return old[: slot.position] + slot.encode() + old[slot.position + SLOT_SIZE :]


CLAIMS = [
    {"topic": "\x1b[31m\u202e"},
    {"topic": "../../evil"},
    *({name: (1 << 64) - 2} for name in ("sequence", "offset", "leader_epoch", "time_ms")),
]


def change_with(old, *without, **fields):
    """Return a journal with one change more: the last one with other fields, also of its first offset (`offset_after`)."""
    document = decode_change(old.splitlines()[-1])
    for name, value in fields.items():
        of_offset = name.startswith("offset_")
        (document["offsets"][0] if of_offset else document)[name.removeprefix("offset_")] = value
    for name in without:
        del document[name]
    return old + encode_change(document)


def nested(old):
    body = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b", "
    return old + b'%b"checksum": "%08x"}\n' % (body, crc32c(body))


JOURNALS = [
    *(
        {name: "\x1b]52;c;aGk=\x07\u202e\ud800"}
        for name in ("kind", "user", "host", "command", "offset_topic", "offset_topic_id")
    ),
    *(
        {name: 10**30}
        for name in ("change", "time_ms", "offset_partition", "offset_before", "offset_after", "offset_sequence")
    ),
    *({name: -7} for name in ("change", "time_ms", "offset_partition", "offset_before", "offset_after", "undoes")),
    {"offset_topic_id": "../../../evil"},
    {"offsets": []},
    {"undoes": "1"},
]
KEYS = ("change", "time_ms", "kind", "user", "host", "pid", "command", "undoes", "offsets")


def test_where_a_group_stands_and_stood(mk, made_once, thoroughness):
    claim, journal = "groups/g/claims/TOPIC/0.0000000001", "groups/g/journal"
    changes = [(claim, lambda old, fields=fields: slot_with(old, **fields)) for fields in CLAIMS]
    changes += [(journal, lambda old, fields=fields: change_with(old, **fields)) for fields in JOURNALS]
    changes += [(journal, lambda old, key=key: change_with(old, key)) for key in KEYS]
    changes.append((journal, nested))
    strike(mk, made_once, thoroughness, 12, changes)


@pytest.mark.parametrize("key", ["user", "host", "command", "time_ms"])
def test_a_change_that_does_not_say_who_made_it_when_is_a_damaged_line(mk, key):
    make_group(mk)
    journal = mk.directory / "groups/g/journal"
    journal.write_bytes(
        change_with(
            journal.read_bytes(),
            *([key] if key != "time_ms" else []),
            **({"time_ms": 10**30} if key == "time_ms" else {}),
        )
    )
    done = mk("groups", "undo", "g", "--yes", "-q")
    is_harmless(done, mk.directory.parent)


def test_what_is_known_of_other_directories(mk, made_once, thoroughness):
    place = f"replicas/{'e' * 32}"
    topic = "d" * 32
    most = "9" * 19
    lines = [
        *(("follower", f"{topic} 0 {end} {seen}") for end in (5, most) for seen in (5, most)),
        *(("source", f"{topic} {partition} {most} {most}") for partition in (0, "9999999999")),
        *(
            ("gaps", f"{time_ms} {topic} 0 {first} {last}")
            for time_ms in (5, most)
            for first, last in ((9, 5), (0, most))
        ),
        ("gaps", "5 ../../evil 0 5 9"),
        ("follower", "\x1b[31m 0 5 5"),
    ]
    changes = [(f"{place}/{name}", lambda _, line=line: encode_line(line)) for name, line in lines]
    for line in (
        b'"address": %b' % ESCAPE,
        b'"address": "-oProxyCommand=touch evil:x"',
        b'"since_ms": %b' % BIG,
        b'"since_ms": "x"',
    ):
        changes.append((f"{place}/replica.json", lambda _, line=line: flat(b'"format": 1', line)))
    strike(mk, made_once, thoroughness, 8, changes)
