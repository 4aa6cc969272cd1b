"""`[user@]host:directory`: which log directory is meant, and whether it is one of another host.

As scp and rsync have it: a colon with no slash before it makes a text an address, so `./a:b` is a path of this host. But for
`host:9092`, which whoever knows Kafka types, and hardly anybody calls a directory.
Strict, since user and host become words of a command line: `-oProxyCommand=...` is no host.
"""

from __future__ import annotations

from mk.errors import UsageError

_MAX_HOST = 255
_MAX_USER = 64
_MAX_DIRECTORY = 4096
_MAX_PORT = 65535
_PORT_DIGITS = 5
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_HOST = _LETTERS | frozenset("._-")
_USER = _LETTERS | frozenset("._+-")
_BROKERS = _HOST | frozenset(",:")
_IPV6 = frozenset("0123456789abcdefABCDEF:.")


class Address:
    """A log directory of another host. user: "" for whoever ssh takes. directory: "" for the one that is meant there."""

    __slots__ = ("directory", "host", "user")

    def __init__(self, user: str, host: str, directory: str) -> None:
        self.user = user
        self.host = host
        self.directory = directory

    @property
    def destination(self) -> str:
        """The word for ssh: `user@host`, or the host alone. It never begins with a dash."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.directory}" if self.user else f"{host}:{self.directory}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def is_remote(text: str) -> bool:
    """Tell whether `text` names a directory of another host, rightly spelled or not."""
    before, colon, _ = text.partition(":")
    return bool(colon and before) and "/" not in before


def parse_address(text: str) -> str | Address:
    """Return the path that `text` is on this host, or the Address that it is.

    Raises UsageError for an address with a user or host that cannot be one.
    """
    if not is_remote(text):
        return text
    user, host, directory = _split(text)
    if directory.startswith("//"):
        raise _refused(text, "a URL is no log directory")
    if user is not None and not (0 < len(user) <= _MAX_USER and _USER.issuperset(user) and user[0] not in "-+"):
        raise _refused(text, "the user in it is none")
    if not _is_host(host):
        raise _refused(text, "the host in it is none")
    if len(directory) > _MAX_DIRECTORY or "\0" in directory:
        raise _refused(text, "the directory in it is none")
    if user is None and _is_port(directory):
        raise UsageError(
            f"{text} is a host and a port, and no directory of another host",
            why="HOST:DIR is a directory there, by ssh, and the name of a Kafka cluster begins with kafka://",
            fix=f"name it kafka://{text}, or {text.removesuffix(directory)}./{directory} if it is a directory; nothing was done",
            address=text,
        )
    return Address(user or "", host, directory)


def _split(text: str) -> tuple[str | None, str, str]:
    bracket = text.find("[")
    at = text.find("@", 0, text.index(":"))
    if bracket == at + 1:
        end = text.find("]:", bracket)
        if end > 0:
            host = text[bracket + 1 : end]
            # A host in brackets is one with colons: any other would be another spelling of what has one already.
            return text[:at] if at >= 0 else None, host if ":" in host else "", text[end + 2 :]
    destination, _, directory = text.partition(":")
    user, at_sign, host = destination.rpartition("@")
    return user if at_sign else None, host, directory


def _is_port(directory: str) -> bool:
    """Tell whether what stands behind a host is a port, and maybe a comma and more brokers."""
    port = directory.partition(",")[0]
    is_number = port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS
    return is_number and 0 < int(port) <= _MAX_PORT and _BROKERS.issuperset(directory)


def _is_host(host: str) -> bool:
    if ":" in host:
        address, percent, zone = host.partition("%")
        return (
            len(host) <= _MAX_HOST
            and _IPV6.issuperset(address)
            and bool(zone) == bool(percent)
            and _HOST.issuperset(zone)
        )
    return 0 < len(host) <= _MAX_HOST and _HOST.issuperset(host) and host[0] in _LETTERS


def _refused(text: str, why: str) -> UsageError:
    return UsageError(
        f"{text[:200]!a} names no directory of another host",
        why=why,
        fix="it is HOST:DIR or USER@HOST:DIR, an IPv6 address in brackets; a path with a colon is spelled ./a:b, a Kafka "
        "cluster kafka://HOST:PORT; nothing was done",
        address=text[:200],
    )
