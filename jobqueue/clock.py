"""The seam to time, chance and names: everything nondeterministic that the program asks of the outside.

One `World` is made at the top (`server.py`, or a test) and handed down, so the whole program runs under a virtual clock
and a seeded generator. No other module reads a clock, draws a random number or makes an id.

Stored times are `Micros`: whole microseconds since 1970-01-01 UTC, exact and sortable. Durations are seconds.

Job time is what jobs know of time: `now` for what is stored and for moments that users name, `elapsed` for timeouts and
leases. A `ManualClock` (`--clock manual`) stands in for both; what keeps the server itself alive (grace, a second try
on a failing store, waits of clients) goes by `monotonic`, which is always real.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType

import trio
import uuid_utils

Micros = int

SECOND: Micros = 1_000_000
LOOK_SECONDS = 5.0  # how late a jump of the wall clock may be noticed

Sleeper = str | tuple[str, int]  # who lets job time pass: a part of the program by its name, an attempt by (id, epoch)
Pause = AbstractContextManager[trio.CancelScope, bool]  # a scope that is cancelled at some moment


def micros(seconds: float) -> Micros:
    """A duration in seconds as whole microseconds."""
    return round(seconds * SECOND)


@dataclass(frozen=True, slots=True)
class World:
    """What the program is told about the outside.

    now: the wall clock, UTC. For what is stored and shown, and for times that users name.
    monotonic: real seconds that only grow: a jump of the wall clock does not touch them.
    chance: a number in [0, 1), for jitter and the built-in handlers.
    new_id: a fresh UUIDv7 (RFC 9562) in its text form.
    boot_id: names this life of the process; a local attempt belongs to it.
    manual: the clock that `now` reads, if it stands still until it is moved.
    """

    now: Callable[[], Micros]
    monotonic: Callable[[], float]
    chance: Callable[[], float]
    new_id: Callable[[], str]
    boot_id: str
    manual: ManualClock | None = None

    def elapsed(self) -> Micros:
        """Job time that only grows, for timeouts and leases."""
        return micros(self.monotonic()) if self.manual is None else self.manual.now()

    def moment(self, elapsed: Micros) -> float:
        """The monotonic moment at which so much will have elapsed; infinite if a manual clock must be moved for it."""
        if self.manual is None:
            return elapsed / SECOND
        return 0.0 if elapsed <= self.manual.now() else math.inf

    def until(self, at: Micros | None, sleeper: Sleeper) -> Pause:
        """A scope that is cancelled when `now` has come to `at`: whoever does nothing in it but wait, sleeps.

        The wall clock may be set meanwhile, so it may be cancelled early, after `LOOK_SECONDS`: then wait again.
        """
        if self.manual is not None:
            return self.manual.until(at, sleeper)
        seconds = LOOK_SECONDS if at is None else (at - self.now()) / SECOND
        return trio.move_on_after(min(max(0.0, seconds), LOOK_SECONDS))

    def part(self, name: str) -> AbstractContextManager[None]:
        """For as long as a part of the program runs: a manual clock waits for it whenever it does not sleep."""
        return nullcontext() if self.manual is None else self.manual.part(name)

    async def sleep(self, seconds: float, sleeper: Sleeper) -> None:
        """Let so much job time pass."""
        if self.manual is None:
            await trio.sleep(seconds)
        else:
            with self.manual.until(self.manual.now() + micros(seconds), sleeper):
                await trio.sleep_forever()

    def stir(self) -> None:
        """Something may have come to rest: whoever moves a manual clock looks whether all has."""
        if self.manual is not None:
            self.manual.stir()


class ManualClock:
    """Job time that stands still until it is moved, and knows who sleeps on it.

    Only the state actor moves it, in the step that takes in what is due (`actors/timekeeper.py` tells it when).
    """

    def __init__(self, start: Micros) -> None:
        self._now = start
        self._asleep: dict[Sleeper, Nap] = {}
        self._parts: dict[Sleeper, None] = {}
        self._stirred = trio.Event()

    def now(self) -> Micros:
        """Where it stands."""
        return self._now

    def move(self, to: Micros) -> None:
        """Go on to a moment, never back. Whoever slept until then no longer does, though it has not run yet."""
        self._now = max(self._now, to)
        for sleeper, nap in tuple(self._asleep.items()):
            if nap.over(self._now):
                del self._asleep[sleeper]
                nap.scope.cancel()

    def until(self, at: Micros | None, sleeper: Sleeper) -> Nap:
        """See `World.until`."""
        return Nap(self, at, sleeper)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """See `World.part`."""
        self._parts[name] = None
        try:
            yield
        finally:
            del self._parts[name]
            self.stir()

    def lie_down(self, nap: Nap) -> None:
        """Somebody begins to sleep."""
        if nap.over(self._now):
            nap.scope.cancel()
        else:
            self._asleep[nap.sleeper] = nap
            self.stir()

    def get_up(self, nap: Nap) -> None:
        """Somebody sleeps no longer, woken or not."""
        if self._asleep.get(nap.sleeper) is nap:
            del self._asleep[nap.sleeper]

    @property
    def asleep(self) -> Container[Sleeper]:
        """Who sleeps."""
        return self._asleep.keys()

    def awake(self) -> list[Sleeper]:
        """The parts of the program that are at work."""
        return [part for part in self._parts if part not in self._asleep]

    def first(self) -> Micros | None:
        """When the first sleeper is to be woken."""
        return min((nap.at for nap in self._asleep.values() if nap.at is not None), default=None)

    def stir(self) -> None:
        """See `World.stir`."""
        self._stirred.set()

    def stirred(self) -> trio.Event:
        """What is set from now on, once something stirs. For one listener."""
        if self._stirred.is_set():
            self._stirred = trio.Event()
        return self._stirred


class Nap:
    """Somebody's sleep until a moment of a manual clock: a scope that is cancelled then."""

    def __init__(self, clock: ManualClock, at: Micros | None, sleeper: Sleeper) -> None:
        self.at = at
        self.sleeper = sleeper
        self.scope = trio.CancelScope()
        self._clock = clock

    def over(self, now: Micros) -> bool:
        """Whether its moment has come."""
        return self.at is not None and self.at <= now

    def __enter__(self) -> trio.CancelScope:
        self._clock.lie_down(self)
        return self.scope.__enter__()

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._clock.get_up(self)
        return self.scope.__exit__(type, error, traceback)


def system_world() -> World:
    """The real outside."""
    return World(
        now=lambda: time.time_ns() // 1000,
        monotonic=trio.current_time,
        chance=random.SystemRandom().random,
        new_id=lambda: str(uuid_utils.uuid7()),
        boot_id=str(uuid_utils.uuid7()),
    )


def manual_world() -> World:
    """The same with a clock that stands still, from now on."""
    world = system_world()
    clock = ManualClock(world.now())
    return replace(world, now=clock.now, manual=clock)


def iso(at: Micros) -> str:
    """RFC 3339 in UTC with microseconds, as every time is shown."""
    whole, fraction = divmod(at, SECOND)
    return f"{_second(whole)}.{fraction:06d}Z"


@lru_cache(maxsize=1024)  # most times that are shown are of the last few seconds
def _second(whole: int) -> str:
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}"


def from_datetime(moment: datetime) -> Micros:
    """An aware datetime as Micros."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds
