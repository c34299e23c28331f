"""What jobs do in the simulation: a kind for each way in which work can end, or not end."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from jobqueue import Fatal, Handlers, RetryIn
from jobqueue.handlers import Context
from tests.simulation import disk
from tests.simulation.oracle import Oracle
from tests.simulation.runs import How, Run

BRISK = (0.0, 0.05, 0.5, 2.0)
STALL_SECONDS = 1_000_000.0
SHIELDED_SECONDS = (1.0, 4.0, 12.0)
OBEDIENT = (
    "quick", "sleepy", "failing", "retrying", "fatal", "stalling", "exiting", "poison", "reporting", "unstorable",
)  # fmt: skip
KINDS = (*OBEDIENT, "shielded")

Body = Callable[[Any], Awaitable[Any]]


class Host(disk.Host, Protocol):
    """The life in which handlers run."""

    workers: int


def registry(host: Host, oracle: Oracle, rng: random.Random, base: Handlers) -> Handlers:
    """The handlers of one life, and those of `base`. All of them are entered into the oracle's ledger."""
    made = Handlers()
    work = Work(host, rng)
    for kind in KINDS:
        made.register(kind)(_noted(kind, getattr(work, kind), host, oracle))
    for registration in base:
        made.register(registration.kind)(_noted(registration.kind, _plain(registration.function), host, oracle))
    return made


def still_alive(host: Host) -> bool:
    """Asked anew, since it may change at every await."""
    return host.alive


def _plain(function: Callable[[Any, Any], Awaitable[Any]]) -> Body:
    return lambda ctx: function(ctx, None)


def _noted(kind: str, body: Body, host: Host, oracle: Oracle) -> Callable[[Context, Any], Awaitable[Any]]:
    async def handler(ctx: Context, _payload: Any) -> Any:
        if not host.alive:
            await trio.sleep_forever()
        job = oracle.any_job(ctx.id)
        assert job is not None
        run = Run(
            id=ctx.id,
            epoch=ctx.epoch,
            life=host.number,
            worker=job.worker,
            kind=kind,
            timeout=job.options.timeout,
            obedient=kind in OBEDIENT,
            started_at=trio.current_time(),
        )
        oracle.started(run, host, host.workers)
        oracle.check(oracle.parents_fault(job, ctx.parents))
        how: How = "raised"
        try:
            result = await body(ctx)
            run.result = json.dumps(result, separators=(",", ":"))
            how = "returned"
            return result
        except trio.Cancelled:
            how = "cancelled"
            raise
        finally:
            if not still_alive(host):
                how = "killed"
            oracle.ledger.end(run, how)
            oracle.ended(run)

    return handler


class Work:
    """The bodies, by the names of their kinds."""

    def __init__(self, host: Host, rng: random.Random) -> None:
        self._host = host
        self._rng = rng

    async def _pause(self) -> None:
        await trio.sleep(self._rng.choice(BRISK))

    async def quick(self, ctx: Context) -> Any:
        return {"epoch": ctx.epoch}

    async def sleepy(self, ctx: Context) -> Any:
        await self._pause()
        await self._pause()
        return {"epoch": ctx.epoch, "slept": True}

    async def failing(self, ctx: Context) -> Any:
        await self._pause()
        if self._rng.random() < 0.7:
            raise ValueError("drawn")
        return {"epoch": ctx.epoch, "failed": False}

    async def retrying(self, ctx: Context) -> Any:
        await self._pause()
        if self._rng.random() < 0.5:
            raise RetryIn(self._rng.choice((0, 0.5, 5)))
        return {"epoch": ctx.epoch}

    async def fatal(self, _ctx: Context) -> Any:
        await self._pause()
        raise Fatal("drawn")

    async def stalling(self, ctx: Context) -> Any:
        if self._rng.random() < 0.7:
            await trio.sleep(STALL_SECONDS)
        return {"epoch": ctx.epoch}

    async def shielded(self, ctx: Context) -> Any:
        with trio.CancelScope(shield=True) as shield:
            self._host.shields.append(shield)
            await trio.sleep(self._rng.choice(SHIELDED_SECONDS))
        if not still_alive(self._host):
            await trio.sleep_forever()
        return {"epoch": ctx.epoch, "late": True}

    async def exiting(self, _ctx: Context) -> Any:
        await self._pause()
        raise SystemExit(3)

    async def poison(self, ctx: Context) -> Any:
        await self._pause()
        self._host.crash(ctx.id)
        await trio.sleep_forever()

    async def reporting(self, ctx: Context) -> Any:
        for percent in (10, 60):
            await ctx.progress(percent, "so far")
            await ctx.log(f"at {percent}")
            await self._pause()
        return {"epoch": ctx.epoch}

    async def unstorable(self, ctx: Context) -> Any:
        await self._pause()
        return {"epoch": ctx.epoch, disk.SPOILED: True}
