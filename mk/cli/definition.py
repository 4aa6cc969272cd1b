"""The commands and options of mk, as plain data: the one place where they are written down.

The fast parser, the Typer application, the help texts, the man pages and the completions all derive from it.
It is imported by every start of mk: `__slots__` classes and builtins only.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# The kinds of a value. options.py turns the words of the command line into them.
FLAG = "flag"  # bool
TEXT = "text"  # str
BYTES = "bytes"  # bytes, as they came
DELIMITER = "delimiter"  # bytes, after the escapes \n \t \r \0 \\ \xNN
INTEGER = "integer"  # int, not negative
ACKS = "acks"  # int, or "all"
PARTITIONS = "partitions"  # 0,1 becomes a tuple of int
DURATION = "duration"  # 10s becomes int milliseconds
OFFSET = "offset"  # an OffsetSpec: one position
OFFSETS = "offsets"  # an OffsetRange: all of the grammar of -o
TIME = "time"  # an OffsetSpec of kind time
REGEX = "regex"  # str, a Python regular expression
SELECTOR = "selector"  # a Selector: [!]{k,v,h:NAME}=REGEX
SETTING = "setting"  # key=value; all of them become one dict
HEADER = "header"  # NAME=VALUE or NAME:VALUE becomes a pair of bytes, NAME alone one with None
LIMIT = "limit"  # NAME=VALUE of a threshold; all of them become one dict
TIMESTAMP = "timestamp"  # a point in time becomes int milliseconds since 1970

# What the shell offers for a value.
TOPIC = "topic"
FILE = "file"
DIRECTORY = "directory"
GROUP = "group"  # of users, as in /etc/group
CONSUMER_GROUP = "consumer-group"
PROPERTY = "property"  # NAME= of a connection to Kafka
FORMAT = "format"  # the presets


class Parameter:
    """One argument (no flags) or option of a command.

    name: the attribute of Options. flags: as typed, short ones first. default: the value when nothing is given.
    environment: the variable asked before the default. multiple: may be repeated; the values come as a tuple.
    unless: the name of another parameter with which this one is neither required nor taken from the environment.
    implies: (name, value) of another parameter that this flag sets.
    """

    __slots__ = (
        "choices",
        "complete",
        "default",
        "environment",
        "flags",
        "help",
        "hidden",
        "implies",
        "kind",
        "metavar",
        "minimum",
        "multiple",
        "name",
        "panel",
        "required",
        "unless",
    )

    def __init__(
        self,
        name: str,
        *flags: str,
        kind: str = TEXT,
        help: str = "",
        metavar: str = "",
        default: object = None,
        environment: str = "",
        choices: "tuple[str, ...]" = (),
        multiple: bool = False,
        required: bool = False,
        minimum: int = 0,
        complete: str = "",
        panel: str = "Options",
        hidden: bool = False,
        implies: "tuple[str, object] | None" = None,
        unless: str = "",
    ) -> None:
        self.name = name
        self.flags = flags
        self.kind = kind
        self.help = help
        self.metavar = metavar
        self.default = default
        self.environment = environment
        self.choices = choices
        self.multiple = multiple
        self.required = required
        self.minimum = minimum
        self.complete = complete
        self.panel = panel
        self.hidden = hidden
        self.implies = implies
        self.unless = unless


class Command:
    """A command: `path` is how it is typed, `run` the function that does it, as "module:function".

    panel: the title under which help lists it. examples: pairs of a command line and what it does. A command without `run` is a group; `default` names its
    subcommand that runs when none is given. The parameters of a group are its default's, or some of them. If arguments
    are among them, the default also runs when the first word is no subcommand, and takes that word.

    on_error: a function that tells of an error in the command's own way, as "module:function". It takes the error and the words
    of the command line, which may be what is wrong, and returns the exit status.
    """

    __slots__ = (
        "default",
        "description",
        "examples",
        "exit_status",
        "on_error",
        "panel",
        "parameters",
        "path",
        "run",
        "summary",
    )

    def __init__(
        self,
        *path: str,
        summary: str,
        panel: str = "Commands",
        run: str = "",
        description: "tuple[str, ...]" = (),
        parameters: "tuple[Parameter, ...]" = (),
        examples: "tuple[tuple[str, str], ...]" = (),
        exit_status: str = "",
        default: str = "",
        on_error: str = "",
    ) -> None:
        self.path = path
        self.summary = summary
        self.panel = panel
        self.run = run
        self.description = description
        self.parameters = parameters
        self.examples = examples
        self.exit_status = exit_status
        self.default = default
        self.on_error = on_error


# Options that mean the same in every command that has them. They may also stand before the command; one that the
# command does not have is then refused, so that no option is read and forgotten.
PLACE = "Where"
INPUT = "Input"
OUTPUT = "Output"

DIRECTORY_OPTION = Parameter(
    "directory",
    "-d",
    "--dir",
    metavar="DIR",
    environment="MK_DIR",
    complete=DIRECTORY,
    panel=PLACE,
    help="the log directory, default $XDG_DATA_HOME/mk, else ~/.local/share/mk; [USER@]HOST:DIR is one of another host, by "
    "ssh; kafka://HOST:PORT,... is a Kafka cluster",
)
PROPERTY_OPTION = Parameter(
    "properties",
    "-X",
    kind=SETTING,
    metavar="KEY=VALUE",
    complete=PROPERTY,
    multiple=True,
    panel=PLACE,
    help="a property of librdkafka for a kafka:// cluster, or profile=FILE with more of them; repeatable",
)
QUIET_OPTION = Parameter("quiet", "-q", kind=FLAG, default=False, panel=OUTPUT, help="no notes on stderr, only errors")
VERBOSE_OPTION = Parameter(
    "verbose",
    "-v",
    kind=FLAG,
    default=False,
    panel=OUTPUT,
    help="a line on stderr for each acknowledged append: TOPIC PARTITION FIRST LAST, offsets inclusive",
)
JSON_OPTION = Parameter(
    "json", "--json", kind=FLAG, default=False, panel=OUTPUT, help="JSON instead of text, errors too"
)
NO_COLOR_OPTION = Parameter(
    "no_color", "--no-color", kind=FLAG, default=False, panel=OUTPUT, help="no colors on a terminal; so does $NO_COLOR"
)
YES_OPTION = Parameter(
    "yes", "--yes", kind=FLAG, default=False, panel="Safety", help="do not ask; needed when stdin is no terminal"
)
NETWORK_OPTION = Parameter(
    "allow_network_fs",
    "--allow-network-fs",
    kind=FLAG,
    default=False,
    panel=PLACE,
    help="write to a network file system, trusting that its locks reach every writer",
)
LOCK_WAIT_OPTION = Parameter(
    "lock_wait_ms",
    "--lock-wait",
    kind=DURATION,
    metavar="TIME",
    default=10_000,
    environment="MK_LOCK_WAIT",
    panel="Safety",
    help="how long to wait for another writer's lock, such as 10s or 500ms; default 10s",
)

REPLICATION_OPTION = Parameter(
    "replication_factor",
    "--replication-factor",
    kind=INTEGER,
    minimum=1,
    metavar="N",
    panel=PLACE,
    help="how many brokers of a kafka:// cluster have a topic that is made; default is the cluster's",
)
TIMEOUT_OPTION = Parameter(
    "timeout_ms",
    "--timeout",
    kind=DURATION,
    metavar="TIME",
    panel="Safety",
    help="fail with status 124 when it is not done after TIME, such as 10s; what was printed stays",
)

GLOBAL_OPTIONS = (
    DIRECTORY_OPTION,
    PROPERTY_OPTION,
    QUIET_OPTION,
    VERBOSE_OPTION,
    JSON_OPTION,
    NO_COLOR_OPTION,
    YES_OPTION,
    NETWORK_OPTION,
    TIMEOUT_OPTION,
)

ROOT = Command(
    summary="Kafka's log for the shell",
    description=(
        (
            "Keeps topics, partitions and offsets as Kafka does, in one plain directory and without a broker. Every "
            "command is a peer that reads and appends files there; the kernel's file locks are the only coordinator."
        ),
    ),
    parameters=GLOBAL_OPTIONS,
    examples=(
        ("seq 3 | mk produce numbers", "three records"),
        ("mk consume numbers", "and back"),
        ("mk topics", "what is there"),
    ),
)

_HOMES = {
    "produce": "produce",
    "consume": "consume",
    "tail": "consume",
    "wait": "wait",
    "topics": "topics",
    "groups": "groups",
    "replicate": "replicate",
    "serve": "serve",
    "check": "check",
    "top": "top",
    "completion": "help",
    "help": "help",
}
"""The module of mk.cli.definitions that defines what begins with a word, in the order in which help lists them."""


def _load(home: str) -> "tuple[Command, ...]":
    import sys

    name = f"mk.cli.definitions.{home}"
    __import__(name)
    commands: tuple[Command, ...] = sys.modules[name].COMMANDS
    return commands


def commands() -> "list[Command]":
    """Return all commands and groups of commands, in the order in which help lists them; loads every definition."""
    return [command for home in dict.fromkeys(_HOMES.values()) for command in _load(home)]


def _at(path: "tuple[str, ...]") -> "Command | None":
    for command in _load(_HOMES[path[0]]) if path and path[0] in _HOMES else ():
        if command.path == path:
            return command
    return None


def command_at(path: "tuple[str, ...]") -> "Command | None":
    """Return the command that is typed as `path`, or None."""
    command = _at(path)
    return command if command is not None and command.run else None


def group_at(path: "tuple[str, ...]") -> "Command | None":
    """Return the group of commands that is typed as `path` (ROOT is the empty path), or None."""
    group = _at(path) if path else ROOT
    return group if group is not None and not group.run else None


def command_of_words(path: "tuple[str, ...]") -> "Command | None":
    """Return the command of the group at `path` that takes a word which is no subcommand, or None."""
    group = group_at(path)
    if group is None or all(parameter.flags for parameter in group.parameters):
        return None
    return command_at((*path, group.default))


def named_command(words: "Sequence[str]") -> "Command | None":
    """Return the command that a command line is about, also one that nobody can parse; None if that cannot be told."""
    with_value = {flag for option in GLOBAL_OPTIONS if option.kind != FLAG for flag in option.flags}
    rest = iter(words)
    for word in rest:
        if word in with_value:
            next(rest, None)
        elif not word.startswith("-"):
            group = group_at((word,))
            if group is None:
                return command_at((word,))
            return command_at((word, next(rest, ""))) or command_at((word, group.default))
    return None
