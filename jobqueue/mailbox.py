"""The whole actor kit: every channel of the program is opened here, and every one is bounded.

An actor owns an `Inbox` and hands out a `Handle` class of its own, whose methods put a message in and await the answer.
Asks go only downward (README, "The shape"): api, worker, scheduler -> dispatcher -> state -> store. Upward there are
only things that never wait: one-shot replies, nudges, orders and posts that may be dropped. So no cycle of waits can
exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

import trio

from jobqueue.errors import Overloaded, retry_after

M = TypeVar("M")
T = TypeVar("T")


class Closed(Exception):
    """The actor that was asked has stopped, or stopped before it answered."""


Answer = tuple[Any, Exception | None]  # on its way up: a value, or an error


def _unwrap(answer: Answer) -> Any:
    """The value, or the error raised."""
    value, error = answer
    if error is not None:
        raise error
    return value


class Reply(Generic[T]):
    """The answering half of an ask: a one-shot that can neither wait nor raise towards the one who answers."""

    __slots__ = ("_channel", "abandoned")

    def __init__(self, channel: trio.MemorySendChannel[Answer]) -> None:
        self._channel: trio.MemorySendChannel[Answer] | None = channel
        self.abandoned = False  # the asker has left

    def send(self, value: T) -> bool:
        """Answer; False if the asker has left."""
        return self._put((value, None))

    def fail(self, error: Exception) -> bool:
        """Answer with an error, raised where the ask was awaited; False if the asker has left."""
        return self._put((None, error))

    def _put(self, answer: Answer) -> bool:
        channel, self._channel = self._channel, None  # a second answer must never reach the channel's next asker
        if channel is None:
            return False
        try:
            channel.send_nowait(answer)
        except (trio.BrokenResourceError, trio.WouldBlock):
            return False
        return True


class Pending(Generic[T]):
    """The waiting half of an ask, for one who does something else first. Use it in a `with`."""

    __slots__ = ("_channel", "_reply")

    def __init__(self, channel: trio.MemoryReceiveChannel[Answer], reply: Reply[T]) -> None:
        self._channel = channel
        self._reply = reply

    async def get(self) -> T:
        """Wait for the answer. Raises what the actor answered with, or Closed."""
        try:
            answer = await self._channel.receive()
        except trio.EndOfChannel:
            raise Closed from None
        value: T = _unwrap(answer)
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reply.abandoned = True
        self._channel.close()


def one_shot() -> tuple[Reply[T], Pending[T]]:
    """A reply and the place where it arrives."""
    send: trio.MemorySendChannel[Answer]
    receive: trio.MemoryReceiveChannel[Answer]
    send, receive = trio.open_memory_channel(1)  # without [T]: at run time that would cost as much as the channel
    reply: Reply[T] = Reply(send)
    return reply, Pending(receive, reply)


Line = tuple[trio.MemorySendChannel[Any], trio.MemoryReceiveChannel[Any]]
IDLE_LINES = 256  # kept for the next asks; a channel costs as much as everything else of an ask


class Address(Generic[M]):
    """The sending side of an actor's inbox.

    The channels of answered asks are used again; one whose asker left, or that was not answered, never is.
    """

    __slots__ = ("_channel", "_idle")

    def __init__(self, channel: trio.MemorySendChannel[M]) -> None:
        self._channel = channel
        self._idle: list[Line] = []

    async def ask(
        self, make: Callable[[Reply[T]], M], *, shed: bool = False, late: Callable[[T], None] | None = None
    ) -> T:
        """Send the message that `make` builds round a reply, and wait for that reply.

        With `shed` a full inbox raises Overloaded at once instead of waiting (promise 5: never for results). `late`
        gets an answer that came in the very moment in which the asker was cancelled. Raises Closed when the actor has
        stopped.
        """
        line: Line = self._idle.pop() if self._idle else trio.open_memory_channel(1)
        reply: Reply[T] = Reply(line[0])
        answer: Answer | None = None
        try:
            await self.send(make(reply), shed=shed)
            answer = await line[1].receive()
        finally:
            if answer is not None and len(self._idle) < IDLE_LINES:
                self._idle.append(line)
            else:
                reply.abandoned = True
                if late is not None:
                    _take_late(line[1], late)
                line[1].close()
        value: T = _unwrap(answer)
        return value

    async def send(self, message: M, *, shed: bool = False) -> None:
        """Put a message in. The usual case costs no trip through the scheduler."""
        try:
            self._channel.send_nowait(message)
        except trio.WouldBlock:
            if shed:
                raise Overloaded("the server has a full inbox", headers=retry_after(1)) from None
            await self._wait(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed from None

    def post(self, message: M) -> bool:
        """Put a message in if there is room; never waits."""
        try:
            self._channel.send_nowait(message)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def _wait(self, message: M) -> None:
        try:
            await self._channel.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed from None


def _take_late(channel: trio.MemoryReceiveChannel[Answer], late: Callable[[Any], None]) -> None:
    try:
        answer = channel.receive_nowait()
    except (trio.WouldBlock, trio.EndOfChannel):
        return
    value, error = answer
    if error is None:
        late(value)


class Inbox(Generic[M]):
    """The receiving side, owned by one actor."""

    __slots__ = ("_channel",)

    def __init__(self, channel: trio.MemoryReceiveChannel[M]) -> None:
        self._channel = channel

    async def gather(self, *, until: float, most: int, weigh: Callable[[M], int]) -> list[M]:
        """What waits here: at least one message, or none once the monotonic moment `until` has come.

        Takes messages until their weights reach `most`; the last may go beyond it, since a message is never cut.
        """
        messages: list[M] = []
        weight = 0
        if until > trio.current_time():
            with trio.move_on_at(until):
                messages.append(await self._channel.receive())
                weight = weigh(messages[0])
            await trio.lowlevel.checkpoint()  # whoever is about to ask may still join: fewer, larger batches
        else:
            await trio.lowlevel.checkpoint()
        while weight < most:
            try:
                message = self._channel.receive_nowait()
            except trio.WouldBlock:
                break
            messages.append(message)
            weight += weigh(message)
        return messages

    def take(self) -> list[M]:
        """What waits here, without waiting for it."""
        messages: list[M] = []
        while True:
            try:
                messages.append(self._channel.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                return messages

    def close(self) -> list[M]:
        """Take no more; what was still inside is returned, to be answered or dropped."""
        left = self.take()
        self._channel.close()
        return left

    def fill(self) -> int:
        """How many messages wait."""
        return self._channel.statistics().current_buffer_used


def mailbox(size: int) -> tuple[Address[M], Inbox[M]]:
    """An actor's inbox of `size` messages and its address."""
    send, receive = trio.open_memory_channel[M](size)
    return Address(send), Inbox(receive)


class Nudge:
    """Says upward "look again". Capacity 1, never waits: a nudge that is still unread is news enough."""

    __slots__ = ("_receive", "_send")

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[None](1)

    def give(self) -> None:
        """Leave the nudge."""
        try:
            self._send.send_nowait(None)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return

    async def take(self) -> None:
        """Wait for one."""
        await self._receive.receive()


class Orders(Generic[M]):
    """Orders to whoever holds an attempt: capacity 1, never waits; the first order to arrive is the one that counts."""

    __slots__ = ("_receive", "_send")

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[M](1)

    def give(self, order: M) -> None:
        """Leave an order; one that follows an unread one is dropped."""
        try:
            self._send.send_nowait(order)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return

    async def take(self) -> M:
        """Wait for an order."""
        return await self._receive.receive()
