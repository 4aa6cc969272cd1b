"""Completions for bash, zsh and fish, made from the definition.

The shells list topics and consumer groups themselves, by listing the log directory; no Python starts while somebody types.
A Kafka cluster is asked for them by `mk topics -q`, which has a second; where it has no answer by then, nothing is offered.
`python -m mk.cli.completions DIRECTORY` writes the files.
"""

import sys
from pathlib import Path

from mk.cli.bash_completion import bash_completion
from mk.cli.fish_completion import fish_completion
from mk.cli.options import Options
from mk.cli.zsh_completion import zsh_completion

_FILE_NAMES = {"bash": "mk.bash", "zsh": "_mk", "fish": "mk.fish"}


def run(options: Options) -> int:
    """Print the completions for the shell that is asked for."""
    print(files()[_FILE_NAMES[options.shell]], end="")
    return 0


def files() -> "dict[str, str]":
    """Return the completion files: name and content."""
    made = {"bash": bash_completion(), "zsh": zsh_completion(), "fish": fish_completion()}
    return {_FILE_NAMES[shell]: content for shell, content in made.items()}


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(exist_ok=True)
    for name, content in files().items():
        (directory / name).write_text(content)
