"""Every spelling of a format that is documented prints, reads and is refused as is documented, as a process."""

import re
import shlex

import pytest
from running import Mk

from mk.formats import format_spellings
from mk.formats.format_parts import DIRECTIVES, ESCAPES
from mk.formats.writers import PRESETS

pytestmark = [pytest.mark.every_case, pytest.mark.both_engines]

PRINTED = [row for _, rows in format_spellings.sections() for row in rows]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The topic of EXAMPLE_TOPIC, as `orders`."""
    mk = Mk(tmp_path_factory.mktemp("example") / "log")
    lines = "".join(line + "\n" for line in format_spellings.EXAMPLE_INPUT)
    mk.ok("produce", "orders", "-q", "-J", stdin=lines.encode())
    return mk


def shown(data: bytes) -> str:
    """Return bytes as the tables show them."""
    return repr(data)[2:-1]


def meant(text: str) -> bytes:
    """Return the bytes that a table shows."""
    escaped = re.sub(
        r"\\(x[0-9a-f]{2}|.)",
        lambda found: (
            {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}.get(found[1]) or chr(int(found[1][1:], 16))
        ),
        text,
    )
    return escaped.encode("latin-1")


@pytest.mark.parametrize("row", PRINTED, ids=lambda row: row.example)
def test_an_example_prints_what_is_said_of_it(example, row):
    assert shown(example.ok("consume", "orders", *shlex.split(row.example))) == row.prints


@pytest.mark.parametrize("row", PRINTED[::5], ids=lambda row: row.example)
def test_a_time_limit_and_the_environment_change_nothing_of_what_is_printed(example, row):
    words = shlex.split(row.example)
    if words[0] == "-f":
        words[:2], env = [], {"MK_FORMAT": words[1]}
    else:
        env = {"MK_FORMAT": "%z"} if "-J" in words or "-f" in words else {}
    assert shown(example.ok("consume", "orders", "--max-time", "1h", *words, env=env)) == row.prints


@pytest.mark.parametrize("row", format_spellings.INPUT, ids=lambda row: f"{row.example} {row.reads[:20]}")
def test_an_example_of_input_stores_what_is_said_of_it(tmp_path, row):
    mk = Mk(tmp_path / "log")
    has_time = re.search(r" \d{13}\\n", row.stores) is not None
    form = format_spellings.STORED_FORMAT.replace(r"\n", (" %T" if has_time else "") + r"\n")
    is_routed = "%t" in row.example
    mk.ok("produce", *([] if is_routed else ["t"]), "-q", *shlex.split(row.example), stdin=meant(row.reads))
    assert shown(mk.ok("consume", "other" if is_routed else "t", "-Z", "-f", form)) == row.stores


@pytest.mark.parametrize(("line", "says"), format_spellings.WRONG, ids=[line for line, _ in format_spellings.WRONG])
def test_a_wrong_format_is_refused_with_its_place_and_what_is_valid(example, line, says):
    before = sorted(example.directory.rglob("*"))
    done = example(*shlex.split(line), stdin=b"x y\n")
    assert (done.status, done.out) == (2, b"")
    first, *rest = done.err.splitlines()
    assert first.startswith("mk: error: ")
    assert all(line.startswith(("  why: ", "  fix: ")) for line in rest)
    told = "; ".join([first.removeprefix("mk: error: "), *(line[7:] for line in rest)])
    assert says in told, told
    assert sorted(example.directory.rglob("*")) == before


@pytest.mark.directory_only("it looks at the files of the log")
def test_a_wrong_format_makes_no_directory(mk):
    assert mk("produce", "t", "-f", "%v", stdin=b"x\n").status == 2
    assert not mk.directory.exists()


def test_every_directive_modifier_escape_and_preset_has_a_row():
    spelled = {row.spelling for row in PRINTED}
    assert {f"%{letter}" for letter in DIRECTIVES} <= spelled
    assert {"\\" + letter for letter in ESCAPES} | {r"\xNN", "%%"} <= spelled
    assert set(PRESETS) <= spelled
    told = {word for row in PRINTED + list(format_spellings.INPUT) for word in row.spelling.split()}
    valid = next(says for line, says in format_spellings.WRONG if "hax" in line).split(" by ")[1]
    assert set(valid.split()) <= told
    for width in (64, 32):
        assert {f"{{big{width}}}", f"{{little{width}}}", f"{{hex{width}}}"} <= told
    assert {"{iso}", "{strftime[...]}", "{ascii}"} <= told


def test_help_and_manual_pages_have_every_example(example):
    from mk.cli import manual

    def bare(text):
        return "".join(text.split())

    text = bare(example.ok("help", "formats").decode())
    pages = manual.files()
    for row in PRINTED:
        assert bare(row.example) in text and bare(row.prints) in text
        assert manual._argument(row.example) in pages["mk-consume.1"]
        assert manual._argument(row.prints) in pages["mk-consume.1"]
    for row in format_spellings.INPUT:
        assert bare(row.example) in text and bare(row.reads) in text and bare(row.stores) in text
        for part in (row.example, row.reads, row.stores):
            assert manual._argument(part) in pages["mk-produce.1"]
