r"""Every spelling of a format, as data: what users are shown, and what the tests run.

Help and man pages are made of these rows, and tests/cli/test_format_spellings.py runs each of them as a command. Who changes the
language (format_parts.py, format_writer.py, format_reader.py, json_reader.py, framed.py) changes a row here.

What is printed and what is read stands here with escapes (\n, \xNN), as in a format.
"""

from __future__ import annotations

EXAMPLE_TOPIC = (
    "The examples read a topic named orders with two records, in partition 0 at offsets 0 and 1: key user1, value paid, headers "
    "trace=17 and retry, which is null, at 2026-11-23T10:00:00.250Z; and key user2, value null, no headers, at "
    "2026-11-23T10:01Z. What is not printable is shown with escapes."
)
EXAMPLE_INPUT = (
    '{"key":"user1","payload":"paid","headers":[["trace","17"],["retry",null]],"ts":1795428000250}',
    '{"key":"user2","payload":null,"ts":1795428060000}',
)
"""The lines of which `mk produce orders -J` makes them."""

STORED_FORMAT = r"[%k] [%v]%h{ %k=%v}\n"
"""How the tables show what was stored, with -Z: the key, the value, the headers."""


class Spelling:
    """A row: how it is written, what that means, options of `mk consume` as an example, and what these print."""

    __slots__ = ("example", "meaning", "prints", "spelling")

    def __init__(self, spelling: str, meaning: str, example: str, prints: str) -> None:
        self.spelling = spelling
        self.meaning = meaning
        self.example = example
        self.prints = prints


class InputSpelling:
    """A row: how it is written, what that means, options of `mk produce`, what these read, and what is stored.

    stores: as STORED_FORMAT shows it, with a space and the time behind it if the input says one.
    """

    __slots__ = ("example", "meaning", "reads", "spelling", "stores")

    def __init__(self, spelling: str, meaning: str, example: str, reads: str, stores: str) -> None:
        self.spelling = spelling
        self.meaning = meaning
        self.example = example
        self.reads = reads
        self.stores = stores


DIRECTIVES = (
    Spelling("%v", "the value; nothing for null", r"-f '%v\n'", r"paid\n\n"),
    Spelling("%s", "the same, kcat's", r"-f '%s\n'", r"paid\n\n"),
    Spelling("%k", "the key; nothing for null", r"-f '%k\n'", r"user1\nuser2\n"),
    Spelling("%t", "the topic", r"-f '%t %v\n'", r"orders paid\norders \n"),
    Spelling("%p", "the partition", r"-f '%p %v\n'", r"0 paid\n0 \n"),
    Spelling("%o", "the offset", r"-f '%o\n'", r"0\n1\n"),
    Spelling("%T", "the time, in milliseconds since 1970", r"-f '%T\n'", r"1795428000250\n1795428060000\n"),
    Spelling(
        "%d",
        "the same, rpk's; for people, %d{iso} and %d{strftime[...]} below",
        r"-f '%d\n'",
        r"1795428000250\n1795428060000\n",
    ),
    Spelling(
        "%h{...}",
        "each header in turn: what stands between the braces, where %k is its name and %v its value, %K and %V their lengths",
        r"-f '%k%h{ %k=%v}\n'",
        r"user1 trace=17 retry=\nuser2\n",
    ),
    Spelling(
        "%h", "the headers as kcat prints them, NAME=VALUE with commas between", r"-f '%h\n'", r"trace=17,retry=\n\n"
    ),
    Spelling("%V", "the length of the value in bytes; -1 for null", r"-f '%V\n'", r"4\n-1\n"),
    Spelling("%S", "the same, kcat's", r"-f '%S\n'", r"4\n-1\n"),
    Spelling("%R", "the same as %V{big32}, kcat's", "-f '%R%v'", r"\x00\x00\x00\x04paid\xff\xff\xff\xff"),
    Spelling("%K", "the length of the key; -1 for null", r"-f '%K\n'", r"5\n5\n"),
    Spelling("%H", "the number of headers", r"-f '%H\n'", r"2\n0\n"),
    Spelling("%e", "the leader epoch under which it was appended", r"-f '%o %e\n' -o 1", r"1 0\n"),
    Spelling("%i", "counts the records that are printed, from 1", r"-f '%i %v\n'", r"1 paid\n2 \n"),
)

