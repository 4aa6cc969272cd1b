"""What a shell offers where: the words of the definition, and what of its own it lists."""

from mk.cli import definition, help_pages
from mk.cli.definition import Command, Parameter
from mk.cli.help_topics import subjects
from mk.config import TOPIC_CONFIG
from mk.formats.writers import PRESETS
from mk.maintenance.thresholds import THRESHOLDS

NOTE = "made from the definition of the commands by mk.cli.completions; changes here are lost"


def all_levels() -> "list[Command]":
    """Return every command and group of commands, mk itself first."""
    return [definition.ROOT, *definition.commands()]


def options_of(level: Command) -> "list[Parameter]":
    """Return the options of a command that are shown."""
    return [parameter for parameter in level.parameters if parameter.flags and not parameter.hidden]


def arguments_of(level: Command) -> "list[Parameter]":
    """Return the arguments of a command."""
    return [parameter for parameter in level.parameters if not parameter.flags]


def value_flags(level: Command) -> "list[str]":
    """Return the flags that take a value in one command. Those that may stand before it are the same in all (tested)."""
    return [flag for parameter in level.parameters if parameter.kind != definition.FLAG for flag in parameter.flags]


def words_for(parameter: Parameter) -> "list[str]":
    """Return the words that are offered for a value; the rest is up to the shell."""
    if parameter.choices:
        return list(parameter.choices)
    if parameter.complete == definition.FORMAT:
        return list(PRESETS)
    if parameter.complete == definition.OFFSET:
        return ["start", "end"]
    if parameter.complete == "help":
        return [*subjects(), *(level.path[0] for level in help_pages.subcommands(definition.ROOT))]
    if parameter.complete == definition.LIMIT:
        return [f"{name}=" for name in sorted(THRESHOLDS)]
    if parameter.complete == definition.PROPERTY:
        return [f"{name}=" for name in _PROPERTIES]
    settings = sorted([*TOPIC_CONFIG, "partitioner"])
    if parameter.kind == definition.SETTING:
        return [f"{name}=" for name in settings]
    if parameter.complete == definition.SETTING:
        return settings
    return []


# What a connection to Kafka is made with. Secrets are not among them: they are refused on a command line.
_PROPERTIES = (
    "profile",
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "ssl.ca.location",
    "client.id",
    "partitioner",
    "mk.timeout.ms",
)


# What a shell can list for itself. Topics and consumer groups are what it must be told how to list.
_LISTED = (definition.TOPIC, definition.CONSUMER_GROUP, definition.DIRECTORY, definition.FILE, definition.GROUP)


def listed_for(parameter: Parameter) -> str:
    """Return what of its own the shell offers for a value, if the definition names no words; "" for nothing."""
    return parameter.complete if parameter.complete in _LISTED and not words_for(parameter) else ""
