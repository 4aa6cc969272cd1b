"""Finding a place again among rotated files: whatever became of them, what follows is read once and in order."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mk.producer.rotation import FOUND, GONE, HEAD_BYTES, TAIL_BYTES, Place, files_between, locate, order_of
from mk.records.codecs import crc32c

BASE = "app.log"


class File:
    """A file as locate() sees it."""

    def __init__(self, inode, born_ns):
        self.name = ""
        self.inode = inode
        self.born_ns = born_ns
        self.modified_ns = born_ns
        self.content = b""

    @property
    def size(self):
        return len(self.content)

    def checksum(self, start, stop):
        return crc32c(self.content[max(0, start) : max(0, stop)])


class Directory:
    """A log, written by one program and rotated by count or by date; inodes are used again at once."""

    def __init__(self, *, dated, extension):
        self.dated = dated
        self.extension = extension
        self.clock = itertools.count(1)
        self.lines = itertools.count()
        self.files = {}
        self.begin()

    def begin(self):
        used = {file.inode for file in self.files.values()}
        self.files[BASE] = File(next(n for n in itertools.count() if n not in used), next(self.clock))

    def append(self, count):
        file = self.files[BASE]
        file.content += b"".join(b"line %d %s\n" % (next(self.lines), b"x" * 60) for _ in range(count))
        file.modified_ns = next(self.clock)

    def rotated(self, mark):
        return f"app-{mark}.log" if self.extension else f"{BASE}.{mark}"

    def free_name(self):
        if self.dated:
            return self.rotated(20261101 + len(self.files))
        for number in range(len(self.files) - 1, 0, -1):
            self.files[self.rotated(number + 1)] = self.files.pop(self.rotated(number))
        return self.rotated(1)

    def rename(self):
        name = self.free_name()
        self.files[name] = self.files.pop(BASE)
        self.begin()

    def copytruncate(self):
        name = self.free_name()
        content = self.files[BASE].content
        emptied = self.files[BASE]
        self.begin()
        copy = self.files[BASE]
        copy.content, copy.modified_ns = content, next(self.clock)
        copy.inode = max(file.inode for file in self.files.values()) + 1
        emptied.content = b""
        self.files[name], self.files[BASE] = copy, emptied

    def listing(self):
        for name, file in self.files.items():
            file.name = name
        return list(self.files.values())


def place_in(file, position):
    head, tail = file.content[:HEAD_BYTES], file.content[max(0, position - TAIL_BYTES) : position]
    return Place(
        position=position,
        records=0,
        limit=-1,
        inode=file.inode,
        born_ns=file.born_ns,
        modified_ns=file.modified_ns,
        head_size=len(head),
        head_crc=crc32c(head),
        tail_size=len(tail),
        tail_crc=crc32c(tail),
    )


EVENTS = st.lists(st.sampled_from(["append", "rename", "copytruncate"]), max_size=12)


@given(st.booleans(), st.booleans(), EVENTS, EVENTS, st.floats(0, 1), st.booleans())
def test_what_follows_a_place_is_found_whatever_the_rotation(dated, extension, before, after, share, born):
    directory = Directory(dated=dated, extension=extension)
    directory.append(2)
    for event in before:
        getattr(directory, event)(*([2] if event == "append" else []))
        directory.append(1)
    current = directory.files[BASE]
    lines = current.content.splitlines(keepends=True)
    position = len(b"".join(lines[: round(share * len(lines))]))
    place = Place.decode(place_in(current, position).encode())
    expected = current.content[position:]
    for event in after:
        read = directory.files[BASE].size
        if event == "append":
            directory.append(2)
            expected += directory.files[BASE].content[read:]
        else:
            getattr(directory, event)()
            directory.append(1)
            expected += directory.files[BASE].content
    if not born:  # A file system that does not say when a file was made.
        for file in directory.files.values():
            file.born_ns = 0
    kind, found = locate(place, BASE, directory.listing())
    assert kind == FOUND
    between, missing = files_between(found.name, BASE, directory.files)
    assert missing == []
    rest = [directory.files[name].content for name in between]
    if found.name != BASE:
        rest.append(directory.files[BASE].content)
    assert found.content[position:] + b"".join(rest) == expected


@given(st.booleans(), st.booleans(), st.booleans(), EVENTS)
def test_a_file_that_is_gone_is_never_taken_for_another(dated, extension, at_end, events):
    directory = Directory(dated=dated, extension=extension)
    directory.append(3)
    current = directory.files[BASE]
    place = place_in(current, current.size if at_end else 0)
    directory.rename()
    directory.files = {name: file for name, file in directory.files.items() if file is not current}
    directory.files[BASE].inode = current.inode  # Used again.
    directory.append(2)
    for event in events:
        getattr(directory, event)(*([2] if event == "append" else []))
    assert locate(place, BASE, directory.listing()) == (GONE, None)


@given(st.integers(1, 9), st.sets(st.integers(1, 9)), st.sets(st.integers(1, 9)))
def test_a_hole_between_counted_files_is_seen(own, there, compressed):
    names = [BASE, f"{BASE}.{own}", *(f"{BASE}.{n}" for n in there), *(f"{BASE}.{n}.gz" for n in compressed)]
    between, missing = files_between(f"{BASE}.{own}", BASE, names)
    below = set(range(1, own))
    assert between == [f"{BASE}.{n}" for n in sorted(there & below, reverse=True)]
    assert [name.removesuffix(".gz") for name in missing] == [
        f"{BASE}.{n}" for n in sorted(below - there, reverse=True)
    ]


def test_names_that_rotation_gives_are_told_from_others():
    for older, newer in (
        ("app.log.10", "app.log.9"),
        ("app.log.1", "app.log.0"),
        ("app.log-20261123", "app.log-20261124"),
        ("app.log.2026-11-23_09", "app.log.2026-11-23_10"),
        ("app-20261123.log", "app-20261124.log"),
        ("app.2.log", "app.1.log"),
        ("app.log.2025", "app.log.2026"),
        ("app.log-20261123-1700000000", "app.log-20261123-1700003600"),
    ):
        assert order_of(older, BASE)[0] == order_of(newer, BASE)[0]
        assert order_of(older, BASE)[1] < order_of(newer, BASE)[1]
    for name in (
        "app.log",
        "app.log.bak",
        "app.log.gz",
        "app.log.1.gz",
        "app.log~",
        "other.log.1",
        "app.log.1x",
        "apps.log",
    ):
        assert order_of(name, BASE) is None
    assert order_of("syslog.1", "syslog") == ("count", (-1,))
    assert files_between("app.log.bak", BASE, ["app.log", "app.log.bak", "app.log.1"]) == ([], [])