MODIFIERS = (
    Spelling("{hex}", "of %v %k %t: in hexadecimal", r"-f '%v{hex}\n'", r"70616964\n\n"),
    Spelling("{base64}", "of %v %k %t: in base64", r"-f '%k{base64}\n'", r"dXNlcjE=\ndXNlcjI=\n"),
    Spelling(
        "{json}",
        'of %v %k %t: as a JSON string, null as null, and what is not UTF-8 as {"b64": "..."}',
        r"-f '%v{json}\n'",
        r'"paid"\nnull\n',
    ),
    Spelling("{ascii}", "of a number: in decimal, as without it", r"-f '%V{ascii}\n'", r"4\n-1\n"),
    Spelling(
        "{big64}",
        "of a number: in binary, 64 bits, big-endian",
        "-f '%o{big64}'",
        r"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
    ),
    Spelling(
        "{big32}",
        "32 bits; for %p and for lengths, which fit",
        "-f '%V{big32}%v'",
        r"\x00\x00\x00\x04paid\xff\xff\xff\xff",
    ),
    Spelling("{little64}", "in binary, little-endian", "-f '%T{little64}' -n 1", r"\xfa!\xd9\x07\xa2\x01\x00\x00"),
    Spelling("{little32}", "32 bits", "-f '%K{little32}%k'", r"\x05\x00\x00\x00user1\x05\x00\x00\x00user2"),
    Spelling(
        "{hex64}",
        "of a number: sixteen hexadecimal digits",
        r"-f '%o{hex64}\n'",
        r"0000000000000000\n0000000000000001\n",
    ),
    Spelling("{hex32}", "eight of them", r"-f '%V{hex32}\n'", r"00000004\nffffffff\n"),
    Spelling(
        "{iso}",
        "of %d %T: in RFC 3339, UTC, to the millisecond",
        r"-f '%d{iso}\n'",
        r"2026-11-23T10:00:00.250Z\n2026-11-23T10:01:00.000Z\n",
    ),
    Spelling(
        "{strftime[...]}",
        "of %d %T: as strftime(3) writes it, in UTC",
        r"-f '%d{strftime[%FT%TZ]} %v\n'",
        r"2026-11-23T10:00:00Z paid\n2026-11-23T10:01:00Z \n",
    ),
    Spelling(
        "{strftime[...]}",
        "any of its directives but %s",
        r"-f '%d{strftime[%a %d %b, %H:%M]}\n'",
        r"Mon 23 Nov, 10:00\nMon 23 Nov, 10:01\n",
    ),
)

ESCAPES = (
    Spelling(r"\n", "a newline", r"-f '%k\n'", r"user1\nuser2\n"),
    Spelling(r"\t", "a tab", r"-f '%k\t%v\n'", r"user1\tpaid\nuser2\t\n"),
    Spelling(r"\r", "a carriage return", r"-f '%k\r\n'", r"user1\r\nuser2\r\n"),
    Spelling(r"\0", "a NUL byte", r"-f '%k\0'", r"user1\x00user2\x00"),
    Spelling("\\\\", "a backslash", r"-f '%k\\\n'", r"user1\\\nuser2\\\n"),
    Spelling(
        r"\xNN", "the byte with that number in hexadecimal", r"-f '%k\x1f%v\x1e'", r"user1\x1fpaid\x1euser2\x1f\x1e"
    ),
    Spelling("%%", "a percent sign", r"-f '100%% %k\n'", r"100% user1\n100% user2\n"),
    Spelling("%{ %}", "braces, where they would begin or end something", r"-f '%k%{%V%}\n'", r"user1{4}\nuser2{-1}\n"),
)

PRESETS = (
    Spelling("value", "the value and a newline; the default", "-f value", r"paid\n\n"),
    Spelling("kv", "the key, a tab, the value and a newline", "-f kv", r"user1\tpaid\nuser2\t\n"),
    Spelling(
        "json",
        "a JSON object a line, see below",
        "-f json -o 1",
        r'{"topic":"orders","partition":0,"offset":1,"ts":1795428060000,"headers":[],"key":"user2","payload":null}\n',
    ),
    Spelling("raw", "the value, and nothing between one and the next", "-f raw", "paid"),
    Spelling(
        "framed",
        "msgpack, see below",
        "-f framed -n 1",
        r"\x97\xa6orders\x00\x00\xcf\x00\x00\x01\xa2\x07\xd9!\xfa\x92\x92\xc4\x05trace\xc4\x0217\x92\xc4\x05retry\xc0\xc4\x05user1\xc4\x04paid",
    ),
)

