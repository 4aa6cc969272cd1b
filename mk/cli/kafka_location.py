"""What a command may be asked for on a Kafka cluster, and how its properties get there.

-X and --timeout become part of the address, which is all that the layers below are told.
"""

from mk.errors import UsageError
from mk.transport.kafka_address import (
    DEFAULT_TIMEOUT_MS,
    PROFILE,
    TIMEOUT,
    is_kafka,
    is_secret,
    split_address,
    with_properties,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mk.cli.options import Options

_LEAST_TIMEOUT_MS = 2000
"""For a connection with TLS and a login, far away."""

_ONLY_OF_DIRECTORIES = {
    ("topics", "rename"): "a topic of Kafka keeps its name",
    ("topics", "seal"): "Kafka has no seal; take the right to write from its producers (ACLs)",
    ("topics", "clean"): "the brokers do that by themselves",
    ("topics", "compact"): "the brokers do that by themselves",
    ("topics", "clone"): "it links segment files",
    ("topics", "snapshot"): "it links the files of a directory; `mk replicate` copies topics into one",
    ("topics", "dump"): "it reads segment files",
    ("topics", "verify"): "it proves the bytes of segment files",
    ("topics", "repair"): "it works on segment files",
    ("groups", "kick"): "the coordinator of the group decides who is a member",
    (
        "groups",
        "undo",
    ): "the journal of changes is kept in a directory; `mk groups export` before a change is the way back",
    ("check", "run"): "it judges a directory; the brokers have their own monitoring",
    ("check", "fs"): "it proves a file system",
    ("serve",): "it serves a directory",
    (
        "replicate",
        "status",
    ): "what is known of copies is kept in the directory; `mk groups describe mk-replicate-TOPIC` tells how far a copy is",
    ("replicate", "promote"): "the controller of the cluster chooses the leaders",
    ("replicate", "salvage"): "it works on the log of a former leader",
}
"""Commands that are about the files of a directory, and what there is instead."""


def prepare(options: "Options", arguments: "Sequence[str]") -> None:
    """Put the properties of a Kafka cluster into its address. Raises UsageError for what is not for one.

    Raises UsageError for a secret among the words of the command line, which every user of this host can see in `ps`.
    """
    properties = dict(getattr(options, "properties", {}))
    named = [
        name
        for name in ("directory", "source", "target", "destination")
        if is_kafka(getattr(options, name, None) or "")
    ]
    for name in named:
        _, own = split_address(getattr(options, name))
        if any(getattr(options, name) in word for word in arguments):
            _refuse_secrets(own)
    _refuse_secrets(properties)
    if not named:
        raise UsageError(
            "-X goes with a kafka:// cluster",
            why="a log directory has no properties of a connection",
            fix="leave it out, or name a cluster with -d; nothing was done",
        )
    if why := _ONLY_OF_DIRECTORIES.get(options.command.path):
        raise UsageError(
            f"mk {' '.join(options.command.path)} does not work on a Kafka cluster", why=why, fix="nothing was done"
        )
    for name in named:
        location = getattr(options, name)
        if limited := _limited(location, properties, getattr(options, "timeout_ms", None)):
            setattr(options, name, with_properties(location, limited))
    from mk.kafka_cluster.lean_import import import_lean

    import_lean()


def _limited(location: str, properties: "dict[str, str]", timeout_ms: "int | None") -> "dict[str, str]":
    """Return the properties with a time for each request that is not above --timeout, where that is short."""
    given = properties.get(TIMEOUT) or split_address(location)[1].get(TIMEOUT) or str(DEFAULT_TIMEOUT_MS)
    if timeout_ms is None or not given.isdecimal() or int(given) <= timeout_ms:
        return properties  # What is no number is refused where the address is read.
    # A connection has to be made all the same: `--timeout 0` asks how it is now.
    return {**properties, TIMEOUT: str(min(int(given), max(timeout_ms, _LEAST_TIMEOUT_MS)))}


def _refuse_secrets(properties: "dict[str, str]") -> None:
    for name in properties:
        if is_secret(name):
            raise UsageError(
                f"{name} must not stand on a command line",
                why="every user of this host can see it there, with ps",
                fix=f"put it in a file that only you can read, and name that with -X {PROFILE}=FILE; nothing was done",
            )
