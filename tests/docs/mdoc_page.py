"""What the tests of the hand-written manual pages read out of their source: tables, examples, sections."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAN = Path(__file__).parents[2] / "man"

# Macros that only mark a word. `Ns` joins two of them, `No` goes back to plain text.
_MARKS = frozenset(("Va", "Pa", "Ar", "Sy", "Em", "Li", "Ql", "Cm", "Xr", "Sx", "No", "Nm"))


class Page:
    def __init__(self, name):
        self.path = MAN / name
        self.source = self.path.read_text()

    def sections(self):
        """Return the titles of sections and subsections."""
        return [line[4:].strip('"') for line in self.source.splitlines() if line.startswith((".Sh ", ".Ss "))]

    def section(self, title):
        """Return the source of the section or subsection of that title, up to the next heading."""
        text = re.split(rf"^\.S[hs] {re.escape(title)}$", self.source, flags=re.MULTILINE)
        assert len(text) == 2, f"{self.path.name} has {len(text) - 1} sections {title}"
        return re.split(r"^\.S[hs] ", text[1], flags=re.MULTILINE)[0]

    def table(self, title, *columns):
        """Return the rows below the head that begins with `columns`, in a section: dicts of column name and plain text."""
        tables = []
        for block in re.findall(r"^\.Bl -column .*?^\.El$", self.section(title), flags=re.MULTILINE | re.DOTALL):
            rows = []
            for line in block.splitlines()[1:-1]:
                if line.startswith(".It "):
                    rows.append([plain(cell) for cell in re.split(r" Ta ?", line[4:])])
                else:
                    rows[-1][-1] += " " + plain(line.removeprefix("."))
            head, *body = rows
            if tuple(head[: len(columns)]) == columns:
                assert all(len(row) == len(head) for row in body), f"a row of {head} has too few or too many cells"
                tables.append([dict(zip(head, row, strict=True)) for row in body])
        assert len(tables) == 1, f"{len(tables)} tables {columns} in {title}"
        return tables[0]

    def examples(self, title):
        """Return the literal blocks of a section, as they are displayed."""
        blocks = re.findall(r"^\.Bd -literal\n(.*?)^\.Ed$", self.section(title), flags=re.MULTILINE | re.DOTALL)
        return [unescape(block) for block in blocks]

    def complaints(self):
        """Return what mandoc's lint says, but for references to pages that need not be installed here, or indexed."""
        lint = subprocess.run([mandoc(), "-Tlint", self.path], capture_output=True, text=True, check=False)
        elsewhere = ("referenced manual not found: Xr", "outdated mandoc.db lacks")
        return [line for line in lint.stdout.splitlines() if not any(one in line for one in elsewhere)]

    def rendered(self):
        """Return the lines of the page as a wide terminal shows them, without overstrikes."""
        shown = subprocess.run(
            [mandoc(), "-Tascii", "-O", "width=160", self.path], capture_output=True, text=True, check=True
        )
        return re.sub(".\b", "", shown.stdout).splitlines()


def mandoc():
    found = shutil.which("mandoc")
    if found is None:
        pytest.skip("mandoc is not installed")
    return found


_ESCAPES = {"\\-": "-", "\\(dq": '"', "\\(aq": "'", "\\(ga": "`", "\\(ti": "~", "\\(ha": "^", "\\&": "", "\\e": "\\"}


def unescape(text):
    return re.sub(r"\\\(..|\\.", lambda found: _ESCAPES[found[0]], text)


def plain(text):
    """Return a table's cell without its macros."""
    words = []
    join = False
    for word in text.split():
        if word == "Ns":
            join = True
        elif word not in _MARKS:
            if words and (join or word in ",.;:"):
                words[-1] += word
            else:
                words.append(word)
            join = False
    return unescape(" ".join(words))