OPTIONS = (
    Spelling(
        "-J",
        "the same as -f json",
        "-J -n 1",
        r'{"topic":"orders","partition":0,"offset":0,"ts":1795428000250,"headers":[["trace","17"],["retry",null]],"key":"user1","payload":"paid"}\n',
    ),
    Spelling(
        "-0",
        "each record ends with a NUL byte: instead of the newline of a preset, behind all that a format says",
        "-0 -f kv",
        r"user1\tpaid\x00user2\t\x00",
    ),
    Spelling("-0", "behind a format", "-0 -f '%k=%v'", r"user1=paid\x00user2=\x00"),
    Spelling("-D DELIM", "it ends with any other bytes", r"-D '--\n' -f '%k=%v'", r"user1=paid--\nuser2=--\n"),
    Spelling(
        "-Z",
        "null prints as NULL, in value, kv and formats",
        r"-Z -f '%k %v%h{ %k=%v}\n'",
        r"user1 paid trace=17 retry=NULL\nuser2 NULL\n",
    ),
)

INPUT = (
    InputSpelling(
        "%k %v",
        "a field ends where the text that follows it begins, a record with the text that ends the format",
        r"-f '%k %v\n'",
        r"user1 paid 3\nuser2 \n",
        r"[user1] [paid 3]\n[user2] []\n",
    ),
    InputSpelling(
        "-D -0",
        "a record ends with that, behind what the format says",
        "-0 -f '%k=%v'",
        r"user1=a\nb\0user2=c\0",
        r"[user1] [a\nb]\n[user2] [c]\n",
    ),
    InputSpelling(
        "--whole",
        "all of the input, or each --file, is one record",
        r"--whole -f '%k\n%v'",
        r"user1\nline 1\nline 2\n",
        r"[user1] [line 1\nline 2\n]\n",
    ),
    InputSpelling(
        "%T %d",
        "the time; else it is now",
        r"-f '%d{iso} %v\n'",
        r"2026-11-23T10:00:00.250Z paid\n",
        r"[NULL] [paid] 1795428000250\n",
    ),
    InputSpelling(
        "{strftime[...]}",
        "the time, in UTC if it has no zone",
        r"-f '%d{strftime[%F %T]} %v\n'",
        r"2026-11-23 10:00:00 paid\n",
        r"[NULL] [paid] 1795428000000\n",
    ),
    InputSpelling(
        "%V %K",
        "the length of the value or key that follows; -1 is null. Values may then hold anything, and nothing has to end the record",
        "-f '%K{big32}%k%V{big32}%v'",
        r"\x00\x00\x00\x05user1\xff\xff\xff\xff",
        r"[user1] [NULL]\n",
    ),
    InputSpelling("%V", "in decimal too", r"-f '%V %v\n'", r"6 paid\n3\n-1 \n", r"[NULL] [paid\n3]\n[NULL] [NULL]\n"),
    InputSpelling(
        "{hex} {base64}",
        "such a text, in either case",
        r"-f '%k{hex}:%v{base64}\n'",
        r"7573657231:cGFpZA==\n",
        r"[user1] [paid]\n",
    ),
    InputSpelling(
        "{json}",
        "says by itself where it ends, and keeps null apart from empty",
        r"-f '%k{json} %v{json}\n'",
        r'"user 1" "a\\nb"\nnull null\n',
        r"[user 1] [a\nb]\n[NULL] [NULL]\n",
    ),
    InputSpelling(
        "%h{...}",
        "as many headers as there are, up to the text that follows",
        r"-f '%v|%h{%k=%v;}\n'",
        r"paid|trace=17;retry=no;\ndue|\n",
        r"[NULL] [paid] trace=17 retry=no\n[NULL] [due]\n",
    ),
    InputSpelling(
        "%H",
        "so many of them",
        r"-f '%H{big32}%h{%K{big32}%k%V{big32}%v}%v\n'",
        r"\x00\x00\x00\x01\x00\x00\x00\x05trace\x00\x00\x00\x0217paid\n",
        r"[NULL] [paid] trace=17\n",
    ),
    InputSpelling(
        "%h", "as kcat prints them", r"-f '%h|%v\n'", r"trace=17,retry|paid\n", r"[NULL] [paid] trace=17 retry=NULL\n"
    ),
    InputSpelling(
        "%p", "the partition that it goes to, unless -p names one", r"-f '%p %v\n'", r"0 paid\n", r"[NULL] [paid]\n"
    ),
    InputSpelling(
        "%t", "the topic, unless TOPIC or $MK_TOPIC names one", r"-f '%t %v\n'", r"other paid\n", r"[NULL] [paid]\n"
    ),
    InputSpelling(
        "%o %e %i", "have to be there, and count for nothing", r"-f '%o %v\n'", r"17 paid\n", r"[NULL] [paid]\n"
    ),
    InputSpelling(
        "-Z", "an empty value is null; %v may then be missing", r"-Z -f '%k\n'", r"user1\n", r"[user1] [NULL]\n"
    ),
    InputSpelling(
        "{big16} {little16} {hex16}",
        "and with 8 for 16: shorter numbers can be read, but not printed, since they would not hold every number",
        "-f '%V{big16}%v'",
        r"\x00\x04paid",
        r"[NULL] [paid]\n",
    ),
    InputSpelling("kv", "the key, a tab, the value and a newline", "-f kv", r"user1\tpaid\n", r"[user1] [paid]\n"),
    InputSpelling("raw", "the same as --whole", "-f raw", r"line 1\nline 2\n", r"[NULL] [line 1\nline 2\n]\n"),
    InputSpelling(
        "json",
        "payload or value, key, headers and ts or timestamp; other members are passed over",
        "-J",
        r'{"key":"user1","payload":"paid","headers":[["trace","17"]],"ts":1795428000250}\n',
        r"[user1] [paid] trace=17 1795428000250\n",
    ),
    InputSpelling(
        "json", "base64 under another name", "-J", r'{"key_b64":"dXNlcjE=","payload_b64":"/w=="}\n', r"[user1] [\xff]\n"
    ),
    InputSpelling(
        "json",
        "a tombstone: a payload that is null. An object without any is refused",
        "-J",
        r'{"key":"user1","payload":null}\n',
        r"[user1] [NULL]\n",
    ),
    InputSpelling(
        "json",
        "kcat's",
        "-J",
        r'{"tstype":"create","ts":1795428000250,"headers":["trace","17"],"key":"user1","payload":"paid"}\n',
        r"[user1] [paid] trace=17 1795428000250\n",
    ),
    InputSpelling(
        "json",
        "rpk's, which leaves out what is null",
        "-J",
        r'{"topic":"t","key":"user1","headers":[{"key":"trace","value":"17"}],"partition":0,"offset":3}\n',
        r"[user1] [NULL] trace=17\n",
    ),
    InputSpelling(
        "json",
        "headers as an object, a time in RFC 3339",
        "-J",
        r'{"value":"paid","headers":{"trace":"17"},"timestamp":"2026-11-23T10:00:00.250Z"}\n',
        r"[NULL] [paid] trace=17 1795428000250\n",
    ),
    InputSpelling(
        "json -0 -D",
        "objects that end otherwise",
        "-J -0",
        r'{"payload":"a"}\0{"payload":"b"}\0',
        r"[NULL] [a]\n[NULL] [b]\n",
    ),
    InputSpelling(
        "framed",
        "what -f framed prints; nil where a record has nothing to say",
        "-f framed",
        r"\x97\xc0\xc0\xc0\xc0\x91\x92\xa5trace\xc4\x0217\xc4\x05user1\xc4\x04paid",
        r"[user1] [paid] trace=17\n",
    ),
)

