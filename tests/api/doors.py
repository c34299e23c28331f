"""The ways into a server, for one suite: two ASGI doors in memory, and two kinds of connection over a real socket.

front    the hot rows straight from ASGI, as served
quart    Quart-Trio alone, with the whole table
socket   a real socket with our connection
stock    a real socket with Hypercorn's own connection
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self
from urllib.parse import unquote

import h11
import trio

from jobqueue.http import Counters, Limits, serve

NAMES = ("front", "quart", "socket", "stock")
HOST = b"127.0.0.1:8080"
READ_BYTES = 1 << 16

App = Callable[..., Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]


@dataclass
class Answer:
    """One answer; header names in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def begun(cls, status: int, headers: Iterable[tuple[bytes, bytes]]) -> Self:
        """The head; no header comes twice."""
        pairs = [(name.decode().lower(), value.decode("latin-1")) for name, value in headers]
        assert len(dict(pairs)) == len(pairs), pairs
        return cls(status, dict(pairs))

    def json(self) -> Any:
        """The body as JSON."""
        assert self.headers["content-type"] == "application/json", self
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """The body as NDJSON."""
        assert self.headers["content-type"] == "application/x-ndjson", self
        assert not self.body or self.body.endswith(b"\n")
        return [json.loads(line) for line in self.body.splitlines()]

    def problem(self, status: int, code: str) -> dict[str, Any]:
        """The body of a refusal, of exactly the shape that every refusal has."""
        assert (self.status, self.headers["content-type"]) == (status, "application/problem+json"), self
        said: dict[str, Any] = json.loads(self.body)
        assert check_problem(said) == (status, code), said
        if status in (429, 503):
            assert 1 <= int(self.headers["retry-after"]) <= 300
        return said

    def pointers(self, status: int, code: str) -> list[str]:
        """Where the faults are that a refusal names."""
        return [fault["pointer"] for fault in self.problem(status, code)["errors"]]


def check_problem(said: dict[str, Any]) -> tuple[int, str]:
    """Hold a problem to its shape; its status and code."""
    assert {"type", "title", "status", "detail", "errors", "request_id"} <= said.keys()
    assert all(isinstance(said[name], str) and said[name] for name in ("type", "title", "detail", "request_id"))
    assert all(fault.keys() == {"pointer", "detail"} for fault in said["errors"])
    assert "Traceback" not in json.dumps(said)
    path, _, code = said["type"].rpartition("/")
    assert path == "/problems"
    return said["status"], code


class Door(Protocol):
    """One request in, one answer out; the body may come in pieces."""

    @property
    def host(self) -> bytes:
        """What a client names in Host."""

    async def ask(self, method: str, target: str, headers: Headers, pieces: Iterable[bytes]) -> Answer:
        """Send a request and read the whole answer."""


def scope_of(method: str, target: str, headers: Headers) -> dict[str, Any]:
    """What a server tells an ASGI app of a request."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path, errors="replace"),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8080),
        "extensions": {},
        "state": {},
    }


class MemoryDoor:
    """An ASGI app, called as a server would call it."""

    host = HOST

    def __init__(self, app: App) -> None:
        self.app = app

    async def ask(self, method: str, target: str, headers: Headers, pieces: Iterable[bytes]) -> Answer:
        """Call the app; its answer must be whole, and as long as it says."""
        scope = scope_of(method, target, headers)
        incoming = iter(pieces)
        answer = Answer()
        sent: list[bytes] = []
        ended = False
        unread = True

        async def receive() -> dict[str, Any]:
            nonlocal unread
            await trio.lowlevel.checkpoint()
            if not unread:
                await trio.sleep_forever()
            piece = next(incoming, None)
            unread = piece is not None
            return {"type": "http.request", "body": piece or b"", "more_body": unread}

        async def send(message: dict[str, Any]) -> None:
            nonlocal answer, ended
            await trio.lowlevel.checkpoint()
            if message["type"] == "http.response.start":
                assert not answer.status
                answer = Answer.begun(message["status"], message["headers"])
            else:
                assert answer.status
                assert not ended
                sent.append(message.get("body", b""))
                ended = not message.get("more_body", False)

        await self.app(scope, receive, send)
        assert ended
        answer.body = b"".join(sent)
        length = answer.headers.get("content-length")
        assert length is None or method == "HEAD" or int(length) == len(answer.body)
        return answer


class SocketDoor:
    """A server on a real socket; a connection a request."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self.host = f"{host}:{port}".encode()
        self._where = host, int(port)

    async def ask(self, method: str, target: str, headers: Headers, pieces: Iterable[bytes]) -> Answer:
        """Send and read at the same time, since an answer may come before the body has gone."""
        async with self.talk(method, target, headers) as talk, trio.open_nursery() as nursery:
            nursery.start_soon(talk.send_all, pieces)
            answer = await talk.head()
            answer.body = await talk.body()
            nursery.cancel_scope.cancel()
        return answer

    @asynccontextmanager
    async def talk(self, method: str, target: str, headers: Headers) -> AsyncIterator[Talk]:
        """A request whose body is sent bit by bit, while the answer is read."""
        async with await trio.open_tcp_stream(*self._where) as stream:
            talk = Talk(stream)
            await talk.say(h11.Request(method=method, target=target, headers=list(headers)))
            yield talk


class Talk:
    """A conversation of one request."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._machine = h11.Connection(h11.CLIENT)
        self._rest = b""

    async def say(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        """Send a part of the request."""
        data = self._machine.send(event)
        if data:
            await self.stream.send_all(data)

    async def send(self, piece: bytes) -> None:
        """Send a piece of the body."""
        await self.say(h11.Data(data=piece))

    async def end(self) -> None:
        """End the body."""
        await self.say(h11.EndOfMessage())

    async def send_all(self, pieces: Iterable[bytes]) -> None:
        """Send the whole body, or as much of it as the server takes."""
        try:
            for piece in pieces:
                await self.send(piece)
            await self.end()
        except trio.BrokenResourceError:
            return

    async def head(self) -> Answer:
        """The beginning of the answer."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return Answer.begun(event.status_code, [(bytes(name), bytes(value)) for name, value in event.headers])
            assert isinstance(event, h11.InformationalResponse), event

    async def piece(self) -> bytes | None:
        """The next piece of the body, or None after its end. Raises RemoteProtocolError if it breaks off."""
        event = await self._next()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event
        return None

    async def body(self) -> bytes:
        """The rest of the body."""
        pieces = []
        while (piece := await self.piece()) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    async def line(self) -> Any:
        """The next line of a body of NDJSON, as soon as it has come."""
        while b"\n" not in self._rest:
            piece = await self.piece()
            assert piece is not None
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    async def _next(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._machine.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # NEED_DATA is excluded by a line that mypy cannot read
            self._machine.receive_data(await self.stream.receive_some(READ_BYTES))


@asynccontextmanager
async def opened(name: str, app: App, quart: App, new_id: Callable[[], str]) -> AsyncIterator[Door]:
    """A door to a server's apps."""
    if name in ("front", "quart"):
        yield MemoryDoor(app if name == "front" else quart)
        return
    async with trio.open_nursery() as nursery:

        async def listen(task_status: trio.TaskStatus[list[str]]) -> None:
            await serve(
                app,
                binds=["127.0.0.1:0"],
                limits=Limits(),
                counters=Counters(),
                new_request_id=new_id,
                grace_seconds=0.5,
                shutdown_trigger=trio.sleep_forever,
                stock=name == "stock",
                task_status=task_status,
            )

        addresses = await nursery.start(listen)
        yield SocketDoor(addresses[0])
        nursery.cancel_scope.cancel()
