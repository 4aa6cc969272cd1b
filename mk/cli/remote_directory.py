"""What a command may be asked for when -d or MK_DIR names a directory of another host, and what to say of the rest."""

import shlex

from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.cli.options import Options

_OFFERED = {
    ("produce",),
    ("consume",),
    ("tail",),
    ("wait",),
    ("topics", "list"),
    ("topics", "describe"),
    ("topics", "offsets"),
    ("topics", "which"),
    ("top",),
}
_JUDGE_THEMSELVES = ("replicate", "serve")
"""What these work with is named in other ways too."""


def check_is_offered(options: "Options", arguments: "Sequence[str]") -> None:
    """Raise UsageError for what only works where the directory is. It is asked with a colon in the directory's name."""
    from mk.transport.address import Address, parse_address

    path = options.command.path
    address = parse_address(options.directory)
    if not isinstance(address, Address) or path[0] in _JUDGE_THEMSELVES:
        return
    what = why = ""
    if path not in _OFFERED:
        what = f"mk {' '.join(path)}"
        why = (
            "over ssh there are produce, consume and wait without a group, top, and topics list, describe, offsets and "
            "which"
        )
    elif getattr(options, "group", None) is not None:
        what = f"{path[-1]} -g"
        why = "the kernel of the host where the directory is knows who lives and owns what"
    elif getattr(options, "follow", False) and getattr(options, "producer_id", None) is not None:
        what = "produce --follow with --producer-id"
        why = "how far the files were read is kept beside the topic, under a lock there"
    if what:
        raise UsageError(
            f"{what} does not work on a directory of another host",
            why=why,
            fix=f"run it there: {_command_there(address.destination, address.directory, arguments)}; nothing was done",
        )


def _command_there(destination: str, directory: str, arguments: "Sequence[str]") -> str:
    words = ["mk", *(["-d", directory] if directory else [])]
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            words += [word, *rest]
        elif word in ("-d", "--dir"):
            next(rest, None)
        elif not word.startswith(("--dir=", "-d")):
            words.append(word)
    command = shlex.join(words)
    # Once for the shell here, if the one there has to see quotes.
    return f"ssh {destination} {shlex.quote(command) if command != ' '.join(words) else command}"
