"""Settings of a topic, under Kafka's names: what there is, what it defaults to, what it may be.

They keep Kafka's spelling (`segment.bytes`) everywhere; Topic.config looks them up by it.
"""

from __future__ import annotations

from mk.errors import ConfigurationError, UsageError
from mk.topic_partition import MAX_NAME_LENGTH, is_valid_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
DAY_MS = 86_400_000
FOREVER_MS = 10**15
"""Longer than any log lives, and small enough to add to a time of today."""


class TopicConfigKey:
    """One setting: its name, default, smallest and largest value (integers), or its choices, or a check of it (strings).

    check: returns the text as it is kept, or "" for the default; raises ValueError saying what it may be.
    """

    __slots__ = ("check", "choices", "default", "help", "maximum", "minimum", "name")

    def __init__(
        self,
        name: str,
        default: int | str,
        help: str,
        *,
        minimum: int = 0,
        maximum: int = 0,
        choices: tuple[str, ...] = (),
        check: Callable[[str], str] | None = None,
    ) -> None:
        self.name = name
        self.default = default
        self.help = help
        self.minimum = minimum
        self.maximum = maximum
        self.choices = choices
        self.check = check


ALL_GROUPS = "all"


def parse_groups(text: str) -> tuple[str, ...]:
    """Return the names in a value of retention.groups, none if it is empty."""
    return tuple(text.split(",")) if text else ()


def _check_groups(text: str) -> str:
    """Return a list of groups without blanks and repetitions."""
    text = text.strip(" ")
    if text in ("", ALL_GROUPS):
        return text
    names = list(dict.fromkeys(name.strip(" ") for name in text.split(",")))
    for name in names:
        if name == ALL_GROUPS or not is_valid_name(name):
            raise ValueError(
                f"it is {ALL_GROUPS}, or names of groups with commas between them; a name is like that of a topic, with at "
                f"most {MAX_NAME_LENGTH} of A-Z a-z 0-9 . _ -"
            )
    return ",".join(names)


COMPACT, DELETE = "compact", "delete"


def _check_policy(text: str) -> str:
    """Return what becomes of old records: delete, compact, or both, in one spelling."""
    names = {name.strip(" ") for name in text.split(",")}
    if not names <= {COMPACT, DELETE}:
        raise ValueError("it is delete, compact or compact,delete")
    return ",".join(sorted(names))


def _check_ratio(text: str) -> str:
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS and float(text) <= 1):
        raise ValueError("give a number from 0 to 1")
    return text


TOPIC_CONFIG = {
    key.name: key
    for key in (
        TopicConfigKey(
            "cleanup.policy",
            "delete",
            "what becomes of old records: delete, compact or compact,delete",
            check=_check_policy,
        ),
        TopicConfigKey(
            "delete.retention.ms",
            DAY_MS,
            "how long compaction keeps a tombstone, ms",
            maximum=FOREVER_MS,
        ),
        TopicConfigKey(
            "min.cleanable.dirty.ratio",
            "0.5",
            "which part of a log must not be compacted yet before it is compacted",
            check=_check_ratio,
        ),
        TopicConfigKey(
            "min.compaction.lag.ms",
            0,
            "how long a record stays as it is before compaction, ms",
            maximum=FOREVER_MS,
        ),
        TopicConfigKey(
            "compression.type",
            "none",
            "how producers compress batches when -z does not say",
            choices=("none", "gzip", "lz4", "zstd"),
        ),
        TopicConfigKey(
            "flush.ms",
            1000,
            "how long a fast stream gathers input for one durable append, ms",
            minimum=1,
            maximum=3_600_000,
        ),
        TopicConfigKey(
            "max.message.bytes",
            16 * MIB,
            "largest record, key and value together, bytes",
            minimum=1,
            # A batch of one such record, framed, must stay below what a reader accepts (64 MiB).
            maximum=63 * MIB,
        ),
        TopicConfigKey(
            "min.free",
            -1,
            "free space that appends leave on the disk, bytes; -1 is 1 % of it, at most 1 GiB",
            minimum=-1,
            maximum=1 << 56,
        ),
        TopicConfigKey(
            "retention.bytes",
            -1,
            "size of a partition from which on its oldest segments are removed, bytes; -1 is no limit",
            minimum=-1,
            maximum=1 << 56,
        ),
        TopicConfigKey(
            "retention.groups",
            "",
            "groups whose committed offsets keep records beyond retention.ms: names with commas, or all",
            check=_check_groups,
        ),
        TopicConfigKey(
            "retention.ms",
            7 * DAY_MS,
            "age at which a segment's records are removed, ms; -1 is never",
            minimum=-1,
            maximum=FOREVER_MS,
        ),
        TopicConfigKey(
            "segment.bytes",
            128 * MIB,
            "size at which a segment is sealed and the next one begins, bytes",
            minimum=4 * KIB,
            # Positions in an index are 32 bits wide, and one batch may go beyond.
            maximum=2 * GIB,
        ),
        TopicConfigKey(
            "segment.ms",
            7 * DAY_MS,
            "age at which a segment is sealed and the next one begins, ms",
            minimum=1,
            maximum=FOREVER_MS,
        ),
    )
}

