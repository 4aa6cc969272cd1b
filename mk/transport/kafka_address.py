"""`kafka://host[:port][,host[:port]...][?property=value&...]`: which Kafka cluster is meant, and how to speak with it.

The properties are librdkafka's, and `profile`, a file with more of them, one `property=value` a line, as kcat's and Kafka's
own tools have it. What stands nearer to the command counts: the URL before the file. A profile may name the brokers, too,
for an address that names none.
"""

from __future__ import annotations

from mk.errors import ConfigurationError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEME = "kafka://"
PROFILE = "profile"
TIMEOUT = "mk.timeout.ms"
"""How long a request to the cluster may take, also to find out that nobody answers; a --timeout below it counts more."""

DEFAULT_TIMEOUT_MS = 10_000

_DEFAULT_PORT = 9092
_MAX_PROFILE_BYTES = 1 << 20
_SECRET_WORDS = ("password", "secret", "key.pem", "oauthbearer.config", "private.key", "jaas", "passphrase", "token")
_PLACES = (".location", ".file", ".url", ".format")
"""Ends of names of what tells where a secret is, and not what."""

_BROKERS = ("bootstrap.servers", "metadata.broker.list")
_HOST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_IPV6 = frozenset("0123456789abcdefABCDEF:.")


class KafkaAddress:
    """brokers: host:port of those to begin with, with commas between. properties: librdkafka's, those of the profile too.

    timeout_ms: how long a request may take. has_timeout: whether somebody said so.
    """

    __slots__ = ("brokers", "has_timeout", "properties", "timeout_ms")

    def __init__(self, brokers: str, properties: dict[str, str], timeout_ms: int, *, has_timeout: bool = False) -> None:
        self.brokers = brokers
        self.properties = properties
        self.timeout_ms = timeout_ms
        self.has_timeout = has_timeout

    def __str__(self) -> str:
        """Return it without properties, which may be secret."""
        return SCHEME + self.brokers


def is_kafka(location: str) -> bool:
    """Tell whether a text names a Kafka cluster, rightly spelled or not."""
    return location.startswith(SCHEME)


def is_secret(name: str) -> bool:
    """Tell whether the value of a property must be seen by nobody."""
    name = name.lower()
    return not name.endswith(_PLACES) and any(word in name for word in _SECRET_WORDS)


def parse_kafka_address(text: str, *, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> KafkaAddress:
    """Return the address that a text is, with the properties of its profile.

    Raises UsageError, which shows no property's value; ConfigurationError for a profile that cannot be read.
    """
    servers, properties = split_address(text)
    profile = properties.pop(PROFILE, "")
    if profile:
        properties = {**read_profile(profile), **properties}
    named = [value for name in _BROKERS if (value := properties.pop(name, ""))]
    # Who is named where the command is typed counts; `kafka://` alone leaves it to the profile.
    servers = servers or (named[0] if named else "")
    brokers = ",".join(_broker(servers, text, server.strip()) for server in servers.split(","))
    given = properties.pop(TIMEOUT, "")
    if given:
        if not (given.isascii() and given.isdigit() and 0 < len(given) <= 9):
            raise UsageError(f"{TIMEOUT} is a whole number of milliseconds", fix="such as 10000")
        timeout_ms = max(1, int(given))
    return KafkaAddress(brokers, properties, timeout_ms, has_timeout=bool(given))


def split_address(text: str) -> tuple[str, dict[str, str]]:
    """Return what stands before the question mark, without the scheme, and the properties behind it."""
    servers, _, query = text[len(SCHEME) :].partition("?")
    properties = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UsageError(
                f"{SCHEME}{_shown(servers, text)} has a property without a value",
                why="behind the question mark stand NAME=VALUE pairs with & between them",
                fix="such as kafka://h1:9092?security.protocol=ssl; nothing was done",
            )
        properties[_unquoted(name)] = _unquoted(value)
    return servers.rstrip("/"), properties


def with_properties(text: str, properties: Mapping[str, str]) -> str:
    """Return an address with more properties; of those that it has already, these values."""
    servers, own = split_address(text)
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in {**own, **properties}.items())
    return f"{SCHEME}{servers}?{query}" if query else SCHEME + servers


def read_profile(path: str) -> dict[str, str]:
    """Return the properties in a file. Raises ConfigurationError, which shows no line of it."""
    import os

    path = os.path.expanduser(path)
    try:
        with open(path, encoding="utf-8", errors="strict") as file:
            text = file.read(_MAX_PROFILE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            f"the profile {path} cannot be read",
            why=why or "",
            fix="it has the properties of the connection, NAME=VALUE a line; nothing was done",
            path=path,
        ) from None
    return dict(_lines_of(path, text.splitlines()))


def _lines_of(path: str, lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(
                f"line {number} of the profile {path} is no property",
                fix="write NAME=VALUE, or # before a remark; nothing was done",
                path=path,
                line=number,
            )
        yield name.strip(), value.strip()


def _broker(servers: str, text: str, server: str) -> str:
    """Return host and port of one of the servers that an address names. text: all of it, for what may be shown."""
    host, port = server, ""
    if server.startswith("["):
        host, bracket, rest = server[1:].partition("]")
        number, _, zone = host.partition("%")
        is_host = (
            bool(bracket and number) and _IPV6.issuperset(number) and _HOST.issuperset(zone) and rest[:1] in ("", ":")
        )
        port = rest[1:]
        shown = f"[{host}]"
    else:
        host, _, port = server.partition(":")
        is_host = bool(host) and _HOST.issuperset(host)
        shown = host
    is_port = not port or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)
    if not (is_host and is_port):
        raise UsageError(
            f"{SCHEME}{_shown(servers, text)} names no Kafka cluster",
            why="who logs in is a property (sasl.username), and no part of a host's name"
            if "@" in text.partition("?")[0]
            else "a broker is HOST or HOST:PORT"
            if servers
            else "no broker stands in it, and no profile has bootstrap.servers",
            fix="it is kafka://HOST:PORT,HOST:PORT?PROPERTY=VALUE; nothing was done",
        )
    return f"{shown}:{port or _DEFAULT_PORT}"


def _shown(servers: str, text: str) -> str:
    """Return what can be shown of the part that names the brokers: not what may be a password, before an @."""
    return "..." if "@" in text else servers[:200]


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="/:,.~-_@+ ")


def _unquoted(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)
