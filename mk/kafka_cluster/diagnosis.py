"""What is the matter with a broker that librdkafka gets no answer from: asked with a socket of our own.

librdkafka says nothing of a broker that hangs up, since old ones did so on every unknown request. But that is what one does
that speaks TLS with a client that does not, or that wants a login; and what is no Kafka may do anything.
"""

from __future__ import annotations

import socket
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_CLIENT = b"\x00\x02mk"
_API_VERSIONS = b"\x00\x12\x00\x00\x00\x00\x00\x07" + _CLIENT
_METADATA = b"\x00\x03\x00\x00\x00\x00\x00\x08" + _CLIENT + b"\x00\x00\x00\x00"
"""Requests of version 0, behind their length: what can you do, with correlation 7; who are you, for no topic, with 8."""

_FIRST_BYTES = 8


NEEDS_LOGIN = "it hangs up on whoever has not logged in: security.protocol is sasl_plaintext or sasl_ssl, with a user"


def find_fault(brokers: str, properties: Mapping[str, str], seconds: float) -> str:
    """Return what is the matter with the first broker that something can be told of, "" if nothing can."""
    end = monotonic() + seconds
    for broker in brokers.split(","):
        host, _, port = broker.rpartition(":")
        left = end - monotonic()
        if left <= 0:
            break
        found = _fault_of(host.strip("[]"), int(port), properties, left)
        if found:
            return f"{broker}: {found}"
    return ""


def _fault_of(host: str, port: int, properties: Mapping[str, str], seconds: float) -> str:
    protocol = properties.get("security.protocol", "plaintext").lower()
    try:
        if protocol.endswith("ssl"):
            with _connected(host, port, seconds):
                return "it takes connections, but does not answer in time"
        first = _answer(host, port, _API_VERSIONS, seconds)
        if first is None:
            return "it takes connections, but does not answer; is it a broker?"
        if first[4:8] == b"\0\0\0\x07":
            if protocol == "plaintext" and _answer(host, port, _METADATA, seconds) == b"":
                return NEEDS_LOGIN
            return ""
        if first and first[0] != 0x15:
            return f"what answers there is no Kafka broker: it says {first!r}"
        if _speaks_tls(host, port, seconds):
            return f"it speaks TLS, and security.protocol={protocol} does not; it is ssl, or sasl_ssl with a login"
    except socket.gaierror as error:
        return f"this host name is not known here ({error.strerror})"
    except TimeoutError:
        return "it does not take the connection: it is away, or something between swallows what is sent there"
    except OSError as error:
        return str(error.strerror or error)
    return "it hangs up before it has said anything; is it a broker?"


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((host, port), timeout=max(0.05, seconds))


def _answer(host: str, port: int, request: bytes, seconds: float) -> bytes | None:
    """Return the first bytes of the answer to a request; b"" if the other side hangs up, None if it is silent."""
    with _connected(host, port, seconds) as connection:
        connection.sendall(len(request).to_bytes(4, "big") + request)
        try:
            return connection.recv(_FIRST_BYTES)
        except TimeoutError:
            return None
        except ConnectionError:
            return b""


def _speaks_tls(host: str, port: int, seconds: float) -> bool:
    import ssl

    # Nothing is sent there but the greeting, so nobody has to be trusted.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connected(host, port, seconds) as connection, context.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        # A certificate that it wants of us is a word of TLS, too.
        return "ALERT" in str(error.reason).upper()
    except OSError:
        return False
