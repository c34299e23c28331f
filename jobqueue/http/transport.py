"""The bytes of a connection in and out.

A plain socket is read and written without a detour through the scheduler; TLS and streams in memory go by Trio's own
stream. Both ways share one object, so nothing is ever written in clear under TLS.
"""

from __future__ import annotations

import os
import socket

import trio
from trio.abc import Stream

Address = tuple[str, int]


class Transport:
    """One stream. `fd` is its socket's, for the reaper; -1 for a stream that has none."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.socket = _socket(stream)
        self.fd = -1 if self.socket is None else self.socket.fileno()
        self.secure = isinstance(stream, trio.SSLStream)
        self._plain_fd = self.fd if isinstance(stream, trio.SocketStream) else -1

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of it. The kernel mostly takes it at once: no trip through the scheduler then.

        Raises trio.BrokenResourceError when the client has left.
        """
        sent = 0
        if self._plain_fd >= 0:
            try:
                sent = os.write(self._plain_fd, data)
            except BlockingIOError:
                pass
            except OSError:
                raise trio.BrokenResourceError from None
        if sent < len(data):
            await self.stream.send_all(data[sent:] if sent else data)

    async def receive(self, most: int) -> bytes:
        """The next bytes; none if the client sends no more. Raises trio.BrokenResourceError."""
        if self._plain_fd < 0:
            return bytes(await self.stream.receive_some(most))
        while True:  # between two requests the kernel has nothing yet, and asking it first would be in vain
            await trio.lowlevel.wait_readable(self._plain_fd)
            try:
                return os.read(self._plain_fd, most)
            except BlockingIOError:
                continue
            except OSError:
                raise trio.BrokenResourceError from None

    def addresses(self) -> tuple[Address | None, tuple[str, int | None] | None]:
        """ASGI's `client` and `server`: host and port, or for a unix socket nothing and its path. Raises OSError."""
        if self.socket is None:
            return None, None
        peer, own = self.socket.getpeername(), self.socket.getsockname()
        if self.socket.family == socket.AF_UNIX:
            return None, (str(own), None)
        return (peer[0], peer[1]), (own[0], own[1])


def _socket(stream: Stream) -> trio.socket.SocketType | None:
    """The socket under `stream`; a stream in memory has none."""
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    return transport.socket if isinstance(transport, trio.SocketStream) else None
