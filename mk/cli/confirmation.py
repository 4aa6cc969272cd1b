"""The question before something that cannot be undone."""

from __future__ import annotations

import sys

from mk.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.cli.options import Options


def confirm(question: str, options: Options, *, what: str, why: str = "") -> None:
    """Ask on a terminal; elsewhere insist on --yes. `what` needs it, as in "deleting", and `why`."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{what} needs --yes when nobody can be asked",
            why=why,
            fix="add --yes, or --dry-run to look only; nothing was changed",
        )
    print(f"mk: {question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not confirmed", fix="nothing was changed")
