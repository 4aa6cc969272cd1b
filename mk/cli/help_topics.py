"""`mk help`: short texts on what several commands share, and the help of each command."""

import difflib

from mk.cli import definition, help_pages
from mk.cli.exit_statuses import exit_statuses
from mk.cli.options import Options
from mk.consumer import offset_spellings
from mk.errors import UsageError
from mk.formats import format_spellings


def subjects() -> "dict[str, str]":
    """Return the texts of `mk help SUBJECT`."""
    statuses = "".join(f"  {status:>3}  {meaning}\n" for status, meaning in exit_statuses())
    return {
        "offsets": offset_spellings.help_text(),
        "formats": format_spellings.help_text(),
        "exit-codes": f"Exit statuses.\n\n{statuses}",
    }


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