WRONG = (
    ("consume orders -f ''", "no format of that (empty) name; it is one of value, kv, json, raw, framed"),
    ("consume orders -f text", "no format text; it is one of value, kv, json, raw, framed"),
    ("consume orders -f follow", "to follow a topic, use -F"),
    ("consume orders -f '%v%'", "at character 3 stands '%'; the directives are %v %s %k"),
    ("consume orders -f '%z'", "at character 1 stands '%z'; the directives are %v %s %k"),
    (r"consume orders -f '%v\n %q'", "at character 6 stands '%q'; the directives are"),
    (r"consume orders -f '%v\q'", r"at character 3 stands '\\q'; the escapes are \n \t \r \0 \\ \xNN"),
    (r"consume orders -f '%v\'", "at character 3 stands '\\\\'; the escapes are"),
    (r"consume orders -f '%v\x4'", "the escapes are"),
    ("consume orders -f '%v{hax}'", "at character 4 stands 'hax}'; %v may be followed by {hex} {base64} {json}"),
    ("consume orders -f '%v{hex'", "at character 4 stands 'hex'; %v may be followed by {hex}"),
    ("consume orders -f '%o{json}'", "%o may be followed by {ascii} {big64}"),
    ("consume orders -f '%p{iso}'", "%p may be followed by {ascii} {big64}"),
    ("consume orders -f '%d{go[2006]}'", "%d may be followed by {ascii} {big64}"),
    ("consume orders -f '%d{strftime[%F}'", "strftime[ has no ]} that ends it"),
    ("consume orders -f '%d{strftime[%Q]}'", "strftime[...] holds the directives of strftime(3)"),
    ("consume orders -f '%d{strftime[]}'", "strftime[...] holds the directives of strftime(3)"),
    (
        "consume orders -f '%o{big32}'",
        "at character 1 stands '%o{big32'; what %o says takes 64 bits, and would be cut to 32",
    ),
    ("consume orders -f '%V{big16}'", "write {big32}; fewer bits can only be read, by mk produce"),
    ("consume orders -f '%h{ %k=%v'", "at character 1 stands '%h{ %k=%'; %h{ has no } that ends it"),
    ("consume orders -f '%h{ %o}'", "at character 5 stands '%o}'; %h{...} holds %k %v %K %V of a header, and text"),
    ("consume orders -f '%h{, }'", "%h{...} says how a header is written"),
    ("consume orders -f raw -0", "-f raw and -0 exclude each other"),
    ("consume orders -f framed -D x", "-f framed and -D exclude each other"),
    ("consume orders -f framed -Z", "-Z means nothing to -f framed"),
    ("consume orders -J -Z", "-Z means nothing to -f json"),
    ("consume orders -J -f '%v'", "-J and another format exclude each other"),
    ("topics get orders user1 -f '%z'", "the directives are %v %s %k"),
    ("tail orders -f '%z'", "the directives are %v %s %k"),
    ("produce orders -f text", "no format text; it is one of"),
    (
        "produce orders -f '%k %v'",
        r"at character 6 stands the end; nothing says where %v ends; end it with what ends a record, as in '%k %v\n'",
    ),
    (
        r"produce orders -f '%k%v\n'",
        "at character 1 stands '%k%v\\\\n'; nothing says where %k ends; put text behind it",
    ),
    (r"produce orders -f '%k\n'", "nothing says what the value is; add %v; or -Z"),
    (r"produce orders -f '%v %v\n'", "at character 4 stands '%v\\\\n'; the value is there already"),
    (r"produce orders -f '%T %d{iso} %v\n'", "the timestamp is there already"),
    ("produce orders -f '%v %V'", "a length stands before what it is of"),
    (r"produce orders -f '%v%h{%k=%v}\n'", "nothing says where %v ends"),
    (r"produce orders -f '%v|%h{%k=%v}\n'", "nothing says where a header ends and the next begins"),
    (r"produce orders -f '%v|%h{ %v}\n'", "%h{...} has to hold the name of a header, %k"),
    (r"produce orders -f '%H %h %v\n'", "a number of headers is followed by %h{...}"),
    (
        "produce orders -f '%V%v'",
        "at character 1 stands '%V%v'; nothing says where the number %V ends; put text behind it",
    ),
    ("produce orders -f '%V{big32}%v%T'", "nothing says where the number %T ends"),
    ("produce orders -f '%V0%v'", "nothing says where the number %V ends"),
    ("produce orders -f '%V{big32}%v' --whole", "it says by itself where a record ends; leave --whole out"),
    ("produce orders -J -K :", "-K and -J exclude each other"),
    ("produce orders -J --whole", "--whole and -J exclude each other"),
    ("produce orders -J -f kv", "-J and another format exclude each other"),
    ("produce orders -f framed -0", "-0 and -f framed exclude each other"),
    ("produce orders -f framed -D x", "-D and -f framed exclude each other"),
    ("produce orders -J '{}'", "VALUE and -J exclude each other"),
    ("produce orders --keep-partition", "--keep-partition means nothing without -J or -f framed"),
    (r"produce orders -f '%v\n' --keep-partition", "--keep-partition means nothing without -J or -f framed"),
    ("produce orders -J -p 0 --keep-partition", "-p and --keep-partition exclude each other"),
)
"""Command lines that are refused, and what the refusal says. 2 is the status of each."""

