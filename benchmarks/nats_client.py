#!/usr/bin/env python3
"""Publish each line of standard input to a JetStream stream, wait for all acknowledgements, and print how many there were.

    python nats_client.py PORT SUBJECT < LINES

At most WINDOW messages are under way. The stream of that name is made first, anew, on files. Standard library only.
"""

from __future__ import annotations

import json
import re
import socket
import sys

WINDOW = 8192


class Connection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.recv(65536)  # INFO
        self.send(b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\nSUB _INBOX.bench.* 1\r\n')
        self._rest = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def replies(self) -> list[bytes]:
        """Wait for data, and return the payloads of the whole messages in it."""
        data = self._socket.recv(1 << 18)
        if not data:
            raise SystemExit("the server closed the connection")
        self._rest += data
        found, at = [], 0
        while (end := self._rest.find(b"\r\n", at)) >= 0:
            line = self._rest[at:end]
            if line.startswith((b"MSG", b"HMSG")):
                size = int(line.rpartition(b" ")[2])
                if len(self._rest) < end + 4 + size:
                    break
                found.append(self._rest[end + 2 : end + 2 + size])
                at = end + 4 + size
                continue
            if line == b"PING":
                self.send(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise SystemExit(line.decode())
            at = end + 2
        self._rest = self._rest[at:]
        return found

    def request(self, subject: str, body: bytes) -> dict[str, object]:
        self.send(b"PUB %b _INBOX.bench.0 %d\r\n%b\r\n" % (subject.encode(), len(body), body))
        while True:
            for reply in self.replies():
                return dict(json.loads(reply))


def main() -> int:
    connection = Connection(int(sys.argv[1]))
    name = sys.argv[2]
    connection.request(f"$JS.API.STREAM.DELETE.{name}", b"")
    config = {"name": name, "subjects": [name], "storage": "file", "retention": "limits", "num_replicas": 1}
    made = connection.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(config).encode())
    if "error" in made:
        raise SystemExit(str(made["error"]))
    sent = acknowledged = 0
    pending = b"PUB %b _INBOX.bench.1 " % name.encode()
    parts: list[bytes] = []
    last = 0

    def wait(under_way: int) -> None:
        nonlocal acknowledged, last
        while sent - acknowledged > under_way:
            for reply in connection.replies():
                found = re.search(rb'"seq": ?(\d+)', reply)
                if found is None:
                    raise SystemExit(reply.decode(errors="replace"))
                acknowledged += 1
                last = int(found[1])

    for line in sys.stdin.buffer:
        parts.append(b"%b%d\r\n%b\r\n" % (pending, len(line) - 1, line[:-1]))
        if len(parts) == 1024:
            connection.send(b"".join(parts))
            sent += len(parts)
            parts.clear()
            wait(WINDOW - 1024)
    connection.send(b"".join(parts))
    sent += len(parts)
    wait(0)
    print(last)
    return 0


if __name__ == "__main__":
    sys.exit(main())
