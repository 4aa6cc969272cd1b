"""Small files of a log directory with a checksum that is right and content that is hostile: an error of one line or none, and
never a way out of the directory, a control sequence, or a bug."""

import shutil

import pytest

from mk.records.codecs import crc32c
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


def is_harmless(done, outside):
    """Assert that a command ended as it should, with nothing said that steers a terminal, and nothing made elsewhere."""
    assert done.status in (*CLEAR, 3), done  # 3: of `mk check`, as Nagios plugins have it
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
    """Run commands, each on a directory of its own, one file of which was changed. changes: name of the file, function of its content."""
    made_once(mk, make_group)
    template = mk.directory.with_name("template")
    mk.directory.rename(template)
    outside = mk.directory.parent
    home = outside.parent / "home"
    home.mkdir()
    template = template.rename(home / "template")
    pairs = [(change, words) for change in changes for words in COMMANDS]
    chosen = thoroughness.of(pairs, count_of_sample, kind=lambda pair: changes.index(pair[0]))
    for (name, change), words in chosen:
        shutil.copytree(template, mk.directory)
        path = mk.directory / name
        path.write_bytes(change(path.read_bytes()))
        copy = outside / "copy"
        done = mk(*({".": mk.directory, "COPY": copy}.get(word, word) for word in words))
        is_harmless(done, outside)
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
