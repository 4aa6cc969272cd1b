"""`mk help`: short texts on what several commands share, and the help of each command."""

import difflib

from mk.cli import definition, help_pages
from mk.cli.exit_statuses import exit_statuses
from mk.cli.options import Options
from mk.consumer import offset_spellings
from mk.errors import UsageError

FORMATS = """\
Formats, as in `mk consume -f FORMAT`.

  value    the value and a newline (default)
  kv       the key, a tab, the value and a newline
  json     one JSON object a line, also -J: topic, partition, offset, ts (ms), headers, key, payload;
           bytes that are not UTF-8 are in key_b64 and payload_b64 instead; null is null
  raw      the value, and nothing between one and the next

-0 ends each record with a NUL byte instead of a newline, -D DELIM with any other bytes. -Z prints a null
value as NULL, and with kv a null key too. On a terminal, control characters in values are
shown, not executed, unless --raw is given; a pipe gets the bytes.
"""


def subjects() -> "dict[str, str]":
    """Return the texts of `mk help SUBJECT`."""
    statuses = "".join(f"  {status:>3}  {meaning}\n" for status, meaning in exit_statuses())
    return {"offsets": offset_spellings.help_text(), "formats": FORMATS, "exit-codes": f"Exit statuses.\n\n{statuses}"}


def run(options: Options) -> int:
    """Print the help that is asked for."""
    path: tuple[str, ...] = options.subject
    level = definition.command_at(path) or definition.group_at(path)
    texts = subjects()
    if level is not None:
        print(help_pages.page(level), end="")
    elif len(path) == 1 and path[0] in texts:
        print(texts[path[0]], end="")
    else:
        known = [*texts, *(" ".join(one.path) for one in definition.commands())]
        near = difflib.get_close_matches(" ".join(path), known, n=2)
        raise UsageError(
            f"there is no help on {' '.join(path)}",
            fix=f"did you mean {' or '.join(near)}?" if near else f"there is help on: {', '.join(known)}",
        )
    return 0
