"""A client that says exactly the bytes it is told to, and reads what comes back as the standard library does."""

from __future__ import annotations

import http.client
import io
import json
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self, cast

PATIENCE_SECONDS = 20  # for what should happen at once; only a failing test waits so long

JSON = b"Content-Type: application/json\r\n"
NDJSON = b"Content-Type: application/x-ndjson\r\n"


def request(line: bytes, headers: bytes = b"", body: bytes = b"", host: bytes = b"Host: localhost\r\n") -> bytes:
    """A request, good unless the arguments say otherwise."""
    return line + b" HTTP/1.1\r\n" + host + headers + b"\r\n" + body


def post(body: bytes, headers: bytes = JSON, path: bytes = b"/jobs") -> bytes:
    """A submission."""
    return request(b"POST " + path, headers + b"Content-Length: %d\r\n" % len(body), body)


class Answer(NamedTuple):
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The code of a problem."""
        assert self.headers["content-type"] == "application/problem+json"
        members = self.json()
        assert members["status"] == self.status
        assert members["request_id"]
        return cast("str", members["type"]).removeprefix("/problems/")


class _Reader(io.BufferedReader):
    """What answers are read from; the standard library closes it after each."""

    def makefile(self, _mode: str) -> _Reader:
        return self

    def close(self) -> None:
        pass


class Raw:
    """One connection; use it in `with`."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect((host, port))
        self._reader = _Reader(self.sock.makefile("rb", buffering=0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        super(_Reader, self._reader).close()
        self.sock.close()

    def send(self, *parts: bytes) -> None:
        """Send each part by itself."""
        for part in parts:
            self.sock.sendall(part)

    def send_eof(self) -> None:
        """Close the sending half."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave without a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.__exit__()

    def line(self) -> bytes:
        """The next line, as it comes."""
        return self._reader.readline()

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, as the standard library's client reads it (which skips 100 Continue)."""
        response = http.client.HTTPResponse(cast("Any", self._reader), method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def ask(self, *parts: bytes, method: str = "GET") -> Answer:
        """Send, and read one answer."""
        self.send(*parts)
        return self.answer(method)

    def ends(self) -> bool:
        """Whether the server closes, having nothing more to say."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True

    def wait_for_hangup(self) -> None:
        """Wait until the server has left, without reading."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        if not poll.poll(PATIENCE_SECONDS * 1000):
            raise TimeoutError


def eventually(true: Callable[[], bool]) -> bool:
    """Ask again and again, since no event of another process can be waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
