"""The handle of the herald: what a listener may ask of whoever tells what happens to jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self
from weakref import WeakSet

import trio

from jobqueue.actors.ring import Ids, News, Wanted
from jobqueue.errors import Overloaded, retry_after
from jobqueue.mailbox import Address, Reply
from jobqueue.wire.events import Step

SILENCE_SECONDS = 15.0  # after which a listener is told that there is nothing to tell
RETRY_SECONDS = 5.0  # for a listener that finds no seat


class Here:
    """Ask for the number of the newest event."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[int]) -> None:
        self.reply = reply


class Told:
    """Ask where to go on for one who has seen these steps of a job in the table."""

    __slots__ = ("after", "reply", "steps")

    def __init__(self, after: int, steps: Sequence[Step], reply: Reply[int]) -> None:
        self.after = after
        self.steps = steps
        self.reply = reply


class Read:
    """Ask for what is there already, up to now."""

    __slots__ = ("after", "reply", "wanted")

    def __init__(self, wanted: Wanted, after: int, reply: Reply[News]) -> None:
        self.wanted = wanted
        self.after = after
        self.reply = reply


class Next:
    """Ask for what is wanted after `after`, and wait until there is some; `until`: or until it was silent too long."""

    __slots__ = ("after", "reply", "until", "wanted")

    def __init__(self, wanted: Wanted, after: int, reply: Reply[News]) -> None:
        self.wanted = wanted
        self.after = after
        self.reply = reply
        self.until = trio.current_time() + SILENCE_SECONDS


class Tick:
    """Look through what is new."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[None]) -> None:
        self.reply = reply


class Close:
    """Tell everybody what is left, and then that there will be no more."""

    __slots__ = ("reply",)

    def __init__(self, reply: Reply[None]) -> None:
        self.reply = reply


Message = Here | Told | Read | Next | Tick | Close


class Seat:
    """A listener's place among those that there may be, until it is left, or forgotten with whoever held it."""

    __slots__ = ("__weakref__", "_taken")

    def __init__(self, taken: WeakSet[Seat]) -> None:
        self._taken = taken
        taken.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._taken.discard(self)


class Events:
    """The handle: what a listener may ask. Every ask raises Closed once there will be no more news."""

    def __init__(self, address: Address[Message], ids: Ids, most: int) -> None:
        self._address = address
        self._most = most
        self._taken: WeakSet[Seat] = WeakSet()
        self.ids = ids

    def seat(self) -> Seat:
        """A place for one more listener. Raises Overloaded."""
        if len(self._taken) >= self._most:
            raise Overloaded("there are as many listeners as there may be", headers=retry_after(RETRY_SECONDS))
        return Seat(self._taken)

    async def here(self) -> int:
        """The number of the newest event. Raises Overloaded."""
        return await self._address.ask(Here, shed=True)

    async def told(self, after: int, steps: Sequence[Step]) -> int:
        """Where to go on for one who knows all up to `after`, and these steps of one job (see `Ring.told`)."""
        return await self._address.ask(lambda reply: Told(after, steps, reply))

    async def read(self, wanted: Wanted, after: int) -> News:
        """What there is already; may be nothing."""
        return await self._address.ask(lambda reply: Read(wanted, after, reply))

    async def next(self, wanted: Wanted, after: int) -> News:
        """Wait for what is wanted after `after`. Nothing is answered too, when it was silent for 15 s."""
        return await self._address.ask(lambda reply: Next(wanted, after, reply))

    async def close(self) -> None:
        """Tell everybody what is left, and let them go, now and from now on."""
        await self._address.ask(Close)
