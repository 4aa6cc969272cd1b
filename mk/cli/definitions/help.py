"""`mk completion` and `mk help`, as data."""

from mk.cli.definition import (
    Command,
    Parameter,
)

COMPLETION = Command(
    "completion",
    summary="print the completions for a shell",
    panel="Help",
    run="mk.cli.completions:run",
    description=("Prints the completions for SHELL: bash, zsh or fish.",),
    parameters=(
        Parameter("shell", metavar="SHELL", required=True, choices=("bash", "zsh", "fish"), help="bash, zsh or fish"),
    ),
    examples=(('eval "$(mk completion bash)"', "in ~/.bashrc"),),
)

HELP = Command(
    "help",
    summary="explain a command, or offsets, formats, exec, compaction, thresholds, replication, kafka, cron, exit-codes",
    panel="Help",
    run="mk.cli.help_topics:run",
    description=(
        "Explains a command, such as `mk help topics create`, or one of: offsets, formats, exec, compaction, thresholds, "
        "replication, kafka, cron, exit-codes. It prints what `mk COMMAND --help` does; `mk COMMAND -h` is the short form.",
    ),
    parameters=(
        Parameter(
            "subject", metavar="SUBJECT", default=(), multiple=True, complete="help", help="a command or a subject"
        ),
    ),
    examples=(("mk help offsets", "what -o understands"),),
)

COMMANDS = (COMPLETION, HELP)
