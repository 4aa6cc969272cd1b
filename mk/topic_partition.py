"""Names of topics, groups and producers and numbers of partitions, checked wherever one enters: command line, API, a listing, a file."""

from mk.errors import UsageError

MAX_NAME_LENGTH = 200
MAX_PARTITIONS = 4096
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def is_valid_name(name: str) -> bool:
    """Tell whether `name` can be a topic or a group: Kafka's letters, and nothing that a file system or mk itself uses.

    It begins with a letter or digit, so it can be no option and no hidden file; it never holds a slash.
    """
    return (
        0 < len(name) <= MAX_NAME_LENGTH
        and _ALLOWED.issuperset(name)
        and name[0].isalnum()
        and name[-1] != "."
        and ".deleted" not in name
    )


def check_name(name: str, what: str = "topic") -> str:
    """Return `name`, or raise UsageError saying what a topic, or a group, may be called."""
    if not is_valid_name(name):
        raise UsageError(
            f"{name!a} cannot be the name of a {what}",
            why=f"a name has at most {MAX_NAME_LENGTH} of the letters A-Z a-z 0-9 . _ -, begins with a letter or digit,"
            " does not end with a dot and does not hold .deleted",
            fix=f"choose another name{', or put -d in front if it is a log directory' if '/' in name else ''}; nothing was done",
            name=name,
        )
    return name


def check_name_at(location: "str | None", name: str, what: str = "topic") -> str:
    """Return `name`, or raise as check_name does. Of what is on a Kafka cluster, its brokers say what it may be called."""
    return name if name and (location or "").startswith("kafka://") else check_name(name, what)


def check_partition_count(count: int) -> int:
    """Return `count`, or raise UsageError saying how many partitions a topic may have."""
    if not 1 <= count <= MAX_PARTITIONS:
        raise UsageError(
            f"a topic has 1 to {MAX_PARTITIONS} partitions, not {count}", fix="choose another number; nothing was done"
        )
    return count


def check_producer_id(name: str) -> str:
    """Return `name`, or raise UsageError saying what a producer id may be."""
    if not (0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()):
        raise UsageError(
            f"{name[:80]!a} cannot be a producer id",
            why=f"it has 1 to {MAX_NAME_LENGTH} printable characters",
            fix="choose another one; nothing was done",
            name=name,
        )
    return name
