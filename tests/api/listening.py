"""A listener to a stream of events, through any door: it reads while the stream goes on, and leaves when it likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio

from tests.api.bench import Api
from tests.api.doors import Answer, MemoryDoor, SocketDoor, scope_of
from tests.unit.steps import Event, Parser

TICK_SECONDS = 0.05
PATIENCE = 200  # ticks; only a test that fails waits so long


class Listener:
    """What has come so far. `answer`: the head, once it has come."""

    def __init__(self, api: Api) -> None:
        self.answer = Answer()
        self.parser = Parser()
        self.ended = False
        self._api = api
        self._read = 0

    def take(self, piece: bytes | None) -> None:
        """A piece of the body; None is its end."""
        if piece is None:
            self.ended = True
        else:
            self.answer.body += piece
            self.parser.feed(piece)

    async def event(self) -> Event:
        """The next event. Time passes in steps of a tick until it has come."""
        await self._until(lambda: self._read < len(self.parser.events))
        self._read += 1
        return self.parser.events[self._read - 1]

    async def events(self, count: int) -> list[Event]:
        """The next few."""
        return [await self.event() for _ in range(count)]

    async def statuses(self, count: int) -> list[str]:
        """What the next few say that a job is."""
        return [event.data["status"] for event in await self.events(count)]

    async def rest(self) -> list[Event]:
        """All that is still unread when the stream has ended, in good order."""
        await self._until(lambda: self.ended)
        assert self.parser.whole
        rest = self.parser.events[self._read :]
        self._read = len(self.parser.events)
        return rest

    async def quiet(self) -> None:
        """Nothing is to come for a while."""
        for _ in range(4):
            await self._api.bench.advance(TICK_SECONDS)
        assert self._read == len(self.parser.events), self.parser.events[self._read :]
        assert not self.ended

    async def _until(self, true: Any) -> None:
        for _ in range(PATIENCE):
            if true():
                return
            assert not self.ended, self.answer
            await self._api.bench.advance(TICK_SECONDS)
        raise AssertionError(f"not after {PATIENCE} ticks: {self.answer}")


@asynccontextmanager
async def listening(api: Api, target: str = "/events", **headers: str) -> AsyncIterator[Listener]:
    """Listen; the head and the first piece have come when this begins."""
    sent = [(b"host", api.door.host)]
    sent += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    listener = Listener(api)
    async with trio.open_nursery() as nursery:
        if isinstance(api.door, MemoryDoor):
            nursery.start_soon(_in_memory, api.door, target, sent, listener)
        else:
            assert isinstance(api.door, SocketDoor)
            nursery.start_soon(_on_socket, api.door, target, sent, listener)
        await listener._until(lambda: listener.answer.body or listener.ended)
        yield listener
        nursery.cancel_scope.cancel()


async def _in_memory(door: MemoryDoor, target: str, headers: list[tuple[bytes, bytes]], listener: Listener) -> None:
    """As a server does that takes every piece at once; the client leaves when this is cancelled."""
    unread = True

    async def receive() -> dict[str, Any]:
        nonlocal unread
        await trio.lowlevel.checkpoint()
        if not unread:
            await trio.sleep_forever()
        unread = False
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            listener.answer = Answer.begun(message["status"], message["headers"])
        else:
            listener.take(message.get("body", b""))

    await door.app(scope_of("GET", target, headers), receive, send)
    listener.take(None)


async def _on_socket(door: SocketDoor, target: str, headers: list[tuple[bytes, bytes]], listener: Listener) -> None:
    async with door.talk("GET", target, headers) as talk:
        await talk.end()
        listener.answer = await talk.head()
        try:
            while (piece := await talk.piece()) is not None:
                listener.take(piece)
        except h11.RemoteProtocolError:
            return  # it broke off: that is no end
        listener.take(None)
