"""What the tests of `jobqueue.http` share: requests as bytes, a client in memory, and answers as others read them."""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, cast

import trio
import trio.testing

from jobqueue.errors import JobQueueError
from jobqueue.http.asgi import Message, Receive, Scope, Send
from jobqueue.http.connection import serve_connection
from jobqueue.http.hub import Hub
from jobqueue.http.limits import Cause, Counters, Limits
from jobqueue.http.parser import Parser
from jobqueue.http.reaper import Reaper
from jobqueue.http.request import Request

App = Callable[[Scope, Receive, Send], Awaitable[None]]

HOST = b"Host: a\r\n"


def head(*lines: bytes, start: bytes = b"POST /jobs HTTP/1.1", host: bytes = HOST) -> bytes:
    """The head of a request, good unless the arguments say otherwise."""
    return start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


GET = head(start=b"GET / HTTP/1.1")


def post(body: bytes, *lines: bytes) -> bytes:
    """A whole request with a body."""
    return head(b"Content-Length: %d" % len(body), *lines) + body


def parse(*pieces: bytes) -> tuple[list[Request], JobQueueError | None]:
    """All requests in `pieces`, and the error that ended them."""
    parser = Parser(Limits())
    for piece in pieces:
        parser.feed(piece)
        while parser.unparsed:
            parser.step()
    return list(parser.ready), parser.error


class _Unclosed(io.BytesIO):
    """Bytes that one answer after another is read from."""

    def makefile(self, _mode: str) -> _Unclosed:
        return self

    def close(self) -> None:
        pass


class Answer(NamedTuple):
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The body, of a refusal."""
        assert self.headers["content-type"] == "application/problem+json"
        return cast("dict[str, Any]", json.loads(self.body))


def answers(data: bytes, *methods: str) -> list[Answer]:
    """All answers in `data` as the standard library's client reads them; `methods` are those asked with, else GET."""
    stream = _Unclosed(data)
    found: list[Answer] = []
    for method in itertools.chain(methods, itertools.repeat("GET")):
        if stream.tell() == len(data):
            return found
        response = http.client.HTTPResponse(cast("Any", stream), method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        found.append(Answer(response.status, headers, response.read()))
    raise AssertionError


class Client:
    """The client's end of a connection in memory, with the server's books."""

    def __init__(self, stream: trio.abc.HalfCloseableStream, hub: Hub) -> None:
        self.stream = stream
        self.hub = hub
        self.counters = hub.counters
        self.ended = trio.Event()

    async def send(self, data: bytes) -> None:
        """Send, and let the server do what it can."""
        await self.stream.send_all(data)
        await trio.testing.wait_all_tasks_blocked()

    async def said(self) -> bytes:
        """What the server has sent so far, once it waits for something."""
        data = bytearray()

        async def collect() -> None:
            async for piece in self.stream:
                data.extend(piece)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return bytes(data)

    async def ask(self, data: bytes, *methods: str) -> list[Answer]:
        """Send `data`, and read the answers to it."""
        await self.send(data)
        return answers(await self.said(), *methods)

    async def rest(self) -> bytes:
        """What the server sends until it closes."""
        return b"".join([piece async for piece in self.stream])

    def is_open(self) -> bool:
        """Whether the server still serves."""
        return not self.ended.is_set()


@contextlib.asynccontextmanager
async def connected(
    app: App,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    pair: Callable[[], tuple[Any, Any]] = trio.testing.memory_stream_pair,
    reaped: bool = False,
) -> AsyncIterator[Client]:
    """A client connected to a server of its own that serves `app`; `reaped`: with the reaper at work."""
    ids = itertools.count(1)
    hub = Hub(app, limits, Counters(), lambda: f"r{next(ids)}")
    ours, theirs = pair()
    client = Client(ours, hub)

    async def serve() -> None:
        try:
            await serve_connection(hub, {"of": "lifespan"}, theirs)
        finally:
            await trio.aclose_forcefully(theirs)
            client.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        if reaped:
            nursery.start_soon(Reaper(hub).run)
        await trio.testing.wait_all_tasks_blocked()
        yield client
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(ours)


def assert_reaped(client: Client, cause: Cause) -> None:
    """That the reaper ended one thing of it, for `cause`."""
    assert {cause: count for cause, count in client.counters.reaped.items() if count} == {cause: 1}


async def body_of(receive: Receive) -> bytes | None:
    """The whole body; None if it never came."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message["body"]
        if not message["more_body"]:
            return body


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    """The beginning of an answer."""
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(body: bytes = b"", *, more: bool = False) -> Message:
    """A piece of an answer, the last one unless `more`."""
    return {"type": "http.response.body", "body": body, "more_body": more}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body, or if there is none with the path."""
    body = await body_of(receive)
    if body is not None:
        await send(start())
        await send(piece(body or scope["path"].encode()))


async def deaf(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Refuse every body without a look at it."""
    await send(start(413))
    await send(piece(b"too large"))
