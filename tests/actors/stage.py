"""A whole program but for HTTP whose clock is manual, and what a test asks of it.

Trio's clock is the real time here: it jumps when nothing else can go on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from jobqueue.actors.state_handle import State
from jobqueue.actors.timekeeper import PATIENCE_SECONDS, Time
from jobqueue.clock import SECOND, ManualClock, World, micros
from jobqueue.config import Config
from jobqueue.handlers import Context, Handlers, builtins
from jobqueue.job import Job, Status
from jobqueue.server import Server, assembled
from tests.actors.engine import Engine, Outside
from tests.helpers import EPOCH, draft

HOUR = 3600.0

Play = Callable[..., AbstractAsyncContextManager["Stage"]]


@dataclass
class Stage:
    """What a test holds of a program whose clock stands still."""

    clock: ManualClock
    world: World
    engine: Engine
    server: Server
    ran: list[tuple[float, Any]] = field(default_factory=list)

    @property
    def state(self) -> State:
        return self.server.state

    @property
    def time(self) -> Time:
        time = self.server.front._parts.time
        assert time is not None
        return time

    def at(self) -> float:
        """Seconds since EPOCH, by the manual clock."""
        return (self.clock.now() - EPOCH) / SECOND

    async def advance(self, seconds: float) -> float:
        """Let time pass; where the clock then is."""
        return ((await self.time.advance(micros(seconds))) - EPOCH) / SECOND

    def job(self, job: Job) -> Job:
        """As it now is."""
        return self.engine.tables.jobs[job.id]

    def seen(self, job: Job) -> tuple[Status, float | None, float | None]:
        """Its status, and when it started and ended."""
        now = self.job(job)
        times = [None if at is None else (at - EPOCH) / SECOND for at in (now.started_at, now.finished_at)]
        return now.status, times[0], times[1]


@asynccontextmanager
async def staged(outside: Outside, workers: int = 2) -> AsyncIterator[Stage]:
    """Start the program."""
    clock = ManualClock(EPOCH)
    world = replace(outside.world(), now=clock.now, monotonic=trio.current_time, manual=clock)
    engine = Engine(clock.now)
    handlers = builtins(world)
    async with assembled(Config(store="memory:", workers=workers), world, engine, handlers) as server:
        stage = Stage(clock, world, engine, server)
        furnish(handlers, stage)
        yield stage


def furnish(handlers: Handlers, stage: Stage) -> None:
    """Handlers that note when they ran."""

    @handlers.register("noop")
    async def noop(_ctx: Context, payload: Any) -> None:
        stage.ran.append((stage.at(), payload))

    @handlers.register("fail")
    async def fail(_ctx: Context, payload: Any) -> None:
        stage.ran.append((stage.at(), payload))
        raise ValueError("no good")

    @handlers.register("real")
    async def real(_ctx: Context, payload: float) -> None:
        await trio.sleep(payload)

    @handlers.register("really.fail")
    async def really_fail(_ctx: Context, payload: float) -> None:
        await trio.sleep(payload)
        raise ValueError("no good")

    @handlers.register("deaf")
    async def deaf(_ctx: Context, payload: float) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(payload)

    @handlers.register("chatty")
    async def chatty(ctx: Context, _payload: None) -> None:
        while True:
            await trio.sleep(PATIENCE_SECONDS / 2)
            await ctx.log("still here")

    @handlers.register("breed")
    async def breed(_ctx: Context, payload: int) -> None:
        await trio.sleep(0.5)
        if payload:
            await stage.state.submit([draft("breed", payload=str(payload - 1))])
