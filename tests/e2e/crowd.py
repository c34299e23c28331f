"""A crowd of listeners to streams of events, on raw sockets, read by one thread.

with Crowd(server.address) as crowd:
listeners = crowd.join(1000, "/events")
...
crowd.read_until(lambda: all(listener.ended for listener in listeners), 60)
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Callable
from typing import Self

from tests.unit.steps import Event, parsed

READ_BYTES = 1 << 18
CHUNK = re.compile(rb"([0-9a-f]+)\r\n")
COMMENT = re.compile(rb":\n(?:id: [^\n]*\n)?\n")


class Listener:
    """One connection: what it was answered, and whether that has ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = b""
        self.closed = False

    @property
    def open(self) -> bool:
        """The head and the first piece of the body have come."""
        return self.data.partition(b"\r\n\r\n")[2] != b""

    @property
    def body(self) -> bytes:
        """The body so far, out of its chunks; comments left out."""
        _, _, rest = self.data.partition(b"\r\n\r\n")
        pieces = []
        at = 0
        while match := CHUNK.match(rest, at):
            size = int(match[1], 16)
            pieces.append(rest[match.end() : match.end() + size])
            at = match.end() + size + 2
        return COMMENT.sub(b"", b"".join(pieces))

    @property
    def whole(self) -> bool:
        """The answer has come to a proper end."""
        return self.data.endswith(b"\r\n0\r\n\r\n")

    @property
    def events(self) -> list[Event]:
        """What it was told."""
        return parsed(self.body)


class Crowd:
    """Use it in `with`: in the end all leave."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key in tuple(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.data.sock.close()
        self._selector.close()

    def join(self, count: int, target: str) -> list[Listener]:
        """So many listeners more, all of whom have been let in."""
        listeners = []
        for _ in range(count):
            sock = socket.create_connection(self._address)
            sock.sendall(f"GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
            sock.setblocking(False)  # noqa: FBT003 - as socket has it
            listeners.append(Listener(sock))
            self._selector.register(sock, selectors.EVENT_READ, listeners[-1])
        self.read_until(lambda: all(listener.open or listener.closed for listener in listeners), 30)
        assert all(listener.data.startswith(b"HTTP/1.1 200 ") for listener in listeners)
        return listeners

    def read_until(self, true: Callable[[], bool], seconds: float) -> None:
        """Read for all of them. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError
            for key, _ in self._selector.select(0.1):
                self._read(key.data)

    def _read(self, listener: Listener) -> None:
        try:
            data = listener.sock.recv(READ_BYTES)
        except OSError:
            data = b""
        listener.data += data
        if not data:
            listener.closed = True
            self._selector.unregister(listener.sock)
            listener.sock.close()
