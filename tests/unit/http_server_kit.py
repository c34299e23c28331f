"""What the tests of `jobqueue.http.serve` share: a server in this process, and what it says over a real socket."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from jobqueue.errors import StartupError
from jobqueue.http import Counters, Limits, serve
from jobqueue.http.asgi import App
from tests.unit.http_kit import Answer, answers, echo, head

LAST = head(b"Connection: close", start=b"GET /last HTTP/1.1")


class Running:
    """A server that listens."""

    def __init__(self, addresses: list[str], counters: Counters, stop: trio.Event, ended: trio.Event) -> None:
        self.addresses = addresses
        self.counters = counters
        self.stop = stop
        self.ended = ended

    async def connect(self) -> trio.SocketStream:
        """A connection to its first address."""
        host, _, port = self.addresses[0].rpartition("/")[2].rpartition(":")
        return await trio.open_tcp_stream(host.strip("[]"), int(port))

    async def ask(self, data: bytes = LAST, *methods: str) -> list[Answer]:
        """The answers to `data`, on a connection of its own; `methods` are those asked with, else GET."""
        return await ask(await self.connect(), data, *methods)


async def ask(stream: trio.abc.Stream, data: bytes = LAST, *methods: str) -> list[Answer]:
    """The answers to `data` until the server closes."""
    async with stream:
        await stream.send_all(data)
        return answers(b"".join([piece async for piece in stream]), *methods)


@contextlib.asynccontextmanager
async def running(app: App = echo, binds: tuple[str, ...] = ("127.0.0.1:0",), **options: Any) -> AsyncIterator[Running]:
    """A server of `app`, stopped in the end."""
    ids = map(str, itertools.count(1))
    stop, ended = trio.Event(), trio.Event()
    given: dict[str, Any] = {"limits": Limits(), "counters": Counters(), "grace_seconds": 5.0} | options

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        await serve(
            app,
            binds=binds,
            new_request_id=lambda: next(ids),
            shutdown_trigger=stop.wait,
            task_status=task_status,
            **given,
        )
        ended.set()

    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(run)
        yield Running(addresses, given["counters"], stop, ended)
        stop.set()


async def fails_to_start(**options: Any) -> StartupError:
    """The error of a server that cannot start."""
    with pytest.raises(StartupError) as caught:
        await serve(
            options.pop("app", echo),
            limits=Limits(),
            counters=Counters(),
            new_request_id=str,
            grace_seconds=0,
            shutdown_trigger=trio.sleep_forever,
            **{"binds": ["127.0.0.1:0"], **options},
        )
    return caught.value