ENDS = (
    "A preset of lines ends each record with a newline. A format ends with what it says: no newline is added. -0 and -D end each "
    "record with something else: instead of the newline of a preset, and behind all that a format says."
)
LANGUAGE = (
    "A word that is a preset is the preset. Anything else is a format: text, escapes, and directives, which begin with a %. A "
    "modifier in braces may follow a directive. A format is compiled once; what is unknown in it is refused with its place. "
    "On a terminal, control characters are shown, not executed, unless --raw is given; a pipe gets the bytes."
)
JSON_OBJECT = (
    "A JSON object has topic, partition, offset, ts (milliseconds since 1970), headers, key and payload, always in this order. "
    "Headers are a list of pairs, since names may repeat. A key or payload that is not UTF-8 is in base64, as key_b64 or "
    'payload_b64; in a header such a part is {"b64": "..."}. Null is null, and not an empty string.'
)
FRAMES = (
    "framed is a stream of msgpack: each record is an array of seven, topic (str), partition, offset and time (int), headers "
    "(array of arrays of two: bin, and bin or nil), key and value (bin or nil), one record behind the other."
)
READING = (
    "mk produce -f reads what mk consume -f prints: `mk consume a -J | mk produce b -J` gives b the keys, values, headers and "
    "times of a, and so does framed, and so does a format that holds them all and in which each field says where it ends. "
    "A format without %k stores no key, and so on; -k and --timestamp are for records that have none, headers of -H come "
    "behind the record's own."
)
ROUTES = (
    "Where a record goes: to TOPIC, else $MK_TOPIC, else the topic that the record names, else default. To partition -p; else to "
    "the one that %p reads; else, with --keep-partition, to the one that the JSON object or the frame has; else where its key "
    "belongs. With --producer-id the number of a record is its place in all of the input."
)
BAD_INPUT = (
    "What is no record ends the command with 65 and the number of the line or record; all before it is stored. --skip-bad says which "
    "one it is, goes on, and ends with 1. In a format with lengths or numbers in binary, and in framed, nothing behind such a "
    "place can be told from anything else, and it ends there in any case. -n N may take more from a pipe there than it stores."
)


