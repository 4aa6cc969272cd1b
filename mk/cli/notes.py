"""Notes to people on stderr: what was made, what was skipped, how much is stored. Errors are main's."""

import os


def note(text: str) -> None:
    """Write one line to stderr, in one piece. A stderr that takes nothing (closed, a full disk) must not stop the work."""
    try:
        os.write(2, os.fsencode(text + "\n"))
    except OSError:
        pass