PARTITIONERS = ("crc32", "murmur2")


def check_partitioner(name: str) -> str:
    """Return `name`, or raise ConfigurationError with the partitioners that there are."""
    if name not in PARTITIONERS:
        raise ConfigurationError(
            f"partitioner cannot be {name!a}", fix="it is one of " + ", ".join(PARTITIONERS), name="partitioner"
        )
    return name


def check_no_replication(replication_factor: int | None) -> None:
    """Raise UsageError for a number of replicas, which a log directory has not."""
    if replication_factor is not None:
        raise UsageError(
            "--replication-factor goes with a kafka:// cluster",
            why="a log directory has one copy of each topic",
            fix="leave it out; `mk replicate` keeps a copy elsewhere; nothing was done",
        )


_MAX_DIGITS = 18
_SIZE_SUFFIXES = {"k": KIB, "kib": KIB, "m": MIB, "mib": MIB, "g": GIB, "gib": GIB, "b": 1}
_TIME_SUFFIXES = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_topic_config(settings: dict[str, str]) -> dict[str, int | str]:
    """Turn settings as typed into values. Raises ConfigurationError naming the key, its bounds, or the keys there are."""
    config: dict[str, int | str] = {}
    for name, text in settings.items():
        if name not in TOPIC_CONFIG:
            raise _no_setting(name)
        config[name] = _parse_value(TOPIC_CONFIG[name], text)
    return config


def check_setting_names(names: Iterable[str]) -> None:
    """Raise ConfigurationError with the settings that there are, unless all of `names` are among them."""
    for name in names:
        if name not in TOPIC_CONFIG and name != "partitioner":
            raise _no_setting(name)


def _no_setting(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"there is no setting {name!a}",
        fix="the settings of a topic are " + ", ".join(sorted((*TOPIC_CONFIG, "partitioner"))),
        name=name,
    )


def _parse_value(key: TopicConfigKey, text: str) -> int | str:
    if key.choices:
        if text in key.choices:
            return text
        raise ConfigurationError(
            f"{key.name} cannot be {text!a}", fix="it is one of " + ", ".join(key.choices), name=key.name
        )
    if key.check is not None:
        try:
            return key.check(text)
        except ValueError as error:
            raise ConfigurationError(f"{key.name} cannot be {text!a}", fix=str(error), name=key.name) from None
    amount = parse_amount(key.name, text)
    value = key.minimum - 1 if amount is None else amount
    if text == "-1":
        value = -1
    if not key.minimum <= value <= key.maximum:
        raise ConfigurationError(
            f"{key.name} cannot be {text!a}",
            why=f"it says {key.help}",
            fix=f"give a number from {key.minimum} to {key.maximum}",
            name=key.name,
        )
    return value


def parse_amount(name: str, text: str) -> int | None:
    """Return how many bytes, or ms where the setting's name says so, a text means; None if it means none."""
    number, factor = _split_suffix(text, _TIME_SUFFIXES if name.endswith(".ms") else _SIZE_SUFFIXES)
    return None if number is None else int(number * factor)


def _split_suffix(text: str, suffixes: dict[str, int]) -> tuple[float | None, int]:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    suffix = text[len(digits) :].lower()
    if suffix and suffix not in suffixes:
        return None, 1
    factor = suffixes[suffix] if suffix else 1
    if len(digits) > _MAX_DIGITS:
        return None, 1
    if digits.isascii() and digits.isdecimal():
        return int(digits), factor
    whole, dot, fraction = digits.partition(".")
    if dot and (whole + fraction).isascii() and (whole + fraction).isdecimal():
        return float(digits), factor
    return None, 1