def sections() -> tuple[tuple[str, tuple[Spelling, ...]], ...]:
    """Return the tables of what is printed, with their titles."""
    return (
        ("Presets", PRESETS),
        ("Directives", DIRECTIVES),
        ("Modifiers", MODIFIERS),
        ("Escapes", ESCAPES),
        ("Options", OPTIONS),
    )


def help_text() -> str:
    """Return the text of `mk help formats`."""
    import textwrap

    lines = ["Formats, as in `mk consume TOPIC -f FORMAT` and `mk produce TOPIC -f FORMAT`.", ""]
    for paragraph in (LANGUAGE, ENDS, EXAMPLE_TOPIC):
        lines += [*textwrap.wrap(paragraph, 100), ""]
    for title, rows in sections():
        lines.append(f"{title}:")
        for row in rows:
            lines += _explained(row.spelling, row.meaning)
            lines += [*_indented(row.example, 23), *_indented(row.prints, 25)]
        lines.append("")
    for paragraph in (JSON_OBJECT, FRAMES, READING, ROUTES, BAD_INPUT):
        lines += [*textwrap.wrap(paragraph, 100), ""]
    lines.append(
        "What mk produce reads, and what is stored then, as [key] [value] headers, and the time if there is one:"
    )
    for entry in INPUT:
        lines += _explained(entry.spelling, entry.meaning)
        lines += [*_indented(entry.example, 23), *_indented(entry.reads, 25), *_indented(f"-> {entry.stores}", 25)]
    return "\n".join(lines) + "\n"


def _explained(spelling: str, meaning: str) -> list[str]:
    import textwrap

    lines = textwrap.wrap(meaning, 80, initial_indent=" " * 21, subsequent_indent=" " * 21)
    if len(spelling) > 18:
        return [f"  {spelling}", *lines]
    return [f"  {spelling:<18} {lines[0].strip()}", *lines[1:]]


def _indented(text: str, indent: int) -> list[str]:
    """Return what is typed, or what a program wrote or reads, in lines that fit everywhere."""
    width = 80 - indent
    return [" " * indent + text[at : at + width] for at in range(0, len(text), width)]
